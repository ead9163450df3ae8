"""``ptycho resume FOLDER``: go on with an interrupted run or sweep, as it was recorded."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ptycho.config.choices import Resume
from ptycho.config.config import UserError
from ptycho.config.describe import quoted
from ptycho.config.process import exit_codes, gentle_threads
from ptycho.report.folder import STATUS, SWEEP, read_run, read_sweep


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says; the exit code is that of a run."""
    given = _parser().parse_args(arguments)
    gentle_threads()
    with exit_codes():
        resume(given.folder)


def resume(folder: Path) -> None:
    """Go on with the run, or the sweep, of a folder.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder.absolute()}; name the folder of a run.")
    folder = folder.absolute()
    if sweep := read_sweep(folder):
        return _resume_sweep(folder, sweep)
    found = read_run(folder)
    if found.state is None or not found.settings:
        raise UserError(
            f"{folder} holds no run ({STATUS} and config.resolved.yaml) and no sweep ({SWEEP}); "
            "name the folder of one."
        )
    from ptycho.workflows.factory import run_from
    from ptycho.workflows.launch import launch

    _go_where_it_began(found.environment.get("cwd"))
    run = run_from(found.settings)
    run.execution.resume = Resume.auto
    launch(run, folder, list(found.overrides), found.status.get("settings"))


def _resume_sweep(folder: Path, sweep: dict[str, Any]) -> None:
    """Type the command of a sweep again, for the same folder."""
    typed = [one for one in sweep.get("command", []) if not one.startswith("hydra.sweep.dir=")]
    if not typed:
        raise UserError(f"{folder / SWEEP} does not say by which command the sweep was begun.")
    from ptycho.run import main as run

    _go_where_it_began(sweep.get("cwd"))
    sys.argv = ["ptycho", *typed, f"hydra.sweep.dir={quoted(str(folder))}"]
    run()


def _go_where_it_began(place: str | None) -> None:
    """Relative paths of the settings are meant from there."""
    if place and Path(place).is_dir():
        os.chdir(place)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ptycho resume",
        description="Go on with a run that was interrupted or killed, in its own folder and its "
        "own run in the dashboard, with the settings it was begun with. For the folder of a sweep: "
        "do what is left of it.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of the run, or of the sweep")
    return parser


if __name__ == "__main__":
    main()
