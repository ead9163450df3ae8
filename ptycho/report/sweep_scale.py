"""What the pictures of a sweep share: axes for any setting, colours for any metric."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import (
    FixedLocator,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    ScalarFormatter,
)

from ptycho.report import panels
from ptycho.report.digits import single
from ptycho.report.sweep_rows import Metric, are_numbers, span_sizes

BEST = "#d9622b"
"""Colour of what is best."""
PALE = "#9a9a9a"
"""Colour of what is beaten or unjudged."""

_VIRIDIS = colormaps["viridis"]
_FEW = 7  # distinct numbers up to which each has its tick
_UPWARDS, _ACROSS = 0.07, 0.14  # share of an axis that the label of a tick takes
_LONGEST = 22  # characters of a tick label


@dataclass(frozen=True)
class Levels:
    """Values of a setting on an axis: numbers in their place, anything else side by side."""

    values: list[Any]
    """All that occur."""
    logarithmic: bool = False
    """Whether they were chosen by their logarithm."""

    @property
    def numeric(self) -> bool:
        """Whether all are numbers."""
        return are_numbers(self.values)

    @property
    def wide(self) -> bool:
        """Whether they span so many sizes that only a logarithm shows them apart."""
        if not self.numeric:
            return False
        return span_sizes(self.values) or (self.logarithmic and min(self.values) > 0)

    @property
    def names(self) -> list[str]:
        """Distinct values that are no numbers, as texts, in order of appearance."""
        return [*dict.fromkeys(map(str, self.values))]

    def at(self, value: Any) -> float:
        """Where a value is drawn: itself, or the place of its name."""
        return float(value) if self.numeric else float(self.names.index(str(value)))

    def share(self, value: Any) -> float:
        """Where a value is between the lowest (0) and the highest (1)."""
        if not self.numeric:
            return (self.names.index(str(value)) + 0.5) / len(self.names)
        turn = math.log if self.wide else float
        low, high = turn(min(self.values)), turn(max(self.values))
        return 0.5 if high == low else (turn(value) - low) / (high - low)

    def ticks(self, apart: float = _UPWARDS) -> list[tuple[Any, str]]:
        """Values worth a label, with it, at least some share of the axis from each other."""
        distinct: list[Any] = sorted(set(self.values)) if self.numeric else self.names
        places = [self.share(value) for value in distinct]
        crowded = any(b - a < apart for a, b in pairwise(places)) or len(distinct) > _FEW
        if self.numeric and crowded:
            distinct = self._round_values(apart)
        labels = [[single(value, digits) for value in distinct] for digits in (2, 3, 4, 6)]
        told = next((one for one in labels if len({*one}) == len(distinct)), labels[-1])
        return [(value, short(label)) for value, label in zip(distinct, told, strict=True)]

    def _round_values(self, apart: float) -> list[float]:
        low, high = min(self.values), max(self.values)
        locator: Locator = MaxNLocator(5, steps=[1, 2, 5, 10])
        if self.wide:
            tens = math.log10(high / low)
            locator = LogLocator(subs=(1, 2, 5) if tens < 1.5 else (1, 3) if tens < 3 else (1,))
        between = [float(v) for v in locator.tick_values(low, high) if low < v < high]
        return [low, *(v for v in between if apart < self.share(v) < 1 - apart), high]

    def place_on(self, axes: Axes) -> None:
        """Make the horizontal axis one of these values."""
        if self.wide:
            axes.set_xscale("log")
        ticks = self.ticks(_ACROSS)
        axes.xaxis.set_major_locator(FixedLocator([self.at(value) for value, _ in ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks([self.at(value) for value, _ in ticks], [label for _, label in ticks])
        if not self.numeric:
            axes.set_xlim(-0.5, len(self.names) - 0.5)
        if max(len(label) for _, label in ticks) * len(ticks) > 36:
            for label in axes.get_xticklabels():
                label.set(rotation=30, ha="right")


def short(text: str, longest: int = _LONGEST) -> str:
    """A text that fits a tick; the end says more than the beginning, as in paths."""
    return text if len(text) <= longest else f"…{text[-(longest - 1) :]}"


def colours(metric: Metric, values: Iterable[float]) -> ScalarMappable:
    """Dark for good and pale for bad, told apart by any eye: viridis without its brightest."""
    known = [*values]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high == low:
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    ends = (0.0, 0.9) if metric.cost(1.0) > 0 else (0.9, 0.0)
    shades = _VIRIDIS(np.linspace(*ends, 256))
    scale = LinearSegmentedColormap.from_list("sweep", shades)
    return ScalarMappable(Normalize(low, high), scale)


def metric_axis(axes: Axes, values: Sequence[float], across: bool = False) -> None:
    """Plain numbers on the axis of a metric, a logarithm where values span many sizes."""
    axis = axes.xaxis if across else axes.yaxis
    if values and span_sizes(values):
        (axes.set_xscale if across else axes.set_yscale)("log")
        axis.set_minor_formatter(NullFormatter())
        return
    plain = ScalarFormatter(useOffset=False)
    plain.set_powerlimits((-4, 6))
    axis.set_major_formatter(plain)
    axis.set_major_locator(MaxNLocator(5))


def labelled(axes: Axes, title: str, x: str, y: str) -> None:
    """Words around a plot; a name is a name: its $ and _ are no formula."""
    axes.set_title(title, loc="left", fontsize=11, color=panels.INK, parse_math=False)
    axes.set_xlabel(x, fontsize=10, color=panels.INK, parse_math=False)
    axes.set_ylabel(y, fontsize=10, color=panels.INK, parse_math=False)
    panels.plain_axes(axes)


def colour_bar(axes: Axes, scale: ScalarMappable, metric: Metric) -> None:
    """What the colours of jobs mean, at the right of a plot."""
    figure = axes.figure
    bar = figure.colorbar(scale, ax=axes, pad=0.02, fraction=0.035, aspect=28)
    bar.ax.tick_params(labelsize=9, length=2, color=panels.INK, labelcolor=panels.INK)
    bar.locator = MaxNLocator(5)
    bar.formatter = ScalarFormatter(useOffset=False)
    bar.update_ticks()
    bar.set_label(metric.name, fontsize=10, color=panels.INK, parse_math=False)
    bar.outline.set_visible(False)
