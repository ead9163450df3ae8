"""A run from settings to files, in this process; the slow ways to end one in others."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ptycho.config import legacy
from ptycho.config.config import RunConfig, UserError
from ptycho.data.formats.npz import write_npz
from ptycho.report.bundle import load_bundle
from ptycho.training.callbacks import CollapseError
from ptycho.training.module import ObjectTraining
from ptycho.workflows import session
from tests.runs import TINY, launched, tiny_scan

FILES = {
    "checkpoints", "config.resolved.yaml", "env.json", "metrics.csv", "metrics.json",
    "overrides.txt", "reconstruction.npz", "reconstruction.png", "status.json", "wts.h5.zip",
}  # fmt: skip
IN_A_DIRTY_CHECKOUT = {"changes.diff"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be looked at by many."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("train") / "run"
    return launched(folder, pictures=True, trainer__nepochs=3)


def state(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return content


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def same(one: Path, other: Path) -> bool:
    mine, its = arrays(one), arrays(other)
    assert set(mine) == set(its)
    return all(np.array_equal(mine[key], its[key]) for key in mine)


def epochs(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def checkpoints(folder: Path) -> set[str]:
    return {file.name for file in (folder / "checkpoints").glob("*.ckpt")}


def test_all_files_are_there_and_no_litter(run: Path) -> None:
    assert {file.name for file in run.iterdir()} - IN_A_DIRTY_CHECKOUT == FILES
    assert state(run)["state"] == "finished"
    assert (run / "overrides.txt").read_text() == "typed=this\n"
    assert (run / "reconstruction.png").read_bytes()[1:4] == b"PNG"


def test_settings_are_recorded_resolved(run: Path) -> None:
    settings = yaml.safe_load((run / "config.resolved.yaml").read_text())
    assert settings["trainer"]["nepochs"] == 3
    assert settings["model"]["N"] == 32
    assert settings["logger"]["backend"] == "none"


def test_figures_stand_between_the_floors(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics["stages"]) == ["lift", "network", "refined", "flat", "noise"]
    assert metrics["stages"]["flat"]["C"] == pytest.approx(0, abs=1e-3)
    assert metrics["stages"]["refined"]["C"] > 0.5
    assert metrics["training"]["epochs"] == 3
    assert [int(row["epoch"]) for row in epochs(run)] == [0, 1, 2]
    assert metrics["training"]["loss"] == float(epochs(run)[-1]["train/loss"])


def test_surroundings_are_recorded(run: Path) -> None:
    env = json.loads((run / "env.json").read_text())
    assert env["seed"] == 0
    assert env["threads"] == 1
    assert env["data"]["patterns"] == 64
    assert len(env["data_sha256"]) == 64


def test_bundle_holds_the_trained_network(run: Path) -> None:
    bundle = load_bundle(run / "wts.h5.zip")
    assert bundle.weights["generator.head.weight"].abs().max() > 0
    assert bundle.config["trainer"]["nepochs"] == 3
    assert bundle.params["intensity_scale"] > 0
    assert bundle.params["nepochs"] == 3
    probe = torch.view_as_complex(bundle.physics["probe"])
    np.testing.assert_array_equal(probe.numpy(), arrays(run / "reconstruction.npz")["probe"])


def test_best_and_last_checkpoint_are_kept(run: Path) -> None:
    losses = [float(row["train/loss"]) for row in epochs(run)]
    best = losses.index(min(losses))
    assert checkpoints(run) == {"last.ckpt", f"best-epoch={best:03d}.ckpt"}


def test_last_checkpoint_loads_safely(run: Path) -> None:
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["epoch"] == 2


class TestLaunching:
    """One tiny run each."""

    def test_same_settings_same_bits(self, tmp_path: Path, run: Path) -> None:
        again = launched(tmp_path / "again", trainer__nepochs=3)
        assert same(run / "reconstruction.npz", again / "reconstruction.npz")
        mine, its = (load_bundle(folder / "wts.h5.zip").weights for folder in (run, again))
        assert all(torch.equal(mine[name], its[name]) for name in mine)

    def test_legacy_params_do_not_leak(self, tmp_path: Path) -> None:
        legacy.cfg.clear()
        legacy.set("mine", 1)
        launched(tmp_path / "run", trainer__nepochs=1)
        assert legacy.cfg == {"mine": 1}
        legacy.cfg.clear()

    def test_a_folder_that_holds_a_run_is_refused(self, run: Path) -> None:
        before = (run / "status.json").read_bytes()
        with pytest.raises(UserError, match=r"already holds a run \(finished\); name another"):
            launched(run)
        assert (run / "status.json").read_bytes() == before

    def test_failure_is_recorded_and_raised(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise ArithmeticError("out of cheese")

        monkeypatch.setattr(ObjectTraining, "training_step", fail)
        with pytest.raises(ArithmeticError):
            launched(tmp_path / "run")
        assert state(tmp_path / "run")["state"] == "failed"
        assert state(tmp_path / "run")["error"] == "ArithmeticError: out of cheese"

    def test_collapse_fails_the_run(self, tmp_path: Path) -> None:
        with pytest.raises(CollapseError):
            launched(tmp_path / "run", trainer__learning_rate=1.0, trainer__nepochs=9)
        assert state(tmp_path / "run")["error"].startswith("CollapseError: training stopped")
        assert len(epochs(tmp_path / "run")) < 9

    def test_interruption_is_recorded_and_raised(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = ObjectTraining.training_step

        def interrupted(module: ObjectTraining, *batch: Any) -> Any:
            if module.current_epoch == 1:
                raise KeyboardInterrupt
            return step(module, *batch)

        monkeypatch.setattr(ObjectTraining, "training_step", interrupted)
        handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
        with pytest.raises(KeyboardInterrupt):
            launched(tmp_path / "run")
        assert state(tmp_path / "run")["state"] == "interrupted"
        assert len(epochs(tmp_path / "run")) == 1
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers

    @pytest.mark.parametrize(
        ("where", "kind"),
        [
            ("lift", signal.SIGTERM),
            ("refine", signal.SIGTERM),
            ("training_step", signal.SIGTERM),
            ("training_step", signal.SIGUSR1),
        ],
    )
    def test_a_signal_ends_a_run_wherever_it_stands(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, kind: signal.Signals
    ) -> None:
        from ptycho.workflows import stages

        def terminated(*_: Any, **__: Any) -> None:
            os.kill(os.getpid(), kind)
            time.sleep(5)
            raise AssertionError("still alive")

        owner = ObjectTraining if where == "training_step" else stages
        monkeypatch.setattr(owner, where, terminated)
        with pytest.raises(SystemExit) as ended:
            launched(tmp_path / "run")
        assert ended.value.code == 128 + kind
        found = state(tmp_path / "run")
        assert (found["state"], found["exit"], found["attempts"]) == ("interrupted", 128 + kind, 1)

    @pytest.mark.parametrize(("keep", "files"), [(0, 1), (2, 3), (-1, 4)])
    def test_as_many_checkpoints_as_asked(self, tmp_path: Path, keep: int, files: int) -> None:
        folder = launched(
            tmp_path / "run", trainer__nepochs=3, execution__checkpoint_save_top_k=keep
        )
        assert len(checkpoints(folder)) == files
        assert "last.ckpt" in checkpoints(folder)

    def test_no_checkpoints_when_switched_off(self, tmp_path: Path) -> None:
        folder = launched(tmp_path / "run", execution__enable_checkpointing=False)
        assert not (folder / "checkpoints").exists()
        assert state(folder)["state"] == "finished"

    def test_monitor_and_mode_choose_the_best(self, tmp_path: Path) -> None:
        # a rate this small: the loss of an epoch is that of its tiles, best is not last
        common: dict[str, Any] = {"trainer__nepochs": 4}
        lowest = launched(tmp_path / "a", **common)
        highest = launched(tmp_path / "b", execution__checkpoint_mode="max", **common)
        losses = [float(row["train/loss"]) for row in epochs(lowest)]
        assert f"best-epoch={losses.index(min(losses)):03d}.ckpt" in checkpoints(lowest)
        assert f"best-epoch={losses.index(max(losses)):03d}.ckpt" in checkpoints(highest)
        for alias in ("train_loss", "val_loss"):
            named = {"execution__checkpoint_monitor_metric": alias}
            assert checkpoints(launched(tmp_path / alias, **named, **common)) == checkpoints(lowest)

    def test_speed_may_be_monitored(self, tmp_path: Path) -> None:
        folder = launched(
            tmp_path / "run", trainer__nepochs=3, execution__checkpoint_mode="max",
            execution__checkpoint_monitor_metric="train/patterns_per_s",
        )  # fmt: skip
        rates = [float(row["train/patterns_per_s"]) for row in epochs(folder)]
        assert f"best-epoch={rates.index(max(rates)):03d}.ckpt" in checkpoints(folder)

    def test_best_weights_are_used_not_the_last(self, tmp_path: Path) -> None:
        folder = launched(tmp_path / "run", trainer__nepochs=4, execution__checkpoint_mode="max")
        (best,) = checkpoints(folder) - {"last.ckpt"}
        saved = torch.load(folder / "checkpoints" / best, weights_only=True)["state_dict"]
        bundle = load_bundle(folder / "wts.h5.zip").weights
        assert best != "best-epoch=003.ckpt", "the best is the last: nothing is tested"
        assert all(torch.equal(bundle[name], saved[f"network.{name}"]) for name in bundle)

    def test_training_stops_early(self, tmp_path: Path) -> None:
        folder = launched(
            tmp_path / "run", trainer__nepochs=9, trainer__learning_rate=1e-12,
            execution__early_stop_patience=1,
        )  # fmt: skip
        losses = [float(row["train/loss"]) for row in epochs(folder)]
        assert len(losses) < 9
        assert losses[-1] >= min(losses[:-1])
        patient = launched(
            tmp_path / "patient", trainer__nepochs=9, trainer__learning_rate=1e-12,
            execution__early_stop_patience=None,
        )  # fmt: skip
        assert len(epochs(patient)) == 9

    def test_second_scan_is_scored_beside_the_first(self, tmp_path: Path) -> None:
        write_npz(tmp_path / "second.npz", tiny_scan(seed=5, kind="dead_leaves"))
        folder = launched(tmp_path / "run", data__test_data_file=str(tmp_path / "second.npz"))
        metrics = json.loads((folder / "metrics.json").read_text())
        assert list(metrics["test_stages"]) == list(metrics["stages"])
        assert metrics["test_stages"] != metrics["stages"]
        assert not same(folder / "reconstruction.npz", folder / "test_reconstruction.npz")
        assert (folder / "test_reconstruction.png").is_file()

    def test_pictures_of_every_second_epoch(self, tmp_path: Path) -> None:
        folder = launched(
            tmp_path / "run", trainer__nepochs=4, execution__recon_log_every_n_epochs=2
        )
        shown = sorted((folder / "epochs").iterdir())
        assert [file.name for file in shown] == [
            "epoch_0000.png", "epoch_0002.png", "epoch_0004.png",
        ]  # fmt: skip
        assert all(file.read_bytes()[1:4] == b"PNG" for file in shown)

    def test_batches_are_limited(self, tmp_path: Path) -> None:
        folder = launched(tmp_path / "run", execution__limit_train_batches=1)
        assert [int(row["step"]) for row in epochs(folder)] == [1, 2]

    @pytest.mark.parametrize("kind", ["simple", "advanced"])
    def test_profile_is_written(self, tmp_path: Path, kind: str) -> None:
        folder = launched(tmp_path / "run", trainer__nepochs=1, execution__profiler=kind)
        (profile,) = folder.glob("*profile*")
        assert "training_step" in profile.read_text()

    def test_nothing_to_refine_no_refined_stage(self, tmp_path: Path) -> None:
        folder = launched(
            tmp_path / "run", trainer__nepochs=1, refine__iterations=0,
            refine__poisson_iterations=0,
        )  # fmt: skip
        metrics = json.loads((folder / "metrics.json").read_text())
        assert list(metrics["stages"]) == ["lift", "network", "flat", "noise"]

    def test_solving_needs_no_network(self, tmp_path: Path) -> None:
        folder = launched(tmp_path / "run", task="solve")
        metrics = json.loads((folder / "metrics.json").read_text())
        assert list(metrics["stages"]) == ["solver", "flat", "noise"]
        assert {file.name for file in folder.iterdir()} - IN_A_DIRTY_CHECKOUT == FILES - {
            "checkpoints", "metrics.csv", "wts.h5.zip",
        }  # fmt: skip

    @pytest.mark.parametrize("odd", [31, 33])
    def test_odd_patterns_train(self, tmp_path: Path, odd: int) -> None:
        folder = launched(tmp_path / "run", model__N=odd, trainer__nepochs=1)
        assert arrays(folder / "reconstruction.npz")["probe"].shape == (1, odd, odd)

    @pytest.mark.parametrize("batch_size", [1, 1000])
    def test_tiles_of_one_or_of_all_patterns_train(self, tmp_path: Path, batch_size: int) -> None:
        folder = launched(tmp_path / "run", trainer__nepochs=1, trainer__batch_size=batch_size)
        # three of the 64 patterns are held out
        assert [int(row["step"]) for row in epochs(folder)] == [61 if batch_size == 1 else 1]

    def test_reconstructing_gives_the_bits_of_the_training(self, tmp_path: Path, run: Path) -> None:
        folder = launched(tmp_path / "run", task="reconstruct", bundle=str(run / "wts.h5.zip"))
        assert same(run / "reconstruction.npz", folder / "reconstruction.npz")
        assert state(folder)["state"] == "finished"

    def test_nothing_the_network_was_trained_on_is_held_out_later(
        self, tmp_path: Path, run: Path
    ) -> None:
        folder = launched(
            tmp_path / "run", task="reconstruct", bundle=str(run / "wts.h5.zip"),
            data__holdout_fraction=0.3,
        )  # fmt: skip
        held = arrays(folder / "reconstruction.npz")["held_out"]
        assert np.array_equal(held, arrays(run / "reconstruction.npz")["held_out"])

    def test_bundle_says_which_network_and_how_to_lift(self, tmp_path: Path) -> None:
        trained = launched(
            tmp_path / "a", trainer__nepochs=1, model__n_filters_scale=2,
            model__lift_iterations=1, solver__cap=5.0, refine__iterations=0,
            refine__poisson_iterations=0,
        )  # fmt: skip
        again = launched(
            tmp_path / "b", task="reconstruct", bundle=str(trained), refine__iterations=0,
            refine__poisson_iterations=0,
            model__lift_coarse_iterations=RunConfig().model.lift_coarse_iterations,
        )  # fmt: skip
        assert same(trained / "reconstruction.npz", again / "reconstruction.npz")


COMMAND = [
    f"{name}={'null' if value is None else value}"
    for name, value in TINY.items()
    if not name.startswith("solver.")  # which no training reads
]


def command(outputs: Path, *settings: str) -> list[str]:
    """``python -m ptycho.run`` on the tiny scan."""
    tiny = [one for one in COMMAND if not one.startswith("logger")]
    words = ["logger=none", *tiny, f"hydra.run.dir={outputs}", *settings]
    return [sys.executable, "-m", "ptycho.run", *words]


def surroundings() -> dict[str, str]:
    package = str(Path(session.__file__).parents[2])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": package}


def test_another_process_gives_the_same_bits_on_a_second_scan(
    tmp_path: Path,
) -> None:
    second = tmp_path / "second.npz"
    write_npz(second, tiny_scan(seed=5))
    trained = launched(tmp_path / "train", trainer__nepochs=1, data__test_data_file=str(second))
    folder = tmp_path / "run"
    settings = [
        "task=reconstruct", f"bundle={trained / 'wts.h5.zip'}", "data=npz",
        f"data.train_data_file={second}", "execution.threads=1", "data.nphotons=null",
    ]  # fmt: skip
    python, *words = command(folder, *settings)
    unread = ("data.synthetic", "trainer.nepochs", "trainer.batch_size", "trainer.warmup_steps")
    words = [word for word in words if not word.startswith(unread)]
    words = [python, "-X", "importtime", *words]
    done = subprocess.run(
        words, env=surroundings(), cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "torch" in imported
    assert not imported & {"mlflow", "tensorboard"}, "nobody asked for a dashboard"
    assert "lightning" not in imported, "nobody asked for a training"
    assert same(trained / "test_reconstruction.npz", folder / "reconstruction.npz")
    for name in ("reconstructed_amplitude.png", "reconstructed_phase.png"):
        assert (folder / name).read_bytes()[1:4] == b"PNG"
        assert f"{folder / name}" in done.stdout.replace("\n", "")
        assert not (trained / name).exists()


def interrupt(folder: Path, kind: signal.Signals) -> tuple[int, str]:
    """Start a long training, send a signal when two epochs are over."""
    words = command(folder, "trainer.nepochs=5000", "execution.early_stop_patience=null")
    running = subprocess.Popen(
        words, env=surroundings(), cwd=folder.parent, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: (folder / "checkpoints" / "last.ckpt").exists(), running)
        running.send_signal(kind)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    return running.returncode, said


def wait_for(condition: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if condition() or running.poll() is not None:
            return
        time.sleep(0.1)


@pytest.mark.slow  # quick: Ctrl-C in test_resume.test_auto_finds..., others in this process, above
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_interrupted_process_leaves_everything_in_order(
    tmp_path: Path, kind: signal.Signals
) -> None:
    folder = tmp_path / "run"
    returned, said = interrupt(folder, kind)
    assert returned == 128 + kind, said
    assert "Traceback" not in said
    assert f"{folder} was interrupted; `ptycho resume {folder}` goes on with it" in said
    assert state(folder)["state"] == "interrupted"
    assert len(epochs(folder)) >= 1
    assert not list(folder.rglob("*.part*"))
