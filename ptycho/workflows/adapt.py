"""``task=adapt``: a trained network gets used to a new scan before it reconstructs it."""

from dataclasses import replace

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn

from ptycho.config.config import RunConfig
from ptycho.data.tiles import Lifted
from ptycho.physics.measured import only
from ptycho.report.bundle import Bundle
from ptycho.report.frames import judge, measured_frames
from ptycho.report.metrics import Figures
from ptycho.training.choosing import KeepBest
from ptycho.training.module import ObjectTraining
from ptycho.workflows import build, stages, train
from ptycho.workflows.lessons import label, label_source, tiles
from ptycho.workflows.problem import Problem, with_curves
from ptycho.workflows.reconstruct import (
    finish,
    gain_of,
    lift_recipe_of,
    network_of,
    seen,
    unseen,
)
from ptycho.workflows.session import Session


def adapt(session: Session, bundle: Bundle) -> dict[str, Figures]:
    """Train the network of a bundle a little further, on the scan of ``data`` alone.

    No truth is needed: as in training, the measured patterns judge. Those held out decide after
    which epoch to stop, if learning helps at all.

    Returns:
        Figures of the lift, of the network before (``network``) and after (``adapted``), and
        of the refinement; empty on processes other than the first.
    """
    run, device = session.run, session.device
    problem = unseen(bundle, session.pose(build.make_scan(run.data, run.model.N or 0)))
    if session.first:
        session.describe(problem, None if run.adapt.stay_weight else label_source(run, problem))
    network = network_of(bundle, session)
    height, width = bundle.params["tile"]
    recipe = lift_recipe_of(bundle, run.solver)
    start, bars = problem, session.bars
    (problem, lifted), lift_seconds = stages.timed(
        device, lambda: stages.begin(start, run.model, recipe, bars)
    )
    problem = problem.brightened(gain_of(bundle))  # it lifted without
    batch = session.execution.inference_batch_size

    def corrected(tile: tuple[int, int]) -> Tensor:
        return stages.correct(problem, network, lifted, tile, batch)

    before, before_seconds = stages.timed(device, lambda: corrected((height, width)))
    # without a weight for staying there are labels, or nothing
    aim = before.cpu() if run.adapt.stay_weight else label(session, problem)
    cut = tiles(problem, lifted, run.trainer.batch_size, aim)
    learning = replace(session, run=short(run))
    best = chooser(problem, lifted, ((height, width), cut.tile), batch)
    history = train.fit(learning, problem, network, cut, lifted, best=best)
    if not session.first:
        return {}
    stayed = best is not None and best.epoch == 0
    tile = (height, width) if stayed else cut.tile
    problem = problem.knowing(history.instrument).brightened(history.gain)
    _save(session, problem, bundle, network, tile, gain_of(bundle) * history.gain)
    after, after_seconds = stages.timed(device, lambda: corrected(tile))
    taken = history.rows[-1]["seconds"] + after_seconds
    steps = [
        stages.as_stage("lift", lifted.obj, lift_seconds),
        stages.as_stage("network", before, before_seconds),
        stages.as_stage("adapted", after, taken),
    ]
    found = with_curves(finish(session, problem, steps, after), train.curve(history))
    figures = session.report(problem, found)
    train.say_training(learning, history, "adapted")
    if best is not None:
        _say_choice(session, best, figures)
    return figures


def short(run: RunConfig) -> RunConfig:
    """The settings of a training that goes on from another."""
    how, trainer = run.adapt, run.trainer
    changed = replace(
        trainer,
        nepochs=how.epochs,
        learning_rate=how.learning_rate,
        realspace_weight=how.stay_weight or trainer.realspace_weight,
    )
    return replace(run, trainer=changed)


def chooser(
    problem: Problem,
    lifted: Lifted,
    tiles: tuple[tuple[int, int], tuple[int, int]],
    batch_size: int,
) -> KeepBest | None:
    """What keeps the epoch whose answer predicts the held-out patterns best.

    Args:
        problem: the scan.
        lifted: the network's input.
        tiles: sizes of the tiles by which the network answers before and after learning.
        batch_size: tiles at once.

    Returns:
        None where fewer than two are held out: they could not say how sure they are.
    """
    if len(problem.held_out) < 2:
        return None
    numbers = torch.from_numpy(problem.held_out).to(problem.device)
    experiment, amplitude = problem.experiment.of(numbers), only(problem.amplitude, numbers)

    def losses(module: LightningModule, epoch: int) -> NDArray[np.float64]:
        assert isinstance(module, ObjectTraining)
        tile = tiles[1] if epoch else tiles[0]
        obj = stages.correct(problem, module.correct, lifted, tile, batch_size)
        return judge(measured_frames(experiment, obj, amplitude)).deviance

    return KeepBest(losses)


def _say_choice(session: Session, best: KeepBest, figures: dict[str, Figures]) -> None:
    """Record and print which epoch it ended with, in the figures of the table."""
    session.metrics["training"] |= {"kept_epoch": best.epoch, "held_out_deviance": best.found}
    before, after = (figures[name]["deviance"] for name in ("network", "adapted"))
    gain = best.found[0] - min(best.found[1:], default=np.inf)
    if best.epoch:
        said = (
            f"the weights after epoch {best.epoch} were kept: "
            f"held-out deviance {before:.3f} before, {after:.3f} after"
        )
    else:
        said = "nothing was kept, adapted is network (its seconds were spent in vain): " + (
            f"the best epoch lowered the held-out deviance by {gain:.2g}, "
            f"not by more than its uncertainty of {best.error:.2g}"
            if gain > 0
            else "no epoch lowered the held-out deviance"
        )
    session.terminal.print(said, markup=False)


def _save(
    session: Session,
    problem: Problem,
    bundle: Bundle,
    network: nn.Module,
    tile: tuple[int, int],
    gain: float,
) -> None:
    """Write a new bundle, which lifts as the network learnt it and knows all scans it saw."""
    before = seen(bundle)
    before.pop(problem.scan.sha256, None)
    train.save_network(
        session, problem, network, tile, gain, lift=bundle.config["solver"], also_seen=before
    )
