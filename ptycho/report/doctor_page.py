"""One page of pictures of what was found about a scan."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from ptycho.report import panels
from ptycho.report.align import level
from ptycho.report.diagnosis import Diagnosis, Trials, Views, Weight
from ptycho.report.doctor_table import MARKS, typed
from ptycho.report.figures import head, new_page, save_page

_COLOURS = {
    Weight.fine: "#2c8a57",
    Weight.note: "#888888",
    Weight.set: "#d9622b",
    Weight.look: "#c22f2f",
    Weight.open: "#1f5fa8",
}
_WORDS = {
    Weight.set: "a setting mends it",
    Weight.look: "look at it",
    Weight.open: "the data do not decide",
}
_FITTED = "#e0218a"
_WIDTH, _HEIGHT = 18.0, 11.0
_LINES = (10.5, 9.5, 8.5, 7.5, 6.5, 5.5)
"""Sizes of the letters of the findings, the largest that fits being taken."""
_COLUMN = 5.5
"""Width of the findings in units of 100 pixels, short of the labels of the plots."""


def save_doctor(diagnosis: Diagnosis, path: str | Path) -> None:
    """Write the page, a PNG of 1800 x 1100 pixels.

    Args:
        diagnosis: what was found.
        path: file to write.
    """
    save_page(doctor_page(diagnosis), path)


def doctor_page(diagnosis: Diagnosis) -> Figure:
    """The page: findings at the left, up to nine pictures beside them."""
    figure = new_page(_WIDTH, _HEIGHT, top=None)
    head(figure, f"{diagnosis.label}: {diagnosis.verdict}", diagnosis.source)
    _write(figure, diagnosis)
    views = diagnosis.views
    drawn = [
        *_detector(views),
        *_light(views),
        *_sample(views),
        *(_fits(views.trials, views.guessed) if views.trials is not None else ()),
    ]
    columns, left, gap = 3, 6.9, 0.95
    side = (_WIDTH - left + 0.3) / columns - gap
    tall = (_HEIGHT - 1.15) / 3
    for number, draw in enumerate(drawn[:9]):
        row, column = divmod(number, columns)
        x = left + column * (side + gap)
        y = _HEIGHT - 1.0 - (row + 1) * tall + 0.55
        box = (x / _WIDTH, y / _HEIGHT, side / _WIDTH, (tall - 0.95) / _HEIGHT)
        draw(figure.add_axes(box))
    return figure


def _write(figure: Figure, diagnosis: Diagnosis) -> None:
    """The findings, at the left, as large as they fit."""
    said = sorted(diagnosis.findings, key=lambda one: one.weight not in _WORDS)
    for size in _LINES:
        plain, bold = (
            _widths(size),
            _widths(size, family="monospace", weight="bold"),
        )
        rows = [
            (
                one,
                _wrapped(one.said, plain),
                [line for item in one.settings.items() for line in _wrapped(typed(*item), bold)],
            )
            for one in said
        ]
        step = size * 1.28 / 72
        need = sum(1.12 + len(said) + len(settings) + 0.35 for _, said, settings in rows) * step
        if need <= _HEIGHT - 1.25 or size == _LINES[-1]:
            break
    y = _HEIGHT - 1.15
    for one, lines, settings in rows:
        colour = _COLOURS[one.weight]
        x = 0.25 / _WIDTH
        words = f"  ({_WORDS[one.weight]})" if one.weight in _WORDS else ""
        _line(figure, x, y, f"{MARKS[one.weight][0]} {one.topic}{words}", size, colour, "bold")
        y -= 1.12 * step
        for line in lines:
            _line(figure, x + 0.2 / _WIDTH, y, line, size, panels.INK)
            y -= step
        for line in settings:
            _line(figure, x + 0.2 / _WIDTH, y, line, size, colour, "bold", "monospace")
            y -= step
        y -= 0.35 * step


def _widths(size: float, **style: Any) -> Callable[[str], float]:
    """How wide text of a font comes out, in inches."""
    font = FontProperties(size=size, **style)

    @cache
    def width(text: str) -> float:
        return text_to_path.get_text_width_height_descent(text, font, False)[0] / 72

    return width


def _wrapped(text: str, width: Callable[[str], float]) -> list[str]:
    """Lines of a text, none wider than its column; a longer word is broken."""
    lines, used = [""], 0.0
    for word in text.split():
        if used and used + width(f" {word}") <= _COLUMN:
            lines[-1] += f" {word}"
            used += width(f" {word}")
            continue
        pieces = [""]
        for letter in word:
            if width(pieces[-1] + letter) > _COLUMN:
                pieces.append("")
            pieces[-1] += letter
        lines += pieces
        used = width(pieces[-1])
    return lines[1:] or [""]


def _line(
    figure: Figure, x: float, y: float, text: str, size: float, colour: str,
    weight: str = "normal", family: str = "sans-serif",
) -> None:  # fmt: skip
    figure.text(
        x, y / _HEIGHT, text, fontsize=size, color=colour, weight=weight, family=family,
        va="top", parse_math=False,
    )  # fmt: skip


Draw = Callable[[Axes], None]


def _detector(views: Views) -> list[Draw]:
    made: list[Draw] = []
    for name, image in (("mean pattern", views.mean), ("one pattern", views.one)):
        if image is not None:
            made.append(_pattern(name, image, views))
    return made


def _pattern(name: str, image: NDArray[np.float64], views: Views) -> Draw:
    def draw(axes: Axes) -> None:
        good = image if views.bad is None else image[~views.bad]
        top = max(float(good.max(initial=0)), 1e-9)
        lit = good[good > 0]
        low = max(top * 1e-4, float(np.percentile(lit, 2)) if len(lit) else top / 10)
        shown = np.log10(np.maximum(image, low))
        limits = (float(np.log10(low)), float(np.log10(max(top, 2 * low))))
        marked = name.startswith("mean") and views.bad is not None and bool(views.bad.any())
        title = f"{name}, log10 counts{' (left out: green)' * marked}"
        drawn = panels.draw_image(axes, shown, title, panels.LIGHT, limits)
        panels.colour_bar(axes, drawn)
        if not name.startswith("mean"):
            return
        if marked:
            assert views.bad is not None
            rows, columns = np.nonzero(views.bad)
            axes.plot(columns[:2000], rows[:2000], "s", mfc="none", mec="#7CFC00", ms=6, mew=1)
        if views.centre is not None:
            y, x = views.centre
            axes.plot(x, y, "+", color="#40e0ff", ms=16, mew=1.6)

    return draw


def _light(views: Views) -> list[Draw]:
    def draw_light(axes: Axes) -> None:
        assert views.light is not None
        number, photons = views.light.T
        axes.plot(number, photons, ".", ms=3, color=panels.COLOURS[0])
        axes.set_ylim(0, 1.08 * max(float(photons.max()), 1e-9))
        axes.set_title("counts of every pattern", loc="left", fontsize=11, color=panels.INK)
        axes.set_xlabel("pattern", fontsize=9, color=panels.INK)
        panels.plain_axes(axes)

    def draw_spread(axes: Axes) -> None:
        assert views.spread is not None
        mean, variance = views.spread.T
        axes.plot(mean, variance, ".", ms=1.5, color=panels.COLOURS[0], alpha=0.5, rasterized=True)
        ends = np.array([mean.min(), mean.max()])
        axes.plot(ends, ends, color=panels.COLOURS[1], lw=1.6, label="photons: variance = mean")
        axes.set(xscale="log", yscale="log")
        axes.set_title("neighbouring patterns differ by", loc="left", fontsize=11, color=panels.INK)
        axes.set_xlabel("mean counts of a pixel", fontsize=9, color=panels.INK)
        axes.set_ylabel("variance", fontsize=9, color=panels.INK)
        axes.legend(frameon=False, fontsize=9, labelcolor=panels.INK)
        panels.plain_axes(axes)

    made: list[Draw] = []
    if views.spread is not None and len(views.spread):
        made.append(draw_spread)
    if views.light is not None:
        made.append(draw_light)
    return made


def _sample(views: Views) -> list[Draw]:
    def draw_positions(axes: Axes) -> None:
        assert views.positions is not None
        y, x = views.positions.T
        small = float(np.clip(200 / np.sqrt(len(x)), 1, 6))
        axes.scatter(x, y, c=np.arange(len(x)), s=small, cmap="viridis", zorder=2)
        if views.tried is not None:
            there = views.positions[views.tried]
            low, high = there.min(0), there.max(0)
            sides = high[1] - low[1], high[0] - low[0]
            _outline(axes, Rectangle((low[1], low[0]), *sides), _FITTED, "fitted")
        if views.width is not None:
            middle = np.nanmedian(views.positions, axis=0)
            _outline(axes, Circle((middle[1], middle[0]), views.width / 2), "black", "beam")
        if axes.patches:
            axes.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False,
                fontsize=9, labelcolor=panels.INK,
            )  # fmt: skip
        title = "positions, guessed px" if views.guessed else "positions, px"
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_title(f"{title}; colour: scan order", loc="left", fontsize=11, color=panels.INK)
        panels.plain_axes(axes)

    def draw_probe(axes: Axes) -> None:
        assert views.probe is not None
        panels.draw_probe(axes, views.probe)

    made: list[Draw] = []
    if views.positions is not None:
        made.append(draw_positions)
    if views.probe is not None:
        made.append(draw_probe)
    return made


def _outline(axes: Axes, patch: Patch, colour: str, label: str) -> None:
    """Draw a shape's edge so that it is seen on dots of any colour."""
    patch.set(fill=False, lw=1.6, edgecolor=colour, zorder=3, label=label)
    patch.set_path_effects([withStroke(linewidth=3.6, foreground="white")])
    axes.add_patch(patch)


