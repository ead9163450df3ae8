"""What a network said of every pattern by itself: a table, and a picture in which bad ones show."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.data.reconstruction import Complex
from ptycho.report import panels
from ptycho.report.figures import STRIP, save_rows
from ptycho.report.files import write_csv

Vector = NDArray[np.float64]

_PIXELS = 480  # of a map, along its longer side
_FAR = 1.5  # typical distances of positions from the next one at which a map ends
_BINS = 48
_WIDTH = 18.0  # of the page
_BAR = 0.85  # room for a colour bar and its labels
_TALLEST = 5.3  # row of the page


@dataclass(frozen=True)
class PatchTable:
    """Figures of predicted patches, all ``(n,)``; amplitude and phase of the part that counts."""

    number: NDArray[np.int64]
    """Of the pattern in its scan."""
    y: Vector
    """Centre of the patch in pixels of the object."""
    x: Vector
    amplitude_mean: Vector
    amplitude_std: Vector
    amplitude_min: Vector
    amplitude_max: Vector
    phase_mean: Vector
    """Direction of the mean of ``exp(i phase)``, in radians."""
    phase_std: Vector
    """``sqrt(-2 ln |mean|)`` of the same mean: the circular standard deviation, in radians."""
    R: Vector
    """R factor of the pattern that patch and probe predict; NaN for a pattern without light."""

    @property
    def worst(self) -> int:
        """Row of the pattern with the largest R."""
        return int(np.nanargmax(np.nan_to_num(self.R, nan=-1.0)))

    def summary(self) -> dict[str, float]:
        """Medians over all patterns, and the worst of them."""
        low, middle, high = np.percentile(self.amplitude_mean, (5, 50, 95))
        return {
            "patterns": len(self.number),
            "amplitude": float(middle),
            "amplitude_p5": float(low),
            "amplitude_p95": float(high),
            "phase_std": float(np.median(self.phase_std)),
            "R": float(np.nanmedian(self.R)) if np.isfinite(self.R).any() else np.nan,
            "worst_R": float(self.R[self.worst]),
            "worst": int(self.number[self.worst]),
        }

    def said(self) -> str:
        """:meth:`summary` in a line."""
        told = self.summary()
        return (
            f"{told['patterns']:,} patterns, amplitude {told['amplitude']:.3f} "
            f"({told['amplitude_p5']:.3f} to {told['amplitude_p95']:.3f}), phase spread "
            f"{told['phase_std']:.2f} rad, R {told['R']:.3f}; worst is pattern {told['worst']} "
            f"with R {told['worst_R']:.3f}"
        )


@dataclass(frozen=True)
class Example:
    """One predicted patch."""

    number: int
    window: Complex
    """``(window, window)``."""
    R: float
    name: str = ""
    """Why it is shown."""


def write_table(table: PatchTable, path: Path) -> None:
    """Write one row a pattern, in the order of their numbers."""
    columns = asdict(table)
    names = [item.name for item in fields(table)]
    rows = [{name: columns[name][row].item() for name in names} for row in np.argsort(table.number)]
    write_csv(path, rows)


def save_patches(
    table: PatchTable, examples: list[Example], core: int, label: str, path: Path
) -> None:
    """Write the picture, a PNG 1800 pixels wide.

    Args:
        table: figures of the patches.
        examples: some of them.
        core: side of their central part that the figures are of.
        label: name of the scan.
        path: file to write.
    """
    figures = {
        "mean amplitude": (table.amplitude_mean, panels.AMPLITUDE),
        "phase spread within a patch (rad)": (table.phase_std, panels.PHASE),
        "R factor of a pattern": (table.R, panels.RESIDUAL),
    }
    places = np.stack([table.y, table.x], axis=-1)
    maps, spreads = [], []
    for index, (title, (values, colours)) in enumerate(figures.items()):
        image = nearest(places, values)
        aspect = float(np.clip(image.shape[1] / image.shape[0], 1 / 3, STRIP))
        draw = partial(_map, image=image, values=values, title=title, colours=colours)
        maps.append(panels.Panel(draw, aspect, right=_BAR))
        draw = partial(_spread, values=values, title=title, colour=panels.COLOURS[index])
        spreads.append(panels.Panel(draw, 2.2, left=0.5, right=0.25, below=0.35))
    rows = [*_examples(examples, core), *_side_by_side(maps), spreads]
    save_rows(rows, _WIDTH, (f"{label}: predicted patches", table.said()), path, tallest=_TALLEST)


def nearest(places: Vector, values: Vector) -> panels.Image:
    """An image of the scan whose pixels show what is known at the nearest position.

    Args:
        places: ``(n, 2)`` as (y, x).
        values: ``(n,)``.

    Returns:
        ``(H, W)``; NaN far from all positions.
    """
    tree = cKDTree(places)
    typical = 1.0
    if len(places) > 1:
        apart = tree.query(places, k=2)[0][:, 1]
        typical = max(float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0, 1e-9)
    low, high = places.min(0) - typical / 2, places.max(0) + typical / 2
    step = max(float((high - low).max()) / _PIXELS, typical / 16)
    axes = [np.arange(start, stop, step) + step / 2 for start, stop in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    distance, which = tree.query(grid)
    image: panels.Image = np.where(distance <= _FAR * typical, values[which], np.nan)
    return image


def _side_by_side(maps: list[panels.Panel]) -> list[list[panels.Panel]]:
    """Maps in a row, or below each other where they are flat."""
    return [maps] if maps[0].aspect <= 4 else [[one] for one in maps]


def _examples(examples: list[Example], core: int) -> list[list[panels.Panel]]:
    """A row of amplitudes and one of phases, in common colours."""
    together = sum(np.exp(1j * np.angle(one.window)).sum() for one in examples)
    turned = [one.window * np.exp(-1j * np.angle(together)) for one in examples]
    views = [panels.View(np.abs(one), np.angle(one)) for one in turned]
    scale = panels.common_scale(*views)
    rows: list[list[panels.Panel]] = [[], []]
    for place, (one, view) in enumerate(zip(examples, views, strict=True)):
        last = place == len(examples) - 1
        named = f"{one.number}: R {one.R:.3f}" + (f", {one.name}" if one.name else "")
        kinds: list[tuple[Callable[..., object], str]] = [
            (scale.draw_amplitude, named if place else f"amplitude of {named}"),
            (scale.draw_phase, f"{one.number}" if place else f"phase of {one.number} (rad)"),
        ]
        for row, (show, title) in zip(rows, kinds, strict=True):
            draw = partial(_patch, show=show, view=view, title=title, core=core, bar=last)
            row.append(panels.Panel(draw, 1.0, right=_BAR if last else 0.12))
    return rows


def _patch(
    axes: Axes, show: Callable[..., object], view: panels.View, title: str, core: int, bar: bool
) -> None:
    drawn = show(axes, view, title)
    axes.set_title(title, loc="left", fontsize=9, color=panels.INK)
    side = view.phase.shape[0]
    if core < side:
        first = side // 2 - core // 2 - 0.5
        axes.add_patch(
            Rectangle((first, first), core, core, fill=False, color="white", linewidth=0.8)
        )
    if bar:
        panels.colour_bar(axes, drawn)  # type: ignore[arg-type]


def _map(axes: Axes, image: panels.Image, values: Vector, title: str, colours: str) -> None:
    shown = panels.limits(values[np.isfinite(values)]) if np.isfinite(values).any() else (0.0, 1.0)
    panels.colour_bar(axes, panels.draw_image(axes, image, title, colours, shown))


def _spread(axes: Axes, values: Vector, title: str, colour: str) -> None:
    known = values[np.isfinite(values)]
    if known.size:
        bins = int(np.clip(2 * np.sqrt(known.size), 5, _BINS))
        axes.hist(known, bins=bins, color=colour, alpha=0.85)
        axes.axvline(float(np.median(known)), color=panels.INK, lw=1, ls="--")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_title(f"{title}: patterns", loc="left", fontsize=11, color=panels.INK)
    panels.plain_axes(axes)
