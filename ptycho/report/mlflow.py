"""A run in the MLflow dashboard. MLflow is imported only when it is used."""

import logging
import math
import os
import time
from pathlib import Path
from typing import Any

from ptycho.config.config import UserError
from ptycho.report.files import write_json
from ptycho.report.folder import STATUS, read_run, read_sweep
from ptycho.report.mlflow_calls import SQLITE, Sender
from ptycho.report.outbox import (
    LITTLE_PATIENCE,
    PATIENCE,
    UNSENT,
    AwayError,
    Call,
    ClosedError,
    Kept,
    Outbox,
    RefusedError,
    read_unsent,
)

log = logging.getLogger(__name__)

PARENT = "mlflow.parentRunId"
JOB = "ptycho.job"
_LONGEST = 6000  # characters MLflow keeps of a parameter
_LONGEST_TAG = 5000
_LONGEST_NAME = 120


class DashboardError(UserError):
    """The dashboard cannot be opened; nothing has been computed yet."""


def store_uri(outputs: Path, tracking_uri: str | None, folder: Path | None = None) -> str:
    """Where runs are kept.

    Args:
        outputs: folder of all results.
        tracking_uri: the setting.
        folder: of the run; a job of a sweep stands where its parent does.

    Returns:
        The place of the parent, else the setting, else ``MLFLOW_TRACKING_URI``, else SQLite in
        ``outputs``.
    """
    parent = _parent_of(folder).get("tracking_uri") if folder is not None else None
    wanted = parent or tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return wanted or f"{SQLITE}{(outputs / 'mlflow' / 'mlflow.db').absolute()}"


