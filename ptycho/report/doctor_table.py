"""What was found about a scan, for the terminal."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ptycho.config.describe import plain
from ptycho.report.diagnosis import Diagnosis, Finding, Weight

MARKS = {
    Weight.fine: ("✓", "green"),
    Weight.note: ("·", "dim"),
    Weight.set: ("!", "bold yellow"),
    Weight.look: ("✗", "bold red"),
    Weight.open: ("?", "bold cyan"),
}
"""What stands beside a finding, and how."""


def doctor_table(diagnosis: Diagnosis) -> Table:
    """A line per finding: mark, topic, what was found, what to type."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for one in diagnosis.findings:
        mark, style = MARKS[one.weight]
        table.add_row(f"[{style}]{mark}[/]", f"[bold]{one.topic}[/bold]", _said(one))
    return table


def typed(name: str, value: Any) -> str:
    """A setting as it is typed, to six digits."""
    return f"{name}={plain(float(f'{value:.6g}') if isinstance(value, float) else value)}"


def _said(one: Finding) -> str:
    lines = [escape(one.said)]
    lines += [f"[bold]{escape(typed(*item))}[/bold]" for item in one.settings.items()]
    return "\n".join(lines)
