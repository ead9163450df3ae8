"""The learning rate of every epoch, as the command line asks for it."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho import train
from ptycho.data.formats.npz import write_npz
from ptycho.training.schedules import LAST_SHARE
from tests.runs import draw_nothing, tiny_scan

RATE = 1e-6  # hardly anything is learnt: losses go up and down by chance


def bold_driver(losses: list[float]) -> list[float]:
    """Up by a twentieth after a fall, down by half after a rise, never above the first rate."""
    factor, last, found = 1.0, math.inf, []
    for loss in losses:
        found.append(factor)
        factor, last = min(1.0, factor * (1.05 if loss <= last else 0.5)), loss
    return found


def plateau(losses: list[float]) -> list[float]:
    """Half after more than three epochs in a row without a new best."""
    factor, best, bad, found = 1.0, math.inf, 0, []
    for loss in losses:
        found.append(factor)
        best, bad = (loss, 0) if loss < best * (1 - 1e-4) else (best, bad + 1)
        if bad > 3:
            factor, bad = factor / 2, 0
    return found


def warming_up(losses: list[float]) -> list[float]:
    """Linearly over 20 steps, two of them an epoch; the cosine falls meanwhile."""
    steps, every = 2 * len(losses), np.arange(1, 2 * len(losses), 2)
    fall = 0.5 * (1 + np.cos(np.pi * every / steps))
    return list((every + 1) / 21 * (LAST_SHARE + (1 - LAST_SHARE) * fall))


@pytest.mark.parametrize(
    ("name", "epochs", "expected"),
    [
        ("Default", 3, lambda losses: [1] * 3),
        ("Exponential", 4, lambda losses: LAST_SHARE ** (np.arange(4) / 4)),
        ("MultiStage", 6, lambda losses: [1, 1, 1, 1 / 3, 1 / 9, 1 / 27]),
        ("Adaptive", 6, bold_driver),
        ("WarmupCosine", 5, warming_up),
        ("ReduceLROnPlateau", 12, plateau),
    ],
)
def test_the_rate_moves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    epochs: int,
    expected: Callable[[list[float]], Any],
) -> None:
    draw_nothing(monkeypatch)
    write_npz(tmp_path / "scan.npz", tiny_scan())
    train.main([
        "--train_data_file", f"{tmp_path}/scan.npz", "--output_dir", f"{tmp_path}/out",
        "--max_epochs", str(epochs), "--logger", "none", "--learning-rate", str(RATE), "--quiet",
        "--accelerator", "cpu", "--scheduler", name, "--disable-checkpointing",
    ])  # fmt: skip
    with (tmp_path / "out" / "metrics.csv").open() as file:
        rows = [*csv.DictReader(file)]
    found = np.array([float(row["train/learning_rate"]) for row in rows]) / RATE
    losses = [float(row["train/loss"]) for row in rows]
    assert found == pytest.approx(np.array(expected(losses)), rel=1e-6)
    assert name == "Default" or found.min() < 1
