"""What every script that is measured shares: one thread, a clock that pauses, snapshots.

Nothing but NumPy and the standard library is imported here, because the peers' scripts run in
environments of their own, without ptycho. They are called as

    run_NAME.py --scan SCAN.npz --out FOLDER --budget SECONDS --settings JSON [--fit-probe]

and write ``snapshot_000.npz``, ``snapshot_001.npz``, ... into the folder, each with ``obj``
(complex64, ``(H, W)``), ``origin`` (the scan's pixel (y, x) at the object's first one), ``cpu``
and ``wall`` (seconds of reconstruction so far) and ``iteration``; at last ``about.json``.

The clock runs during iterations alone. Imports, reading, preparing the data and building the
problem come before it starts, and it stands still while an object is kept.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Environment variables that must be 1."""

_FIRST, _GROWTH = 0.25, 1.35  # CPU seconds of the first snapshot, ratio of the following


@dataclass(frozen=True)
class Scan:
    """Counts ``(n, N, N)``, patch centres ``(n, 2)`` as (y, x), probe ``(modes, N, N)``."""

    counts: Any
    positions: Any
    probe: Any

    @property
    def size(self) -> int:
        """Side N of a pattern."""
        return self.counts.shape[-1]

    def canvas(self, margin: int) -> tuple[Any, tuple[int, int]]:
        """The scan's pixel at the corner of a canvas that holds all patches, and its size."""
        low = np.floor(self.positions.min(0)).astype(int) - self.size // 2 - margin
        high = np.ceil(self.positions.max(0)).astype(int) + self.size // 2 + margin
        height, width = (high - low).tolist()
        return low, (height, width)


def read(path: Path) -> Scan:
    """A scan as ptycho writes it: amplitudes, zero frequency at the centre."""
    with np.load(path) as file:
        amplitude, probe = file["diffraction"], file["probeGuess"]
        positions = np.stack([file["ycoords"], file["xcoords"]], axis=1).astype(np.float64)
    counts = np.square(amplitude.astype(np.float32))
    return Scan(counts, positions, probe.reshape(-1, *probe.shape[-2:]).astype(np.complex64))


class Clock:
    """CPU seconds of this process and wall seconds, while it runs.

    Attributes:
        cpu: CPU seconds when it was last paused.
        wall: wall seconds likewise.
    """

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.resume()

    def resume(self) -> None:
        """Let it run."""
        self._began = time.process_time(), time.perf_counter()

    def pause(self) -> None:
        """Stop it."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.cpu += cpu - self._began[0]
        self.wall += wall - self._began[1]
        self._began = cpu, wall


class BudgetSpentError(Exception):
    """The CPU seconds are spent."""


class Recorder:
    """Keeps objects along the way, about evenly on a logarithmic axis of time.

    Args:
        folder: where snapshots go.
        budget: CPU seconds after which :meth:`tick` raises :class:`BudgetSpentError`.
        take: gives the present object ``(H, W)``; called while the clock stands still.
        origin: the scan's pixel (y, x) at the object's first pixel.
    """

    def __init__(self, folder: Path, budget: float, take: Callable[[], Any], origin: Any) -> None:
        self.folder, self.budget, self.take, self.origin = folder, budget, take, origin
        self.iterations = self.snapshots = 0
        self._next = _FIRST
        self.clock = Clock()

    def tick(self) -> None:
        """An iteration is done: keep the object when it is time to."""
        clock = self.clock
        clock.pause()
        self.iterations += 1
        spent = clock.cpu >= self.budget
        if spent or clock.cpu >= self._next:
            obj, origin = self.take(), self.origin
            save(self.folder, self.snapshots, obj, origin, clock.cpu, clock.wall, self.iterations)
            self.snapshots += 1
            self._next = clock.cpu * _GROWTH
        if spent:
            raise BudgetSpentError
        clock.resume()


def save(
    folder: Path, number: int, obj: Any, origin: Any, cpu: float, wall: float, iteration: int
) -> None:
    """Write a snapshot; it appears complete or not at all."""
    partial = folder / f"snapshot_{number:03d}.part"
    with partial.open("wb") as file:
        np.savez(
            file, obj=np.asarray(obj, dtype=np.complex64), origin=np.asarray(origin, np.int64),
            cpu=cpu, wall=wall, iteration=iteration,
        )  # fmt: skip
    partial.replace(partial.with_suffix(".npz"))


def arguments() -> argparse.Namespace:
    """The command line of a script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--fit-probe", action="store_true")
    return parser.parse_args()


def describe(folder: Path, packages: list[str], threads: int) -> None:
    """Write which versions ran, on how many threads."""
    about = {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "threads": threads,
    }
    (folder / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")


def one_thread() -> None:
    """Refuse to start with more; called before anything numerical is imported."""
    for name in THREADS:
        if os.environ.get(name) != "1":
            sys.exit(f"{name} must be 1 in the environment, got {os.environ.get(name)!r}.")
