"""The figures of all stages as a table for the terminal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ptycho.report.metrics import FLAT, FLOORS, NOISE, Figures


@dataclass(frozen=True)
class _Column:
    """One figure: its key, its heading, its digits and which end is good."""

    key: str
    heading: str
    digits: int
    best: str = ""
    """``high``, ``low``, or nothing where no value is better than another."""


_COLUMNS = (
    # a stage is not better for being short: the next one may need what it did not do
    _Column("seconds", "seconds", 1),
    _Column("phase_psnr", "phase\nPSNR\ndB", 1, "high"),
    _Column("phase_ssim", "phase\nSSIM", 3, "high"),
    _Column("amplitude_psnr", "ampl.\nPSNR\ndB", 1, "high"),
    _Column("amplitude_ssim", "ampl.\nSSIM", 3, "high"),
    _Column("frc_half_bit_px", "FRC\n1/2-bit\npx", 1, "low"),
    _Column("deviance", "held-out\ndeviance", 3, "low"),
    _Column("R", "R", 3),
    _Column("C", "C", 3, "high"),
)


@dataclass(frozen=True)
class _Judge:
    """A figure by which stages are compared in words."""

    key: str
    name: str
    digits: int
    matters: float
    """Differences up to this are not worth a word; at least one of the last digit printed."""

    def text(self, value: float) -> str:
        return f"{value:.{self.digits}f}"


_JUDGES = (_Judge("phase_psnr", "phase PSNR", 1, 0.1), _Judge("C", "C", 3, 0.002))
"""The truth first."""
_LITTLE = 0.5
"""Of the C that photon noise allows: below, more than noise is in the way."""
_MUCH = 100.0
"""Times the deviance that photon noise leaves, likewise."""


def stage_table(figures: Mapping[str, Figures]) -> Table:
    """Lay out the rows of :func:`ptycho.report.metrics.score`.

    A row per stage, the best of every column bold; dimmed below, what they lie between: a
    flat object and what photon noise allows. Columns in which no stage has a value are left
    out.
    """
    stages = {name: row for name, row in figures.items() if name not in FLOORS}
    columns = [c for c in _COLUMNS if any(_known(row, c) for row in stages.values())]
    # fits into 80 columns
    table = Table("stage", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column.heading, justify="right")
    best = {column.key: _best(stages, column) for column in columns}
    for name, row in stages.items():
        table.add_row(name, *(_cell(row, column, best[column.key]) for column in columns))
    for name in FLOORS:
        if name in figures:
            cells = (_cell(figures[name], column, None) for column in columns)
            table.add_row(name, *cells, style="dim")
    return table


def doubts(figures: Mapping[str, Figures]) -> list[str]:
    """Sentences on what the rows of :func:`ptycho.report.metrics.score` say against them."""
    flat = no_better_than_flat(figures)
    found = (worse_than_its_lift(figures), flat or far_below_the_noise(figures))
    return [said for said in found if said]


def worse_than_its_lift(figures: Mapping[str, Figures]) -> str | None:
    """A sentence when the network spoiled what it was given, judged by the truth or else by C."""
    lift, network = figures.get("lift"), figures.get("adapted", figures.get("network"))
    if lift is None or network is None:
        return None
    for judge in _JUDGES:
        before, after = (row.get(judge.key, math.nan) for row in (lift, network))
        if not math.isfinite(before):
            continue
        if not after < before - judge.matters:
            return None
        said = (
            "the network ended below the lift it was given "
            f"({judge.name} {judge.text(after)} < {judge.text(before)}): "
        )
        finished = figures.get("refined", {}).get(judge.key, math.inf)
        if finished < before - judge.matters:
            return (
                f"{said}so did the refinement ({judge.text(finished)}). The more it is fitted, the "
                "worse it gets: is there background or read noise in the patterns "
                "(instrument.background_trainable=true, data.preprocess.background)?"
            )
        return f"{said}for this scan trust the refined object or task=solve, or train longer"
    return None


def no_better_than_flat(figures: Mapping[str, Figures]) -> str | None:
    """A sentence when stages are no better than an object without structure."""
    told = []
    for name, row in figures.items():
        for judge in _JUDGES if name not in FLOORS else ():
            value, flat = (r.get(judge.key, math.nan) for r in (row, figures.get(FLAT, {})))
            if value <= flat + judge.matters:
                told.append(f"{name}: {judge.name} {judge.text(value)}, flat {judge.text(flat)}")
    if not told:
        return None
    return (
        f"no better than a flat object ({'; '.join(told)}): look at the probe and the positions "
        "(y, x, in object pixels; ptycho doctor tries what may be wrong), or let it work longer"
    )


def far_below_the_noise(figures: Mapping[str, Figures]) -> str | None:
    """A sentence when the last stage explains far less of the patterns than photon noise allows.

    Only of measured patterns: where the truth is known, it says more.
    """
    row = [row for name, row in figures.items() if name not in FLOORS][-1]
    if "phase_psnr" in row:
        return None
    (c, allowed), (deviance, least), (_, flat) = (
        (row.get(key, math.nan), figures.get(floor, {}).get(key, math.nan))
        for key, floor in (("C", NOISE), ("deviance", NOISE), ("deviance", FLAT))
    )
    if c < _LITTLE * allowed:
        said = f"C is {c:.3f} where photon noise allows {allowed:.3f}"
    elif deviance >= flat:
        said = f"patterns held out deviate by {deviance:.3f}, from a flat object by {flat:.3f}"
    elif deviance > _MUCH * least:
        said = f"patterns held out deviate by {deviance:.0f} where photon noise does by {least:.3f}"
    else:
        return None
    return (
        f"{said}: something about the scan may not be as it is taken to be. ptycho doctor, with "
        "the same data=... settings, tries the axes, the pixel size, counts against amplitudes "
        "and what else may be wrong"
    )


def _known(row: Figures, column: _Column) -> bool:
    return math.isfinite(row.get(column.key, math.nan))


def _best(stages: Mapping[str, Figures], column: _Column) -> str | None:
    """The best value of a column as it is printed, so that equals are equally bold."""
    values = [row[column.key] for row in stages.values() if _known(row, column)]
    if not column.best or not values:
        return None
    return _text((max if column.best == "high" else min)(values), column)


def _text(value: float, column: _Column) -> str:
    # beside four digits a fraction says nothing, and the terminal is narrow
    return f"{value:.{column.digits if abs(value) < 1000 else 0}f}"


def _cell(row: Figures, column: _Column, best: str | None) -> str:
    if not _known(row, column):
        return "-"
    text = _text(row[column.key], column)
    return f"[bold]{text}[/bold]" if text == best else text
