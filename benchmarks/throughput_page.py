"""What was measured, for people and for programs: goals, tables, JSON, Markdown."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.clock import Measured

RATIO = "ours / the ancestor's layout"
PATCH_RATIO = "model=pinn / the ancestor's layout"
END_TO_END = "end to end: read, lay out, lift, network, write"
REFINED = "end to end with refine"
SOLVER = "pattern-iterations at N = 64"
LARGE = 20_000
"""Patterns for which the memory goal is set."""


@dataclass(frozen=True)
class Goal:
    """A figure with what was wanted of it."""

    sentence: str
    """What the figure is."""
    wanted: float
    unit: str
    figure: float | None
    """Reached; None when it was not measured."""
    at_most: bool = False
    """Whether less is better."""
    applies: bool = True
    """False when the measurement was too small, or of another kind, for the goal."""

    @property
    def reached(self) -> bool | None:
        """None when nobody can tell."""
        if self.figure is None or not self.applies:
            return None
        better = self.figure <= self.wanted if self.at_most else self.figure >= self.wanted
        return bool(better)

    def line(self) -> str:
        """For the terminal and the page."""
        figure = "not measured" if self.figure is None else number(self.figure, self.unit)
        limit = "at most" if self.at_most else "at least"
        verdict = {True: "reached", False: "NOT reached", None: "not judged"}[self.reached]
        goal = f"goal {limit} {number(self.wanted, self.unit)}"
        return f"{self.sentence}: {figure} ({goal}): {verdict}"


@dataclass(frozen=True)
class Report:
    """Everything a run of the benchmark found."""

    machine: dict[str, Any]
    """As :func:`benchmarks.machine.describe` says."""
    options: dict[str, Any]
    """How long and on how many patterns it measured."""
    rows: list[Measured]

    @property
    def goals(self) -> list[Goal]:
        """What this project asks of itself."""
        cpu = self.machine["device"] == "cpu"
        full = not self.options["quick"]
        large = self.options["patterns_in_memory"] >= LARGE
        memory = [
            Goal(f"peak memory of {row.name}", 2, row.unit, row.median, True, large)
            for row in self.rows
            if row.part == "memory"
        ]
        training = self._median("training", RATIO, "fp32")
        patches = self._median("training", PATCH_RATIO, "fp32")
        inference = self._median("inference", RATIO, "fp32")
        solver = self._median("solver", SOLVER)
        return [
            Goal("training fp32: ours / ancestor's layout", 20, "x", training, applies=full),
            Goal("training fp32: model=pinn / ancestor's layout", 6, "x", patches, applies=full),
            Goal("inference fp32: ours end to end / ancestor's network alone", 15, "x", inference,
                 applies=full),
            Goal("solver: pattern-iterations per CPU second at N = 64", 15_000, "", solver,
                 applies=cpu and full),
            *memory,
        ]  # fmt: skip

    def _median(self, part: str, name: str, precision: str = "") -> float | None:
        key = (part, name, precision)
        found = [r.median for r in self.rows if (r.part, r.name, r.precision) == key]
        return found[0] if found else None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "machine": self.machine,
            "options": self.options,
            "goals": [{**asdict(goal), "reached": goal.reached} for goal in self.goals],
            "measured": [
                {
                    **asdict(row), "median": row.median, "min": min(row.values),
                    "max": max(row.values), "repeats": len(row.values),
                }
                for row in self.rows
            ],
        }  # fmt: skip

    def print(self, terminal: Console) -> None:
        """Tables and goals for a person."""
        terminal.print(self.headline())
        for part, rows in _by_part(self.rows):
            table = Table(*_HEAD[:1], title=part, box=SIMPLE_HEAD, title_justify="left")
            for heading in _HEAD[1:]:
                table.add_column(heading, justify="left" if heading == "unit" else "right")
            for row in rows:
                table.add_row(*_cells(row))
            terminal.print(table)
        for goal in self.goals:
            colour = {True: "green", False: "yellow", None: "dim"}[goal.reached]
            terminal.print(goal.line(), style=colour, highlight=False)

    def markdown(self) -> str:
        """A page for the documentation."""
        lines = ["# Throughput", "", self.headline(), ""]
        lines += [f"- {goal.line()}" for goal in self.goals]
        for part, rows in _by_part(self.rows):
            lines += [
                "",
                f"## {part.capitalize()}",
                "",
                _line(_HEAD),
                "|---|---|---:|---:|---:|---|",
            ]
            lines += [_line(_cells(row)) for row in rows]
        lines += ["", "## How it was measured", "", *_method(self.options)]
        return "\n".join(lines) + "\n"

    def headline(self) -> str:
        """Where and with what."""
        machine = self.machine
        packages, git = machine["packages"], machine["git"]
        commit = f" ({git['sha'][:7]}{' and changes' if git['dirty'] else ''})" if git else ""
        return (
            f"{machine['cpu']}, {machine['cores']} cores; {machine['device']}, "
            f"threads: {machine['threads']}; ptycho {packages['ptycho']}{commit}, torch "
            f"{packages['torch']}, Python {machine['python']}; "
            f"{self.options['patterns']:,} patterns of 64 x 64"
            + ("; --quick: short repeats, small scans" if self.options["quick"] else "")
        )


_HEAD = ("what", "", "median", "lowest", "highest", "unit")


def number(value: float, unit: str = "") -> str:
    """Three digits, or all before the point."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()


def _by_part(rows: list[Measured]) -> Iterable[tuple[str, list[Measured]]]:
    for part, some in groupby(rows, key=lambda row: row.part):
        yield part, list(some)


def _cells(row: Measured) -> tuple[str, ...]:
    name = f"{row.name} ({row.note})" if row.note else row.name
    spread = [number(one) for one in (row.median, min(row.values), max(row.values))]
    return name, row.precision, *spread, row.unit


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _method(options: dict[str, Any]) -> list[str]:
    return [
        f"`{options['command']}`: {options['repeats']} repeats of at least "
        f"{options['shortest']:g} s, ours and the ancestor's layout in turn in one process with "
        "the same threads, medians; ratios are medians of the ratios of each round. Settings are "
        "the package's defaults, networks untrained, patterns in memory. Training is the loop of a "
        "run (fetch, forward, physics, backward, clipping, optimiser), without the pictures and "
        "files at its end; that of the ancestor's layout, built from its description in "
        "`benchmarks/ancestor.py`, is a plain loop, without the deterministic algorithms that "
        "our runs insist on. In bf16 the network alone runs under "
        "autocast. CPU seconds of one thread count for the solver. Peak memory is that of a whole "
        "run in a process of its own, with reading, scoring and the picture."
        + (
            " The small scans of `--quick` carry more of every fixed cost."
            if options["quick"]
            else ""
        )
    ]
