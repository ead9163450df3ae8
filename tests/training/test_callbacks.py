import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from ptycho.nn.object_net import ObjectNet
from ptycho.report.console import progress
from ptycho.training.callbacks import (
    CollapseError,
    CollapseGuard,
    History,
    PictureEvery,
    RunProgress,
)
from ptycho.training.module import ObjectTraining
from ptycho.workflows import train as train_
from ptycho.workflows.reconstruct import network_on
from tests.runs import CPU, lifted, session_of, tiles_of, tiny_problem, tiny_run


@pytest.fixture
def image() -> Tensor:
    return torch.from_numpy(tiny_problem().reconstruction([]).truth)


def diagnose(before: Tensor, after: Tensor, loss: float = 0.1) -> str | None:
    return CollapseGuard().diagnose(loss, before, after)


def test_healthy_objects_pass(image: Tensor) -> None:
    noise = 0.05 * torch.randn_like(image)
    assert diagnose(image, image) is None
    assert diagnose(image + noise, image) is None
    assert diagnose(image, image + noise) is None
    assert diagnose(image, 2 * image * 1j) is None


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_loss_that_is_no_number(image: Tensor, loss: float) -> None:
    assert "no longer a number" in str(diagnose(image, image, loss))


@pytest.mark.parametrize("bad", [math.nan, math.inf, complex(0, math.nan)])
def test_object_that_is_no_number(image: Tensor, bad: complex) -> None:
    after = image.clone()
    after[3, 4] = bad
    assert "no longer a number" in str(diagnose(image, after))


def test_exploded_amplitude(image: Tensor) -> None:
    assert "exploded to 30 times" in str(diagnose(image, 30 * image / image.abs().max()))


def test_large_is_relative_to_what_came_in(image: Tensor) -> None:
    assert diagnose(30 * image, 31 * image) is None
    assert diagnose(30 * image, 90 * image) is not None


def test_flat_amplitude(image: Tensor) -> None:
    assert "amplitude went flat" in str(
        diagnose(image, torch.polar(image.abs() * 0 + 1, image.angle()))
    )


def test_flat_phase(image: Tensor) -> None:
    assert "phase went flat" in str(diagnose(image, image.abs() * torch.tensor(1j)))


def test_constant_object(image: Tensor) -> None:
    assert "went flat" in str(diagnose(image, torch.ones_like(image)))


def test_vanished_object(image: Tensor) -> None:
    assert "went flat" in str(diagnose(image, torch.zeros_like(image)))


def test_sample_that_is_flat_may_stay_flat(image: Tensor) -> None:
    empty = torch.ones_like(image)
    assert diagnose(empty, empty) is None
    noise = torch.polar(1 + 2e-4 * torch.randn(image.shape), 2e-4 * torch.randn(image.shape))
    assert diagnose(noise, empty) is None


def test_sample_of_pure_phase_may_keep_its_amplitude(image: Tensor) -> None:
    pure = torch.polar(torch.ones(image.shape), image.angle())
    assert diagnose(pure, pure) is None
    assert "phase went flat" in str(diagnose(pure, torch.ones_like(pure)))


def test_object_without_mean_is_not_called_flat() -> None:
    stripes = torch.ones(8, 8, dtype=torch.complex64)
    stripes[::2] = -1
    assert diagnose(stripes, stripes) is None
    assert diagnose(stripes, stripes * torch.linspace(1, 1.5, 8)) is None


def fit(folder: Path, callbacks: Any = None, **changes: Any) -> tuple[History, ObjectNet]:
    """Train as ``task=train`` does, and no more."""
    run = tiny_run(**changes)
    with session_of(run, folder) as session:
        problem = tiny_problem()
        network = ObjectNet()
        first = lifted(problem, run)
        session.bars.start()
        history = train_.fit(
            session, problem, network_on(network, CPU),
            tiles_of(problem, run.trainer.batch_size, first), first,
        )  # fmt: skip
    return history, network


def test_guard_stops_an_absurd_training_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        CollapseError, match=r"epoch 0: the loss rose to .* Lower trainer.learning_rate"
    ):
        fit(tmp_path, trainer__learning_rate=1.0, trainer__nepochs=20, trainer__scheduler="Default")


def test_guard_can_be_sent_away(tmp_path: Path) -> None:
    history, _ = fit(
        tmp_path, trainer__learning_rate=1.0, trainer__nepochs=20, trainer__scheduler="Default",
        execution__collapse_guard=False,
    )  # fmt: skip
    assert len(history.rows) == 20


