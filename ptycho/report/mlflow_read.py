"""What MLflow keeps of a run, fetched back."""

import os
from collections.abc import Sequence
from pathlib import Path

from ptycho.config.config import UserError

_SQLITE = "sqlite:///"


def download_run(uri: str, run_id: str, names: Sequence[str], folder: Path) -> str:
    """Fetch those artifacts of a run that it has.

    Args:
        uri: tracking server or database.
        run_id: 32 hexadecimal digits.
        names: of the artifacts.
        folder: where to put them.

    Returns:
        The name of the run.

    Raises:
        UserError: there is no such store, no such run, or it did not finish.
    """
    database = Path(uri.removeprefix(_SQLITE))
    if uri.startswith(_SQLITE) and not database.is_file():  # else MLflow would make an empty one
        raise UserError(
            f"no such database: {database}; name the store of the run with --tracking-uri or "
            "MLFLOW_TRACKING_URI."
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # a server that is not there is told within half a minute, not after five
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(uri)
        run = client.get_run(run_id)
        if run.info.status != "FINISHED":
            raise UserError(
                f"the MLflow run {run_id} is {run.info.status}; only a finished run can be "
                "reproduced."
            )
        there = {one.path for one in client.list_artifacts(run_id)}
        for name in [one for one in names if one in there]:
            client.download_artifacts(run_id, name, str(folder))
    except (MlflowException, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")[:300]
        raise UserError(f"the MLflow run {run_id} cannot be read from {uri}: {reason}.") from error
    return str(run.info.run_name or run_id)
