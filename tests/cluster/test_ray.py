"""Sweeps on Ray: one that is started for them, and one that runs already, elsewhere."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ptycho.data.formats.npz import write_npz
from tests.fakeslurm.cluster import wait_until
from tests.fakeslurm.commands import is_alive
from tests.runs import tiny_scan
from tests.workflows.test_train import COMMAND, surroundings

pytest.importorskip("ray", reason="pip install 'ptycho[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.ray]

SWEEP = [
    sys.executable, "-m", "ptycho.run", "-m", "launcher=ray", "logger=none",
    *(one for one in COMMAND if not one.startswith("logger")),
]  # fmt: skip


def env(home: Path) -> dict[str, str]:
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return surroundings() | quiet | {"HOME": str(home), "PATH": programs}


def states(folder: Path) -> list[str]:
    found: list[dict[str, Any]] = [
        json.loads((folder / number / "status.json").read_text()) for number in ("0", "1")
    ]
    return [one["state"] for one in found]


def sweep(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [*SWEEP, *words], env=env(folder), cwd=folder, capture_output=True, text=True, timeout=240
    )


def processes(word: str) -> set[int]:
    """Of this user, with a word in their command lines."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word in path.read_bytes().decode(errors="replace"):
                found.add(int(path.parent.name))
    return found


def test_a_sweep_starts_its_own_ray_and_ends_it(tmp_path: Path) -> None:
    before = processes("raylet") | processes("gcs_server")
    done = sweep(tmp_path, "trainer.learning_rate=1e-3,3e-3", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert states(tmp_path / "sweep") == ["finished", "finished"]
    assert "8265" not in done.stderr, "a dashboard was started"
    left = (processes("raylet") | processes("gcs_server")) - before
    wait_until(lambda: not any(map(is_alive, left)))


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray that runs, in a folder of its own."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    short = tempfile.mkdtemp(prefix="r")  # a socket's name has at most 107 letters
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    words = [
        "ray", "start", "--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1",
        "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={short}",
        "--object-store-memory=100000000",
    ]  # fmt: skip
    log = (elsewhere / "log").open("w")
    head = subprocess.Popen(
        words, env=env(elsewhere), cwd=elsewhere, stdout=log, stderr=log, start_new_session=True
    )

    def up() -> bool:
        assert head.poll() is None, (elsewhere / "log").read_text()
        return "--address" in (elsewhere / "log").read_text()

    try:
        wait_until(up)
        yield f"127.0.0.1:{port}"
    finally:
        head.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        log.close()
        shutil.rmtree(short, ignore_errors=True)


def test_a_sweep_runs_on_a_ray_that_runs_elsewhere(tmp_path: Path, address: str) -> None:
    write_npz(tmp_path / "scan.npz", tiny_scan())
    synthetic = ("data.synthetic", "data.nphotons", "model.N")
    own = [one for one in SWEEP if not one.startswith(synthetic)]
    done = subprocess.run(
        [*own, f"hydra.launcher.ray.init.address={address}", "data=npz",
         "data.train_data_file=scan.npz", "trainer.learning_rate=1e-3,3e-3"],
        env=env(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert states(folder) == ["finished", "finished"]
