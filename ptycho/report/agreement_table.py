"""Two runs side by side for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ptycho.report.agreement import Agreement, Compared, Figure, Verdict
from ptycho.report.digits import MISSING
from ptycho.report.metrics import FLOORS

_MOST = 20  # rows
_WORTH = ("C", "R", "deviance", "phase_psnr", "phase_ssim", "amplitude_psnr", "frc_half_bit_px")
_COLOURS = {Verdict.identical: "green", Verdict.within: "green", Verdict.differ: "red"}


def say_agreement(found: Agreement, terminal: Console) -> None:
    """Print surroundings, figures and the verdict."""
    terminal.print(surroundings_table(found.surroundings))
    shown = found.apart or _worth_showing(found.figures)
    if shown:
        terminal.print(figures_table(shown[:_MOST], found.tolerance))
    if len(shown) > _MOST:
        terminal.print(f"and {len(shown) - _MOST} more in reproduce.json", markup=False)
    terminal.print(sentence(found), style=f"bold {_COLOURS[found.verdict]}", markup=False)


def surroundings_table(compared: list[Compared]) -> Table:
    """What the runs ran with."""
    table = Table("", "recorded", "now", "", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for one in compared[:_MOST]:
        style = None if one.same else "yellow"
        said = "same" if one.same else "differs"
        cells = (escape(text) for text in (one.name, _short(one.recorded), _short(one.now), said))
        table.add_row(*cells, style=style)
    if len(compared) > _MOST:
        table.add_row(f"and {len(compared) - _MOST} more", "", "", "differ", style="yellow")
    return table


def figures_table(figures: list[Figure], tolerance: float) -> Table:
    """What came out."""
    table = Table("figure", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("recorded", "now", "difference"):
        table.add_column(heading, justify="right")
    for one in figures:
        bad = one.difference > tolerance
        said = "none" if one.identical else f"{one.difference:.1e}"
        table.add_row(
            one.name, _number(one.recorded), _number(one.now), said, style="red" if bad else None
        )
    return table


def sentence(found: Agreement) -> str:
    """The verdict in a sentence."""
    count = len(found.figures)
    if found.verdict == Verdict.identical:
        arrays = " and all arrays" if found.arrays else " (there are no arrays to compare)"
        return f"identical to the last bit: all {count} figures{arrays}."
    if found.verdict == Verdict.within:
        worst = max((one.difference for one in found.figures), default=0.0)
        return (
            f"the same within the tolerance of {found.tolerance:g}: of {count} figures the worst "
            f"differs by {worst:.1e}; not to the last bit."
        )
    return f"not the same: {len(found.apart)} of {count} figures differ by more than " \
           f"{found.tolerance:g}."  # fmt: skip


def _worth_showing(figures: list[Figure]) -> list[Figure]:
    """The main figures of the last stage, and the loss."""
    stages = [one.name.split("/") for one in figures if one.name.startswith("stages/")]
    names = [stage for _, stage, *_ in stages if stage not in FLOORS]
    wanted = {f"stages/{names[-1]}/{name}" for name in _WORTH} if names else set()
    return [one for one in figures if one.name in wanted | {"training/loss"}]


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.8g}"


def _short(value: object) -> str:
    text = MISSING if value is None else str(value)
    long_hash = len(text) >= 40 and all(letter in "0123456789abcdef" for letter in text)
    return text[:12] if long_hash else text
