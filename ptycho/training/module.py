"""The experiment as Lightning sees it: predict, measure, compare, log."""

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from ptycho.data.tiles import Batch
from ptycho.physics.forward import Experiment
from ptycho.training.losses import Loss


class ObjectTraining(lightning.LightningModule):
    """Unsupervised training of an object network against the measured patterns.

    Args:
        network: maps ``(b, H, W)`` object, pull and light to an object.
        experiment: the known probe and the positions.
        loss: of expected photons and measured amplitudes.
        optimiser: makes the optimiser and its schedule; called with this module.
    """

    def __init__(
        self,
        network: nn.Module,
        experiment: Experiment,
        loss: Loss,
        optimiser: Callable[["ObjectTraining"], Any],
    ) -> None:
        super().__init__()
        self.network = network
        self.experiment = experiment
        self.loss = loss
        self.optimiser = optimiser
        self.last: tuple[Tensor, Tensor] | None = None  # object before and after, for the guard

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One tile."""
        obj = self.network(batch.obj[None], batch.pull[None], batch.light[None])[0]
        predicted = self.experiment(obj, batch.which, batch.origin)
        loss = self.loss(predicted, batch.amplitude)
        self.last = (batch.obj, obj.detach())
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
