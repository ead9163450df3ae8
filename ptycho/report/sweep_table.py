"""The rows of a sweep as CSV and for the terminal."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ptycho.report.digits import MISSING, column, single
from ptycho.report.sweep_rows import LOSS, RATE, Job, Stand, Sweep

STAR = "*"
"""Marks jobs of the Pareto front in the terminal."""
_MOST = 15  # jobs shown in the terminal
_SENTENCE = 100  # characters of an error shown there


def csv_rows(sweep: Sweep) -> list[dict[str, Any]]:
    """Every job with all its digits; what is not known is empty."""
    several = len(sweep.metrics) > 1
    rows = []
    for job in sweep.jobs:
        row: dict[str, Any] = {"number": job.number, "state": job.stand.value}
        if several:
            row["pareto"] = "yes" if job.number in sweep.front else ""
        row |= {name: job.settings.get(name, "") for name in sweep.swept}
        row |= {metric.name: job.metrics.get(metric.name, "") for metric in sweep.metrics}
        for name in ("C", "R", "seconds", RATE, LOSS):
            row.setdefault(name.removeprefix("train/"), job.figures.get(name, ""))
        rows.append(row | {"error": job.error})
    return rows


def figure_columns(sweep: Sweep) -> dict[str, list[str]]:
    """Metrics, seconds and patterns per second as texts, in the order of the jobs.

    Those that no job has are left out; a metric that is one of them appears once.
    """
    names = [metric.name for metric in sweep.metrics]
    names += [name for name in ("seconds", RATE) if name not in names]
    found = {}
    for name in names:
        values = [(job.figures | job.metrics).get(name) for job in sweep.jobs]
        if any(value is not None for value in values):
            found[name] = _texts(name, values)
    return found


def _texts(name: str, values: list[float | None]) -> list[str]:
    if name == "seconds":
        return [MISSING if v is None else f"{v:,.1f}" for v in values]
    if name == RATE:
        return [MISSING if v is None else f"{v:,.0f}" for v in values]
    return column(values)


def setting_columns(sweep: Sweep, digits: int = 4) -> dict[str, list[str]]:
    """Swept settings as texts, in the order of the jobs."""
    return {
        name: [
            single(job.settings[name], digits) if name in job.settings else MISSING
            for job in sweep.jobs
        ]
        for name in sweep.swept
    }


def terminal_table(sweep: Sweep) -> Table:
    """The best jobs and those that went wrong, best first."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    figures = figure_columns(sweep)
    wanted = {*(metric.name for metric in sweep.metrics), "seconds"}
    columns = setting_columns(sweep, digits=3) | {n: figures[n] for n in figures if n in wanted}
    table.add_column("job", justify="right")
    for name, texts in columns.items():
        group, _, last = name.rpartition("." if name in sweep.swept else "/")
        heading = f"{group}\n{last}" if group else last
        widest = max(map(len, texts))
        table.add_column(heading, justify="right", overflow="fold", min_width=widest)
    table.add_column("state", no_wrap=True)
    best = sweep.judged[0] if sweep.judged else None
    for row, job in enumerate(sweep.jobs[:_MOST]):
        cells = [escape(texts[row]) for texts in columns.values()]
        style = "bold" if job is best else None if job.stand == Stand.finished else "dim"
        table.add_row(str(job.number), *cells, _state(job, sweep), style=style)
    return table


def unshown(sweep: Sweep) -> int:
    """How many jobs :func:`terminal_table` leaves out."""
    return max(0, len(sweep.jobs) - _MOST)


def sentences(sweep: Sweep) -> list[str]:
    """What went wrong, a line a job."""
    return [f"job {job.number} {job.stand}: {_cut(job.fault)}" for job in sweep.jobs if job.fault]


def _state(job: Job, sweep: Sweep) -> str:
    marked = len(sweep.metrics) > 1 and job.number in sweep.front
    return f"{job.stand} {STAR}" if marked else job.stand.value


def _cut(text: str) -> str:
    return text if len(text) <= _SENTENCE else f"{text[: _SENTENCE - 1]}…"
