"""What was typed and no job of the command line reads.

A preset may set what the task at hand leaves aside (``experiment=quick task=solve``); a setting
that somebody typed is refused there. Standard library only.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields

from ptycho.config.choices import WITH_BUNDLE, Labels, Task
from ptycho.config.config import LearningConfig, OptimiserConfig, RunConfig
from ptycho.config.patch_rules import teaches

_LEARNING = (
    *(f"trainer.{item.name}" for one in (LearningConfig, OptimiserConfig) for item in fields(one)),
    *(
        f"execution.{name}"
        for name in (
            "enable_checkpointing", "checkpoint_save_top_k", "checkpoint_monitor_metric",
            "checkpoint_mode", "early_stop_patience", "collapse_guard", "recon_log_every_n_epochs",
            "limit_train_batches", "detect_anomaly", "profiler",
        )
    ),
)  # fmt: skip
_KEPT_WORKERS = "execution.persistent_workers"
_LOADING = (
    "execution.num_workers", "execution.pin_memory", "execution.prefetch_factor", _KEPT_WORKERS,
)  # fmt: skip
_FOR_NETWORKS = (*_LOADING, "execution.inference_batch_size")
_NAMES_IN_BRACES = re.compile(r"[{,]\s*(\w+)\s*:")
_EFFORT = ("solver.coarse_iterations", "solver.iterations", "solver.poisson_iterations")

_Reader = Callable[[RunConfig], bool]


def typed_settings(overrides: Iterable[str]) -> frozenset[str]:
    """Full names of the single settings in a list of overrides, those of ``group={NAME: ...}`` too.

    A choice such as ``model=pinn`` names none.
    """
    found: set[str] = set()
    for line in overrides:
        name, _, value = line.lstrip("+").partition("=")
        if value.startswith("{"):
            found |= {f"{name}.{one}" for one in _NAMES_IN_BRACES.findall(value)}
        elif "." in name:
            found.add(name)
    return frozenset(found)


def _refines(run: RunConfig) -> bool:
    """Whether there is a network, whose answer the physics may finish."""
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
        elif name in _FOR_NETWORKS and not _any(_refines, runs):
            yield (
                f"{name} says how networks get what they work on, and task={task} has none; leave "
                "it out."
            )
        elif name == _KEPT_WORKERS and not _any(teaches, runs):
            yield _kept_fault()
        elif name in _EFFORT and not _any(_solves, runs):
            last = name.partition(".")[2]
            instead = "model.lift_coarse_iterations" if "coarse" in last else f"refine.{last}"
            yield (
                f"{name} is for task=solve and for the labels of data.labels=solver, and this is "
                f"task={task} without; leave it out, or type {instead}."
            )


def bundle_faults(typed: Collection[str], run: RunConfig) -> Iterator[str]:
    """A sentence for every typed setting that a reconstruction with this bundle does not read.

    Args:
        typed: full names of settings.
        run: settings, those of ``model`` as the bundle has them.
    """
    if run.task != Task.reconstruct:
        return
    who = run.model.architecture
    if who.predicts_patches:
        yield from [_kept_fault()] if _KEPT_WORKERS in typed else []
        return
    for name in _LOADING:
        if name in typed:
            yield (
                f"{name} says how batches of patterns are prepared, and {run.bundle} holds a "
                f"network that sees the whole object at once ({who}); leave it out."
            )


def _kept_fault() -> str:
    return (
        f"{_KEPT_WORKERS} keeps workers from one epoch to the next, and task=reconstruct has no "
        "epochs; leave it out."
    )


def _any(reads: _Reader, runs: Sequence[RunConfig]) -> bool:
    return any(reads(run) for run in runs)
