"""The experiment as Lightning sees it: predict, measure, compare, log."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn

from ptycho.data.tiles import Batch
from ptycho.physics.forward import Experiment
from ptycho.physics.likelihood import photons
from ptycho.physics.sweep import Judge, misfit


class ObjectTraining(lightning.LightningModule):
    """Unsupervised training of an object network against the measured patterns.

    Args:
        network: maps ``(b, H, W)`` object, pull and light to an object.
        experiment: the known probe and the positions.
        judge: compares expected photons with measured amplitudes.
        optimiser: makes the optimiser and its schedule; called with this module.
        further: probes and positions of more scans to learn from.
    """

    def __init__(
        self,
        network: nn.Module,
        experiment: Experiment,
        judge: Judge,
        optimiser: Callable[["ObjectTraining"], Any],
        further: Sequence[Experiment] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.experiments = nn.ModuleList([experiment, *further])
        self.judge = judge
        self.optimiser = optimiser
        self.last: tuple[Tensor, Tensor] | None = None  # object before and after, for the guard

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One tile: correct what is lit, hold the whole against the patterns."""
        before, pull, light = (plane[batch.lit] for plane in batch[:3])
        after = self.network(before[None], pull[None], light[None])[0]
        obj = batch.obj.clone()
        obj[batch.lit] = after
        whole = cast(Experiment, self.experiments[batch.scan])
        experiment = whole.of(batch.which, batch.origin)
        # a share of the photons: the loss is of order one at any dose
        loss = misfit(experiment, obj, batch.amplitude, self.judge) / photons(batch.amplitude)
        self.last = (before, after.detach())
        self.log(
            "train/loss", loss, on_epoch=True, on_step=False,
            batch_size=len(batch.which), sync_dist=self.trainer.world_size > 1,
        )  # fmt: skip
        return loss

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule, as built from the settings."""
        return self.optimiser(self)

    @torch.no_grad()
    def correct(self, obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
        """The network alone on tiles ``(b, H, W)``, for reconstructing."""
        out: Tensor = self.network(obj, pull, light)
        return out
