"""A run in the MLflow dashboard. MLflow is imported here and only when it is used."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from ptycho.config.config import UserError

log = logging.getLogger(__name__)

_LONGEST = 6000  # characters MLflow keeps of a parameter
_PER_CALL = 100  # parameters MLflow takes at once
_SQLITE = "sqlite:///"


class DashboardError(UserError):
    """The dashboard cannot be opened; nothing has been computed yet."""


def store_uri(outputs: Path, tracking_uri: str | None) -> str:
    """Where runs are kept: the setting, else ``MLFLOW_TRACKING_URI``, else SQLite in outputs."""
    wanted = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return wanted or f"{_SQLITE}{(outputs / 'mlflow' / 'mlflow.db').absolute()}"


class Dashboard:
    """One MLflow run, opened on construction.

    A dashboard that fails later is given up with a warning: it must not cost the run.

    Args:
        uri: tracking server or database.
        outputs: folder that holds the artifacts when the store is our own database.
        experiment: under which the run is listed.
        name: of the run.
        tags: plain texts.

    Raises:
        DashboardError: when it cannot be opened.
    """

    def __init__(
        self, uri: str, outputs: Path, experiment: str, name: str, tags: dict[str, str]
    ) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # a server that is not there is told within half a minute, not after five
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        self.uri, self._alive = uri, True
        try:
            self._open(uri, outputs, experiment, name, tags)
        except _errors() as error:
            raise DashboardError(
                f"logger=mlflow cannot open {uri}: {_first_line(error)}. Mend "
                "logger.tracking_uri or MLFLOW_TRACKING_URI, or choose logger=csv or logger=none."
            ) from error

    def _open(
        self, uri: str, outputs: Path, experiment: str, name: str, tags: dict[str, str]
    ) -> None:
        from mlflow import MlflowClient

        for noisy in ("alembic", "mlflow", "urllib3"):  # after the import, which sets them up
            logging.getLogger(noisy).setLevel(logging.ERROR)
        with _one_at_a_time(uri):
            self._client: Any = MlflowClient(uri)
            self.experiment_id = self._experiment(experiment, uri, outputs)
            run = self._client.create_run(self.experiment_id, run_name=name, tags=tags)
        self.run_id: str = run.info.run_id

    def _experiment(self, name: str, uri: str, outputs: Path) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        ours = uri.startswith(_SQLITE)
        artifacts = (outputs / "mlflow" / "artifacts").absolute().as_uri() if ours else None
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def log_params(self, params: dict[str, Any]) -> None:
        """Record settings by full name."""
        with self._given_up_on_failure():
            from mlflow.entities import Param

            every = [Param(name, str(value)[:_LONGEST]) for name, value in params.items()]
            for first in range(0, len(every), _PER_CALL):
                self._client.log_batch(self.run_id, params=every[first : first + _PER_CALL])

    def log_metrics(self, metrics: dict[str, float], step: int = 0) -> None:
        """Record figures; those that are not numbers are left out."""
        with self._given_up_on_failure():
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            every = [
                Metric(name, value, now, step) for name, value in metrics.items() if value == value
            ]
            if every:
                self._client.log_batch(self.run_id, metrics=every)

    def tag(self, tags: dict[str, str]) -> None:
        """Add tags."""
        with self._given_up_on_failure():
            for name, value in tags.items():
                self._client.set_tag(self.run_id, name, value)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file with the run."""
        with self._given_up_on_failure():
            self._client.log_artifact(self.run_id, str(path), folder)

    def finish(self, status: str) -> None:
        """Close the run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        with self._given_up_on_failure():
            self._client.set_terminated(self.run_id, status)

    @contextmanager
    def _given_up_on_failure(self) -> Iterator[None]:
        if not self._alive:
            self._client = _Nobody()
        try:
            yield
        except _errors() as error:
            self._alive = False
            log.warning(
                "the MLflow dashboard at %s stopped answering (%s); the run goes on without it "
                "and its files stay in the run folder", self.uri, _first_line(error),
            )  # fmt: skip


class _Nobody:
    """Takes everything and does nothing: the client of a dashboard that was given up."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def _errors() -> tuple[type[Exception], ...]:
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, OSError  # requests' are OSErrors


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")[:300]


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Let one process at a time make our database: MLflow's own migrations race."""
    if not uri.startswith(_SQLITE):
        yield
        return
    folder = Path(uri.removeprefix(_SQLITE)).parent
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".opening.lock", timeout=120):
        yield
