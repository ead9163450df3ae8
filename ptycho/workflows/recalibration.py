"""The instrument moves while a network trains: between epochs, by the physics' own steps.

A probe of thousands of pixels and the positions of thousands of patterns are no parameters for
the network's optimiser: their units and curvatures differ by orders of magnitude. The physics
knows both, so the network's answer is taken for the object now and then, and the instrument is
fitted to it as the solver would.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ptycho.config.config import RunConfig
from ptycho.physics.forward import Experiment
from ptycho.physics.instrument import Instrument
from ptycho.workflows import build
from ptycho.workflows.problem import Problem

FARTHEST = 2.0
"""Pixels that a position moves at most while a network trains: its tile stays as it was cut."""

_TIMES = 10  # in a training
_STEPS = 2  # of the probe, each time


class Recalibration:
    """Fits the free parts of the instrument to what the network says of the object.

    Args:
        run: settings.
        problem: what is learnt from.
        predict: the network's present answer, complex ``(H, W)``.
        positions: whether they may move, if they are free at all.

    Attributes:
        problem: with the instrument as it is known by now.
        every: epochs.
    """

    def __init__(
        self,
        run: RunConfig,
        problem: Problem,
        predict: Callable[[], Tensor],
        *,
        positions: bool = True,
    ) -> None:
        free = problem.freedom
        near = replace(
            free,
            positions=free.positions and positions,
            max_shift=min(free.max_shift, FARTHEST),
        )
        self.problem, self._predict = problem, predict
        recipe = build.make_recipe(run.solver)
        # from here, not from the scan's own positions, nothing may go far
        self._solver = replace(problem, freedom=near, home=None).joint_solver(recipe)
        self.every = max(run.trainer.nepochs // _TIMES, 1)

    @torch.no_grad()
    def __call__(self) -> Experiment:
        """What the network's patterns should be predicted with from now on."""
        self._solver.calibrate(self._predict(), _STEPS)
        self._solver.instrument = self._within(self._solver.instrument)
        return self.take(self._solver.instrument)

    @property
    def found(self) -> Instrument:
        """The instrument as it is known by now."""
        return self._solver.instrument

    def take(self, found: Instrument) -> Experiment:
        """Go on from an instrument that was found before; the experiment with it."""
        on, flux, background = self.problem.device, found.flux, found.background
        self._solver.instrument = replace(
            found,
            probe=found.probe.to(on),
            positions=found.positions.cpu(),
            flux=None if flux is None else flux.to(on),
            background=None if background is None else background.to(on),
        )
        self.problem = self.problem.knowing(self._solver.instrument)
        return self.problem.experiment

    def _within(self, found: Instrument) -> Instrument:
        """No position farther from where the scan says than the settings allow."""
        start, limit = self.problem.home, self.problem.freedom.max_shift
        if start is None:  # nothing has moved before: the solver's own limit is enough
            return found
        change = (found.positions - start.positions).clamp(-limit, limit)
        return replace(found, positions=start.positions + change)
