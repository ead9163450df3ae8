"""Send to the dashboard what runs kept while it was away."""

from pathlib import Path

from filelock import FileLock, Timeout

from ptycho.config.config import UserError
from ptycho.report.folder import LOCK, read_jobs
from ptycho.report.mlflow import send_unsent
from ptycho.report.mlflow_sweep import bring_up_to_date
from ptycho.report.outbox import UNSENT


def send_run(folder: Path, uri: str | None = None) -> str:
    """Send what is left of a run.

    Args:
        folder: of the run.
        uri: where its server is now; None: where it was.

    Returns:
        A sentence about what was done.

    Raises:
        UserError: when something is still left.
    """
    sent = _send(folder, uri)
    return f"{folder}: {sent} calls sent." if sent else f"{folder}: nothing was left to send."


def send_sweep(folder: Path, uri: str | None = None) -> str:
    """Send what is left of the runs of a sweep, and bring its parent up to date.

    Args:
        folder: of the sweep.
        uri: where its server is now; None: where it was.

    Returns:
        A sentence about what was done.

    Raises:
        UserError: when something is still left.
    """
    runs = [one.path for one in read_jobs(folder) if (one.path / UNSENT).is_file()]
    sent = sum(_send(one, uri) for one in runs)
    if not bring_up_to_date(folder, uri):
        raise UserError(f"{folder}: the server still does not answer; try again later.")
    return f"{folder}: {sent} calls of {len(runs)} runs sent, the parent is up to date."


def _send(folder: Path, uri: str | None) -> int:
    try:
        with FileLock(folder / LOCK, timeout=0):
            sent, left = send_unsent(folder, uri)
    except Timeout:
        raise UserError(
            f"{folder} is at work, and sends what is left itself; wait until it has ended."
        ) from None
    if left:
        raise UserError(
            f"{folder}: {left} calls are left, {sent} were sent; the server does not answer."
        )
    return sent