def test_runaway_loss(image: Tensor) -> None:
    guard = CollapseGuard()
    assert guard.diagnose(100.0, image, image) is None, "nothing to compare with yet"
    guard.first = 0.1
    assert guard.diagnose(0.9, image, image) is None
    assert "the loss rose to 1.1, at first it was 0.1" in str(guard.diagnose(1.1, image, image))
    guard.first = 0.001
    assert guard.diagnose(0.2, image, image) is None, "small is no catastrophe"


@pytest.mark.parametrize("batches", [1, 4])
def test_guard_remembers_the_loss_of_the_lifted_object(tmp_path: Path, batches: int) -> None:
    seen: list[CollapseGuard] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_, "CollapseGuard", lambda _: seen.append(CollapseGuard()) or seen[0])
        history, _ = fit(
            tmp_path, trainer__nepochs=1, trainer__accum_steps=batches,
            trainer__learning_rate=1e-9,
        )  # fmt: skip
    assert seen[0].first == pytest.approx(history.rows[0]["train/loss"], rel=0.5)


def test_collapse_elsewhere_stops_this_process_too() -> None:
    trainer = SimpleNamespace(
        callback_metrics={"train/loss": torch.tensor(0.1)}, current_epoch=4,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda mine, all: True),
    )  # fmt: skip
    obj = torch.randn(8, 8, dtype=torch.complex64)
    with pytest.raises(CollapseError, match="another process"):
        CollapseGuard().on_train_epoch_end(trainer, SimpleNamespace(last=(obj, obj)))


def test_history_has_a_row_per_epoch(tmp_path: Path) -> None:
    history, _ = fit(tmp_path, trainer__nepochs=3)
    assert [row["epoch"] for row in history.rows] == [0, 1, 2]
    assert [row["step"] for row in history.rows] == [4, 8, 12]
    seconds = [row["seconds"] for row in history.rows]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert all(row["train/loss"] > 0 and row["train/patterns_per_s"] > 0 for row in history.rows)
    # 64 patterns an epoch, which takes no longer than until the end of the next one
    spent = [b - a for a, b in zip([0.0, *seconds], seconds, strict=False)]
    for row, time in zip(history.rows, spent, strict=True):
        assert row["train/patterns_per_s"] >= 0.99 * 64 / time


def test_picture_every_second_epoch() -> None:
    shown: list[int] = []
    picture = PictureEvery(2, shown.append)
    for epoch in range(6):
        picture.on_train_epoch_end(
            SimpleNamespace(current_epoch=epoch, is_global_zero=True), SimpleNamespace()
        )
    picture.on_train_epoch_end(
        SimpleNamespace(current_epoch=1, is_global_zero=False), SimpleNamespace()
    )
    assert shown == [2, 4, 6]
    for epoch in (0, 3):  # the second goes on with a training
        picture.on_train_start(
            SimpleNamespace(current_epoch=epoch, is_global_zero=True), SimpleNamespace()
        )
    assert shown == [2, 4, 6, 0]


def test_progress_shows_loss_and_rate() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    bars = progress(True, terminal)
    bar = RunProgress(bars)
    trainer: Any = SimpleNamespace(
        num_training_batches=4, max_epochs=3, current_epoch=0,
        callback_metrics={"train/loss": torch.tensor(0.0123), "train/patterns_per_s": 4567.8},
    )  # fmt: skip
    module: Any = None
    bar.on_train_start(trainer, module)
    for batch in range(4):
        bar.on_train_batch_end(trainer, module, None, None, batch)
    bar.on_train_epoch_end(trainer, module)
    (task,) = bars.tasks
    assert (task.completed, task.total) == (4, 12)
    with bars:
        bars.refresh()
    shown = terminal.file.getvalue()
    assert "train" in shown
    assert "4/12" in shown
    assert "loss 0.0123  4,568 patterns/s" in shown


def test_progress_can_be_silenced() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    bars = progress(True, terminal)
    RunProgress(bars).disable()
    with bars:
        bars.add_task("train", total=1, note="")
    assert terminal.file.getvalue() == ""


@pytest.mark.parametrize("show", [True, False])
def test_bar_is_ours_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], show: bool
) -> None:
    fit(tmp_path, trainer__nepochs=1, execution__enable_progress_bar=show)
    said = capsys.readouterr()
    assert ("patterns/s" in said.out) == show
    assert "Epoch" not in said.out + said.err, "Lightning's own bar"


def test_training_module_remembers_the_last_object(tmp_path: Path) -> None:
    assert ObjectTraining(ObjectNet(), tiny_problem().experiment, max, max).last is None
