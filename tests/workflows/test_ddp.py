import csv
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from ptycho.report.folder import State, read_jobs
from tests.workflows.test_train import command, surroundings, wait_for


@pytest.mark.parametrize("model", ["object_pinn", pytest.param("pinn", marks=pytest.mark.slow)])
def test_two_processes_train_into_one_folder(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "runs" / "run"
    words = command(
        folder,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.nepochs=2",
        f"model={model}",
    )
    done = subprocess.run(
        words, env=surroundings(), cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert [one.name for one in folder.parent.iterdir()] == ["run"]
    assert not (tmp_path / "outputs").exists()
    assert (folder / "wts.h5.zip").is_file()
    # 4 tiles an epoch, 2 for each process
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["step", "2", "4"]
    assert done.stdout.count("lift ") <= 2, "both processes reported"


@pytest.mark.slow
def test_two_processes_share_several_scans_and_adapt(tmp_path: Path) -> None:
    both = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    trained, adapted = tmp_path / "trained", tmp_path / "adapted"
    several = [*both, "data.synthetic.n_objects=3", "data.synthetic.object=mixed"]
    bundle = f"bundle={trained / 'wts.h5.zip'}"
    moving = ["task=adapt", bundle, "trainer.nepochs=50", "adapt.epochs=2", "data.synthetic.seed=4"]
    for folder, words in ((trained, several), (adapted, [*both, *moving])):
        done = subprocess.run(
            command(folder, *words), env=surroundings(), cwd=tmp_path, capture_output=True,
            text=True, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    # 12 tiles of all scans an epoch, then 4 of the one; half for each process
    for folder, steps in ((trained, ["step", "6", "12"]), (adapted, ["step", "2", "4"])):
        rows = (folder / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[1] for row in rows] == steps


def started_by_hand(folder: Path, rates: tuple[str, str]) -> list[tuple[int, str]]:
    """Two processes of one training, as a batch system starts them; exit codes and errors."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    running = [
        subprocess.Popen(
            command(
                folder, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
                f"trainer.learning_rate={rate}",
            ),
            env=surroundings() | {
                "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            },
            cwd=folder.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank, rate in enumerate(rates)
    ]  # fmt: skip
    said = [one.communicate(timeout=180)[1] for one in running]
    return [(one.returncode, text) for one, text in zip(running, said, strict=True)]


@pytest.mark.slow
def test_processes_with_different_settings_never_train(tmp_path: Path) -> None:
    found = started_by_hand(tmp_path / "apart", ("1e-3", "3e-3"))
    assert [code for code, _ in found] == [2, 2]
    assert all("started with different settings" in said for _, said in found)
    assert not (tmp_path / "apart" / "metrics.csv").exists(), "an epoch was trained"
    state = json.loads((tmp_path / "apart" / "status.json").read_text())
    assert state["state"] == "failed"
    found = started_by_hand(tmp_path / "alike", ("1e-3", "1e-3"))
    assert [code for code, _ in found] == [0, 0], found


@pytest.mark.slow
def test_a_process_that_dies_takes_the_others_along(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = command(
        folder, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "trainer.nepochs=5000",
    )  # fmt: skip
    running = subprocess.Popen(
        words, env=surroundings(), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: (folder / "checkpoints" / "last.ckpt").exists(), running)
        (other,) = children_of(running.pid)
        os.kill(other, signal.SIGKILL)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode not in (0, None), said
    assert json.loads((folder / "status.json").read_text())["state"] in ("failed", "interrupted")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_ends_all_processes(tmp_path: Path, kind: signal.Signals) -> None:
    folder = tmp_path / "run"
    words = command(
        folder, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "trainer.nepochs=5000", "execution.resume=auto",
    )  # fmt: skip
    running = subprocess.Popen(
        words, env=surroundings(), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: (folder / "checkpoints" / "last.ckpt").exists(), running)
        (other,) = children_of(running.pid)
        running.send_signal(kind)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 128 + kind, said
    assert "Traceback" not in said
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert not Path(f"/proc/{other}").exists()


def children_of(pid: int) -> list[int]:
    """Processes of ptycho that another one started."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            mine = b"ptycho.workflows.ranks" in (one / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and mine:
            found.append(int(one.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_trials_of_a_sweep_train_in_two_processes(tmp_path: Path, launcher: str) -> None:
    # a sweep that draws is where processes used to train with values of their own
    words = [one for one in command(tmp_path) if not one.startswith("hydra.run.dir")]
    words += [
        "-m", "sweep=random", "sweep.n_trials=2", "trainer.learning_rate=interval(1e-4,1e-2)",
        f"launcher={launcher}", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "trainer.nepochs=2", "trainer.scheduler=Default", "hydra.sweep.dir=sweep",
        "trainer.warmup_steps=20",
    ]  # fmt: skip
    words = [one for one in words if one != "trainer.warmup_steps=1"]
    done = subprocess.run(
        words, env=surroundings(), cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr + done.stdout
    jobs = read_jobs(tmp_path / "sweep")
    assert [one.number for one in jobs] == [0, 1]
    rates = []
    for one in jobs:
        assert one.state == State.finished
        rows = list(csv.DictReader((one.path / "metrics.csv").open()))
        assert [row["step"] for row in rows] == ["2", "4"], "half of the tiles each"
        rates.append(float(rows[0]["train/learning_rate"]))
        assert rates[-1] == one.settings["trainer"]["learning_rate"]
    assert rates[0] != rates[1]
    shown = {file.name for file in (tmp_path / "sweep").iterdir() if file.is_dir()}
    assert {name for name in shown if not name.startswith(".")} == {"0", "1", "report"}
