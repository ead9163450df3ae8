"""Giving up a training that falls behind others."""

from collections.abc import Callable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ptycho.config.fields import PrunedError


class GiveUp(Callback):
    """Reports what a training is worth after every epoch, and stops it when it is told to.

    Args:
        judge: what it is worth now, less being better; asked on the first process only.
        report: told the epoch (from 1) and that figure; whether the training is given up.
    """

    def __init__(self, judge: Callable[[], float], report: Callable[[int, float], bool]) -> None:
        self.judge, self.report = judge, report

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report; after the last epoch there is nothing left to save."""
        epoch = trainer.current_epoch + 1
        hopeless, worth = False, 0.0
        if trainer.is_global_zero:
            worth = self.judge()
            hopeless = self.report(epoch, worth) and epoch != trainer.max_epochs
        # all processes stop together, or the others would wait for this one for ever
        if trainer.strategy.reduce_boolean_decision(hopeless, all=False):
            raise PrunedError(f"given up after epoch {epoch}: other trials were better by then.")
