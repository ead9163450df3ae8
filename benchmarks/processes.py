"""Running what is measured: one process at a time, one thread, watched."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers.protocol import THREADS

Watch = Callable[[float], None]

_POLL = 0.25  # seconds
_QUIET = {"CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg", "TQDM_DISABLE": "1"}


class FailedError(Exception):
    """A method did not come to an end; the message says why."""


def execute(command: list[str], folder: Path, limit: float, watch: Watch | None = None) -> None:
    """Run a command that writes snapshots below a folder.

    Args:
        command: what to run; on one thread, without a GPU.
        folder: made when missing.
        limit: wall seconds after which it is stopped.
        watch: called with the CPU seconds of the newest snapshot.

    Raises:
        FailedError: it ended with an error, took too long or wrote nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | dict.fromkeys(THREADS, "1") | _QUIET
    log = folder / "log.txt"
    began = time.monotonic()
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environment,
        ) as process,
    ):  # fmt: skip
        try:
            while process.poll() is None:
                if time.monotonic() - began > limit:
                    raise FailedError(f"stopped after {limit:.0f} s of wall time")
                if watch is not None:
                    watch(newest(folder))
                time.sleep(_POLL)
        finally:
            process.kill()
    if process.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()
        what = lines[-1].strip() if lines else "without a word"
        raise FailedError(f"failed (exit code {process.returncode}): {what}")
    if not any(folder.rglob("snapshot_*.npz")):
        raise FailedError("ended without a single snapshot")


def newest(folder: Path) -> float:
    """CPU seconds of the newest snapshot below a folder; 0 without one."""
    found = max(folder.rglob("snapshot_*.npz"), key=lambda path: path.stat().st_mtime, default=None)
    if found is None:
        return 0.0
    with np.load(found) as file:
        return float(file["cpu"])
