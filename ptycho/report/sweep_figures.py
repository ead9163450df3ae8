"""Pictures of a sweep: quality against speed, what mattered, how the jobs learnt."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ptycho.config.choices import Direction
from ptycho.report import panels
from ptycho.report.figures import new_page, save_page
from ptycho.report.ranking import pareto
from ptycho.report.sweep_rows import LOSS, RATE, Job, Metric, Stand, Sweep, value_of
from ptycho.report.sweep_scale import (
    BEST,
    PALE,
    Levels,
    colour_bar,
    colours,
    labelled,
    metric_axis,
    short,
)

_MOST_LABELS = 14  # points up to which each front member bears its number
_SAME = 0.025  # share of the axes within which points are one place to the eye
_ACROSS = 3  # slices in a row
MOST_SLICES = 12
"""Settings whose slices are drawn; the most important ones."""
_STYLES = {Stand.finished: "-", Stand.running: "-."}
_GIVEN_UP = (0, (4, 2))

SECONDS = Metric("seconds", Direction.min)
RATES = Metric(RATE, Direction.max)


def save_quality(sweep: Sweep, path: Path) -> bool:
    """Draw quality against speed, and the metrics against each other; False without points.

    Speed is the seconds of the run, or patterns per second where the sweep judges by those.
    """
    pairs = [*_pairs(sweep)]
    pairs = [pair for pair in pairs if len(_points(sweep, *pair)) > 0]
    if not pairs:
        return False
    figure = new_page(11, 5.2 if len(pairs) == 1 else 4.8)
    for axes, (across, up) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs,
                                  strict=True):  # fmt: skip
        _draw_front(axes, _points(sweep, across, up), across, up)
    save_page(figure, path)
    return True


def _pairs(sweep: Sweep) -> list[tuple[Metric, Metric]]:
    """Which metric is drawn against which: (across, up)."""
    speed = [m for m in sweep.metrics if m.name in (SECONDS.name, RATE)]
    quality = [m for m in sweep.metrics if m not in speed]
    if not quality:  # judged by speed alone
        return [(RATES if speed[0].name == SECONDS.name else SECONDS, speed[0])]
    pairs = [(speed[0] if speed else SECONDS, quality[0])]
    return [(quality[1], quality[0]), *pairs] if len(quality) > 1 else pairs


def _points(sweep: Sweep, across: Metric, up: Metric) -> list[tuple[Job, float, float]]:
    found = []
    for job in sweep.judged:
        known = job.figures | job.metrics
        if across.name in known and up.name in known:
            found.append((job, known[across.name], known[up.name]))
    return found


def _draw_front(
    axes: Axes, points: Sequence[tuple[Job, float, float]], across: Metric, up: Metric
) -> None:
    front = pareto({job.number: (across.cost(x), up.cost(y)) for job, x, y in points})
    x, y = (np.array([point[i] for point in points]) for i in (1, 2))
    inside = np.array([job.number in front for job, *_ in points])
    metric_axis(axes, [*x], across=True)
    metric_axis(axes, [*y])
    if not inside.all():
        axes.scatter(x[~inside], y[~inside], s=34, color=PALE, edgecolor="white", lw=0.6,
                     label="beaten in both")  # fmt: skip
    order = np.argsort(x[inside])
    axes.plot(x[inside][order], y[inside][order], color=BEST, lw=1.2, alpha=0.7, zorder=2,
              drawstyle=_stairs(across, up))  # fmt: skip
    axes.scatter(x[inside], y[inside], s=64, color=BEST, edgecolor="white", lw=0.8, zorder=3,
                 label="Pareto front")  # fmt: skip
    axes.margins(0.08)
    _number(axes, [p for p in points if len(points) <= _MOST_LABELS or p[0].number in front])
    labelled(axes, f"{up.name} against {across.name}", _with_end(across), _with_end(up))
    axes.legend(frameon=False, fontsize=9, labelcolor=panels.INK)


def _number(axes: Axes, points: Sequence[tuple[Job, float, float]]) -> None:
    """Write the numbers of jobs beside their points, those of one place together."""
    places: list[tuple[tuple[float, float], float, float, list[str]]] = []
    for job, x, y in points:  # best first
        at_x, at_y = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
        near = (p for p in places if abs(p[1] - at_x) < _SAME and abs(p[2] - at_y) < _SAME)
        if there := next(near, None):
            there[3].append(str(job.number))
        else:
            places.append(((x, y), at_x, at_y, [str(job.number)]))
    rim = [withStroke(linewidth=2.5, foreground="white")]
    for at, _, _, numbers in places:
        axes.annotate(", ".join(numbers), at, xytext=(6, 4), textcoords="offset points",
                      fontsize=9, color=panels.INK, path_effects=rim)  # fmt: skip


def _stairs(across: Metric, up: Metric) -> str:
    """The step that goes through what the front reaches and through nothing better."""
    low_is_good = across.direction == Direction.min
    return "steps-post" if low_is_good else "steps-pre"


def _with_end(metric: Metric) -> str:
    return f"{metric.name} ({metric.wanted})"


def save_importance(shares: dict[str, dict[str, float]], how: str, path: Path) -> bool:
    """Draw how much each setting matters for each metric, as bars; False without any.

    Args:
        shares: metric -> setting -> share of the variance.
        how: the method's name.
        path: file to write.
    """
    if not shares:
        return False
    names = [*dict.fromkeys(name for one in shares.values() for name in one)]
    figure = new_page(11, 1.0 + 0.42 * len(names) * max(1.0, 0.6 * len(shares)))
    axes = figure.subplots()
    thick = 0.72 / len(shares)
    rows = np.arange(len(names), dtype=float)
    for index, (metric, one) in enumerate(shares.items()):
        values = [one.get(name, 0.0) for name in names]
        at = rows + (index - (len(shares) - 1) / 2) * thick
        colour = panels.COLOURS[index % len(panels.COLOURS)]
        axes.barh(at, values, height=thick, color=colour, label=metric)
        for place, value in zip(at, values, strict=True):
            axes.annotate(f"{value:.0%}", (value, place), xytext=(4, 0), va="center", fontsize=9,
                          textcoords="offset points", color=panels.INK)  # fmt: skip
    labelled(axes, f"share of the variance that a setting explains ({how})", "", "")
    axes.set_yticks(rows, [short(name, 40) for name in names], fontsize=10)
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    if len(shares) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=panels.INK, loc="lower right")
    save_page(figure, path)
    return True


def save_slices(sweep: Sweep, names: Sequence[str], path: Path) -> bool:
    """Draw the first metric against each of some settings; False when nothing is to be seen."""
    names = [name for name in names if any(name in job.settings for job in sweep.judged)]
    if not names:
        return False
    names = names[:MOST_SLICES]
    columns = min(_ACROSS, len(names))
    rows = -(-len(names) // columns)
    figure = new_page(11, 3.4 * rows)
    every = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for index, (axes, name) in enumerate(zip(every, names, strict=False)):
        _draw_slice(axes, sweep, name, first=index % columns == 0)
    for axes in every[len(names) :]:
        axes.set_axis_off()
    save_page(figure, path)
    return True


def _draw_slice(axes: Axes, sweep: Sweep, name: str, first: bool) -> None:
    metric = sweep.metrics[0]
    jobs = [job for job in sweep.judged if name in job.settings]
    levels = Levels([job.settings[name] for job in jobs], "log" in sweep.swept[name])
    for job in reversed(jobs):  # the best is drawn last
        best = job is sweep.judged[0]
        axes.scatter(
            levels.at(job.settings[name]), value_of(job, metric), zorder=3 if best else 2,
            s=110 if best else 34, marker="*" if best else "o", alpha=1 if best else 0.75,
            color=BEST if best else panels.COLOURS[0], edgecolor="white", lw=0.6,
        )  # fmt: skip
    levels.place_on(axes)
    axes.margins(0.1)
    metric_axis(axes, [value_of(job, metric) for job in sweep.judged])
    labelled(axes, short(name, 34), "", metric.name if first else "")


def save_curves(sweep: Sweep, path: Path) -> bool:
    """Draw the training loss of all jobs over the epochs; False when no job has learnt."""
    jobs = [job for job in sweep.jobs if _losses(job)]
    if not jobs:
        return False
    metric, judged = sweep.metrics[0], sweep.judged
    figure = new_page(11, 5)
    axes = figure.subplots()
    scale = colours(metric, [value_of(job, metric) for job in judged])
    drawn, lasting = list[float](), list[float]()
    for job in reversed(jobs):
        epochs, losses = zip(*_losses(job), strict=True)
        drawn += losses
        lasting += losses if job.stand in _STYLES else ()
        best = bool(judged) and job is judged[0]
        known = job.stand == Stand.finished and metric.name in job.metrics
        axes.plot(
            epochs, losses, lw=3.2 if best else 1.4, zorder=4 if best else 2,
            color=scale.to_rgba(np.asarray(value_of(job, metric))) if known else PALE,
            ls=_STYLES.get(job.stand, _GIVEN_UP), marker="o" if len(epochs) < 15 else "None",
            ms=5 if best else 3,
        )  # fmt: skip
    if min(drawn) > 0 and max(drawn) > 3 * min(drawn):
        axes.set_yscale("log")
        if lasting:  # what ran away must not flatten the others
            axes.set_ylim(top=min(max(drawn), 4 * max(lasting)) * 1.1)
    labelled(axes, "training", "epoch", LOSS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _explain(axes, jobs, bool(judged))
    if judged:
        colour_bar(axes, scale, metric)
    save_page(figure, path)
    return True


def _losses(job: Job) -> list[tuple[float, float]]:
    return [(row["epoch"], row[LOSS]) for row in job.history if np.isfinite(row.get(LOSS, np.nan))]


def _explain(axes: Axes, jobs: Sequence[Job], judged: bool) -> None:
    line = partial(axes.plot, [], [], color="#555555")
    if judged:
        line(lw=3.2, label="best")
    given_up = [s for s in Stand if s not in _STYLES and any(job.stand == s for job in jobs)]
    if given_up:
        line(lw=1.4, ls=_GIVEN_UP, label=", ".join(given_up))
    if any(job.stand == Stand.running for job in jobs):
        line(lw=1.4, ls="-.", label="running")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9, labelcolor=panels.INK)


def save_parallel(sweep: Sweep, path: Path) -> bool:
    """Draw every judged job as a line through its settings and metrics; False for too few.

    Args:
        sweep: what to draw.
        path: file to write.
    """
    jobs = sweep.judged
    names = [name for name in sweep.swept if all(name in job.settings for job in jobs)]
    names = [name for name in names if len({str(job.settings[name]) for job in jobs}) > 1]
    if len(jobs) < 2 or not names:
        return False
    metric = sweep.metrics[0]
    shown = [*((name, [job.settings[name] for job in jobs]) for name in names)]
    shown += [(m.name, [value_of(job, m) for job in jobs]) for m in reversed(sweep.metrics)]
    levels = [Levels(values, "log" in sweep.swept.get(name, "")) for name, values in shown]
    scale = colours(metric, [value_of(job, metric) for job in jobs])
    figure = new_page(max(11, 1.7 * len(shown)), 4.6, top=None)
    axes = figure.add_axes((0.06, 0.03, 0.88, 0.8))
    for row in reversed(range(len(jobs))):
        heights = [one.share(values[row]) for one, (_, values) in zip(levels, shown, strict=True)]
        best = row == 0
        axes.plot(
            heights, lw=4 if best else 1.5, alpha=1 if best else 0.75, zorder=4 if best else 2,
            color=scale.to_rgba(np.asarray(value_of(jobs[row], metric))), solid_joinstyle="round",
            path_effects=[withStroke(linewidth=6.5, foreground=BEST)] if best else None,
        )  # fmt: skip
    for at, ((name, _), one) in enumerate(zip(shown, levels, strict=True)):
        _draw_axis(axes, at, name, one, bold=at >= len(names))
    axes.set(xlim=(-0.15, len(shown) - 0.6), ylim=(-0.04, 1.04))
    axes.set_axis_off()
    figure.text(0.012, 0.955, f"job {jobs[0].number}, the best of {len(jobs)}, is rimmed; "
                f"dark is good: {_with_end(metric)}", fontsize=11, color=panels.INK,
                va="center", parse_math=False)  # fmt: skip
    save_page(figure, path)
    return True


def _draw_axis(axes: Axes, at: int, name: str, levels: Levels, bold: bool) -> None:
    axes.plot((at, at), (0, 1), color=panels.INK, lw=1.4 if bold else 0.9, zorder=3)
    axes.text(at, 1.075, short(name, 24), ha="center", fontsize=10, color=panels.INK,
              weight="bold" if bold else "normal", parse_math=False)  # fmt: skip
    rim = [withStroke(linewidth=3, foreground="white")]
    for value, label in levels.ticks():
        axes.annotate(label, (at, levels.share(value)), xytext=(5, 0), va="center", zorder=5,
                      textcoords="offset points", fontsize=9, color=panels.INK,
                      path_effects=rim, parse_math=False)  # fmt: skip
