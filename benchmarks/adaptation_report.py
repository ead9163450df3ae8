"""The tables of :mod:`benchmarks.adaptation`, on the terminal and on a page."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.quality_report import processor


@dataclass(frozen=True)
class Row:
    """A line of a table; None: has no meaning."""

    words: str
    figures: tuple[float | None, ...]


@dataclass(frozen=True)
class Part:
    """A table."""

    title: str
    words: str
    """What was done."""
    head: tuple[str, ...]
    digits: tuple[int, ...]
    """Of every column."""
    rows: tuple[Row, ...]


def terminal_table(part: Part) -> Table:
    """A table for the terminal."""
    table = Table(part.title, *part.head, box=SIMPLE_HEAD)
    for row in part.rows:
        table.add_row(row.words, *cells(part, row))
    return table


def cells(part: Part, row: Row) -> list[str]:
    """Figures as they are printed."""
    return [
        "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
        for value, digits in zip(row.figures, part.digits, strict=True)
    ]


def page(parts: Sequence[Part], patterns: int, seconds: float) -> str:
    """The Markdown page."""
    sections = [_HEAD.format(patterns=patterns, seconds=seconds)]
    sections += [f"## {part.title}\n\n{part.words}\n\n{_table(part)}" for part in parts]
    sections.append(
        f"One thread of {processor()}, {date.today():%Y-%m-%d}. Single runs with one seed each; "
        "other work on the same machine makes CPU seconds a little longer, and every training is a "
        "whole number of epochs, so that seconds are near what was asked for, not equal to it."
    )
    return "\n\n".join(sections) + "\n"


def write(parts: Sequence[Part], patterns: int, seconds: float, path: Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(parts, patterns, seconds), encoding="utf-8")


def kept(path: Path, make: Callable[[], Part]) -> Part:
    """A table that is kept in a file, made when it is not there."""
    there = read(path)
    if there is not None:
        return there
    part = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(part), indent=1), encoding="utf-8")
    return part


def read(path: Path) -> Part | None:
    """A kept table."""
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = tuple(Row(row["words"], tuple(row["figures"])) for row in content.pop("rows"))
    head, digits = tuple(content.pop("head")), tuple(content.pop("digits"))
    return Part(**content, head=head, digits=digits, rows=rows)


def _table(part: Part) -> str:
    rows = [["", *part.head], ["---", *["---:"] * len(part.head)]]
    rows += [[row.words, *cells(part, row)] for row in part.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_HEAD = """# Networks that generalise and adapt

Made by `python -m benchmarks.adaptation`. Simulated scans of {patterns:,} patterns of 64 x 64 with
1e5 photons and the known probe, of dead leaves where nothing else is said; a full training takes
{seconds:g} CPU seconds, making labels included. The lift is not counted in them and stands beside,
since every method of ours begins with it. SSIM and dB (PSNR) are those of the phase, without
refinement ([how results are judged](../results.md)). What to make of it:
[docs/generalise.md](../generalise.md)."""