class Dashboard:
    """One MLflow run, opened on construction; all else is sent in the background.

    A server that is slow, away or gone costs the run nothing: what is unsent is tried again,
    and in the end kept in the folder of the run.

    Args:
        uri: tracking server or database.
        outputs: folder that holds the artifacts when the store is our own database.
        experiment: under which the run is listed.
        name: of the run.
        tags: plain texts.
        folder: of the run, which keeps what is unsent; ``outputs`` when there is none.
        run_id: of a run that goes on.

    Raises:
        DashboardError: when the address holds no such server or database.
    """

    def __init__(
        self, uri: str, outputs: Path, experiment: str, name: str, tags: dict[str, str],
        folder: Path | None = None, run_id: str | None = None,
    ) -> None:  # fmt: skip
        self.uri = uri
        self.folder = (folder or outputs).absolute()
        self._sender = Sender(uri, None, self.folder)
        file = self.folder / UNSENT
        kept = read_unsent(file)  # of an earlier attempt at this run
        begin = _beginning(kept) or {
            "do": "open", "experiment": experiment, "artifacts": _artifacts(uri, outputs),
            "name": name, "time": _now(), "run_id": run_id or kept.head.get("run_id"),
        }  # fmt: skip
        begin["tags"] = _tags(tags | parent_tags(self.folder))
        earlier = [one for one in kept.calls if one["do"] not in ("open", "end")]
        away = self._begin(begin)
        calls = [begin, *earlier] if away else earlier
        if kept.calls and not away:
            file.unlink(missing_ok=True)
        self._outbox = Outbox(self._sender, self._head, file, uri, calls, away)

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run; None while the server has not answered yet."""
        return self._sender.run_id

    @property
    def address(self) -> str | None:
        """Where a browser shows the run; None for a database and for a server that is away."""
        if not self.uri.startswith("http") or self.run_id is None:
            return None
        place = f"experiments/{self._sender.experiment_id}/runs/{self.run_id}"
        return f"{self.uri.rstrip('/')}/#/{place}"

    def _begin(self, call: Call) -> bool:
        try:
            self._sender(call)
        except (ClosedError, RefusedError) as error:
            raise DashboardError(
                f"logger=mlflow cannot open {self.uri}: {error}. Mend "
                "logger.tracking_uri or MLFLOW_TRACKING_URI, or choose logger=csv or logger=none."
            ) from error
        except AwayError as error:
            log.warning(
                "the MLflow dashboard at %s does not answer (%s); the run goes on without it, "
                "and what it logs is sent as soon as it answers", self.uri, error,
            )  # fmt: skip
            return True
        return False

    def _head(self) -> dict[str, Any]:
        return {"uri": self.uri, "run_id": self.run_id}

    def log_params(self, params: dict[str, Any]) -> None:
        """Record settings by full name."""
        every = {name: str(value)[:_LONGEST] for name, value in params.items()}
        self._outbox.put({"do": "params", "params": every})

    def log_metrics(self, metrics: dict[str, float], step: int = 0) -> None:
        """Record figures; those that are not numbers are left out."""
        now = _now()
        every = [
            (name, float(value), now, int(step))
            for name, value in metrics.items()
            if math.isfinite(value)
        ]
        if every:
            self._outbox.put({"do": "metrics", "metrics": every})

    def tag(self, tags: dict[str, str]) -> None:
        """Add tags."""
        self._outbox.put({"do": "tags", "tags": _tags(tags)})

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file with the run."""
        self._outbox.put({"do": "file", "path": self._inside(path), "folder": folder})

    def log_picture(self, path: Path, key: str, step: int) -> None:
        """Show a picture that changes from step to step, under one slider for each key."""
        call = {"path": self._inside(path), "key": key, "step": step, "time": _now()}
        self._outbox.put({"do": "picture", **call})

    def register(self, name: str, bundle: Path, tags: dict[str, str]) -> str:
        """Make a bundle a new version of a model in the registry.

        Args:
            name: of the model.
            bundle: file.
            tags: of the version.

        Returns:
            A sentence about it.
        """
        call = {"name": name, "path": self._inside(bundle), "tags": _tags(tags)}
        self._outbox.put({"do": "register", **call})
        self._outbox.wait(LITTLE_PATIENCE if self._outbox.away else PATIENCE)
        if self._sender.versions:
            return f"registered as {self._sender.versions[-1]}"
        return f"not registered as {name} yet: {self.uri} has not answered"

    def finish(self, status: str) -> None:
        """Close the run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._outbox.put({"do": "end", "status": status, "time": _now()})
        self.leave(LITTLE_PATIENCE if status == "KILLED" else PATIENCE)

    def leave(self, patience: float = PATIENCE) -> None:
        """Log no more, but leave the run as it is.

        Args:
            patience: seconds that a server may keep us waiting.
        """
        left = self._outbox.close(patience, LITTLE_PATIENCE)
        if left:
            log.warning(
                "%d calls to the MLflow dashboard at %s could not be sent and are kept in %s; "
                "send them later with: ptycho sync %s",
                left, self.uri, self.folder / UNSENT, self.folder,
            )  # fmt: skip

    def _inside(self, path: Path) -> str:
        # a folder may be moved before the rest is sent from it
        path = path.absolute()
        return str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path)


def send_unsent(folder: Path, uri: str | None = None) -> tuple[int, int]:
    """Send what a run could not.

    Args:
        folder: of the run.
        uri: where the same server or database is now; None: where it was.

    Returns:
        How many calls were sent and how many are left.
    """
    kept = read_unsent(folder / UNSENT)
    if not kept.calls:
        return 0, 0
    uri = uri or str(kept.head["uri"])
    sender = Sender(uri, kept.head.get("run_id"), folder.absolute())
    outbox = Outbox(
        sender, lambda: {"uri": uri, "run_id": sender.run_id}, folder / UNSENT, uri,
        kept.calls, away=True,
    )  # fmt: skip
    left = outbox.close(PATIENCE, PATIENCE / 3)
    status = read_run(folder).status
    if sender.run_id and status and not status.get("mlflow_run_id"):
        told = {"mlflow_run_id": sender.run_id, "tracking_uri": uri}
        write_json(folder / STATUS, status | told)
    return len(kept.calls) - left, left


def run_name(folder: Path, overrides: list[str]) -> str:
    """What a run is called: like its folder; a job of a sweep by what it was given.

    Args:
        folder: of the run.
        overrides: ``NAME=VALUE`` of all that was given to it.
    """
    if not folder.name.isdigit():
        return folder.name
    varied = read_sweep(folder.absolute().parent).get("params", {})
    given = dict(one.lstrip("+").split("=", 1) for one in overrides if "=" in one)
    chosen = [f"{n.split('.')[-1]}={_short(given[n])}" for n in varied if n in given]
    if chosen:
        return f"{folder.name}: {', '.join(chosen)}"[:_LONGEST_NAME]
    return f"{folder.parent.name}/{folder.name}"


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value


def parent_tags(folder: Path) -> dict[str, str]:
    """What makes a run the child of its sweep; nothing for a run that is no job of one."""
    parent = _parent_of(folder).get("parent_run_id")
    if not folder.name.isdigit() or not read_sweep(folder.parent):
        return {}
    return {JOB: folder.name} | ({PARENT: str(parent)} if parent else {})


def _parent_of(folder: Path) -> dict[str, Any]:
    sweep = read_sweep(folder.absolute().parent) if folder.name.isdigit() else {}
    return {name: sweep.get(name) for name in ("parent_run_id", "tracking_uri")}


def _beginning(kept: Kept) -> Call | None:
    return next((dict(one) for one in kept.calls if one["do"] == "open"), None)


def _artifacts(uri: str, outputs: Path) -> str | None:
    ours = uri.startswith(SQLITE)
    return (outputs / "mlflow" / "artifacts").absolute().as_uri() if ours else None


def _tags(tags: dict[str, str]) -> dict[str, str]:
    return {name: str(value)[:_LONGEST_TAG] for name, value in tags.items()}


def _now() -> int:
    """Milliseconds, as MLflow counts."""
    return int(time.time() * 1000)
