"""Interrupted runs go on, and end as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ptycho.config.config import UserError
from ptycho.data.formats.npz import write_npz
from ptycho.main import main
from ptycho.report.bundle import load_bundle
from ptycho.report.folder import LOCK, State, locked, read_run, read_status
from ptycho.training.callbacks import History
from ptycho.training.module import ObjectTraining
from ptycho.training.patch_module import PatchTraining
from ptycho.workflows import status
from ptycho.workflows.launch import launch
from tests.runs import draw_nothing, launched, tiny_run, tiny_scan
from tests.workflows.test_train import command, epochs, same, state, surroundings, wait_for

EPOCHS = 4


@pytest.fixture(autouse=True)
def quick_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_bundle(folder / "wts.h5.zip").weights


def stop_in(patch: pytest.MonkeyPatch, epoch: int, kind: type = ObjectTraining) -> None:
    """Have Ctrl-C typed in the second batch of an epoch."""
    step = kind.training_step

    def interrupted(module: Any, batch: Any, number: int) -> Any:
        if module.current_epoch == epoch and number == 1:
            raise KeyboardInterrupt
        return step(module, batch, number)

    patch.setattr(kind, "training_step", interrupted)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "workers": {"execution__num_workers": 2},
    "accumulated": {"trainer__accum_steps": 3, "trainer__scheduler": "MultiStage"},
    "plateau": {"trainer__scheduler": "ReduceLROnPlateau", "execution__early_stop_patience": 3},
    "instrument": {
        "instrument__probe_trainable": True, "instrument__positions_trainable": True,
        "instrument__flux_trainable": True, "instrument__background_trainable": True,
    },
    "several scans": {"data__synthetic__n_objects": 2},
    "scale": {"trainer__intensity_scale_trainable": True},
    "patches": {"model__architecture": "pinn"},
    "best is not last": {"execution__checkpoint_mode": "max"},
}  # fmt: skip


USUAL = ("plain", "workers", "instrument", "patches")


@pytest.mark.parametrize(
    "case", [one if one in USUAL else pytest.param(one, marks=pytest.mark.slow) for one in CASES]
)
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    changes = {"trainer__nepochs": EPOCHS, "execution__resume": "auto"} | CASES[case]
    whole = launched(tmp_path / "whole", **changes)
    folder = tmp_path / "parts"
    kind = PatchTraining if case == "patches" else ObjectTraining
    for epoch in (1, 3):  # twice
        with monkeypatch.context() as patch:
            stop_in(patch, epoch, kind)
            with pytest.raises(KeyboardInterrupt):
                launched(folder, **changes)
        assert state(folder)["state"] == "interrupted"
        assert len(epochs(folder)) == epoch
    assert launched(folder, **changes) == folder
    assert state(folder)["state"] == "finished"
    assert state(folder)["attempts"] == 3
    assert same(whole / "reconstruction.npz", folder / "reconstruction.npz")
    mine, its = weights(whole), weights(folder)
    assert all(torch.equal(mine[name], its[name]) for name in mine)
    figures = ("epoch", "step", "train/loss", "train/learning_rate")
    rows = [[[row[name] for name in figures] for row in epochs(one)] for one in (whole, folder)]
    assert rows[0] == rows[1]
    names = [{file.name for file in (one / "checkpoints").iterdir()} for one in (whole, folder)]
    assert names[0] == names[1]


def test_a_signal_that_python_lost_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, batches = ObjectTraining.training_step, []

    class Cleared:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)  # the handler's KeyboardInterrupt is raised, and dropped, in here

    def interrupted(module: Any, *batch: Any) -> Any:
        batches.append(module.current_epoch)
        if len(batches) == 2:
            Cleared()
        return step(module, *batch)

    monkeypatch.setattr(ObjectTraining, "training_step", interrupted)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        launched(tmp_path / "run", trainer__nepochs=3)
    assert len(batches) == 2
    assert state(tmp_path / "run")["state"] == "interrupted"


def test_a_folder_may_be_moved_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {
        "trainer__nepochs": EPOCHS, "execution__resume": "auto", "execution__checkpoint_mode": "max"
    }  # fmt: skip  # the best epoch is an early one
    whole = launched(tmp_path / "whole", **changes)
    with monkeypatch.context() as patch:
        stop_in(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            launched(tmp_path / "parts", **changes)
    (tmp_path / "parts").rename(tmp_path / "moved")
    folder = launched(tmp_path / "moved", **changes)
    assert same(whole / "reconstruction.npz", folder / "reconstruction.npz")
    names = [{file.name for file in (one / "checkpoints").iterdir()} for one in (whole, folder)]
    assert names[0] == names[1]
    assert f"best-epoch={EPOCHS - 1:03d}.ckpt" not in names[0], "nothing is tested"


def test_a_damaged_checkpoint_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_in(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            launched(tmp_path / "run", execution__resume="auto")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"half")
    with pytest.raises(UserError, match=r"last\.ckpt is damaged .* delete it, and the training"):
        launched(tmp_path / "run", execution__resume="auto")


def test_deaths_in_a_row_are_counted(tmp_path: Path) -> None:
    run, folder = tiny_run(execution__resume="auto"), tmp_path / "run"

    def begun(state: State) -> int:
        with status.claimed(run, folder) as one:
            one.write(state)
        return read_run(folder).deaths

    assert begun(State.running) == 1
    assert begun(State.running) == 2
    (folder / "metrics.csv").write_text("epoch\n0\n")
    assert read_run(folder).deaths == 1, "it came further"
    assert begun(State.running) == 2
    assert begun(State.interrupted) == 0
    assert begun(State.running) == 1


def test_an_adaptation_goes_on_with_its_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = launched(tmp_path / "trained", trainer__nepochs=2)
    changes = {
        "task": "adapt", "bundle": str(trained / "wts.h5.zip"), "data__synthetic__seed": 3,
        "trainer__nepochs": 50, "adapt__epochs": 4, "execution__resume": "auto",
        "data__holdout_fraction": 0.2,
    }  # fmt: skip
    whole = launched(tmp_path / "whole", **changes)
    with monkeypatch.context() as patch:
        stop_in(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            launched(tmp_path / "parts", **changes)
    folder = launched(tmp_path / "parts", **changes)
    assert same(whole / "reconstruction.npz", folder / "reconstruction.npz")
    told = [json.loads((one / "metrics.json").read_text())["training"] for one in (whole, folder)]
    assert told[0]["held_out_deviance"] == told[1]["held_out_deviance"]
    assert len(told[1]["held_out_deviance"]) == 5


def test_what_a_process_left_after_the_training_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptycho.workflows import train

    whole = launched(tmp_path / "whole", execution__resume="auto")
    steps: list[int] = []
    step = ObjectTraining.training_step

    def counted(module: Any, *batch: Any) -> Any:
        steps.append(module.current_epoch)
        return step(module, *batch)

    def stop(*_: Any, **__: Any) -> None:
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(train, "save_network", stop)
        with pytest.raises(SystemExit):
            launched(tmp_path / "parts", execution__resume="auto")
    monkeypatch.setattr(ObjectTraining, "training_step", counted)
    folder = launched(tmp_path / "parts", execution__resume="auto")
    assert not steps, "trained again"
    assert same(whole / "reconstruction.npz", folder / "reconstruction.npz")


def test_a_finished_run_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tiny_run(execution__resume="auto", trainer__nepochs=1)
    first = launch(run, tmp_path / "run", [])
    before = (tmp_path / "run" / "reconstruction.npz").stat().st_mtime_ns
    assert launch(tiny_run(execution__resume="auto", trainer__nepochs=1), tmp_path / "run", [])
    again = launch(tiny_run(execution__resume="auto", trainer__nepochs=1), tmp_path / "run", [])
    assert again == first
    assert isinstance(again, float)
    assert (tmp_path / "run" / "reconstruction.npz").stat().st_mtime_ns == before
    assert "nothing to do, this run is finished already" in capsys.readouterr().out
    quiet = tiny_run(execution__resume="auto", trainer__nepochs=1, execution__quiet=True)
    assert launch(quiet, tmp_path / "run", []) == first
    assert capsys.readouterr().out == ""


def test_other_settings_or_data_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "scan.npz", tiny_scan())
    changes = {
        "data__source": "file", "data__train_data_file": str(tmp_path / "scan.npz"),
        "data__nphotons": None, "execution__resume": "auto", "trainer__nepochs": 3,
        **{f"data__synthetic__{name}": value for name, value in
           (("n_patterns", 1600), ("step", 6.0), ("probe_radius", 12.0))},
    }  # fmt: skip
    with monkeypatch.context() as patch:
        stop_in(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            launched(tmp_path / "run", **changes)
    with pytest.raises(UserError, match=r"run \(interrupted\) of other settings.*ptycho resume"):
        launched(tmp_path / "run", **changes | {"trainer__learning_rate": 1e-4})
    with pytest.raises(UserError, match=r"already holds .*go on with it by execution.resume=auto"):
        launched(tmp_path / "run", **changes | {"execution__resume": "never"})
    write_npz(tmp_path / "scan.npz", tiny_scan(seed=5))
    with pytest.raises(UserError, match="begun on other data than scan holds now"):
        launched(tmp_path / "run", **changes)


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in (".status.json.123.part.json", "checkpoints/.last.ckpt.part", LOCK):
        (folder / name).write_bytes(b"half")
    launched(folder, task="solve")
    assert not list(folder.rglob("*.part*"))


def test_nothing_is_cleared_away_where_no_run_was(tmp_path: Path) -> None:
    mine = tmp_path / "run" / ".notes.part"
    mine.parent.mkdir()
    mine.write_text("mine")
    launched(tmp_path / "run", task="solve")
    assert mine.read_text() == "mine"


def test_two_processes_do_not_work_on_one_run(tmp_path: Path) -> None:
    with (
        status.claimed(tiny_run(), tmp_path / "run"),
        pytest.raises(UserError, match="another process works on this run right now"),
    ):
        launched(tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing was written"
    assert not locked(tmp_path / "run" / LOCK)


def test_the_latest_unfinished_run_of_the_same_settings_is_found(tmp_path: Path) -> None:
    mine, other = tiny_run(), tiny_run(seed=1)

    def begun(name: str, run: Any, how: State) -> Path:
        with status.claimed(run, tmp_path / name) as one:
            one.write(how)
        return tmp_path / name

    assert status.unfinished(mine, tmp_path / "none") is None
    begun("a", mine, State.interrupted)
    wanted = begun("b", mine, State.running)  # and its process is gone: it was killed
    begun("c", mine, State.finished)
    begun("d", mine, State.failed)
    begun("e", other, State.interrupted)
    (tmp_path / "f").mkdir()
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "status.json").write_text("")  # a damaged one is nobody's concern
    assert status.unfinished(mine, tmp_path) == wanted
    changed = tiny_run(execution__resume="auto", logger__backend="csv", sweep__metric=["R"])
    assert status.unfinished(changed, tmp_path) == wanted, "these change no result"
    with status.claimed(tiny_run(execution__resume="auto"), wanted):
        assert status.unfinished(mine, tmp_path) == tmp_path / "a"


def test_epochs_are_written_as_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    told = History.on_train_epoch_start

    def look(*anything: Any) -> None:
        file = tmp_path / "run" / "metrics.csv"
        seen.append(len(file.read_text().splitlines()) - 1 if file.exists() else 0)
        told(*anything)

    monkeypatch.setattr(History, "on_train_epoch_start", look)
    launched(tmp_path / "run", trainer__nepochs=3)
    assert seen == [0, 1, 2]


LONG = ("trainer.nepochs=300", "execution.resume=auto")


def killed_again_and_again(folder: Path, times: int, *settings: str) -> int:
    """Kill a run at random moments, start it again each time; how often it was killed."""
    words = [one for one in command(folder, *settings) if one != "trainer.nepochs=2"]
    chance, kills = random.Random(0), 0
    for number in range(times):
        running = subprocess.Popen(
            words, env=surroundings(), cwd=folder.parent, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if number % 4:  # else while it begins
            wait_for(lambda: read_status(folder).status.get("pid") == running.pid, running)  # noqa: B023
        time.sleep(chance.uniform(0, 3))
        running.send_signal(signal.SIGKILL)
        _, said = running.communicate(timeout=60)
        assert running.returncode in (-9, 0), said
        kills += running.returncode == -9
    done = subprocess.run(
        words, env=surroundings(), cwd=folder.parent, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return kills


@pytest.mark.slow
def test_a_run_survives_being_killed_twenty_times(tmp_path: Path) -> None:
    assert killed_again_and_again(tmp_path / "killed", 20, *LONG) >= 15
    found = read_run(tmp_path / "killed")
    assert found.state == State.finished
    assert found.status["attempts"] >= 10
    words = [one for one in command(tmp_path / "whole", *LONG) if one != "trainer.nepochs=2"]
    subprocess.run(words, env=surroundings(), cwd=tmp_path, check=True, timeout=300)
    assert same(tmp_path / "whole" / "reconstruction.npz", found.path / "reconstruction.npz")
    assert not list(found.path.rglob("*.part*"))


def test_auto_finds_the_folder_and_goes_on_there(tmp_path: Path) -> None:
    words = [
        one for one in command(tmp_path, "execution.resume=auto", "trainer.nepochs=4000")
        if not one.startswith(("hydra.run.dir", "trainer.nepochs=2"))
    ]  # fmt: skip
    running = subprocess.Popen(
        words, env=surroundings(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        wait_for(lambda: bool(list(tmp_path.rglob("last.ckpt"))), running)
    finally:
        running.kill()
        running.communicate()
    (folder,) = (tmp_path / "outputs" / "runs").iterdir()
    assert state(folder)["state"] == "running", "killed: nobody could say so"
    before = len(epochs(folder))
    running = subprocess.Popen(
        words, env=surroundings(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: len(epochs(folder)) > before + 1, running)
        running.send_signal(signal.SIGINT)  # Ctrl-C
        said, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, errors
    assert f"going on with {folder.relative_to(tmp_path)}" in said
    assert "the training goes on after" in said
    assert "Traceback" not in errors
    assert f"{folder} was interrupted; `ptycho resume {folder}` goes on with it" in errors
    assert not list(folder.rglob("*.part*"))
    assert len(list((tmp_path / "outputs" / "runs").iterdir())) == 1
    assert (state(folder)["state"], state(folder)["attempts"]) == ("interrupted", 2)


def test_resume_goes_on_with_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "parts"
    launched(whole, trainer__nepochs=3)
    with pytest.MonkeyPatch.context() as patch:
        stop_in(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            launched(folder, trainer__nepochs=3)
    monkeypatch.chdir(tmp_path)  # and back: to resume, one goes where it began
    monkeypatch.setattr(sys, "argv", ["ptycho", "resume", "parts"])
    main()
    assert "goes on after 1 of 3 epochs" in capsys.readouterr().out
    assert same(whole / "reconstruction.npz", folder / "reconstruction.npz")
    assert (folder / "overrides.txt").read_text() == "typed=this\n"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "no such folder"),
        (lambda one: one.mkdir(), "holds no run"),
    ],
)
def test_nothing_to_resume_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, make: Any, words: str
) -> None:
    from ptycho import resume

    make(tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        resume.main([str(tmp_path / "run")])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_the_dashboard_shows_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    changes = {
        "trainer__nepochs": 3, "execution__resume": "auto", "logger__backend": "mlflow",
        "paths__outputs": str(tmp_path),
    }  # fmt: skip
    with monkeypatch.context() as patch:
        stop_in(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            launched(tmp_path / "run", **changes)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")

    def runs() -> list[Any]:
        return list(client.search_runs([client.get_experiment_by_name("ptycho").experiment_id]))

    (first,) = runs()
    assert first.info.status == "KILLED"
    assert state(tmp_path / "run")["mlflow_run_id"] == first.info.run_id
    launched(tmp_path / "run", **changes)
    (run,) = runs()
    assert run.info.run_id == first.info.run_id
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [one.step for one in history] == [0, 1, 2]
