"""Fourier ring correlations as curves, with their thresholds."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ptycho.report import panels
from ptycho.report.correlation import resolution
from ptycho.report.verdict import Rings


def draw_rings(axes: Axes, rings: Mapping[str, Rings], pixel_size_m: float | None) -> None:
    """Draw correlations over the spatial frequency, and where each falls below 1/2 bit.

    Args:
        axes: where to draw.
        rings: correlations by name.
        pixel_size_m: side of a pixel; periods are then told in nm, too.
    """
    for index, (name, one) in enumerate(rings.items()):
        colour = panels.COLOURS[index % len(panels.COLOURS)]
        period = resolution(one.frequency, one.correlation, one.half_bit)
        label = f"{name}: {_told(period, pixel_size_m)}"
        axes.plot(one.frequency, one.correlation, color=colour, lw=1.8, label=label)
        if math.isfinite(period):
            axes.axvline(1 / period, color=colour, lw=0.9, ls=":")
    half_bit = next(iter(rings.values()))
    axes.plot(
        half_bit.frequency, half_bit.half_bit, color="#555555", lw=1.1, ls="--", label="½ bit"
    )
    axes.axhline(1 / 7, color="#999999", lw=1.0, ls="-.", label="1/7")
    axes.set_xlim(0, 0.5)
    axes.set_ylim(min(-0.05, *(float(np.min(r.correlation)) for r in rings.values())), 1.04)
    axes.set_title("Fourier ring correlation", loc="left", fontsize=11, color=panels.INK)
    axes.set_xlabel("cycles per pixel", fontsize=10, color=panels.INK)
    panels.plain_axes(axes)
    axes.legend(fontsize=10, labelcolor=panels.INK, edgecolor="none", framealpha=0.85)


def _told(period: float, pixel_size_m: float | None) -> str:
    if not math.isfinite(period):
        return "nothing resolved"
    if pixel_size_m is None:
        return f"{period:.1f} px"
    return f"{period:.1f} px, {period * pixel_size_m * 1e9:.3g} nm"
