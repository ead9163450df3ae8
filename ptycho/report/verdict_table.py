"""The figures of an evaluation as a table for the terminal."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ptycho.report.metrics import Figures
from ptycho.report.verdict import Between, Verdict


@dataclass(frozen=True)
class _Row:
    key: str
    words: str
    digits: int
    unit: str = ""


_IMAGE = (
    ("pearson", "Pearson", 3, ""),
    ("ssim", "SSIM", 3, ""),
    ("ms_ssim", "MS-SSIM", 3, ""),
    ("psnr", "PSNR", 1, "dB"),
    ("mae", "MAE", 4, ""),
)
_ROWS = (
    *(_Row(f"phase_{k}", f"phase {w}", d, "rad" if k == "mae" else u) for k, w, d, u in _IMAGE),
    *(_Row(f"amplitude_{k}", f"amplitude {w}", d, u) for k, w, d, u in _IMAGE),
    _Row("frc_half_bit_px", "FRC 1/2-bit", 2, "px"),
    _Row("frc_half_bit_nm", "FRC 1/2-bit", 1, "nm"),
    _Row("frc_one_seventh_px", "FRC 1/7", 2, "px"),
    _Row("frc_one_seventh_nm", "FRC 1/7", 1, "nm"),
    _Row("frc_area", "FRC area", 3),
    _Row("R", "R", 3),
    _Row("C", "C", 3),
    _Row("C_held_out", "C, held out", 3),
    _Row("deviance", "deviance, held out", 3),
    _Row("deviance_fitted", "deviance, fitted", 3),
)


def verdict_table(verdict: Verdict) -> Table:
    """A line per figure: the object, a flat object, what the photons allow.

    Lines and columns in which nothing is known are left out. A figure that has no meaning for
    the object stays as a dash, since "resolved nothing" is a finding.
    """
    sections = [*_sections(verdict)]
    with_noise = any(scores.noise for _, scores in sections)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("figure")
    for heading in ("this object", "flat object", "noise floor")[: 3 if with_noise else 2]:
        table.add_column(heading, justify="right")
    for title, scores in sections:
        table.add_section()
        table.add_row(f"[bold]{title}[/bold]")
        columns = (scores.figures, scores.flat, scores.noise)[: 3 if with_noise else 2]
        for row in _ROWS:
            if any(math.isfinite(figures.get(row.key, math.nan)) for figures in columns):
                words = f"  {row.words}" + (f" ({row.unit})" if row.unit else "")
                table.add_row(words, *(_cell(figures, row) for figures in columns))
    return table


def _sections(verdict: Verdict) -> Iterator[tuple[str, Between]]:
    if verdict.truth is not None:
        yield "against the truth", verdict.truth.scores
    if verdict.data is not None:
        n = len(verdict.data.numbers)
        yield f"against {n:,} pattern{'s' if n > 1 else ''}", verdict.data.scores
    if verdict.halves is not None:
        first, second = verdict.halves.patterns
        yield f"two halves of {first:,} and {second:,} patterns", verdict.halves.scores


def _cell(figures: Figures, row: _Row) -> str:
    value = figures.get(row.key, math.nan)
    return f"{value:.{row.digits}f}" if math.isfinite(value) else "-"
