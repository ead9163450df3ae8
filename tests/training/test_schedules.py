"""Learning rates as a training uses them, not as a schedule object promises them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ptycho.training.callbacks import History
from ptycho.training.schedules import LAST_SHARE, adamw, schedule

PEAK = 0.1
STEPS = 3  # per epoch


class Pattern(NamedTuple):
    """As much of a batch as the history looks at."""

    which: Tensor


class Scripted(lightning.LightningModule):
    """Its loss of every epoch is written beforehand."""

    def __init__(self, name: str, losses: list[float], warmup: int, after: list[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.name, self.losses, self.warmup, self.after = name, losses, warmup, after
        self.rates: list[float] = []

    def on_train_batch_start(self, batch: Pattern, batch_idx: int) -> None:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    def training_step(self, batch: Pattern, _: int) -> Tensor:
        loss = self.losses[self.current_epoch] + 0 * self.weight
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=1)
        return loss

    def on_train_end(self) -> None:
        self.after.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        optimiser = adamw(self.parameters(), PEAK, 0.0)
        moving = schedule(
            self.name, optimiser, steps=int(self.trainer.estimated_stepping_batches),
            epochs=len(self.losses), warmup_steps=self.warmup,
        )  # fmt: skip
        return {"optimizer": optimiser, "lr_scheduler": moving} if moving else optimiser


Rates = Callable[..., list[float]]


def train(
    name: str, losses: list[float], warmup: int = 0, **trainer: Any
) -> tuple[list[float], float, History]:
    """Rate of every batch, the rate left behind, and the history."""
    after: list[float] = []
    module, history = Scripted(name, losses, warmup, after), History()
    lightning.Trainer(
        accelerator="cpu", max_epochs=len(losses), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[history], **trainer,
    ).fit(module, DataLoader([Pattern(torch.zeros(1))] * STEPS, batch_size=None))  # fmt: skip
    return module.rates, after[0], history


def per_epoch(rates: list[float]) -> list[float]:
    epochs = [rates[i : i + STEPS] for i in range(0, len(rates), STEPS)]
    assert all(len(set(epoch)) == 1 for epoch in epochs), "the rate moved within an epoch"
    return [epoch[0] / PEAK for epoch in epochs]


def test_default_is_constant() -> None:
    rates, after, _ = train("Default", [3.0, 2.0, 9.0, 1.0])
    assert {*rates, after} == {PEAK}


def test_exponential_falls_by_one_factor_and_ends_at_two_per_cent() -> None:
    rates, after, _ = train("Exponential", [1.0] * 5)
    falling = [*per_epoch(rates), after / PEAK]
    assert falling == pytest.approx([LAST_SHARE ** (epoch / 5) for epoch in range(6)])
    assert falling[-1] == pytest.approx(0.02)


def test_multi_stage_steps_at_half_three_quarters_and_nine_tenths() -> None:
    rates, _, _ = train("MultiStage", [1.0] * 20)
    third = 1 / 3
    stages = [1.0] * 10 + [third] * 5 + [third**2] * 3 + [third**3] * 2
    assert per_epoch(rates) == pytest.approx(stages)


def test_multi_stage_in_a_single_epoch_does_nothing_yet() -> None:
    assert per_epoch(train("MultiStage", [1.0])[0]) == [1.0]


def test_adaptive_halves_after_a_rise_and_recovers() -> None:
    losses = [5.0, 4.0, 4.5, 4.0, 3.0, 2.0]
    rates, _, _ = train("Adaptive", losses)
    # never above the first rate; halved when epoch 2 came out worse than epoch 1
    wanted = [1.0, 1.0, 1.0, 0.5, 0.5 * 1.05, 0.5 * 1.05**2]
    assert per_epoch(rates) == pytest.approx(wanted)


def test_adaptive_halves_for_every_rise() -> None:
    rates, _, _ = train("Adaptive", [1.0, 2.0, 3.0, 4.0, 4.0])
    assert per_epoch(rates) == pytest.approx([1.0, 1.0, 0.5, 0.25, 0.125])


def test_adaptive_halves_when_the_loss_is_no_number() -> None:
    rates, _, _ = train("Adaptive", [1.0, float("nan"), 1.0])
    assert per_epoch(rates) == pytest.approx([1.0, 1.0, 0.5])


def test_warmup_cosine_rises_then_falls_to_two_per_cent() -> None:
    rates, after, _ = train("WarmupCosine", [1.0] * 10, warmup=4)
    top = rates.index(max(rates))
    assert rates[:5] == sorted(rates[:5])
    assert rates[0] == pytest.approx(PEAK / 5, rel=0.01)
    assert top in (3, 4)
    assert max(rates) > 0.95 * PEAK
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert after == pytest.approx(LAST_SHARE * PEAK)
    assert rates[-1] < 0.03 * PEAK


def test_warmup_cosine_without_warmup_starts_at_the_peak() -> None:
    rates, _, _ = train("WarmupCosine", [1.0] * 3)
    assert rates[0] == PEAK


def test_warmup_cosine_counts_steps_of_the_optimiser() -> None:
    rates, after, _ = train("WarmupCosine", [1.0] * 6, warmup=2, accumulate_grad_batches=3)
    # one step per epoch, so the rate moves once per epoch and still arrives
    assert per_epoch(rates)[:3] == sorted(per_epoch(rates)[:3])
    assert after == pytest.approx(LAST_SHARE * PEAK)


def test_plateau_halves_after_four_epochs_without_progress() -> None:
    rates, _, _ = train("ReduceLROnPlateau", [2.0] + [1.0] * 10)
    assert per_epoch(rates) == pytest.approx([1.0] * 6 + [0.5] * 4 + [0.25])


def test_plateau_leaves_a_falling_loss_alone() -> None:
    rates, _, _ = train("ReduceLROnPlateau", [2.0 / (i + 1) for i in range(8)])
    assert set(rates) == {PEAK}


@pytest.mark.parametrize("name", ["Default", "Exponential", "Adaptive", "WarmupCosine"])
def test_history_tells_the_rate_that_was_used(name: str) -> None:
    rates, _, history = train(name, [1.0, 2.0, 3.0])
    told = [row["train/learning_rate"] for row in history.rows]
    assert told == rates[STEPS - 1 :: STEPS]


def test_weight_decay_shrinks_what_no_gradient_holds() -> None:
    weight = torch.nn.Parameter(torch.ones(()))
    optimiser = adamw([weight], 0.1, 0.5)
    weight.grad = torch.zeros(())
    optimiser.step()
    assert float(weight) == pytest.approx(0.95)