def _fits(trials: Trials, guessed: bool) -> list[Draw]:
    def draw_grid(axes: Axes) -> None:
        top = max(float(trials.grid.max()), 0.2)
        axes.imshow(trials.grid, cmap=panels.RESIDUAL, vmin=0, vmax=top, aspect="auto")
        axes.set_xticks(range(8), trials.names, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(range(8), trials.names, fontsize=8)
        axes.set_title(
            "C, patterns ↓ and positions → turned", loc="left", fontsize=11, color=panels.INK
        )
        for (row, column), value in np.ndenumerate(trials.grid):
            if value > 0.35 * top or value == trials.grid.max():
                colour = "black" if value > 0.6 * top else "white"
                axes.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center",
                          fontsize=7, color=colour)  # fmt: skip
        if trials.decided:
            row, column = trials.chosen
            axes.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec=panels.COLOURS[1], lw=2.5)
            )

    def draw_scales(axes: Axes) -> None:
        factor, c = trials.scales.T
        axes.plot(factor, c, "o-", ms=4, lw=1.4, color=panels.COLOURS[0])
        if not guessed:
            axes.axvline(1, color="#999999", lw=1, ls="--")
        axes.set_title("C of patterns not fitted", loc="left", fontsize=11, color=panels.INK)
        label = f"positions{', as first guessed,' * guessed} multiplied by"
        axes.set_xlabel(label, fontsize=9, color=panels.INK)
        panels.plain_axes(axes)

    def draw_object(axes: Axes) -> None:
        phase = np.angle(level(trials.obj))
        drawn = panels.draw_image(
            axes, phase, "object, as a short fit sees it", panels.PHASE,
            panels.limits(phase),
        )  # fmt: skip
        panels.colour_bar(axes, drawn)

    made: list[Draw] = [draw_grid]
    if len(trials.scales):
        made.append(draw_scales)
    return [*made, draw_object]
