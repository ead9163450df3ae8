"""The jobs of a sweep in order, and as a table in words."""

from collections import Counter
from typing import Any

from ptycho.report.folder import RunFolder, State
from ptycho.report.ranking import Ranked

_SPACE = "\u2003"
_LONGEST = 7500  # characters; MLflow keeps 8000 of a description


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


def table(judged: list[Ranked], names: list[str], directions: list[str], varied: list[str]) -> str:
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


def _cells(one: Ranked, first: bool, names: list[str], varied: list[str]) -> list[str]:
    job, mark = one.job, "**" if first and one.values else ""
    state = f"{_state(job)}, Pareto" if len(names) > 1 and one.on_front else _state(job)
    metric = job.status.get("metric") or {}
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
