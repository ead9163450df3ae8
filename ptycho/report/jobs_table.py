"""What is printed of the jobs of a sweep, best first."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ptycho.report.files import write_json
from ptycho.report.folder import RunFolder, State

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
    front = pareto(runs, sweep) if len(metric) > 1 else set()
    table = Table("job", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in _short(params):
        table.add_column(name)
    for name in [*metric, *([] if "seconds" in metric else ["seconds"])]:
        table.add_column(name, justify="right")
    table.add_column("state")
    ordered = best_first(runs, sweep)
    for run in ordered[:_MOST]:
        typed = dict(line.lstrip("+").partition("=")[::2] for line in run.overrides)
        values = run.status.get("metric") or {}
        seconds = [] if "seconds" in metric else [run.status.get("seconds")]
        table.add_row(
            f"{run.number}{' *' if run.number in front else ''}",
            *(_digits(typed.get(name.lstrip("+"))) for name in params),
            *(_digits(one) for one in [*(values.get(name) for name in metric), *seconds]),
            str(run.state or "not begun"),
            style="" if run.state == State.finished else "dim",
        )
    if len(ordered) > _MOST:
        table.caption = f"and {len(ordered) - _MOST} more"
    elif front:
        table.caption = "*: no other job is better in one figure and as good in the others"
    return table


def best_first(runs: Sequence[RunFolder], sweep: dict[str, Any]) -> list[RunFolder]:
    """Jobs with the best metric first (the first of several), those without one last."""
    signs = _signs(sweep)

    def place(run: RunFolder) -> tuple[bool, float, int]:
        values = judged(run, sweep["metric"])
        return values is None, signs[0] * values[0] if values else 0.0, run.number

    return sorted(runs, key=place)


def pareto(runs: Sequence[RunFolder], sweep: dict[str, Any]) -> set[int]:
    """Numbers of the jobs that no other beats in one metric and matches in the others."""
    signs = _signs(sweep)
    costs: dict[int, list[float]] = {}
    for run in runs:
        values = judged(run, sweep["metric"])
        if values is not None:
            costs[run.number] = [sign * one for sign, one in zip(signs, values, strict=True)]

    def beaten(mine: list[float]) -> bool:
        return any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in costs.values()
        )

    return {number for number, mine in costs.items() if not beaten(mine)}


def write_front(folder: Path, runs: Sequence[RunFolder], sweep: dict[str, Any]) -> Path:
    """Write the jobs that no other beats; returns the file."""
    numbers = pareto(runs, sweep)
    chosen = [run for run in best_first(runs, sweep) if run.number in numbers]
    rows = [
        {"job": run.number, "metric": run.status["metric"], "overrides": list(run.overrides)}
        for run in chosen
    ]
    content = {"metric": sweep["metric"], "direction": sweep["direction"], "jobs": rows}
    write_json(folder / FRONT, content)
    return folder / FRONT


def judged(run: RunFolder, metric: Sequence[str]) -> list[float] | None:
    """The metrics of a finished job; None where one is missing or no number."""
    found = run.status.get("metric") or {}
    values = [found.get(name) for name in metric]
    good = [float(one) for one in values if isinstance(one, int | float) and math.isfinite(one)]
    return good if run.state == State.finished and len(good) == len(metric) else None


def _signs(sweep: dict[str, Any]) -> list[int]:
    return [1 if one == "min" else -1 for one in sweep["direction"]]


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
