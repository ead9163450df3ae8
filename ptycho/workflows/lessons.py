"""What a network learns from: scans, lifted and cut into tiles."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ptycho.config.choices import DataSource, Labels
from ptycho.config.config import RunConfig, UserError
from ptycho.data.scan import Scan
from ptycho.data.tiles import Lifted, TileDataset
from ptycho.nn.object_net import STRIDE
from ptycho.physics.forward import Experiment
from ptycho.physics.solver import Recipe
from ptycho.workflows import build, stages
from ptycho.workflows.problem import Problem, pose
from ptycho.workflows.recalibration import FARTHEST
from ptycho.workflows.session import Session
from ptycho.workflows.surveying import surveyed


@dataclass(frozen=True)
class Lesson:
    """A scan to learn from beside the one that is reconstructed."""

    cut: TileDataset
    """Its tiles, on the CPU."""
    experiment: Experiment
    """Its probe and positions, on the device."""
    sha256: str
    """Of the scan."""


def tiles(
    problem: Problem, lifted: Lifted, batch_size: int, label: Tensor | None = None
) -> TileDataset:
    """The patterns that may be learnt from, over the lifted object."""
    on_cpu = Lifted(lifted.obj.cpu(), lifted.pull.cpu(), lifted.light.cpu())
    amplitude = problem.amplitude.cpu()
    numbers = None if problem.fitted is None else problem.fitted.cpu().numpy()
    return TileDataset(
        on_cpu, amplitude, problem.positions.numpy(), batch_size, STRIDE, problem.reach, numbers,
        label, FARTHEST if problem.freedom.positions else 0.0,
    )  # fmt: skip


def label(session: Session, problem: Problem, name: str = "label") -> Tensor | None:
    """What the object of a scan should be, complex ``(H, W)`` on the CPU.

    Returns:
        None when no weight asks for it.

    Raises:
        UserError: it is to be the object itself, and nobody knows that.
    """
    run = session.run
    if not (run.trainer.realspace_weight or run.trainer.realspace_mae_weight):
        return None
    if run.data.labels == Labels.solver:
        recipe = build.make_recipe(run.solver)
        return stages.solve(problem, run.solver, recipe, session.bars, name).cpu()
    known = problem.reconstruction([]).truth
    if known is None:
        raise UserError(
            f"{problem.scan.label}: data.labels={run.data.labels} needs an objectGuess that covers "
            "the scan, and there is none; type data.labels=solver, which makes a label itself."
        )
    return torch.from_numpy(known)


def label_source(run: RunConfig, problem: Problem) -> str | None:
    """Where the labels of a scan come from, in words; None: none are learnt, or none known."""
    if not (run.trainer.realspace_weight or run.trainer.realspace_mae_weight):
        return None
    wanted, scan = run.data.labels, problem.scan
    if wanted == Labels.solver:
        return "the solver's own solution"
    by_patches = run.model.architecture.predicts_patches
    if by_patches and scan.patches is not None and wanted in (Labels.auto, Labels.Y):
        return "Y of the file"
    if scan.truth is None or wanted == Labels.Y:
        return None
    if run.data.source == DataSource.synthetic:
        return "the true object of the simulation"
    if scan.truth_is_known:
        return "objectGuess of the file, the true object by its _metadata"
    return "objectGuess of the file, which is an estimate"


def further(session: Session, recipe: Recipe) -> list[Lesson]:
    """The scans beyond the first, simulated or read, and lifted one after another.

    Nothing is held out of them, since none is reconstructed. Each stays in memory with its
    patterns, four bytes a pixel, unless these stay in their file; a device holds probes and
    positions alone.
    """
    run = session.run
    data, size = run.data, run.model.N or 0
    simulated = range(1, data.synthetic.n_objects)
    makers: list[Callable[[], Scan]] = [
        *(partial(build.make_scan, data, size, number=number) for number in simulated),
        *(partial(build.further_scan, data, path) for path in data.further_data_files),
    ]
    found = [
        _lesson(session, recipe, make(), f"{number} of {len(makers) + 1}")
        for number, make in enumerate(makers, 2)
    ]
    if found and session.first:
        held = sum(_bytes(lesson.cut) for lesson in found)
        session.terminal.print(
            f"and {len(found)} more to learn from, "
            f"{sum(len(one.cut) for one in found):,} patterns: {held / 2**20:,.0f} MiB"
        )
    return found


def _lesson(session: Session, recipe: Recipe, scan: Scan, of: str) -> Lesson:
    run = session.run
    problem = pose(surveyed(scan), session.device)
    lifted = stages.lift(problem, run.model, recipe, session.bars, f"lift {of}")
    cut = tiles(problem, lifted, run.trainer.batch_size, label(session, problem, f"label {of}"))
    return Lesson(cut, problem.experiment, problem.scan.sha256)


def _bytes(cut: TileDataset) -> int:
    first = cut.lifted
    held = [first.obj, first.pull, first.light]
    held += [cut.amplitude] if isinstance(cut.amplitude, Tensor) else []
    return sum(int(one.nbytes) for one in held)
