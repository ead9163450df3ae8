"""Do a recorded run again and say whether it is the same experiment with the same result."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from rich.console import Console

from ptycho.config.choices import Resume
from ptycho.config.config import ConfigError, RunConfig, UserError
from ptycho.config.validate import leaves
from ptycho.report.agreement import (
    Agreement,
    Verdict,
    compare_arrays,
    compare_figures,
    compare_surroundings,
    plain_agreement,
)
from ptycho.report.agreement_table import say_agreement
from ptycho.report.files import write_json
from ptycho.report.folder import RESULTS, SETTINGS, SWEEP, RunFolder, State, read_run
from ptycho.report.mlflow import store_uri
from ptycho.report.mlflow_read import download_run
from ptycho.workflows.factory import run_from
from ptycho.workflows.launch import launch
from ptycho.workflows.recorded import find_files

NAME = "reproduce.json"
_FETCHED = (SETTINGS, "env.json", "metrics.json", "overrides.txt", *RESULTS)
_RUN_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Wish:
    """What was typed."""

    run: str
    """Folder of a run, or id of one in MLflow."""
    out: Path | None = None
    tolerance: float = 1e-3
    threads: int | None = None
    """None: as many as the recorded run had."""
    tracking_uri: str | None = None


def reproduce(wish: Wish, terminal: Console) -> Verdict:
    """Run a recorded run again, compare, print and write ``reproduce.json``.

    Raises:
        UserError: when there is no such run, or it cannot be run here.
    """
    with TemporaryDirectory(prefix="ptycho-reproduce-") as fetched:
        name, recorded = find(wish, Path(fetched))
        run = settings_of(name, recorded, wish)
        folder = wish.out or _new_folder(Path(run.paths.outputs))
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"--out: {folder} holds files already; name a new folder.")
        if (folder.absolute().parent / SWEEP).is_file():
            raise UserError(f"--out: {folder} lies in the folder of a sweep; name another place.")
        terminal.print(f"running {name} again in {folder}", markup=False)
        if new := unrecorded(recorded.settings):
            terminal.print(f"not recorded, at their defaults: {', '.join(new)}", markup=False)
        launch(run, folder, list(recorded.overrides))
        agreement = judge(recorded, read_run(folder), wish.tolerance)
    write_json(folder / NAME, {"of": wish.run, "name": name} | plain_agreement(agreement))
    terminal.print()
    say_agreement(agreement, terminal)
    terminal.print(f"  {folder / NAME}", markup=False)
    return agreement.verdict


def judge(recorded: RunFolder, again: RunFolder, tolerance: float) -> Agreement:
    """Two runs side by side."""
    return Agreement(
        compare_surroundings(recorded.environment, again.environment),
        compare_figures(recorded.metrics, again.metrics),
        _arrays(recorded.path, again.path),
        tolerance,
    )


def _arrays(before: Path, now: Path) -> dict[str, bool] | None:
    """Whether all arrays of both folders are equal, by file and name; None without any."""
    found = {name: compare_arrays(before / name, now / name) for name in RESULTS}
    told = {
        f"{name}/{key}": same for name, one in found.items() for key, same in (one or {}).items()
    }
    return told or None


def find(wish: Wish, fetched: Path) -> tuple[str, RunFolder]:
    """A finished run and its name.

    Args:
        wish: names it.
        fetched: an empty folder for what MLflow keeps of it.

    Raises:
        UserError: there is none, or it did not finish.
    """
    folder = Path(wish.run)
    if folder.is_dir():
        return _name(folder.resolve()), _finished(folder)
    if folder.exists():
        raise UserError(f"{folder} is a file; name the folder of a run, or its id in MLflow.")
    if not _RUN_ID.fullmatch(wish.run):
        raise UserError(
            f"no such folder: {folder.absolute()}, nor is it the id of a run in MLflow (32 "
            "hexadecimal digits); check the path."
        )
    uri = store_uri(Path(RunConfig().paths.outputs), wish.tracking_uri)
    name = download_run(uri, wish.run, _FETCHED, fetched)
    found = _read(fetched)
    if not (found.settings and found.metrics):
        raise UserError(
            f"the MLflow run {wish.run} ({name}) holds no config.resolved.yaml and metrics.json: "
            "it was not made by ptycho, or is the parent of a sweep; name one of its jobs."
        )
    return name, found


def _name(folder: Path) -> str:
    # a job of a sweep has only its number for a name
    return f"{folder.parent.name}/{folder.name}" if folder.name.isdigit() else folder.name


def _finished(folder: Path) -> RunFolder:
    found = _read(folder)
    if found.state is None:
        if (folder / SWEEP).is_file() or any(one.name.isdigit() for one in folder.iterdir()):
            raise UserError(f"{folder} holds a sweep; name one of its jobs, such as {folder}/0.")
        raise UserError(f"{folder} holds no run (status.json and config.resolved.yaml).")
    if found.state != State.finished:
        state = found.state if found.state != State.running or found.alive else "killed"
        more = "; ptycho resume goes on with it" if state in ("killed", "interrupted") else ""
        raise UserError(
            f"{folder} holds a run that is {state}; only a finished run can be reproduced{more}."
        )
    for name, content in (
        ("config.resolved.yaml", found.settings),
        ("metrics.json", found.metrics),
    ):
        if not content:
            raise UserError(f"{folder} lacks {name}; without it nothing can be reproduced.")
    return found


def _read(folder: Path) -> RunFolder:
    try:
        return read_run(folder)
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}: its files cannot be read: {reason}.") from None


def settings_of(name: str, recorded: RunFolder, wish: Wish) -> RunConfig:
    """The settings of a recorded run, to be run again here.

    Raises:
        UserError: this version does not know them.
    """
    try:
        run = run_from(recorded.settings)
    except ConfigError as error:
        was = (recorded.environment.get("packages") or {}).get("ptycho")
        raise UserError(
            *error.faults,
            f"{name} was recorded by ptycho {was or 'of an unknown version'}, and its settings "
            "do not fit this one; install that version to reproduce it.",
        ) from None
    find_files(run, recorded.environment.get("cwd"))
    run.execution.resume = Resume.never
    run.execution.threads = wish.threads or recorded.environment.get("threads")
    if run.logger.backend.uses_mlflow:
        run.logger.run_name = f"reproduce {name}"
        run.logger.register_model = None  # it is no new version
        run.logger.tracking_uri = wish.tracking_uri or run.logger.tracking_uri
    return run


def _new_folder(outputs: Path) -> Path:
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return outputs / "runs" / f"{now}_reproduce"


def unrecorded(settings: dict[str, Any]) -> list[str]:
    """Settings of this version that a record does not hold."""
    known = _names(settings)
    return [name for name, *_ in leaves(RunConfig()) if name not in known]


def _names(settings: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in settings.items():
        found.add(f"{prefix}{name}")
        if isinstance(value, dict):
            found |= _names(value, f"{prefix}{name}.")
    return found
