"""What is done with MLflow's client: one plain dictionary after the other, safe to repeat."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from ptycho.report.outbox import AwayError, Call, ClosedError, RefusedError

log = logging.getLogger(__name__)

SQLITE = "sqlite:///"
MODEL = "model"
"""Folder of a run's artifacts from which its registered model is taken."""
_REFUSED = (
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS",
    "INVALID_STATE", "FEATURE_DISABLED", "BAD_REQUEST",
)  # fmt: skip
_BUSY = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}  # not a chatbot
_PER_CALL = 100  # parameters MLflow takes at once


class Sender:
    """Does calls for one run.

    Args:
        uri: tracking server or database.
        run_id: of the run, when there is one.
        base: folder to which relative paths of files refer.
    """

    def __init__(self, uri: str, run_id: str | None, base: Path) -> None:
        self.uri, self.run_id, self.base = uri, run_id, base
        self.experiment_id: str | None = None
        self.versions: list[str] = []
        """``models:/NAME/VERSION`` of what was registered."""
        self._client: Any = None
        self._attempted = False

    @property
    def client(self) -> Any:
        """MLflow's client; made when first needed, which for a database opens it."""
        if self._client is None:
            self._client = make_client(self.uri)
        return self._client

    def __call__(self, call: Call) -> None:
        """Do one call.

        Raises:
            AwayError: no answer; to be tried again.
            RefusedError: it cannot be done.
        """
        arguments = {name: value for name, value in call.items() if name != "do"}
        with translated(self.uri):
            getattr(self, f"_{call['do']}")(**arguments)

    def _open(
        self, experiment: str, artifacts: str | None, name: str, tags: dict[str, str],
        time: int, run_id: str | None,
    ) -> None:  # fmt: skip
        """Begin a run, or go on with one."""
        if self.run_id is not None:
            return  # it was opened, and the answer got lost
        with _one_at_a_time(self.uri):
            place = self.experiment_id = self._experiment(experiment, artifacts)
            if run_id is not None and self._goes_on(run_id, tags):
                self.run_id = run_id
                return
            found = self._begun(place, time, name) if self._attempted else None
            self._attempted = True
            if found is None:
                run = self.client.create_run(place, start_time=time, tags=tags, run_name=name)
                found = str(run.info.run_id)
        self.run_id = found

    def _experiment(self, name: str, artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            # another process may make it in the same moment
            with suppress(MlflowException):
                made = self.client.create_experiment(name, artifacts, _EXPERIMENT)
                return str(made)
            found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise RefusedError(
                f"the experiment {name!r} was deleted there or cannot be made: restore it "
                "(mlflow experiments restore) or choose another logger.experiment"
            )
        return str(found.experiment_id)

    def _goes_on(self, run_id: str, tags: dict[str, str]) -> bool:
        from mlflow.entities import RunTag
        from mlflow.exceptions import MlflowException

        try:
            if self.client.get_run(run_id).info.lifecycle_stage != "active":
                raise RefusedError
            self.client.update_run(run_id, status="RUNNING")
        except (MlflowException, RefusedError) as error:
            code = getattr(error, "error_code", "RESOURCE_DOES_NOT_EXIST")
            if code not in _REFUSED:
                raise
            log.warning("%s holds no run %s any more; a new one is begun", self.uri, run_id)
            return False
        self.client.log_batch(run_id, tags=[RunTag(*one) for one in tags.items()])
        return True

    def _begun(self, experiment: str, time: int, name: str) -> str | None:
        """A run that an earlier attempt made although its answer never came."""
        found = self.client.search_runs([experiment], f"attributes.start_time = {time}")
        return next((str(one.info.run_id) for one in found if one.info.run_name == name), None)

    def _params(self, params: dict[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._log_params(params)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            # a run that goes on has them already, and MLflow lets none change
            known = self.client.get_run(self.run_id).data.params
            self._log_params({name: one for name, one in params.items() if name not in known})
            changed = [f"{k}={v}" for k, v in params.items() if known.get(k, v) != v]
            if changed:
                self._tags({"ptycho.changed": ", ".join(changed)[:5000]})

    def _log_params(self, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        every = [Param(*one) for one in params.items()]
        for first in range(0, len(every), _PER_CALL):
            self.client.log_batch(self.run_id, params=every[first : first + _PER_CALL])

    def _metrics(self, metrics: list[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        self.client.log_batch(self.run_id, metrics=[Metric(*one) for one in metrics])

    def _tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(*one) for one in tags.items()])

    def _file(self, path: str, folder: str | None) -> None:
        self.client.log_artifact(self.run_id, str(self._there(path)), folder)

    def _picture(self, path: str, key: str, step: int, time: int) -> None:
        from PIL import Image

        try:
            with Image.open(self._there(path)) as image:
                image.load()
        except OSError as error:
            raise RefusedError(f"{path}: {error}") from error
        self.client.log_image(self.run_id, image, key=key, step=step, timestamp=time)

    def _register(self, name: str, path: str, tags: dict[str, str]) -> None:
        """Make a new version of a model; its source is a folder, as downloading it needs."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"runs:/{self.run_id}/{MODEL}"
        self.client.log_artifact(self.run_id, str(self._there(path)), MODEL)
        found = [
            one for one in self.client.search_model_versions(f"name='{name}'")
            if one.source == source
        ] or [self.client.create_model_version(name, source, self.run_id, tags)]  # fmt: skip
        self.versions.append(f"models:/{name}/{found[0].version}")

    def _end(self, status: str, time: int) -> None:
        self.client.set_terminated(self.run_id, status, time)

    def _there(self, path: str) -> Path:
        file = self.base / path
        if not file.is_file():
            raise RefusedError(f"{file} is gone")
        return file


def make_client(uri: str) -> Any:
    """MLflow's client of a server or database, patient for seconds instead of minutes."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # we try again ourselves
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    _quieten()  # once more: the import set some of them up
    return MlflowClient(uri)


def _quieten() -> None:
    for noisy in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # a locked database is tried again and nobody's business
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Tell errors that pass from those that do not.

    Raises:
        AwayError: for the former.
        ClosedError: for what somebody has to mend at the server, or in its address.
        RefusedError: for what will never be taken.
    """
    _quieten()
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        raise _kind(error)(first_line(error)) from error
    except SQLAlchemyError as error:
        busy = isinstance(error, OperationalError) and "locked" in str(error)
        away = isinstance(error, OperationalError) and not uri.startswith(SQLITE)
        raise (AwayError if busy or away else ClosedError)(first_line(error)) from error
    except (CommandError, ImportError) as error:
        raise ClosedError(first_line(error)) from error
    except OSError as error:  # requests' are, too
        ours = uri.startswith(SQLITE) and not isinstance(error, TimeoutError)
        raise (ClosedError if ours else AwayError)(first_line(error)) from error


def _kind(error: Any) -> type[Exception]:
    from mlflow.exceptions import InvalidUrlException

    if error.error_code in _REFUSED:
        return RefusedError
    if isinstance(error, InvalidUrlException):
        return ClosedError
    # MLflow wraps what requests raises in an "internal error" without naming it as the cause
    silent = isinstance(error.__cause__ or error.__context__, OSError)
    return AwayError if silent or error.error_code in _BUSY else ClosedError


def first_line(error: BaseException) -> str:
    """The beginning of what an error says."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")[:300]


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Let one process at a time make our database: MLflow's own migrations race."""
    if not uri.startswith(SQLITE):
        yield
        return
    folder = Path(uri.removeprefix(SQLITE)).parent
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".opening.lock", timeout=120):
        yield
