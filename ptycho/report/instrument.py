"""What a run found out about probe, positions, flux and background: in numbers and a picture."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ptycho.data.reconstruction import Complex, Reconstruction
from ptycho.report import panels
from ptycho.report.figures import save_rows

_AT_LIMIT = 0.999  # of the way
_NOTHING = 1e-3  # per cent or degrees
_LONGEST = 4.0  # arrows are drawn as long as so many typical ones at most
_ONE_ROW = 4.5  # widths over heights that fit beside each other
_REACH = 0.7  # of the usual distance between neighbours, that a typical arrow is long


def instrument_figures(
    before: Reconstruction, found: Reconstruction, max_shift: float = math.inf
) -> dict[str, float | list[float]]:
    """Numbers about what has moved, against the instrument that came with the scan.

    Args:
        before: probe and positions as they came, on the same canvas.
        found: the reconstruction.
        max_shift: pixels that a position could move along an axis.

    Returns:
        ``probe_agreement`` (0 to 1: the light of the brightest mode that the old one explains)
        and ``mode_shares``; ``shift_median_px`` and ``shift_largest_px`` of the positions, with
        how many went as far as they could, ``shifts_at_limit``, and
        what is common to all of them as ``spread_percent`` (along y, x) and ``rotation_deg``;
        ``flux_std`` and ``background_photons`` per pixel. What did not move is left out.
    """
    figures: dict[str, float | list[float]] = {}
    if not np.array_equal(before.probe, found.probe):
        figures["probe_agreement"] = _agreement(before.probe[0], found.probe[0])
        energy = np.square(np.abs(found.probe)).sum((1, 2), dtype=np.float64)
        figures["mode_shares"] = (energy / energy.sum()).tolist()
    shift = found.positions - before.positions
    if shift.any():
        length = np.hypot(*shift.T)
        figures["shift_median_px"] = float(np.median(length))
        figures["shift_largest_px"] = float(length.max())
        figures["shifts_at_limit"] = int((np.abs(shift).max(1) > _AT_LIMIT * max_shift).sum())
        matrix = _common(before.positions, found.positions)
        figures["spread_percent"] = (100 * (np.diag(matrix) - 1)).tolist()
        figures["rotation_deg"] = float(np.degrees((matrix[0, 1] - matrix[1, 0]) / 2))
    if found.flux is not None:
        figures["flux_std"] = float(found.flux.std())
    if found.background is not None:
        figures["background_photons"] = float(found.background.mean())
    return figures


def describe(figures: dict[str, Any]) -> str:
    """The figures in a line; empty when nothing has moved."""
    said = []
    if "probe_agreement" in figures:
        shares = figures["mode_shares"]
        modes = "" if len(shares) == 1 else ", modes " + " ".join(f"{one:.0%}" for one in shares)
        said.append(f"probe {figures['probe_agreement']:.0%} as at the start{modes}")
    if "shift_median_px" in figures:
        stopped = figures["shifts_at_limit"]
        limit = f"; {stopped} of them as far as instrument.max_shift lets them" if stopped else ""
        said.append(
            f"positions moved by {figures['shift_median_px']:.2g} px (median), "
            f"{figures['shift_largest_px']:.2g} at most{limit}{_together(figures)}"
        )
    if "flux_std" in figures:
        said.append(f"flux ±{figures['flux_std']:.1%}")
    if "background_photons" in figures:
        said.append(f"background {figures['background_photons']:.2g} photons per pixel")
    return "; ".join(said)


def _together(figures: dict[str, Any]) -> str:
    """What all positions did alike, where they did."""
    y, x = figures["spread_percent"]
    turned = figures["rotation_deg"]
    if max(abs(y), abs(x), abs(turned)) < _NOTHING:
        return ""
    return f", scale {y:+.2g} % (y) {x:+.2g} % (x), rotation {turned:+.2g} deg"


def save_instrument(
    before: Reconstruction,
    found: Reconstruction,
    said: str,
    path: str | Path,
    given: int | None = None,
) -> None:
    """Write a picture of what was found, beside what came with the scan, a PNG.

    Args:
        before: probe and positions as they came, on the same canvas.
        found: the reconstruction.
        said: a line for its head.
        path: file to write.
        given: modes of the probe that came with the scan, others were added; None: all.
    """
    came = before.probe[:given]
    probes = (came, "at the start"), (_like(found.probe, came), "found")
    first = [
        panels.Panel(partial(_probe, probe=probe, title=title), min(len(probe), 3))
        for probe, title in probes
    ]
    second: list[panels.Panel] = []
    if not np.array_equal(before.positions, found.positions):
        draw = partial(_shifts, before=before, found=found)
        height, width = np.ptp(before.positions, axis=0) + 1e-6
        aspect = float(np.clip(width / height, 0.4, 4))
        second.append(panels.Panel(draw, aspect, left=0.6, right=0.8, below=0.55))
    if found.background is not None:
        draw = partial(_background, background=found.background)
        second.append(panels.Panel(draw, aspect=1.0, right=0.8, below=0.4))
    if found.flux is not None:
        draw = partial(_flux, flux=found.flux)
        second.append(panels.Panel(draw, aspect=1.4, left=0.6, below=0.55))
    if np.array_equal(before.probe, found.probe) and second:
        first = []
    together = sum(panel.aspect for panel in (*first, *second)) < _ONE_ROW
    rows = [[*first, *second]] if together else [first, second]
    titles = f"{found.label}: instrument", said
    save_rows([row for row in rows if row], 14.0, titles, path, tallest=4.5)


def _probe(axes: Axes, probe: Complex, title: str) -> None:
    panels.draw_probe(axes, probe)
    said = axes.get_title("left")
    panels.bare(axes, said.replace("probe", f"probe {title}", 1))


def _like(found: Complex, came: Complex) -> Complex:
    """The same modes, each turned to the phase of the one that came in its place."""
    turned = found.copy()
    for mode, one in zip(turned, came, strict=False):
        mode *= np.exp(1j * np.angle(np.vdot(mode, one)))
    return turned


def _shifts(axes: Axes, before: Reconstruction, found: Reconstruction) -> None:
    shift = found.positions - before.positions
    length = np.hypot(*shift.T)
    typical = max(float(np.median(length)), 1e-3)
    y, x = before.positions.T
    apart = math.sqrt(np.ptp(y) * np.ptp(x) / len(x)) or 1.0
    times = panels.round_length(max(_REACH * apart / typical, 1e-3))
    shown = times * shift * np.minimum(1, _LONGEST * typical / np.maximum(length, 1e-9))[:, None]
    drawn = axes.quiver(
        x, y, shown[:, 1], shown[:, 0], length, angles="xy", scale_units="xy", scale=1,
        cmap="viridis", width=0.003,
    )  # fmt: skip
    panels.colour_bar(axes, drawn)
    axes.set_title(
        f"shifts of the positions in px, arrows {times:g} times as long", loc="left", fontsize=11
    )
    ends = np.concatenate([before.positions, before.positions + shown])
    (top, left), (bottom, right) = ends.min(0) - apart / 2, ends.max(0) + apart / 2
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.set_xlabel("x, px", fontsize=10)
    axes.set_ylabel("y, px", fontsize=10)
    panels.plain_axes(axes)


def _background(axes: Axes, background: NDArray[np.float32]) -> None:
    most = float(background.max()) or 1.0
    drawn = panels.draw_image(
        axes, background, "background, photons per pixel", panels.LIGHT, (0, most)
    )
    panels.colour_bar(axes, drawn)


def _flux(axes: Axes, flux: NDArray[np.float32]) -> None:
    axes.plot(flux, lw=0.8, color=panels.COLOURS[0])
    axes.set_title("brightness of the beam, mean 1", loc="left", fontsize=11)
    axes.set_xlabel("pattern", fontsize=10)
    panels.plain_axes(axes)


def _agreement(one: Complex, other: Complex) -> float:
    shared = np.abs(np.vdot(one, other)) ** 2
    return float(shared / (np.vdot(one, one).real * np.vdot(other, other).real))


def _common(before: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(2, 2)`` that maps distances (y, x) from the centre before to those found."""
    away, now = before - before.mean(0), found - found.mean(0)
    matrix, *_ = np.linalg.lstsq(away, now, rcond=None)
    return np.asarray(matrix.T)
