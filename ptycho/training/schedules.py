"""How the learning rate moves over a run."""

import math
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler

LAST_SHARE = 0.02
"""Share of the peak learning rate that cosine and exponential decay end with."""


class BoldDriver(lr_scheduler.LRScheduler):
    """Raise the rate a little while the loss falls, halve it when it rises.

    Vogl et al. 1988 (doi:10.1007/BF00332914). The rate never exceeds the one it began with.
    """

    def __init__(self, optimizer: Optimizer, up: float = 1.05, down: float = 0.5) -> None:
        self.up, self.down, self.last_loss, self.factor = up, down, math.inf, 1.0
        super().__init__(optimizer)

    def step(self, metrics: Any = None) -> None:
        """Compare the epoch's loss with the last one's."""
        if metrics is not None:
            loss = float(metrics)
            change = self.up if loss <= self.last_loss else self.down
            self.factor, self.last_loss = min(1.0, self.factor * change), loss
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * self.factor
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def schedule(
    name: str, optimizer: Optimizer, *, steps: int, epochs: int, warmup_steps: int
) -> dict[str, Any] | None:
    """Lightning's description of a schedule; None keeps the rate constant.

    Args:
        name: ``Default`` (constant), ``Exponential``, ``MultiStage`` (a third of the rate at
            50, 75 and 90 % of the epochs), ``Adaptive`` (bold driver), ``WarmupCosine`` or
            ``ReduceLROnPlateau``.
        optimizer: whose rate moves.
        steps: optimiser steps of the whole run.
        epochs: epochs of the whole run.
        warmup_steps: steps of linear warm-up (``WarmupCosine``).
    """
    watched = {"interval": "epoch", "monitor": "train/loss", "reduce_on_plateau": True}
    if name == "Exponential":
        gamma = LAST_SHARE ** (1 / max(epochs, 1))
        return {"scheduler": lr_scheduler.ExponentialLR(optimizer, gamma), "interval": "epoch"}
    if name == "MultiStage":
        stages = [max(1, round(share * epochs)) for share in (0.5, 0.75, 0.9)]
        multi = lr_scheduler.MultiStepLR(optimizer, stages, gamma=1 / 3)
        return {"scheduler": multi, "interval": "epoch"}
    if name == "Adaptive":
        return {"scheduler": BoldDriver(optimizer), **watched}
    if name == "ReduceLROnPlateau":
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
        return {"scheduler": plateau, **watched}
    if name == "WarmupCosine":
        cosine = lr_scheduler.LambdaLR(optimizer, _WarmupCosine(steps, warmup_steps))
        return {"scheduler": cosine, "interval": "step"}
    return None


class _WarmupCosine:
    def __init__(self, steps: int, warmup: int) -> None:
        self.steps, self.warmup = max(steps, 1), warmup

    def __call__(self, step: int) -> float:
        rise = min((step + 1) / (self.warmup + 1), 1.0)
        fall = 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
        return rise * (LAST_SHARE + (1 - LAST_SHARE) * fall)


def adamw(parameters: Any, learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW as measured to work here: betas (0.9, 0.99)."""
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay, foreach=True
    )
