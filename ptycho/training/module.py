"""The experiment as Lightning sees it: predict, measure, compare, log."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn

from ptycho.data.tiles import Batch
from ptycho.physics.agreement import absolute_difference, squared_difference
from ptycho.physics.forward import Experiment
from ptycho.physics.likelihood import photons
from ptycho.physics.sweep import Judge, misfit
from ptycho.physics.variation import total_variation

_EDGE = 0.1  # share of the brightest illumination below which nothing is known of an object


class Brightness(nn.Module):
    """A learned factor of all predicted photons; 1 at first, and never negative."""

    def __init__(self) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(()))

    def forward(self, obj: Tensor) -> Tensor:
        """An object that lets so many times the photons through."""
        brighter: Tensor = obj * (0.5 * self.log_gain).exp()
        return brighter

    @property
    def gain(self) -> float:
        """The factor."""
        return float(self.log_gain.detach().exp())


class ObjectTraining(lightning.LightningModule):
    """Unsupervised training of an object network against the measured patterns.

    Args:
        network: maps ``(b, H, W)`` object, pull and light to an object.
        experiment: the known probe and the positions.
        judge: compares expected photons with measured amplitudes; None: nobody does.
        optimiser: makes the optimiser and its schedule; called with this module.
        tv_weight: of the total variation of the lit object.
        intensity_scale_trainable: whether to learn a factor of the predicted photons.
        further: probes and positions of more scans to learn from.
        label_weights: of the squared and of the absolute difference to the batches' labels.
    """

    def __init__(
        self,
        network: nn.Module,
        experiment: Experiment,
        judge: Judge | None,
        optimiser: Callable[["ObjectTraining"], Any],
        *,
        tv_weight: float = 0.0,
        intensity_scale_trainable: bool = False,
        further: Sequence[Experiment] = (),
        label_weights: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__()
        self.network = network
        self.experiments = nn.ModuleList([experiment, *further])
        self.judge = judge
        self.optimiser = optimiser
        self.tv_weight, self.label_weights = tv_weight, label_weights
        self.brightness = Brightness() if intensity_scale_trainable else None
        self.last: tuple[Tensor, Tensor] | None = None  # object before and after, for the guard

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One tile: correct what is lit, hold the whole against the patterns."""
        before, pull, light = (plane[batch.lit] for plane in batch[:3])
        after = self.network(before[None], pull[None], light[None])[0]
        obj = batch.obj.clone()
        obj[batch.lit] = after
        loss = self._measured(obj, batch) + self._labelled(after, batch)
        if self.tv_weight:
            loss = loss + self.tv_weight * total_variation(obj, batch.light)
        self.last = (before, after.detach())
        self.log(
            "train/loss", loss, on_epoch=True, on_step=False,
            batch_size=len(batch.which), sync_dist=self.trainer.world_size > 1,
        )  # fmt: skip
        return loss

    def _measured(self, obj: Tensor, batch: Batch) -> Tensor:
        """Distance to the patterns."""
        if self.judge is None:
            return obj.real.new_zeros(())
        experiment = cast(Experiment, self.experiments[batch.scan]).of(batch.which, batch.origin)
        seen: Tensor = obj if self.brightness is None else self.brightness(obj)
        # a share of the photons: the loss is of order one at any dose
        return misfit(experiment, seen, batch.amplitude, self.judge) / photons(batch.amplitude)

    def _labelled(self, after: Tensor, batch: Batch) -> Tensor:
        """Distance to the label, where the network had a say."""
        squared, absolute = self.label_weights
        if batch.label is None or not (squared or absolute):
            return after.real.new_zeros(())
        what = after[None], batch.label[batch.lit][None], (batch.light[batch.lit] > _EDGE).float()
        return squared * squared_difference(*what) + absolute * absolute_difference(*what)

    def use(self, experiment: Experiment) -> None:
        """Predict the patterns of the first scan with another probe and other positions."""
        self.experiments[0] = experiment

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule, as built from the settings."""
        return self.optimiser(self)

    @torch.no_grad()
    def correct(self, obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
        """The network alone on tiles ``(b, H, W)``, for reconstructing."""
        out: Tensor = self.network(obj, pull, light)
        return out
