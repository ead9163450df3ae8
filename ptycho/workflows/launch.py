"""From validated settings to a finished run folder."""

import logging
import warnings
from pathlib import Path

from ptycho.config.choices import WITH_BUNDLE, Task
from ptycho.config.config import RunConfig
from ptycho.config.legacy import legacy_params
from ptycho.report.metrics import FLOORS, Figures
from ptycho.workflows.factory import (
    InferencePayload,
    TrainingPayload,
    inference_payload,
    training_payload,
)
from ptycho.workflows.preflight import check_surroundings
from ptycho.workflows.session import Session, open_session


def launch(run: RunConfig, folder: Path, overrides: list[str]) -> float | None:
    """Do what ``run.task`` says.

    Args:
        run: settings.
        folder: where this run writes.
        overrides: what was typed, for the record.

    Returns:
        The last stage's C (higher is better); None on processes other than the first.
    """
    _quieten()
    check_surroundings(run)
    with legacy_params():
        make = inference_payload if run.task in WITH_BUNDLE else training_payload
        payload = make(run, folder)
        with open_session(payload.run, payload.execution, folder, overrides) as session:
            figures = _work(session, payload)
            if session.first:
                session.finish()
    return _judgement(figures)


def _work(session: Session, payload: TrainingPayload | InferencePayload) -> dict[str, Figures]:
    """Do the task; only what trains loads Lightning, which takes seconds."""
    patches = session.run.model.architecture.predicts_patches
    if isinstance(payload, InferencePayload):
        if session.run.task == Task.adapt:
            from ptycho.workflows.adapt import adapt

            return adapt(session, payload.bundle)
        if patches:
            from ptycho.workflows import patches as by_patches

            return by_patches.reconstruct(session, payload.bundle)
        from ptycho.workflows.reconstruct import reconstruct

        return reconstruct(session, payload.bundle)
    if session.run.task == Task.train:
        if patches:
            from ptycho.workflows import patch_train

            return patch_train.train(session)
        from ptycho.workflows.train import train

        return train(session)
    from ptycho.workflows.solve import solve

    return solve(session)


def _judgement(figures: dict[str, Figures]) -> float | None:
    stages = [row for name, row in figures.items() if name not in FLOORS]
    return stages[-1]["C"] if stages else None


def _quieten() -> None:
    # Lightning advertises; its warnings about loaders and loggers are answered by design
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
