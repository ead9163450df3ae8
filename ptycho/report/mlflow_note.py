"""The jobs of a sweep in order, and as a table in words."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ptycho.report.folder import RunFolder, State

_SPACE = "\u2003"
_LONGEST = 7500  # characters; MLflow keeps 8000 of a description


@dataclass
class Judged:
    """A job with what it is judged by."""

    job: RunFolder
    values: list[float] = field(default_factory=list)
    """One for each metric, turned so that more is better; empty when it did not finish."""
    on_front: bool = False
    """Whether no other is better in one metric and as good in the rest."""


def judge(jobs: list[RunFolder], directions: list[str]) -> list[Judged]:
    """Order jobs: those that finished first, by their first metric, the rest by number.

    Args:
        jobs: of one sweep.
        directions: ``min`` or ``max`` for each metric.
    """
    signs = [-1.0 if str(one).startswith("min") else 1.0 for one in directions]
    found = []
    for job in jobs:
        values = list(job.status.get("metric", {}).values())
        usable = len(values) == len(signs) and None not in values
        done = job.state == State.finished and usable
        pairs = zip(signs, values, strict=True) if done else ()
        found.append(Judged(job, [sign * float(value) for sign, value in pairs]))
    finished = [one for one in found if one.values]
    for one in finished:
        one.on_front = not any(_beats(other.values, one.values) for other in finished)
    return sorted(found, key=lambda one: (not one.values, [-v for v in one.values], one.job.number))


def _beats(a: list[float], b: list[float]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def count(jobs: list[RunFolder]) -> Counter[str]:
    """How many jobs ended how."""
    counts = Counter(dict.fromkeys(("finished", "failed", "pruned", "interrupted", "running"), 0))
    counts.update(_state(job) for job in jobs if job.state is not None)
    return counts


def killed(job: RunFolder) -> bool:
    """Whether a job ended without being able to say so."""
    return job.state == State.running and not job.alive


def aim(name: str, direction: str) -> str:
    """A metric and where it should go."""
    return f"{name} ({direction})"


def table(judged: list[Judged], names: list[str], directions: list[str], varied: list[str]) -> str:
    """Jobs, the best first, in Markdown.

    Args:
        judged: jobs in order.
        names: of the metrics.
        directions: ``min`` or ``max`` for each.
        varied: settings in which the jobs differ.
    """
    counts = count([one.job for one in judged])
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    aims = ", ".join(map(aim, names, directions))
    head = ["job", "state", *names, *varied, "seconds"]
    lines = [f"{len(judged)} jobs ({said}), best first: {aims}.", ""]
    lines += [_row(head), "| --- " * len(head) + "|"]
    room = _LONGEST - sum(map(len, lines))
    for number, one in enumerate(judged):
        line = _row(_cells(one, number == 0, names, varied))
        room -= len(line) + 1
        if room < 0:
            lines.append(f"\n{len(judged) - number} more are in report.csv.")
            break
        lines.append(line)
    return "\n".join(lines)


def _cells(one: Judged, first: bool, names: list[str], varied: list[str]) -> list[str]:
    job, mark = one.job, "**" if first and one.values else ""
    state = f"{_state(job)}, Pareto" if len(names) > 1 and one.on_front else _state(job)
    metric = job.status.get("metric", {})
    values = [_show(metric.get(name)) for name in names]
    chosen = [_show(_setting(job.settings, name)) for name in varied]
    cells = [str(job.number), state, *values, *chosen, _show(job.status.get("seconds"))]
    return [f"{mark}{cell}{mark}" if cell else "" for cell in cells]


def _state(job: RunFolder) -> str:
    return "interrupted" if killed(job) else str(job.state or "not begun")


def _setting(settings: dict[str, Any], name: str) -> Any:
    node: Any = settings
    for part in name.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _show(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(cells: list[str]) -> str:
    # MLflow draws tables without any space between the columns
    spaced = (one.replace("|", "\\|").replace("\n", " ") + _SPACE for one in cells)
    return "| " + " | ".join(spaced) + " |"
