"""The jobs of a sweep as rows, best first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from ptycho.config.choices import Direction
from ptycho.report.folder import RunFolder

LOSS = "train/loss"
RATE = "train/patterns_per_s"


class Stand(StrEnum):
    """How a job stands, in the order in which jobs are listed."""

    finished = "finished"
    running = "running"
    pruned = "pruned"
    interrupted = "interrupted"
    killed = "killed"
    failed = "failed"
    unrecorded = "unrecorded"


@dataclass(frozen=True)
class Metric:
    """What the jobs are judged by."""

    name: str
    direction: Direction

    @property
    def wanted(self) -> str:
        """Which end is good, in a word."""
        return "lower is better" if self.direction == Direction.min else "higher is better"

    def cost(self, value: float) -> float:
        """The value turned so that less is better."""
        return value if self.direction == Direction.min else -value


@dataclass(frozen=True)
class Job:
    """One row."""

    folder: RunFolder
    stand: Stand
    settings: dict[str, Any]
    """Swept settings by full name; those that are not known are missing."""
    metrics: dict[str, float]
    """Metrics by name, finite ones only."""
    figures: dict[str, float]
    """``C``, ``R``, ``seconds``, ``train/patterns_per_s``, ``train/loss``, those that are known."""
    error: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    """Rows of ``metrics.csv``."""

    @property
    def number(self) -> int:
        """Name of its folder."""
        return self.folder.number

    @property
    def said(self) -> str:
        """How it stands, in words, with the epochs after which it stopped too early."""
        if self.stand == Stand.finished or not self.history:
            return self.stand.value
        return f"{self.stand} after {len(self.history)} epoch{'s' * (len(self.history) > 1)}"

    @property
    def fault(self) -> str:
        """The sentence it failed with; empty for a job that a sweep gave up, as it should."""
        return "" if self.stand in (Stand.finished, Stand.pruned) else self.error


@dataclass(frozen=True)
class Sweep:
    """A sweep as its folder tells it."""

    path: Path
    record: dict[str, Any]
    """``sweep.json``; empty for a sweep that left none."""
    metrics: list[Metric]
    swept: dict[str, str]
    """What was varied: name -> how, as it was written."""
    jobs: list[Job]
    """Best first."""
    front: frozenset[int]
    """Numbers of the jobs that no other beats in all metrics."""

    @cached_property
    def judged(self) -> list[Job]:
        """Finished jobs with all metrics, best first."""
        return [job for job in self.jobs if complete(job, self.metrics)]

    @property
    def label(self) -> str:
        """Name of its folder."""
        return self.path.resolve().name


def value_of(job: Job, metric: Metric) -> float:
    """The metric of a judged job."""
    return job.metrics[metric.name]


def number_or_none(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all are numbers, truths aside."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def span_sizes(values: Sequence[float]) -> bool:
    """Whether numbers span so many sizes that only their logarithm shows them apart."""
    return min(values) > 0 and max(values) >= 9.99 * min(values)


def complete(job: Job, metrics: list[Metric]) -> bool:
    """Whether a job has finished and has all metrics."""
    return job.stand == Stand.finished and all(m.name in job.metrics for m in metrics)
