"""The epoch to end with, chosen by patterns that are not learnt from."""

from collections.abc import Callable
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

Judge = Callable[[LightningModule, int], NDArray[np.float64]]
"""Losses ``(n,)`` of the patterns held out, after so many epochs; at least two of them."""


class KeepBest(Callback):
    """Keeps the weights of the epoch that predicts best, or those from before the first.

    The rule of one standard error (Breiman et al. 1984, Classification and Regression Trees,
    section 3.4, doi:10.1201/9781315139470): what is known to work is given up only for what is
    better by more than the uncertainty of the mean.

    Args:
        judge: looks at the module before training and after every epoch.

    Attributes:
        found: mean losses, one more than there were epochs.
        error: standard error of the first.
        epoch: number of epochs after which it was best; 0: learning did not help.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.found: list[float] = []
        self.error, self.epoch = 0.0, 0
        self._weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """What was judged and kept, for a checkpoint."""
        return {
            "found": list(self.found), "error": self.error, "epoch": self.epoch,
            "weights": self._weights,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What had been kept when the training was interrupted."""
        self.found, self.error = state_dict["found"], state_dict["error"]
        self.epoch, self._weights = state_dict["epoch"], state_dict["weights"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge what it was before, unless an interrupted training did."""
        if self.found:
            return
        losses = self.judge(pl_module, 0)
        self.error = float(losses.std(ddof=1) / np.sqrt(len(losses)))
        self.found.append(float(losses.mean()))
        self._keep(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the epoch."""
        self.found.append(float(self.judge(pl_module, len(self.found)).mean()))
        if self.found[-1] < self.found[self.epoch] - (0 if self.epoch else self.error):
            self.epoch = len(self.found) - 1
            self._keep(pl_module)

    def restore(self, module: LightningModule) -> None:
        """Give a module the weights that were best."""
        own = dict(module.named_parameters())
        for name, weight in self._weights.items():
            own[name].data.copy_(weight)

    def _keep(self, module: LightningModule) -> None:
        self._weights = {
            name: weight.detach().clone() for name, weight in module.named_parameters()
        }
