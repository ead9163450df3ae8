"""Judging a reconstruction that anybody made: by a truth, by the patterns, by two halves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from ptycho.config.config import DataConfig, InstrumentConfig, UserError
from ptycho.data.placing import place
from ptycho.data.products import Product, read_product
from ptycho.data.reconstruction import Complex, scanned_area
from ptycho.data.scan import Scan
from ptycho.report.console import progress, put_away
from ptycho.report.files import write_json
from ptycho.report.verdict import TwoHalves, Verdict
from ptycho.report.verdict_figure import save_verdict
from ptycho.report.verdict_table import verdict_table
from ptycho.workflows.evidence import Evidence, against_data, beneath, gather, other_convention
from ptycho.workflows.halves import check_halves, correlate_halves
from ptycho.workflows.judged_scan import read_judge
from ptycho.workflows.likeness import against_truth, light_on, of_rms_one


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be judged, and by what."""

    file: Path
    """The reconstruction."""
    truth: Path | None = None
    """What it should be."""
    data: Path | None = None
    """The scan it was made from; None: without a truth, that of the run that made it."""
    split_halves: bool = False
    """Whether to solve two halves of the scan, too."""
    instrument: InstrumentConfig | None = None
    """What each half finds for itself besides the object; None: nothing."""
    twin: bool = False
    """Whether the conjugate twin counts as the same."""
    max_shift: float = 4.0
    """Largest shift that is undone, in pixels."""
    pixel_size_m: float | None = None
    """Side of an object pixel; None: what the files say."""
    reading: DataConfig = field(default_factory=DataConfig)
    """How the scan is read."""
    typed: tuple[str, ...] = ()
    """Full names of the settings of ``reading`` that were typed; the others are those of the run
    that made the reconstruction, if one did."""


def evaluate(question: Question, terminal: Console) -> Verdict:
    """Judge a reconstruction.

    Args:
        question: what is to be judged, and by what.
        terminal: where progress is shown.

    Raises:
        FileNotFoundError: a file is missing.
        DataError: a file cannot be used, or two of them do not belong together.
    """
    product = read_product(question.file)
    truth = None if question.truth is None else read_product(question.truth)
    judge = None
    if question.data is not None or truth is None:
        judge = read_judge(question.file, question.data, question.reading, question.typed)
    scan = None if judge is None else judge.scan
    placed = None if truth is None else place(product, truth)
    evidence = None if scan is None else gather(product, scan)
    if evidence is not None and question.split_halves:
        check_halves(evidence.scan)
    question = _with_pixel_size(question, product, truth, scan)
    notes: list[str | None] = [*product.notes]
    likeness, best = None, None
    if truth is not None and placed is not None:
        level = of_rms_one(truth, placed)
        best = evidence and beneath(evidence, level, placed.moved)
        light, who = light_on(placed, product, level, best)
        likeness = against_truth(
            placed,
            light,
            str(question.truth),
            pixel_size_m=question.pixel_size_m,
            max_shift=question.max_shift,
            twin=question.twin,
            known=not truth.is_estimate,
        )
        notes += [*(f"--truth: {note}" for note in truth.notes), *placed.notes, who]
    if evidence is not None:
        notes += [*(judge.notes if judge else ()), *evidence.notes, other_convention(evidence)]
    return Verdict(
        source=str(question.file),
        label=product.label,
        obj=likeness.aligned if likeness else _scanned(product, evidence),
        probe=evidence.scan.probe if evidence else product.probe,
        pixel_size_m=question.pixel_size_m,
        truth=likeness,
        data=against_data(evidence, judge.source, best) if evidence and judge else None,
        halves=_halves(question, evidence, terminal) if evidence else None,
        notes=tuple(note for note in dict.fromkeys(notes) if note),
    )


def report(verdict: Verdict, folder: Path, json: Path | None, terminal: Console) -> None:
    """Print the table of an evaluation and write its picture and its numbers.

    Printed first, so that nothing is lost with a full disk; written even when nobody reads on.

    Args:
        verdict: what was found.
        folder: where ``evaluation.png`` and ``evaluation.json`` go; made if need be.
        json: another place for the numbers.
        terminal: where to print.

    Raises:
        UserError: a file cannot be written.
    """
    numbers, picture = json or folder / "evaluation.json", folder / "evaluation.png"
    try:
        _print(verdict, terminal)
    finally:
        with _told("--json" if json else "--out", json or folder):
            numbers.parent.mkdir(parents=True, exist_ok=True)
            write_json(numbers, verdict.plain())
        with _told("--out", folder):
            picture.parent.mkdir(parents=True, exist_ok=True)
            save_verdict(verdict, picture)
    terminal.print(f"  {picture}\n  {numbers}", markup=False)


def _print(verdict: Verdict, terminal: Console) -> None:
    terminal.print(f"{verdict.label} ({verdict.source})", markup=False)
    terminal.print(verdict_table(verdict))
    for note in verdict.notes:
        terminal.print(f"note: {note}", markup=False)
    if verdict.data is not None:
        worst = ", ".join(f"{one.number} ({one.residual:.3f})" for one in verdict.data.worst)
        terminal.print(f"worst patterns, with their R: {worst}", markup=False)


@contextmanager
def _told(option: str, place: Path) -> Iterator[None]:
    """Name the place as it was typed, not a file within it that nobody asked for."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"{place} cannot be written ({why}); name another place with {option}."
        ) from error


def _with_pixel_size(
    question: Question, product: Product, truth: Product | None, scan: Scan | None
) -> Question:
    """What was typed, else what the first file says that says anything."""
    sizes = [one.pixel_size_m for one in (question, product, truth, scan) if one is not None]
    return replace(question, pixel_size_m=next((size for size in sizes if size), None))


def _scanned(product: Product, evidence: Evidence | None) -> Complex:
    """The scanned area of an object, as far as it is known."""
    if evidence is None:
        return product.obj
    area = scanned_area(evidence.scan.positions, evidence.scan.patch_size)
    rows, columns = (slice(max(side.start, 0), side.stop) for side in area)
    return product.obj[rows, columns]


def _halves(question: Question, evidence: Evidence, terminal: Console) -> TwoHalves | None:
    if not question.split_halves:
        return None
    bars = progress(True, terminal)
    try:
        return correlate_halves(
            evidence.scan,
            evidence.canvas.device,
            bars,
            instrument=question.instrument,
            pixel_size_m=question.pixel_size_m,
            max_shift=question.max_shift,
        )
    finally:
        put_away(bars)
