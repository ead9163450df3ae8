"""Files of a run that is over, for the MLflow dashboard and its registry of models."""

from pathlib import Path
from typing import Any

from ptycho.config.config import RunConfig
from ptycho.report.bundle import NAME as BUNDLE
from ptycho.report.metrics import FLOORS
from ptycho.report.mlflow import Dashboard

EPOCHS = "epochs"
"""Folder of the pictures that a run makes every few epochs."""


def keep_files(dashboard: Dashboard, folder: Path, files: list[Path]) -> None:
    """Keep the files of a run, those in folders below it in folders of the same name."""
    for file in dict.fromkeys(files):
        inside = file.parent.relative_to(folder) if file.is_relative_to(folder) else Path()
        if inside != Path(EPOCHS):  # shown step by step already
            dashboard.log_file(file, inside.as_posix() if inside != Path() else None)


def register_bundle(
    dashboard: Dashboard, name: str, folder: Path, run: RunConfig, metrics: dict[str, Any]
) -> str:
    """Make the bundle of a run a new version of a model.

    Args:
        dashboard: of the run.
        name: of the model.
        folder: of the run.
        run: its settings.
        metrics: as they are written to ``metrics.json``.

    Returns:
        A sentence that names the version.
    """
    stages = [row for stage, row in metrics.get("stages", {}).items() if stage not in FLOORS]
    figures = {f"ptycho.{key}": f"{value:.6g}" for key, value in (stages or [{}])[-1].items()
               if key in ("C", "R") and value is not None}  # fmt: skip
    about = {"ptycho.data": run.data.label, "ptycho.task": run.task.value}
    about |= {"ptycho.architecture": run.model.architecture.value, "ptycho.folder": str(folder)}
    return dashboard.register(name, folder / BUNDLE, about | figures)
