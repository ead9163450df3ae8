"""``python -m ptycho.run``: settings in, one run out."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ptycho.config.config import ConfigError, RunConfig
from ptycho.config.store import check_command_line, conf_dir, register, sentence, to_run_config

BAD_INPUT = 2
"""Exit code for anything the user can mend."""


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def _job(cfg: DictConfig) -> float | None:
    run = to_run_config(cfg)
    from ptycho.workflows.launch import launch  # heavy: torch, lightning

    context = HydraConfig.get()
    return launch(run, Path(context.runtime.output_dir), list(context.overrides.task))


def main() -> None:
    """Run Hydra; whatever the user can mend becomes a sentence and exit code 2."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand errors to us instead of printing them
    try:
        run = check_command_line(sys.argv[1:])
        if run is not None:
            _check_surroundings(run)
        _job()
    except ConfigError as error:
        _refuse(error.faults)
    except (HydraException, OmegaConfBaseException) as error:
        _refuse([sentence(error)])


def _check_surroundings(run: RunConfig) -> None:
    from ptycho.workflows.preflight import check_surroundings

    check_surroundings(run)


def _refuse(faults: list[str]) -> None:
    for fault in faults:
        print(f"ptycho: {fault}", file=sys.stderr)
    sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
