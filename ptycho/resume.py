"""``ptycho resume RUN_DIR``: go on with an interrupted run, as it was recorded."""

import argparse
from pathlib import Path

from ptycho.config.choices import Resume
from ptycho.config.config import UserError
from ptycho.config.process import exit_codes, gentle_threads
from ptycho.report.folder import STATUS, read_run


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says; the exit code is that of a run."""
    given = _parser().parse_args(arguments)
    gentle_threads()
    with exit_codes():
        resume(given.folder)


def resume(folder: Path) -> None:
    """Go on with the run of a folder.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder.absolute()}; name the folder of a run.")
    found = read_run(folder)
    if found.state is None or not found.settings:
        raise UserError(
            f"{folder} holds no run ({STATUS} and config.resolved.yaml); name the folder of a run."
        )
    from ptycho.workflows.factory import run_from
    from ptycho.workflows.launch import launch

    run = run_from(found.settings)
    run.execution.resume = Resume.auto
    launch(run, folder, list(found.overrides), found.status.get("settings"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ptycho resume",
        description="Go on with a run that was interrupted or killed, in its own folder and its "
        "own run in the dashboard, with the settings it was begun with.",
    )
    parser.add_argument("folder", metavar="RUN_DIR", type=Path, help="folder of the run")
    return parser


if __name__ == "__main__":
    main()
