"""The training of patch networks: predict, average where patches overlap, measure, compare."""

from collections.abc import Callable
from typing import Any

import lightning
from torch import Tensor

from ptycho.data.patch_batches import PatchBatch
from ptycho.physics.agreement import absolute_difference, squared_difference
from ptycho.physics.forward import Experiment
from ptycho.physics.fourier import centre_start, crop_centre
from ptycho.physics.likelihood import photons
from ptycho.physics.patches import add_patches, stitch
from ptycho.physics.sweep import misfit
from ptycho.physics.variation import total_variation
from ptycho.training.module import Brightness
from ptycho.training.objective import Objective
from ptycho.training.predictor import PatchPredictor

_LOOK_EVERY = 10  # steps between looks at the contrast of what is predicted


class PatchTraining(lightning.LightningModule):
    """Training of a patch network against patterns, labels or both.

    Args:
        predictor: network and first object, on the device.
        experiment: the known probe and the positions.
        objective: what is made small.
        weights: real ``(window, window)``, what a pixel of a patch counts.
        optimiser: makes the optimiser and its schedule; called with this module.
        intensity_scale_trainable: whether to learn a factor of the predicted photons.
    """

    def __init__(
        self,
        predictor: PatchPredictor,
        experiment: Experiment,
        objective: Objective,
        weights: Tensor,
        optimiser: Callable[["PatchTraining"], Any],
        *,
        intensity_scale_trainable: bool = False,
    ) -> None:
        super().__init__()
        self.network = predictor.network
        self.predictor = predictor
        self.experiment = experiment
        self.objective = objective
        self.weights = weights
        self.optimiser = optimiser
        self.brightness = Brightness() if intensity_scale_trainable else None
        self.last: tuple[Tensor, Tensor] | None = None  # richest and latest canvas, for the guard
        self._contrast = -1.0

    def training_step(self, batch: PatchBatch, number: int) -> Tensor:
        """Predict patches, average them, hold them against their and their neighbours' patterns."""
        amplitude, which, origin = batch.shown
        windows = self.predictor(amplitude, which)
        trim = centre_start(self.experiment.size, windows.shape[-1])
        corners = self.experiment.corners[which] - origin + trim
        canvas = stitch(windows, self.weights, corners, batch.shape)
        loss = self._loss(batch, windows, canvas, corners)
        self._look(canvas.detach(), number)
        self.log(
            "train/loss", loss, on_epoch=True, on_step=False,
            batch_size=len(batch.which), sync_dist=self.trainer.world_size > 1,
        )  # fmt: skip
        return loss

    def _loss(self, batch: PatchBatch, windows: Tensor, canvas: Tensor, corners: Tensor) -> Tensor:
        aim, loss = self.objective, canvas.real.new_zeros(())
        if aim.judge is not None:
            seen = canvas if self.brightness is None else self.brightness(canvas)
            experiment = self.experiment.of(batch.which, batch.origin)
            counted = photons(batch.amplitude)
            loss = loss + misfit(experiment, seen, batch.amplitude, aim.judge) / counted
        if aim.squared or aim.absolute:
            assert batch.labels is not None, "the data set was told to cut them"
            labels = crop_centre(batch.labels, windows.shape[-1])
            if aim.squared:
                loss = loss + aim.squared * squared_difference(windows, labels, self.weights)
            if aim.absolute:
                loss = loss + aim.absolute * absolute_difference(windows, labels, self.weights)
        if aim.variation:
            light = add_patches(self.weights.expand(windows.shape), corners, batch.shape)
            loss = loss + aim.variation * total_variation(canvas, light / light.max())
        return loss

    def _look(self, canvas: Tensor, number: int) -> None:
        """Keep the canvas of most contrast: what the guard holds the last one against."""
        if self.last is None or number % _LOOK_EVERY == 0:
            contrast = float(canvas.angle().std() + canvas.abs().std())
            if contrast > self._contrast or self.last is None:
                self._contrast, self.last = contrast, (canvas, canvas)
        self.last = (self.last[0], canvas)

    def use(self, experiment: Experiment) -> None:
        """Predict the patterns with another probe; positions stay where the groups are."""
        self.experiment = experiment

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule, as built from the settings."""
        return self.optimiser(self)
