"""What lies in the folders of runs and sweeps, read back."""

import csv
import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

SWEEP = "sweep.json"
STATUS = "status.json"
LOCK = ".running.lock"


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
        return State(self.status["state"]) if "state" in self.status else None

    @property
    def number(self) -> int:
        """Which job of its sweep it is; -1 for a run that is none."""
        return int(self.path.name) if self.path.name.isdigit() else -1

    @property
    def alive(self) -> bool:
        """Whether a process works on it right now, on this machine or over a shared disk."""
        return locked(self.path / LOCK)


def read_status(path: Path) -> RunFolder:
    """How the run of a folder stands, and nothing else of it."""
    return RunFolder(path, status=_json(path / STATUS))


def read_run(path: Path) -> RunFolder:
    """What a folder holds of a run."""
    typed = path / "overrides.txt"
    return RunFolder(
        path,
        status=_json(path / STATUS),
        settings=_yaml(path / "config.resolved.yaml"),
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
    found: Any = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _yaml(path: Path) -> dict[str, Any]:
    found: Any = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}
