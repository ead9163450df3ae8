"""Which runs of a sweep are better than others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptycho.report.folder import RunFolder, State


@dataclass(frozen=True)
class Ranked:
    """A job of a sweep among the others."""

    job: RunFolder
    values: tuple[float, ...] = ()
    """One for each metric; empty where it did not finish or lacks one."""
    on_front: bool = False
    """Whether no other is better in one metric and as good in the rest."""


def ranked(
    jobs: Sequence[RunFolder], metric: Sequence[str], direction: Sequence[str]
) -> list[Ranked]:
    """Jobs, the best first; of several metrics the front, by the first metric.

    Args:
        jobs: of one sweep.
        metric: what they are judged by.
        direction: ``min`` or ``max`` for each.
    """
    signs = [1 if str(one) == "min" else -1 for one in direction]
    values = {job.number: values_of(job, metric) for job in jobs}
    costs = {
        number: [sign * one for sign, one in zip(signs, found, strict=True)]
        for number, found in values.items()
        if found
    }
    front = pareto(costs)

    def place(one: Ranked) -> tuple[Any, ...]:
        number = one.job.number
        return not one.values, not one.on_front, costs.get(number, []), number

    return sorted((Ranked(job, values[job.number], job.number in front) for job in jobs), key=place)


def values_of(job: RunFolder, metric: Sequence[str]) -> tuple[float, ...]:
    """The metrics of a finished job; empty where one is missing or no number."""
    found = job.status.get("metric") or {}
    values = [found.get(name) for name in metric]
    good = tuple(float(v) for v in values if isinstance(v, int | float) and math.isfinite(v))
    return good if job.state == State.finished and len(good) == len(metric) else ()


def pareto(costs: Mapping[int, Sequence[float]]) -> frozenset[int]:
    """Keys of those costs that no other undercuts in one and matches in all."""
    return frozenset(
        key
        for key, mine in costs.items()
        if not any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and tuple(other) != tuple(mine)
            for other in costs.values()
        )
    )
