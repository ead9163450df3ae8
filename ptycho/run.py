"""``python -m ptycho.run``: settings in, one run out."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ptycho.config.config import UserError
from ptycho.config.store import (
    MENDABLE,
    check_command_line,
    conf_dir,
    register,
    sentence,
    to_run_config,
)

BAD_INPUT = 2
"""Exit code for anything the user can mend."""
UNREAD = 1
"""Exit code when the output was no longer wanted."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def _job(cfg: DictConfig) -> float | None:
    run = to_run_config(cfg)
    from ptycho.workflows.launch import launch  # heavy: torch, lightning

    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    try:
        return launch(run, folder, list(context.overrides.task))
    except BrokenPipeError:
        raise
    except (UserError, OSError) as error:
        if context.mode == RunMode.MULTIRUN:
            raise  # the sweep goes on and reports it
        _refuse(error)


def main() -> None:
    """Run Hydra; whatever the user can mend becomes a sentence and exit code 2."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand errors to us instead of printing them
    # threads that spin long for each other crawl on a machine that others use, too; torch reads
    # this when it is loaded
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        runs = check_command_line(sys.argv[1:])
        if runs:
            from ptycho.workflows.preflight import check_surroundings

            check_surroundings(*runs)
        _job()
    except BrokenPipeError:  # whoever read us, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)
    except (*MENDABLE, OSError) as error:
        _refuse(error)
    except KeyboardInterrupt:
        print("ptycho: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _refuse(error: Exception) -> NoReturn:
    faults = error.faults if isinstance(error, UserError) else (sentence(error),)
    for fault in faults:
        print(f"ptycho: {fault}", file=sys.stderr)
    sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
