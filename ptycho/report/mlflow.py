"""A run in the MLflow dashboard. MLflow is imported here and only when it is used."""

import logging
import os
from pathlib import Path
from typing import Any

_LONGEST = 6000  # characters MLflow keeps of a parameter
_PER_CALL = 100  # parameters MLflow takes at once


def store_uri(outputs: Path, tracking_uri: str | None) -> str:
    """Where runs are kept: the setting, else ``MLFLOW_TRACKING_URI``, else SQLite in outputs."""
    wanted = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return wanted or f"sqlite:///{(outputs / 'mlflow' / 'mlflow.db').absolute()}"


class Dashboard:
    """One MLflow run, opened on construction.

    Args:
        uri: tracking server or database.
        outputs: folder that holds the artifacts when the store is our own database.
        experiment: under which the run is listed.
        name: of the run.
        tags: plain texts.
    """

    def __init__(
        self, uri: str, outputs: Path, experiment: str, name: str, tags: dict[str, str]
    ) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        for noisy in ("alembic", "mlflow"):  # after the import, which sets them up
            logging.getLogger(noisy).setLevel(logging.WARNING)

        self.uri = uri
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(uri)
        self.experiment_id = self._experiment(experiment, uri, outputs)
        run = self._client.create_run(self.experiment_id, run_name=name, tags=tags)
        self.run_id: str = run.info.run_id

    def _experiment(self, name: str, uri: str, outputs: Path) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        ours = uri.startswith("sqlite:///")
        artifacts = (outputs / "mlflow" / "artifacts").absolute().as_uri() if ours else None
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def log_params(self, params: dict[str, Any]) -> None:
        """Record settings by full name."""
        from mlflow.entities import Param

        every = [Param(name, str(value)[:_LONGEST]) for name, value in params.items()]
        for first in range(0, len(every), _PER_CALL):
            self._client.log_batch(self.run_id, params=every[first : first + _PER_CALL])

    def log_metrics(self, metrics: dict[str, float], step: int = 0) -> None:
        """Record figures; those that are not numbers are left out."""
        from mlflow.entities import Metric

        every = [Metric(name, value, 0, step) for name, value in metrics.items() if value == value]
        if every:
            self._client.log_batch(self.run_id, metrics=every)

    def tag(self, tags: dict[str, str]) -> None:
        """Add tags."""
        for name, value in tags.items():
            self._client.set_tag(self.run_id, name, value)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file with the run."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def finish(self, status: str) -> None:
        """Close the run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        self._client.set_terminated(self.run_id, status)
