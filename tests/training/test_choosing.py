"""Which epoch a training ends with, when patterns held out choose."""

from typing import Any

import lightning
import numpy as np
import pytest
import torch

from ptycho.training.choosing import KeepBest

SPREAD = np.array([-1.0, 0.0, 0.0, 1.0])
ERROR = SPREAD.std(ddof=1) / 2
TRAINER: Any = None


class Counting(lightning.LightningModule):
    """Its one weight is the number of epochs it was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = torch.nn.Parameter(torch.zeros(()))


def chosen(*means: float) -> tuple[KeepBest, int]:
    """What is kept of a training with these mean losses; the first from before it."""
    module, best = Counting(), KeepBest(lambda _, epoch: means[epoch] + SPREAD)
    best.on_train_start(TRAINER, module)
    for _ in means[1:]:
        module.epochs.data += 1
        best.on_train_epoch_end(TRAINER, module)
    best.restore(module)
    return best, int(module.epochs)


def test_the_best_epoch_is_kept() -> None:
    best, epoch = chosen(9, 7, 5, 6)
    assert best.epoch == epoch == 2
    assert best.found == pytest.approx([9, 7, 5, 6])
    assert best.error == pytest.approx(ERROR)


def test_nothing_worse_is_kept() -> None:
    assert chosen(5, 6, 7)[1] == 0


def test_what_is_better_by_less_than_its_uncertainty_is_not_kept() -> None:
    assert chosen(5, 5 - 0.9 * ERROR)[1] == 0
    assert chosen(5, 5 - 1.1 * ERROR)[1] == 1


def test_once_it_moved_the_smaller_loss_decides() -> None:
    assert chosen(5, 5 - 1.1 * ERROR, 5 - 1.2 * ERROR)[1] == 2


def test_a_loss_that_is_no_number_is_never_best() -> None:
    assert chosen(5, float("nan"), 3)[1] == 2
    assert chosen(5, float("nan"))[1] == 0
