"""From validated settings to a finished run folder."""

from collections.abc import Callable
from pathlib import Path

from ptycho.config.choices import WITH_BUNDLE, Task
from ptycho.config.config import RunConfig
from ptycho.config.legacy import legacy_params
from ptycho.config.process import quieten
from ptycho.config.typed_rules import typed_settings
from ptycho.report.metrics import Figures
from ptycho.training.cluster import global_rank
from ptycho.workflows.factory import (
    InferencePayload,
    Payload,
    inference_payload,
    training_payload,
)
from ptycho.workflows.judged import Judgement, as_returned
from ptycho.workflows.preflight import check_surroundings
from ptycho.workflows.session import Session, open_session
from ptycho.workflows.status import Status, claimed


def launch(
    run: RunConfig, folder: Path, overrides: list[str], settings: str | None = None
) -> Judgement:
    """Do what ``run.task`` says.

    Args:
        run: settings.
        folder: where this run writes.
        overrides: what was typed, for the record.
        settings: what :func:`ptycho.workflows.status.digest` said of the settings when they were
            typed, where they come from a record.

    Returns:
        The figures that ``sweep.metric`` names: a number, or one for each of several names; None
        where one is missing, and on processes other than the first.
    """

    def make() -> Payload:
        if run.task in WITH_BUNDLE:
            return inference_payload(run, folder, typed_settings(overrides))
        return training_payload(run, folder)

    with legacy_params():
        return _claim_and_do(run, make, folder, overrides, settings)


def launch_payload(payload: Payload, folder: Path, overrides: list[str]) -> Judgement:
    """Do what a payload was made for; ``params.cfg`` is filled already.

    Args:
        payload: of :mod:`ptycho.workflows.factory`.
        folder: where this run writes.
        overrides: what was typed, for the record.
    """
    return _claim_and_do(payload.run, lambda: payload, folder, overrides)


def _claim_and_do(
    run: RunConfig,
    make: Callable[[], Payload],
    folder: Path,
    overrides: list[str],
    settings: str | None = None,
) -> Judgement:
    quieten()
    check_surroundings(run)
    if global_rank(run.trainer) != 0:
        _do(make, folder, overrides)
        return None
    with claimed(run, folder, settings) as status:
        if status.over:
            if not run.execution.quiet:
                print(f"{folder}: nothing to do, this run is {status.past.state} already.")
            return as_returned(run.sweep.metric, status.past.status.get("metric"))
        return as_returned(run.sweep.metric, _do(make, folder, overrides, status))


def _do(
    make: Callable[[], Payload], folder: Path, overrides: list[str], status: Status | None = None
) -> dict[str, float] | None:
    payload = make()
    with open_session(payload.run, payload.execution, folder, overrides, status) as session:
        _work(session, payload)
        if session.first:
            session.finish()
    return status.more.get("metric") if status is not None else None


def _work(session: Session, payload: Payload) -> dict[str, Figures]:
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
