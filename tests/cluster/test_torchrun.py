"""``torchrun``: one folder, one writer, and what the same processes give without it."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.workflows.test_train import COMMAND, surroundings

pytestmark = pytest.mark.slow

TRAIN = [
    "-m", "ptycho.run", "logger=none", "trainer=ddp",
    *(one for one in COMMAND if not one.startswith("logger")),
]  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
LONG = 200


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ended(folder: Path) -> Path:
    """The only run folder; with a whole run in it."""
    (run,) = (folder / "outputs" / "runs").iterdir()
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    rows = (run / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["step", "2", "4"], "4 tiles, 2 for each process"
    return run


def obj(run: Path) -> np.ndarray:
    with np.load(run / "reconstruction.npz") as file:
        return np.array(file["object"])


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        words, env=surroundings(), cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def test_its_processes_train_as_those_that_ptycho_starts(tmp_path: Path) -> None:
    port = f"--master-port={free_port()}"
    one = start(tmp_path / "it", *TORCHRUN, "--nproc-per-node=2", port, *TRAIN)
    out, errors = one.communicate(timeout=LONG)
    assert one.returncode == 0, errors
    assert out.count("finished in") == 1, "more than one process reported"
    own = start(tmp_path / "own", sys.executable, *TRAIN, "trainer.devices=2")
    assert own.wait(LONG) == 0
    assert np.array_equal(obj(ended(tmp_path / "it")), obj(ended(tmp_path / "own")))


def test_two_nodes_train_into_one_folder(tmp_path: Path) -> None:
    meeting = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    words = [*TORCHRUN, *meeting, f"--master-port={free_port()}"]
    nodes = [
        start(tmp_path, *words, f"--node-rank={node}", *TRAIN, "trainer.num_nodes=2")
        for node in range(2)
    ]
    for node in nodes:
        errors = node.communicate(timeout=LONG)[1]
        assert node.returncode == 0, errors
    ended(tmp_path)


def test_a_run_of_one_process_is_refused(tmp_path: Path) -> None:
    port = f"--master-port={free_port()}"
    one = start(tmp_path, *TORCHRUN, "--nproc-per-node=2", port, *TRAIN, "trainer=cpu")
    errors = one.communicate(timeout=LONG)[1]
    assert one.returncode != 0
    said = "ptycho: torchrun started 2 processes, and trainer.strategy=auto needs one"
    assert errors.count(said) == 1
    assert "ptycho/run.py" not in errors, "torchrun's own traceback is enough"
    assert not (tmp_path / "outputs").exists()
