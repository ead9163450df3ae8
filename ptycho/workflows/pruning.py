"""What lets a sweep give up a run by the epoch."""

from collections.abc import Callable

import torch
from torch import Tensor

from ptycho.config.choices import Pruner
from ptycho.physics.measured import only
from ptycho.report.folder import SWEEP
from ptycho.report.frames import judge, measured_frames
from ptycho.training.pruning import GiveUp
from ptycho.workflows.problem import Problem
from ptycho.workflows.session import Session


def giving_up(
    session: Session,
    problem: Callable[[], Problem],
    predict: Callable[[], Tensor],
    loss: Callable[[], float],
) -> GiveUp | None:
    """What reports a training to its sweep; None where no sweep gives anything up.

    Trials are compared by the Poisson deviance of the patterns held out, given the present
    object: the training's own loss holds weights that the sweep may vary. Where none is held
    out, that loss has to do.

    Args:
        session: of the run.
        problem: the scan as it is known at present.
        predict: the present object, complex ``(H, W)``.
        loss: of the last epoch.
    """
    folder = session.folder
    in_sweep = folder.name.isdigit() and (folder.parent / SWEEP).is_file()
    if session.run.sweep.pruner == Pruner.none or not in_sweep:
        return None
    if not session.first:
        return GiveUp(loss, lambda epoch, value: False)
    from ptycho.workflows.study import reporter

    def worth() -> float:
        now = problem()
        if not len(now.held_out):
            return loss()
        numbers = torch.from_numpy(now.held_out).to(now.device)
        frames = measured_frames(
            now.experiment.of(numbers), predict(), only(now.amplitude, numbers)
        )
        return float(judge(frames).deviance.mean())

    return GiveUp(worth, reporter(folder, session.run))
