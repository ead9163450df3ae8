"""``python -m ptycho.run``: settings in, one run out."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from pathlib import Path
from socket import gethostname

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ptycho.config.choices import Resume
from ptycho.config.config import RunConfig, UserError
from ptycho.config.describe import quoted
from ptycho.config.process import BAD_INPUT, exit_codes, gentle_threads, refuse, say_failed
from ptycho.config.store import (
    MENDABLE,
    check_command_line,
    conf_dir,
    is_multirun,
    register,
    sentence,
    to_run_config,
)
from ptycho.training.cluster import place


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def _job(cfg: DictConfig) -> float | tuple[float, ...] | None:
    register()  # a launcher's process begins with this function
    run = to_run_config(cfg)
    from ptycho.workflows.launch import launch  # heavy: torch, lightning

    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    try:
        with _where_it_was_typed(context):
            return launch(run, folder, list(context.overrides.task))
    except BrokenPipeError:
        raise
    except (UserError, OSError) as error:
        if context.mode == RunMode.MULTIRUN:
            say_failed(context.sweep.subdir, error, sentence)
            raise  # the sweep goes on and sums up
        refuse(error, sentence)


@contextmanager
def _where_it_was_typed(context: HydraConf) -> Iterator[None]:
    """Let relative paths mean what they mean to who typed them, wherever a launcher runs a job."""
    typed = Path(context.runtime.cwd)
    if context.job.chdir:
        yield  # which asks for another folder
        return
    if not typed.is_dir():
        raise UserError(
            f"the folder of the command, {typed}, is not on {gethostname()}; type it in a folder "
            "that all machines share."
        )
    with chdir(typed):
        yield


def main() -> None:
    """Run Hydra; whatever the user can mend becomes a sentence and exit code 2."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand errors to us instead of printing them
    gentle_threads()
    # Hydra reads what stands behind an option in the middle no more
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    with exit_codes(*MENDABLE, sentence=sentence):
        runs = _checked(sys.argv[1:])
        with _joined(runs, sys.argv[1:]) as leads:
            if leads:
                sys.argv += _going_on(runs, sys.argv[1:])
                _job()


def _checked(arguments: list[str]) -> list[RunConfig]:
    """The settings of the jobs, once they and what they need on this machine are in order."""
    try:
        runs = check_command_line(arguments)
        if runs:
            from ptycho.workflows.preflight import check_launcher, check_surroundings

            check_launcher(arguments)
            check_surroundings(*runs)
    except MENDABLE:
        here = place()
        if here is not None and here.local_rank != 0:
            sys.exit(BAD_INPUT)  # its neighbour says why
        raise
    return runs


def _joined(runs: list[RunConfig], arguments: list[str]) -> AbstractContextManager[bool]:
    """Whether this process leads a training, as it does alone; the others are through then."""
    here = place()
    if here is None or not runs or runs[0].trainer.strategy != "ddp":
        return nullcontext(True)
    if is_multirun(arguments):
        raise UserError(
            f"{here.by} started the processes of one training, and -m asks for several; let a "
            "sweep start its own (launcher=slurm, or no torchrun), docs/clusters.md shows how."
        )
    from ptycho.workflows.crew import joined

    return joined(here, runs[0])


def _going_on(runs: list[RunConfig], arguments: list[str]) -> list[str]:
    """Where the run that was typed stopped before, as an override; nothing when it is new."""
    if len(runs) != 1 or runs[0].execution.resume == Resume.never or is_multirun(arguments):
        return []
    if any(one.startswith("hydra.run.dir=") for one in arguments):
        return []
    from ptycho.workflows.status import unfinished

    folder = unfinished(runs[0], Path(runs[0].paths.outputs) / "runs")
    if folder is None:
        return []
    if not runs[0].execution.quiet:
        print(f"going on with {folder}")
    return [f"hydra.run.dir={quoted(str(folder))}"]


if __name__ == "__main__":
    main()
