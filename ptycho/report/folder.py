"""What lies in the folders of runs and sweeps, read back."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from ptycho.config.config import UserError

SWEEP = "sweep.json"
STATUS = "status.json"
SETTINGS = "config.resolved.yaml"
RESULTS = ("reconstruction.npz", "test_reconstruction.npz")
"""What a run writes of its own scan, and of ``data.test_data_file``."""
LOCK = ".running.lock"
BUNDLE = "wts.h5.zip"


class State(StrEnum):
    """How a run stands, as its ``status.json`` says."""

    running = "running"
    finished = "finished"
    failed = "failed"
    interrupted = "interrupted"
    pruned = "pruned"

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self in (State.finished, State.failed, State.pruned)


@dataclass(frozen=True)
class RunFolder:
    """A run as its folder tells it; what is missing there is empty here."""

    path: Path
    status: dict[str, Any] = field(default_factory=dict)
    """``status.json``: ``state``, ``seconds``, ``metric`` (name -> value), ``error``, ..."""
    settings: dict[str, Any] = field(default_factory=dict)
    """``config.resolved.yaml``, nested."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """``metrics.json``: ``stages`` (name -> figures), ``training``, ..."""
    environment: dict[str, Any] = field(default_factory=dict)
    """``env.json``."""
    overrides: tuple[str, ...] = ()
    """What was typed, or chosen by a sweep."""

    @property
    def state(self) -> State | None:
        """How it stands; None for a folder that holds no run yet."""
        if "state" not in self.status:
            return None
        if self.status["state"] not in [*State]:
            raise UserError(f"{self.path / STATUS} is damaged: it says {self.status['state']!r}.")
        return State(self.status["state"])

    @property
    def number(self) -> int:
        """Which job of its sweep it is; -1 for a run that is none."""
        return int(self.path.name) if self.path.name.isdigit() else -1

    @property
    def epochs(self) -> int:
        """How many epochs are written down."""
        table = self.path / "metrics.csv"
        return max(len(table.read_text("utf-8").splitlines()) - 1, 0) if table.is_file() else 0

    @property
    def empty(self) -> bool:
        """Whether it came to nothing: no epoch, no checkpoint and no result."""
        left = ("checkpoints", BUNDLE, "reconstruction.npz")
        return not self.epochs and not any((self.path / name).exists() for name in left)

    @property
    def deaths(self) -> int:
        """How often in a row a process ended without a word, and without another epoch.

        For a run that no process works on; the last one counts.
        """
        if self.status.get("state") != State.running:
            return 0
        further = self.epochs > int(self.status.get("epochs", 0))
        return 1 if further else int(self.status.get("deaths", 0)) + 1

    @property
    def alive(self) -> bool:
        """Whether a process works on it right now, on this machine or over a shared disk."""
        return locked(self.path / LOCK)


def read_status(path: Path) -> RunFolder:
    """How the run of a folder stands, and nothing else of it."""
    return RunFolder(path, status=_json(path / STATUS))


def run_of(result: Path) -> Path | None:
    """The folder of the run that wrote a result; None: it is not known to be of a run."""
    folder = result.absolute().parent
    mine = result.name in RESULTS and (folder / SETTINGS).is_file()
    return folder if mine else None


def read_run(path: Path) -> RunFolder:
    """What a folder holds of a run."""
    typed = path / "overrides.txt"
    return RunFolder(
        path,
        status=_json(path / STATUS),
        settings=_yaml(path / SETTINGS),
        metrics=_json(path / "metrics.json"),
        environment=_json(path / "env.json"),
        overrides=tuple(typed.read_text("utf-8").splitlines()) if typed.is_file() else (),
    )


def read_history(path: Path) -> list[dict[str, float]]:
    """Figures of every epoch in a run's ``metrics.csv``; no row that is not whole yet."""
    file = path / "metrics.csv"
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [{n: _number(text) for n, text in row.items()} for row in csv.DictReader(lines)]
    return [row for row in rows if math.isfinite(row.get("epoch", math.nan))]


def read_jobs(sweep: Path) -> list[RunFolder]:
    """The runs of a sweep by number."""
    numbered = [one for one in sweep.iterdir() if one.is_dir() and one.name.isdigit()]
    return [read_run(one) for one in sorted(numbered, key=lambda one: int(one.name))]


def read_sweep(path: Path) -> dict[str, Any]:
    """``sweep.json`` of a sweep's folder; empty where there is none."""
    return _json(path / SWEEP)


def locked(path: Path) -> bool:
    """Whether some process holds a lock file."""
    if not path.exists():
        return False
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _json(path: Path) -> dict[str, Any]:
    return _parsed(path, json.loads)


def _yaml(path: Path) -> dict[str, Any]:
    return _parsed(path, yaml.safe_load)


def _parsed(path: Path, read: Callable[[str], Any]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = read(path.read_text("utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged and cannot be read: {reason}.") from None
    return found if isinstance(found, dict) else {}
