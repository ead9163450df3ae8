"""What was typed and no job of the command line reads.

A preset may set what the task at hand leaves aside (``experiment=quick task=solve``); a setting
that somebody typed is refused there. Standard library only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields

from ptycho.config.choices import WITH_BUNDLE, Labels, Task
from ptycho.config.config import LearningConfig, OptimiserConfig, RunConfig
from ptycho.config.patch_rules import teaches

_LEARNING = tuple(
    f"trainer.{item.name}" for one in (LearningConfig, OptimiserConfig) for item in fields(one)
)
_EFFORT = ("solver.coarse_iterations", "solver.iterations", "solver.poisson_iterations")

_Reader = Callable[[RunConfig], bool]


def _refines(run: RunConfig) -> bool:
    return run.task != Task.solve


def _solves(run: RunConfig) -> bool:
    """Whether the solver works alone, for its own sake or to make labels."""
    labelled = run.trainer.realspace_weight or run.trainer.realspace_mae_weight
    makes_labels = teaches(run) and run.data.labels == Labels.solver and bool(labelled)
    return run.task == Task.solve or makes_labels


def idle_faults(typed: Sequence[str], runs: Sequence[RunConfig]) -> Iterator[str]:
    """A sentence for every typed setting that none of the runs reads.

    Args:
        typed: full names of settings.
        runs: settings of every job.
    """
    if not runs:
        return
    task = runs[0].task
    for name in typed:
        if name.startswith("refine.") and not _any(_refines, runs):
            yield (
                f"{name} says how the physics finishes what a network began, and task={task} has "
                f"none; leave it out, or type solver.{name.partition('.')[2]}."
            )
        elif name in _LEARNING and not _any(teaches, runs):
            yield (
                f"{name} is for learning, and task={task} learns nothing; leave it out, or use "
                f"{'task=adapt' if task in WITH_BUNDLE else 'task=train'}."
            )
        elif name in _EFFORT and not _any(_solves, runs):
            last = name.partition(".")[2]
            instead = "model.lift_coarse_iterations" if "coarse" in last else f"refine.{last}"
            yield (
                f"{name} is for task=solve and for the labels of data.labels=solver, and this is "
                f"task={task} without; leave it out, or type {instead}."
            )


def _any(reads: _Reader, runs: Sequence[RunConfig]) -> bool:
    return any(reads(run) for run in runs)
