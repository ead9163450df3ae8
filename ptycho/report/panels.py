"""How one thing is drawn: an image with its units, a complex probe, a curve.

Matplotlib's objects only, never pyplot: no global state, no window, any thread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ptycho.report.align import ComplexImage

Image = NDArray[np.floating[Any]]
Limits = tuple[float, float]

AMPLITUDE, PHASE, CYCLIC, ERROR, LIGHT = "gray", "viridis", "twilight", "RdBu_r", "magma"

_INK = "#333333"
_COLOURS = ("#1f5fa8", "#d9622b", "#2c8a57", "#8a4fa3", "#7a6a58")


def limits(*images: Image) -> Limits:
    """Limits ``(low, high)`` that leave out the last per cent of both ends."""
    values = np.concatenate([image.ravel() for image in images])
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    # a constant image sits in the middle of its scale
    room = 1e-3 if high - low < 1e-6 else 0.0
    return low - room, high + room


def draw_image(axes: Axes, image: Image, title: str, colours: str, shown: Limits) -> AxesImage:
    """Draw an image ``(H, W)`` without ticks; returns it for the colour bar."""
    drawn = axes.imshow(image, cmap=colours, vmin=shown[0], vmax=shown[1])
    bare(axes, title)
    return drawn


def bare(axes: Axes, title: str) -> None:
    """Title at the left, no ticks, a hairline around."""
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=_INK, linewidth=0.6)


def colour_bar(axes: Axes, drawn: AxesImage) -> None:
    """A slim colour bar at the right of an image, exactly as high as the image."""
    beside = axes.inset_axes((1.015, 0, 0.03, 1))
    bar = axes.figure.colorbar(drawn, cax=beside)
    bar.ax.tick_params(labelsize=9, length=2, color=_INK, labelcolor=_INK)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.ax.spines[:].set(color=_INK, linewidth=0.6)


def scale_bar(axes: Axes, width: int, pixel_size_m: float | None) -> None:
    """A bar of a round length in the lower left corner of an image ``width`` pixels wide."""
    unit, per_pixel = "px", 1.0
    if pixel_size_m is not None:
        unit, per_pixel = "nm", pixel_size_m * 1e9
        if width * per_pixel > 4000:
            unit, per_pixel = "µm", pixel_size_m * 1e6
    length = round_length(0.28 * width * per_pixel)
    ends = (0.05, 0.05 + length / per_pixel / width)
    thick, thin = (withStroke(linewidth=w, foreground="black") for w in (5, 2.5))
    axes.plot(
        ends, (0.07, 0.07), transform=axes.transAxes, color="white", linewidth=3,
        solid_capstyle="butt", path_effects=[thick],
    )  # fmt: skip
    axes.annotate(
        f"{length:g} {unit}", (0.05, 0.07), xytext=(0, 4), xycoords="axes fraction",
        textcoords="offset points", color="white", fontsize=10, path_effects=[thin],
    )  # fmt: skip


def round_length(at_most: float) -> float:
    """The largest of 1, 2, 5, 10, 20 ... (any power of ten) that is not longer."""
    power = 10.0 ** np.floor(np.log10(at_most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= at_most * (1 + 1e-9)))


def complex_colours(field: ComplexImage) -> NDArray[np.float64]:
    """Colours ``(H, W, 3)``: amplitude as brightness, phase as hue."""
    size = np.abs(field) / max(float(np.abs(field).max()), np.finfo(np.float32).tiny)
    hue = np.angle(field) / (2 * np.pi) % 1.0
    return np.asarray(hsv_to_rgb(np.stack([hue, np.full_like(size, 0.85), size], axis=-1)))


def draw_probe(axes: Axes, probe: ComplexImage) -> None:
    """Draw up to three modes ``(mode, N, N)`` side by side, each at its own brightness."""
    colours = [complex_colours(mode) for mode in probe[:3]]
    # a white line after each mode
    framed = [np.pad(c, ((0, 0), (0, 2), (0, 0)), constant_values=1.0) for c in colours]
    axes.imshow(np.concatenate(framed, axis=1)[:, :-2])
    title = "probe (brightness: amplitude, hue: phase)"
    if len(probe) > 1:
        energy = np.square(np.abs(probe)).sum((1, 2))
        shares = ", ".join(f"{share:.0%}" for share in (energy / energy.sum())[:3])
        title = f"probe, {len(probe)} modes ({shares} of the photons)"
    bare(axes, title)
    axis = np.linspace(-1, 1, 65)
    wheel = axis[None, :] + 1j * axis[:, None]
    inside = np.abs(wheel) <= 1
    corner = axes.inset_axes((0.03, 0.03, 0.15, 0.15))
    corner.imshow(np.dstack([complex_colours(wheel * inside), inside]))
    corner.set_axis_off()


def draw_illumination(
    axes: Axes, light: Image, positions: Image, scanned: tuple[slice, slice]
) -> AxesImage:
    """Photons on the canvas ``(H, W)``, the positions and the area that is shown."""
    drawn = draw_image(axes, light, "illumination, photons per pixel", LIGHT, (0, light.max()))
    axes.plot(positions[:, 1], positions[:, 0], ".", color="#40e0ff", markersize=2)
    rows, columns = scanned
    corner = (columns.start - 0.5, rows.start - 0.5)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *size, fill=False, color="white", linewidth=1))
    return drawn


def draw_curves(axes: Axes, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Named curves of (seconds, value) on a logarithmic axis."""
    for index, (name, points) in enumerate(curves.items()):
        seconds, values = np.array([p for p in points if 0 < p[1] < np.inf]).reshape(-1, 2).T
        colour = _COLOURS[index % len(_COLOURS)]
        marker = "o" if len(values) < 30 else "None"
        axes.plot(seconds, values, color=colour, lw=1.6, marker=marker, ms=3.5, label=name)
    axes.set_yscale("log")
    axes.set_title("convergence", loc="left", fontsize=11, color=_INK)
    axes.set_xlabel("seconds", fontsize=10, color=_INK)
    axes.tick_params(labelsize=9, color=_INK, labelcolor=_INK)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=_INK, linewidth=0.6)
    axes.legend(frameon=False, fontsize=10, labelcolor=_INK)
