"""What is printed of the jobs of a sweep, best first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ptycho.report.files import write_json
from ptycho.report.folder import RunFolder, State
from ptycho.report.ranking import ranked

FRONT = "pareto.json"
_MOST = 40  # rows; the rest is in the report


def outcome_line(run: RunFolder, metric: Sequence[str]) -> str:
    """How a job ended, in a line."""
    seconds = run.status.get("seconds")
    taken = f" after {seconds:.0f} s" if isinstance(seconds, int | float) else ""
    said = f"job {run.number}: {run.state or 'not begun'}{taken}"
    values = run.status.get("metric") or {}
    missing = [name for name in metric if name not in values]
    if run.state == State.finished and missing:
        return (
            f"{said}, without {', '.join(missing)}: it says nothing of that, and counts as failed"
        )
    return ", ".join([said, *(f"{name} {_digits(value)}" for name, value in values.items())])


def jobs_table(runs: Sequence[RunFolder], sweep: dict[str, Any]) -> Table:
    """Lay out the jobs of a sweep: number, what was varied, metrics, seconds, state.

    Args:
        runs: its jobs.
        sweep: its ``sweep.json``.
    """
    params, metric = [*sweep["params"]], sweep["metric"]
    several = len(metric) > 1
    table = Table("job", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in _short(params):
        table.add_column(escape(name))
    for name in [*metric, *([] if "seconds" in metric else ["seconds"])]:
        table.add_column(name, justify="right")
    table.add_column("state")
    ordered = ranked(runs, metric, sweep["direction"])
    for one in ordered[:_MOST]:
        run = one.job
        typed = dict(line.lstrip("+").partition("=")[::2] for line in run.overrides)
        values = run.status.get("metric") or {}
        seconds = [] if "seconds" in metric else [run.status.get("seconds")]
        table.add_row(
            f"{run.number}{' *' if several and one.on_front else ''}",
            *(escape(_digits(typed.get(name.lstrip("+")))) for name in params),
            *(_digits(shown) for shown in [*(values.get(name) for name in metric), *seconds]),
            str(run.state or "not begun"),
            style="" if run.state == State.finished else "dim",
        )
    if len(ordered) > _MOST:
        table.caption = f"and {len(ordered) - _MOST} more"
    elif several and any(one.on_front for one in ordered):
        table.caption = "*: no other job is better in one figure and as good in the others"
    return table


def write_front(folder: Path, runs: Sequence[RunFolder], sweep: dict[str, Any]) -> Path:
    """Write the jobs that no other beats; returns the file."""
    front = [one.job for one in ranked(runs, sweep["metric"], sweep["direction"]) if one.on_front]
    rows = [
        {"job": run.number, "metric": run.status["metric"], "overrides": list(run.overrides)}
        for run in front
    ]
    content = {"metric": sweep["metric"], "direction": sweep["direction"], "jobs": rows}
    write_json(folder / FRONT, content)
    return folder / FRONT


def _short(names: Sequence[str]) -> list[str]:
    """Last words of names, whole names where those are not enough."""
    last = [name.rpartition(".")[2] for name in names]
    return [word if last.count(word) == 1 else name for word, name in zip(last, names, strict=True)]


def _digits(value: Any) -> str:
    if value is None:
        return "-"
    try:
        number = float(value)
    except ValueError:
        return str(value)
    return str(value) if isinstance(value, str) and len(value) < 8 else f"{number:.4g}"
