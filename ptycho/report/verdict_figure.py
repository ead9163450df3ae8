"""The picture of an evaluation: the object, how wrong it is, and where."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.report import panels
from ptycho.report.curves import draw_rings
from ptycho.report.figures import (
    STRIP,
    draw_amplitude,
    draw_error,
    draw_phase,
    head,
    key_figures,
    new_page,
    save_page,
    view_of,
)
from ptycho.report.metrics import phases
from ptycho.report.verdict import AgainstData, AgainstTruth, Verdict

Positions = NDArray[np.float64]

_BAR = 0.75  # room for a colour bar and its labels, in units of 100 pixels
_WORST = 6  # patterns in a row, or half as many
_CELLS = 400  # pixels a side of the map of residuals
_PAGE = (0.15, 1.0, 17.7, 9.95)  # left, top, width and height below the title


def save_verdict(verdict: Verdict, path: str | Path) -> None:
    """Write the picture of an evaluation, a PNG of 1800 x 1100 pixels.

    Args:
        verdict: what was found.
        path: file to write.
    """
    figure = new_page(18, 11, top=None)
    _title(figure, verdict)
    panels.fill(figure, _choices(verdict), _PAGE, fairness=0.25, narrowest=0.15)
    save_page(figure, path)


def _choices(verdict: Verdict) -> Iterator[tuple[panels.Column, panels.Column]]:
    """Pages: images at the left, alone or in pairs, and the evidence in any rows at the right."""
    images = _images(verdict)
    pairs = [images[i : i + 2] for i in range(0, len(images), 2)]
    lines = [[image] for image in images]
    for per_row in (_WORST, _WORST // 2):
        evidence = _evidence(verdict, per_row)
        # what stands at the left as it is, and what goes to the top of the right
        splits: list[tuple[panels.Column, panels.Column, int]] = [(pairs, [], 0)]
        if len(pairs) > 1:
            splits.append((lines[:2], pairs[1:], 0))
        for more in range(min(len(evidence), 3)):
            splits.append(([*lines, *([one] for one in evidence[:more])], [], more))
        for left, top, moved in splits:
            for grouped in panels.groupings(evidence[moved:]):
                yield left, [*top, *grouped]


def _title(figure: Figure, verdict: Verdict) -> None:
    parts = [part.scores for part in (verdict.truth, verdict.data) if part is not None]
    rows = ([part.figures for part in parts], [part.flat for part in parts])
    result, flat, noise = (
        {name: value for figures in row for name, value in figures.items()}
        for row in (*rows, [part.noise for part in parts])
    )
    head(figure, verdict.label, key_figures(result, flat, noise))


def _images(verdict: Verdict) -> list[panels.Panel]:
    """Amplitude and phase of the object, then of the truth."""
    pixel = verdict.pixel_size_m
    if verdict.truth is None:
        views = {"": view_of(verdict.obj, None)}
    else:
        result, true = _beside(verdict.truth)
        views = {"": result, "true " if verdict.truth.known else "estimate: ": true}
    scale = panels.common_scale(*views.values())
    height, width = verdict.obj.shape
    image = partial(panels.Panel, aspect=min(width / height, STRIP), right=_BAR, weight=1.6)
    made = []
    for whose, view in views.items():
        made.append(
            image(partial(draw_amplitude, view=view, scale=scale, whose=whose, pixel=pixel))
        )
        made.append(image(partial(draw_phase, view=view, scale=scale, whose=whose)))
    return made


def _evidence(verdict: Verdict, per_row: int) -> list[panels.Panel]:
    """Whatever says how good the object is; the worst patterns so many in a row."""
    made = []
    height, width = verdict.obj.shape
    if verdict.truth is not None:
        view, true = _beside(verdict.truth)
        draw = partial(draw_error, view=view, true_view=true, known=verdict.truth.known)
        made.append(panels.Panel(draw, min(width / height, STRIP), right=_BAR))
    if verdict.data is not None:
        made.append(_map(verdict.data))
    known = verdict.truth is None or verdict.truth.known
    rings = {
        "with the truth" if known else "with the estimate": verdict.truth and verdict.truth.rings,
        "of the two halves": verdict.halves and verdict.halves.rings,
    }
    drawn = {name: one for name, one in rings.items() if one}
    if drawn:
        draw = partial(draw_rings, rings=drawn, pixel_size_m=verdict.pixel_size_m)
        made.append(panels.Panel(draw, 1.5, left=0.65, below=0.5, stretches=True, weight=0.8))
    if verdict.data is not None:
        made.append(_worst(verdict.data, per_row))
    if verdict.probe is not None:
        draw = partial(panels.draw_probe, probe=verdict.probe)
        made.append(panels.Panel(draw, min(len(verdict.probe), 3), weight=0.3))
    return made


def _beside(truth: AgainstTruth) -> tuple[panels.View, panels.View]:
    """The aligned object and the truth, ready to be looked at."""
    phase, true_phase = phases(truth.aligned, truth.truth)
    return (
        panels.View(np.abs(truth.aligned), phase),
        panels.View(np.abs(truth.truth), true_phase),
    )


def _map(data: AgainstData) -> panels.Panel:
    low, high = _around(data.positions)
    aspect = float(np.clip((high[1] - low[1]) / (high[0] - low[0]), 0.2, STRIP))
    return panels.Panel(partial(_draw_map, data=data), aspect, right=_BAR)


def _step(positions: Positions) -> float:
    """Typical distance of neighbouring positions in pixels, at least one."""
    if len(positions) < 2:
        return 1.0
    nearest = cKDTree(positions).query(positions, k=2)[0][:, 1]
    extent = np.maximum(np.ptp(positions, axis=0), 1.0)
    # repeated positions are no neighbours, and a line has no area
    return float(max(np.median(nearest), np.sqrt(extent.prod() / len(positions)), 1.0))


def _around(positions: Positions) -> tuple[Positions, Positions]:
    """First and last pixel (y, x) of a map of positions."""
    room = _step(positions)
    return positions.min(0) - room, positions.max(0) + room


def _draw_map(axes: Axes, data: AgainstData) -> None:
    """The residual of the nearest pattern at every place, and the worst of them marked."""
    low, high = _around(data.positions)
    axis = [np.linspace(a, b, _CELLS) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*axis, indexing="ij"), axis=-1)
    distance, nearest = cKDTree(data.positions).query(places)
    known = np.isfinite(data.residual)
    residual = np.where(known, data.residual, data.residual[known].max(initial=0.0))
    cells = np.where(distance <= 1.2 * _step(data.positions), residual[nearest], np.nan)
    drawn = panels.draw_image(
        axes, cells, f"R of every pattern ({len(residual):,})", panels.RESIDUAL,
        panels.limits(residual),
    )  # fmt: skip
    drawn.set_extent((low[1], high[1], high[0], low[0]))
    axes.set(xlim=(low[1], high[1]), ylim=(high[0], low[0]))
    axes.set_aspect("auto")  # the box has the shape of the scan unless that is a line
    y, x = data.positions.T
    axes.plot(x, y, ".", color="white", alpha=0.5, ms=float(np.clip(120 / len(x), 0.8, 3)))
    for one in data.worst:
        there = (one.position[1], one.position[0])
        axes.plot(*there, "o", mfc="none", mec="#e0301e", ms=11, mew=1.5)
    panels.colour_bar(axes, drawn)


def _worst(data: AgainstData, per_row: int) -> panels.Panel:
    rows = -(-len(data.worst) // per_row)
    columns = min(per_row, len(data.worst))
    draw = partial(_draw_worst, data=data, per_row=per_row)
    return panels.Panel(draw, columns / (2 * rows))


def _draw_worst(axes: Axes, data: AgainstData, per_row: int) -> None:
    """The worst patterns: measured above, what the object predicts below."""
    size = data.worst[0].measured.shape[-1]
    gap = max(size // 24, 1)
    rows, columns = -(-len(data.worst) // per_row), min(per_row, len(data.worst))
    letters = float(np.clip(axes.get_window_extent().width / columns / 12, 5, 9))
    page = np.full((rows * (2 * size + gap), columns * (size + gap)), np.nan)
    for place, one in enumerate(data.worst):
        top, left = (place // per_row) * (2 * size + gap), (place % per_row) * (size + gap)
        brightest = max(float(np.percentile(one.measured, 99.8)), 1e-12)
        for image in (one.measured, one.model):
            # a power below one: the dim outer part is where detail shows
            page[top : top + size, left : left + size] = np.clip(image / brightest, 0, 1) ** 0.7
            top += size
        residual = f"R {one.residual:.2f}" if math.isfinite(one.residual) else "dark"
        for words, down in ((f"{one.number}: {residual}", 2), ("model", 1)):
            text = axes.text(
                left + 0.04 * size, top - (down - 0.04) * size, words,
                va="top", ha="left", fontsize=letters, color="white",
            )  # fmt: skip
            text.set_path_effects([*panels.outline()])
        axes.axhline(top - size - 0.5, color="white", lw=0.8)
    room = axes.get_window_extent().width / 8  # letters of a title
    long = "worst patterns: measured above, model below"
    title = long if room > len(long) else "worst patterns"
    drawn = panels.draw_image(axes, page[: page.shape[0] - gap, :-gap], title, panels.LIGHT, (0, 1))
    drawn.set_interpolation("nearest")
    axes.spines[:].set_visible(False)
