"""Real trainings that a sweep gives up, or does not."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lightning.pytorch import Trainer

from ptycho.config.config import RunConfig
from ptycho.config.fields import PrunedError
from ptycho.config.validate import check
from ptycho.report.bundle import load_bundle
from ptycho.training.pruning import GiveUp
from ptycho.workflows.launch import launch
from ptycho.workflows.sweep import conduct
from tests.runs import put, tiny_run
from tests.sweeps import RATE, planned, trials

EPOCHS = 4
SWEPT: dict[str, Any] = {
    "sweep__sampler": "random", "sweep__n_trials": 1, "sweep__pruner": "median",
    "sweep__min_epochs": 1, "sweep__startup_trials": 1, "trainer__nepochs": EPOCHS,
    "execution__enable_checkpointing": False, "execution__collapse_guard": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ptycho.workflows.session.save_picture", lambda *_: None)
    monkeypatch.setattr("ptycho.workflows.sweep._write_report", lambda *_: None)


class Real:
    """Runs every job in this process; ``rates`` replace what was drawn."""

    def __init__(self, folder: Path, rates: Sequence[float], **changes: Any) -> None:
        self.folder, self.rates, self.changes = folder, rates, changes

    def __call__(self, jobs: Sequence[tuple[int, list[str]]]) -> list[Exception | None]:
        return [self.do(number, overrides) for number, overrides in jobs]

    def do(self, number: int, overrides: list[str]) -> Exception | None:
        run: RunConfig = tiny_run(**self.changes)
        put(run, RATE, self.rates[number])
        put(run, "execution.resume", "auto")
        try:
            launch(check(run), self.folder / str(number), overrides)
        except PrunedError as error:
            return error
        return None


def swept(folder: Path, rates: Sequence[float], **changes: Any) -> None:
    """Sweep over learning rates."""
    changes = SWEPT | {"sweep__n_trials": len(rates)} | changes
    plan = planned(folder, f"{RATE}=interval(0.0001,1)", **changes)
    conduct(plan, Real(folder, rates, **changes))


def epochs_of(run: Path) -> int:
    with (run / "metrics.csv").open() as file:
        return len(list(csv.DictReader(file)))


def weights(run: Path) -> dict[str, Any]:
    return load_bundle(run / "wts.h5.zip").weights


def test_what_falls_behind_is_given_up_and_says_so(tmp_path: Path):
    swept(tmp_path, [2e-3, 1e-12])
    status = json.loads((tmp_path / "1" / "status.json").read_text())
    assert status["state"] == "pruned"
    assert status["error"].startswith("given up after epoch ")
    assert epochs_of(tmp_path / "0") == EPOCHS
    assert epochs_of(tmp_path / "1") < EPOCHS
    assert not (tmp_path / "1" / "reconstruction.npz").exists()
    assert [one.state.name for one in trials(tmp_path)] == ["COMPLETE", "PRUNED"]


def test_trials_are_compared_by_the_patterns_held_out(tmp_path: Path):
    swept(tmp_path, [2e-3])
    stages = json.loads((tmp_path / "0" / "metrics.json").read_text())["stages"]
    (trial,) = trials(tmp_path)
    assert sorted(trial.intermediate_values) == [*range(1, EPOCHS + 1)]
    # there the scale is that of all patterns, here of those held out
    assert -trial.intermediate_values[EPOCHS] == pytest.approx(stages["network"]["deviance"], 0.01)


def test_where_none_is_held_out_the_loss_has_to_do(tmp_path: Path):
    swept(tmp_path, [2e-3], data__holdout_fraction=0.0)
    (trial,) = trials(tmp_path)
    with (tmp_path / "0" / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file)]
    assert [-one for one in trial.intermediate_values.values()] == pytest.approx(losses)


def test_reporting_changes_no_bit_of_a_training(tmp_path: Path):
    changes = {name: value for name, value in SWEPT.items() if not name.startswith("sweep")}
    launch(check(tiny_run(**changes)), tmp_path / "alone", [])
    swept(tmp_path / "sweep", [2e-3])
    alone, one = weights(tmp_path / "alone"), weights(tmp_path / "sweep" / "0")
    assert all(bool((alone[name] == one[name]).all()) for name in alone)


def test_nothing_is_reported_outside_a_sweep(tmp_path: Path):
    launch(
        check(tiny_run(**SWEPT)), tmp_path / "7", []
    )  # a number for a name, but no sweep around it
    assert epochs_of(tmp_path / "7") == EPOCHS


@pytest.mark.parametrize("first", [True, False])
def test_all_processes_stop_together(first: bool):
    told: list[tuple[int, float]] = []

    def report(epoch: int, worth: float) -> bool:
        told.append((epoch, worth))
        return False

    def anyone(decision: bool, all: bool) -> bool:
        return True  # another process was told to stop

    trainer = SimpleNamespace(
        current_epoch=4, max_epochs=9, is_global_zero=first,
        strategy=SimpleNamespace(reduce_boolean_decision=anyone),
    )  # fmt: skip
    with pytest.raises(PrunedError, match="after epoch 5"):
        GiveUp(lambda: 0.5, report).on_train_epoch_end(cast(Trainer, trainer), cast(Any, None))
    assert told == ([(5, 0.5)] if first else [])
