"""The picture of a simulated scan: what is known of it, and what a detector saw."""

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ptycho.data.simulate import Simulated
from ptycho.report import panels
from ptycho.report.figures import save_rows

_WIDTH = 15.0  # of the page, in units of 100 pixels
_TALLEST = 5.0  # row of the page
_BAR = 0.85  # room for a colour bar and its labels
_PATTERNS = 5
_FAR = 3  # mean distances of neighbours that the beam may go at once for its way to be drawn


def save_simulated(made: Simulated, path: Path) -> None:
    """Write the picture, a PNG 1500 pixels wide.

    Args:
        made: what was simulated.
        path: file to write.
    """
    scan = made.scan
    assert scan.truth is not None
    view = panels.View(np.abs(scan.truth), np.angle(scan.truth))
    scale = panels.common_scale(view)
    aspect = float(np.clip(view.phase.shape[1] / view.phase.shape[0], 1 / 3, 3))
    top = [
        panels.Panel(
            partial(_image, view=view, show=scale.draw_amplitude, title="amplitude",
                    pixel_size_m=scan.pixel_size_m),
            aspect, right=_BAR,
        ),
        panels.Panel(
            partial(_image, view=view, show=scale.draw_phase, title="phase (rad)",
                    pixel_size_m=scan.pixel_size_m),
            aspect, right=_BAR,
        ),
        panels.Panel(partial(_way, made=made, shape=view.phase.shape), aspect),
    ]  # fmt: skip
    modes = min(len(scan.probe), 3)
    below = [panels.Panel(partial(panels.draw_probe, probe=scan.probe), float(modes))]
    chosen = np.linspace(0, len(scan) - 1, _PATTERNS).round().astype(int)
    counts = np.square(scan.amplitude[chosen])
    brightest = float(counts.max())
    for number, image in zip(chosen, counts, strict=True):
        last = number == chosen[-1]
        draw = partial(
            _pattern, image=image, bad=np.signbit(scan.amplitude[number]), brightest=brightest,
            title=f"pattern {number}", bar=last,
        )  # fmt: skip
        below.append(panels.Panel(draw, 1.0, right=_BAR if last else 0.12))
    save_rows([top, below], _WIDTH, (scan.label, _said(made)), path, tallest=_TALLEST)


def _said(made: Simulated) -> str:
    scan = made.scan
    parts = [
        f"{len(scan):,} patterns of {scan.patch_size} x {scan.patch_size}",
        f"{scan.photons:.3g} photons in each",
    ]
    if len(scan.probe) > 1:
        parts.append(f"{len(scan.probe)} modes")
    if (bad := scan.bad_pixels) is not None:
        parts.append(f"{bad.mean():.1%} of the pixels bad")
    error = float(np.square(scan.positions - made.positions).mean() ** 0.5)
    if error:
        parts.append(f"recorded positions off by {error:.2g} pixels")
    return ", ".join(parts)


def _image(
    axes: Axes, view: panels.View, show: object, title: str, pixel_size_m: float | None = None
) -> None:
    drawn = show(axes, view, title)  # type: ignore[operator]
    panels.colour_bar(axes, drawn)
    panels.scale_bar(axes, view.phase.shape[1], pixel_size_m)


def _way(axes: Axes, made: Simulated, shape: tuple[int, int]) -> None:
    """The way of the beam, and where it is said to have been."""
    y, x = made.positions.T
    few = len(y) <= 2000
    hop = np.median(np.hypot(np.diff(x), np.diff(y)))
    if hop < _FAR * np.sqrt(np.ptp(x) * np.ptp(y) / len(x)):  # else nobody could follow it
        axes.plot(x, y, "-", color="#9db4cf", linewidth=0.6 if few else 0.25)
    axes.plot(x, y, ".", color=panels.COLOURS[0], markersize=3.5 if few else 1.5)
    title = "positions"
    if (made.scan.positions != made.positions).any():
        ry, rx = made.scan.positions.T
        axes.plot(rx, ry, ".", color=panels.COLOURS[1], markersize=2.5 if few else 1)
        title = "positions: true blue, recorded orange"
    axes.plot(x[0], y[0], "o", color=panels.COLOURS[2], markersize=6)
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
    panels.bare(axes, f"{title}, first green")


def _pattern(
    axes: Axes, image: NDArray[np.float32], bad: NDArray[np.bool_], brightest: float,
    title: str, bar: bool,
) -> None:  # fmt: skip
    """Counts on a logarithmic scale; bad pixels are red."""
    seen = np.log10(1 + image)
    drawn = panels.draw_image(axes, seen, title, panels.LIGHT, (0, np.log10(1 + brightest)))
    if bad.any():
        mark = np.zeros((*bad.shape, 4))
        mark[bad] = (0.85, 0.1, 0.1, 1)
        axes.imshow(mark)
    if bar:
        panels.colour_bar(axes, drawn)
        axes.annotate(
            "log10(1 + photons)", (1.0, -0.02), xycoords="axes fraction", ha="right", va="top",
            fontsize=9, color=panels.INK,
        )  # fmt: skip
