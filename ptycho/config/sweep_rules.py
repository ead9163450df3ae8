"""What the settings of a sweep may be together, and which end of a metric is better.

Standard library only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib.util import find_spec

from ptycho.config.choices import Direction, Pruner, SweepSampler
from ptycho.config.config import RunConfig, SweepConfig
from ptycho.config.patch_rules import teaches

_LIKENESS = ("pearson", "ssim", "ms_ssim", "psnr", "mae")
_PERIODS = ("frc_half_bit_px", "frc_one_seventh_px", "frc_half_bit_nm", "frc_one_seventh_nm")

FIGURES: dict[str, Direction | None] = {
    "C": Direction.max,
    "C_held_out": Direction.max,
    "R": Direction.min,
    "deviance": Direction.min,
    "deviance_fitted": Direction.min,
    **{
        f"{part}_{name}": Direction.min if name == "mae" else Direction.max
        for part in ("amplitude", "phase")
        for name in _LIKENESS
    },
    "frc_area": Direction.max,
    **dict.fromkeys(_PERIODS, Direction.min),
    "seconds": Direction.min,
}
"""Figures of a stage and which end is better."""

OF_THE_RUN: dict[str, Direction | None] = {
    "seconds": Direction.min,
    "photons": Direction.min,
    "train/loss": Direction.min,
    "train/patterns_per_s": Direction.max,
    "train/seconds": Direction.min,
    "train/epochs": None,
    "train/kept_epoch": None,
}
"""Figures of a whole run."""

STAGES = ("lift", "network", "adapted", "refined", "solver")
"""Stages that a run may have; ``test_`` before them for the second scan."""

_NO_QUALITY = ("seconds", "photons", "patterns_per_s", "epochs", "kept_epoch")


def usual_direction(metric: str) -> Direction | None:
    """Which end of a metric is better; None where that is a matter of taste."""
    return OF_THE_RUN.get(metric) or FIGURES.get(metric.rpartition("/")[2])


def directions(sweep: SweepConfig) -> list[Direction]:
    """One for each metric, as typed or as usual."""
    return list(sweep.direction) or [usual_direction(one) or Direction.min for one in sweep.metric]


def sweep_faults(run: RunConfig) -> Iterator[str]:
    """Settings of a sweep that are impossible or that nothing would read."""
    sweep = run.sweep
    yield from _metric_faults(run)
    if sweep.sampler == SweepSampler.grid:
        yield from _sampling_faults(sweep)
        yield from _pruning_faults(run)
        return
    if sweep.n_trials is None:
        yield (
            f"sweep.n_trials must say how many trials sweep.sampler={sweep.sampler} draws, got "
            "nothing; type sweep.n_trials=20."
        )
    if sweep.sampler == SweepSampler.nsga2 and sweep.startup_trials < 2:
        yield (
            "sweep.startup_trials is the size of a generation of sweep.sampler=nsga2 and must be "
            f"at least 2, got {sweep.startup_trials}."
        )
    yield from _pruning_faults(run)


def _metric_faults(run: RunConfig) -> Iterator[str]:
    sweep = run.sweep
    if not sweep.metric:
        yield "sweep.metric must name what runs are judged by, got nothing; type sweep.metric=[C]."
    for name in dict.fromkeys(sweep.metric):
        if sweep.metric.count(name) > 1:
            yield f"sweep.metric names {name} twice; once is enough."
        if name.startswith("train/") and not teaches(run):
            yield (
                f"sweep.metric: {name} is a figure of a training, and task={run.task} learns "
                "nothing; choose another, such as C."
            )
        elif not _known(name):
            yield f"sweep.metric: there is no figure {name}.{_nearest(name)}"
    if sweep.direction and len(sweep.direction) != len(sweep.metric):
        yield (
            f"sweep.direction must be min or max for each of the {len(sweep.metric)} names of "
            f"sweep.metric, got {len(sweep.direction)}; leave it out for what is usual."
        )
    for name in sweep.metric if not sweep.direction else ():
        if _known(name) and usual_direction(name) is None:
            yield (
                f"sweep.metric: whether more or less of {name} is better is for you to say; "
                "type sweep.direction=[min] or [max]."
            )


def _known(name: str) -> bool:
    if name in OF_THE_RUN or name in FIGURES:
        return True
    stage, _, figure = name.partition("/")
    return stage.removeprefix("test_") in STAGES and figure in FIGURES


def _nearest(name: str) -> str:
    stage, slash, figure = name.rpartition("/")
    if stage and stage.removeprefix("test_") not in (*STAGES, "train"):
        return f" Stages are {', '.join(STAGES)}."
    of_run = [one.removeprefix("train/") for one in OF_THE_RUN if one.startswith("train/")]
    known = of_run if stage == "train" else [*FIGURES, *OF_THE_RUN]
    readings = {one.lower(): one for one in known}
    near = get_close_matches(figure.lower(), readings, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {stage}{slash}{readings[near[0]]}?"
    return f" Figures are {', '.join(dict.fromkeys(known))}."


def _sampling_faults(sweep: SweepConfig) -> Iterator[str]:
    """What only a sampler reads, where every combination is tried."""
    usual = SweepConfig()
    why = {
        "n_trials": "sweep.sampler=grid tries every combination once",
        "startup_trials": "sweep.sampler=grid draws nothing",
        "seed": "sweep.sampler=grid draws nothing",
        "storage": "sweep.sampler=grid keeps no study",
        "workers": "the launcher runs the jobs of a grid side by side (launcher=joblib)",
    }
    for name, reason in why.items():
        value = getattr(sweep, name)
        if value != getattr(usual, name):
            yield (
                f"sweep.{name}={value} has no effect: {reason}. Leave it out, or sample: sweep=tpe."
            )


def _pruning_faults(run: RunConfig) -> Iterator[str]:
    sweep, usual = run.sweep, SweepConfig()
    if sweep.pruner == Pruner.none:
        if sweep.min_epochs != usual.min_epochs:
            yield (
                f"sweep.min_epochs={sweep.min_epochs} has no effect with sweep.pruner=none; "
                "leave it out, or type sweep.pruner=median."
            )
        return
    wanted = f"sweep.pruner={sweep.pruner}"
    if sweep.sampler == SweepSampler.grid:
        yield f"{wanted} needs sweep.sampler=random, tpe or nsga2, got grid; leave it out."
    elif len(sweep.metric) > 1:
        yield (
            f"{wanted} gives trials up by one metric, and sweep.metric names {len(sweep.metric)}; "
            "type sweep.pruner=none."
        )
    elif sweep.metric and sweep.metric[0].rpartition("/")[2] in _NO_QUALITY:
        yield (
            f"{wanted} gives trials up by how well they explain the patterns, and sweep.metric="
            f"[{sweep.metric[0]}] says nothing of that; type sweep.pruner=none."
        )
    if not teaches(run):
        yield (
            f"{wanted} gives trials up by the epoch, and task={run.task} has none; "
            "type sweep.pruner=none."
        )


def alone_faults(typed: Sequence[str]) -> Iterator[str]:
    """What was typed for a sweep where one run was asked for.

    Args:
        typed: overrides as typed.
    """
    own = {f"sweep.{item.name}" for item in fields(SweepConfig)} - {
        "sweep.metric", "sweep.direction",
    }  # fmt: skip
    for line in typed:
        name = line.partition("=")[0].lstrip("+")
        if name in ("sweep", "launcher") or name in own:
            yield f"{line} is for many runs, and this is one; add -m, or leave it out."


_EXTRAS = {
    "joblib": ("hydra_joblib_launcher", "sweep"),
    "slurm": ("hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_ray_launcher", "ray"),
}
"""Launcher -> its plugin and the extra that brings it."""


def missing_extras(typed: Sequence[str]) -> Iterator[str]:
    """A sentence for a launcher that was typed and is not installed.

    Args:
        typed: overrides as typed.
    """
    for line in typed:
        name, _, option = line.partition("=")
        plugin, extra = _EXTRAS.get(option, ("", ""))
        if name == "launcher" and plugin and not _installed(f"hydra_plugins.{plugin}"):
            yield f"{line} is not installed; type: pip install 'ptycho[{extra}]'"


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
