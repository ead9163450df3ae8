"""How a run stands: its lock, its ``status.json``, and what of it an earlier process left."""

import contextlib
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from filelock import FileLock, Timeout

from ptycho.config.choices import Resume
from ptycho.config.config import RunConfig, UserError
from ptycho.config.fields import PrunedError
from ptycho.config.process import INTERRUPTED
from ptycho.config.signals import interruption
from ptycho.report.files import plain_config, write_json
from ptycho.report.folder import LOCK, STATUS, SWEEP, RunFolder, State, read_run, read_status

_KEPT = ("mlflow_run_id", "tracking_uri")
_ELSEWHERE = ("logger", "sweep", "paths")
_ON_THE_WAY = ("resume", "enable_progress_bar", "quiet")


def digest(run: RunConfig) -> str:
    """Hash of all settings that say what is computed, as they were given."""
    plain = {name: one for name, one in plain_config(run).items() if name not in _ELSEWHERE}
    plain["execution"] = {
        name: one for name, one in plain["execution"].items() if name not in _ON_THE_WAY
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@dataclass
class Status:
    """The ``status.json`` of a run that this process works on."""

    folder: Path
    past: RunFolder
    """What was there before."""
    settings: str = ""
    """:func:`digest` of the settings."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further entries, as they become known."""
    began: float = field(default_factory=time.time)
    state: State | None = None
    """What was written last."""
    deaths: int = field(init=False)
    """Processes before this one that died in a row."""
    epochs: int = field(init=False)
    """Those that were written down before."""

    def __post_init__(self) -> None:
        self.deaths, self.epochs = self.past.deaths, self.past.epochs

    @property
    def over(self) -> bool:
        """Whether an earlier process finished it, or a sweep gave it up."""
        return self.past.state in (State.finished, State.pruned)

    @property
    def seconds(self) -> float:
        """That processes have worked on it, those before this one included."""
        return float(self.past.status.get("seconds", 0)) + time.time() - self.began

    def write(self, state: State, **more: Any) -> None:
        """Say how it stands now."""
        self.more |= more
        self.state = state
        content = {
            "state": state,
            "seconds": round(self.seconds, 3),
            "settings": self.settings,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "attempts": self.past.status.get("attempts", 0) + 1,
            "deaths": self.deaths,
            "epochs": self.epochs,
        }
        write_json(self.folder / STATUS, content | self.more)


@contextlib.contextmanager
def claimed(run: RunConfig, folder: Path, settings: str | None = None) -> Iterator[Status]:
    """Take a folder for a run, as its only process.

    Args:
        run: what is to be done there.
        folder: made if it is not there.
        settings: their :func:`digest`, where that is known already.

    Raises:
        UserError: it holds another run, or another process works on it right now.
    """
    new = not folder.exists()
    if not (new or folder.is_dir()):
        raise UserError(f"hydra.run.dir: {folder} is a file, and must be a folder; name another.")
    folder.mkdir(parents=True, exist_ok=True)
    killed = (folder / LOCK).exists()
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder}: another process works on this run right now; wait for it, or name another "
            "folder with hydra.run.dir=FOLDER."
        ) from None
    try:
        past = read_run(folder)
        kept = {name: past.status[name] for name in _KEPT if name in past.status}
        status = Status(folder, past, settings or digest(run), kept)
        _refuse_another(run, status)
        for part in folder.rglob(".*.part*") if past.state or killed else ():
            part.unlink()  # what a process that was killed was writing
        yield status
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        if new and not any(folder.iterdir()):
            folder.rmdir()  # refused before anything was written


def _refuse_another(run: RunConfig, status: Status) -> None:
    past, folder = status.past, status.folder
    if past.state is None or (past.state == State.failed and past.empty):
        return
    if run.execution.resume == Resume.never:
        on = "" if past.state.over else "go on with it by execution.resume=auto, or "
        raise UserError(
            f"{folder} already holds a run ({_how(past)}); {on}name another folder with "
            "hydra.run.dir=FOLDER."
        )
    if past.status.get("settings", status.settings) != status.settings:
        raise UserError(
            f"{folder} holds a run ({_how(past)}) of other settings, and execution.resume=auto "
            f"goes on with the same only. Type `ptycho resume {folder}`, or name another folder "
            "with hydra.run.dir=FOLDER."
        )


def _how(past: RunFolder) -> str:
    """How a run that nobody works on any more stands."""
    return "killed" if past.state == State.running else str(past.state)


def unfinished(run: RunConfig, folder: Path) -> Path | None:
    """The latest run below a folder that has the same settings, did not finish and rests.

    Args:
        run: settings.
        folder: holds the folders of runs.
    """
    if not folder.is_dir():
        return None
    wanted = digest(run)
    for one in sorted(folder.iterdir(), reverse=True):
        try:
            found = read_status(one)
            going_on = found.state in (State.running, State.interrupted)
        except UserError:
            continue  # a damaged neighbour is nobody's concern here
        if going_on and found.status.get("settings") == wanted and not found.alive:
            return one
    return None


@contextlib.contextmanager
def recorded(status: Status) -> Iterator[None]:
    """Keep ``status.json`` true however the block ends."""
    status.write(State.running)
    try:
        yield
    except PrunedError as error:
        status.write(State.pruned, error=str(error))
        raise
    except BaseException as error:
        asked = interruption(error)
        if asked is None:
            status.write(State.failed, error=f"{type(error).__name__}: {error}")
            raise
        code = asked.code if isinstance(asked, SystemExit) else INTERRUPTED
        status.write(State.interrupted, exit=code)
        if not (status.folder.parent / SWEEP).is_file():  # a sweep says it of all
            folder = status.folder
            way_on = f"`ptycho resume {quote(str(folder))}` goes on with it"
            print(f"ptycho: {folder} was interrupted; {way_on}", file=sys.stderr)
        raise asked from None
    status.write(State.finished)
