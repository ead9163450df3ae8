"""Fair clocks: repeated, alternating, waiting for the device."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")
K = TypeVar("K")

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
"""Names in tables -> Lightning's names."""


@dataclass(frozen=True)
class Measured:
    """One figure, measured several times."""

    part: str
    """Which part of the benchmark: ``training``, ``solver`` and so on."""
    name: str
    """What was measured."""
    unit: str
    values: tuple[float, ...]
    """One for every repeat."""
    precision: str = ""
    """``fp32``, ``bf16``, or nothing where only one is possible."""
    note: str = ""
    """How it was measured, where the name does not say it."""

    @property
    def median(self) -> float:
        """The figure itself."""
        return statistics.median(self.values)


class Clock:
    """Seconds of work on a device.

    Args:
        device: that is waited for.
        cpu_time: seconds of this process on the CPU instead of those on the wall; a GPU
            has no such clock and keeps the wall's.
    """

    def __init__(self, device: torch.device, *, cpu_time: bool = False) -> None:
        self.device = device
        self._now = time.process_time if cpu_time and device.type == "cpu" else time.perf_counter

    def timed(self, work: Callable[[], T]) -> tuple[T, float]:
        """A result and its seconds."""
        self._wait()
        began = self._now()
        result = work()
        self._wait()
        return result, self._now() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


class Repeated:
    """Called, it does some work often enough to be timed and returns the amount per second.

    Args:
        work: what is timed.
        amount: of patterns, operations and so on in one go.
        clock: times it.
        shortest: seconds below which a timing is not believed.
    """

    def __init__(
        self, work: Callable[[], object], amount: float, clock: Clock, shortest: float
    ) -> None:
        self.work, self.amount, self.clock, self.shortest = work, amount, clock, shortest
        self.times = 1

    def __call__(self) -> float:
        while True:
            _, seconds = self.clock.timed(self._all)
            if seconds >= self.shortest:
                return self.times * self.amount / seconds
            # remembered: only the first call, which is a warm-up, has to search
            enough = 1.2 * self.times * self.shortest / max(seconds, 1e-6)
            self.times = min(max(math.ceil(enough), self.times + 1), 100 * self.times)

    def _all(self) -> None:
        for _ in range(self.times):
            self.work()


def alternate(repeats: int, works: dict[K, Callable[[], float]]) -> dict[K, tuple[float, ...]]:
    """Do all works in turn, again and again, so that drifts of the machine hit all alike.

    A first round warms up and is not kept.

    Args:
        repeats: rounds that are kept.
        works: each returns its figure.
    """
    rounds = [{key: work() for key, work in works.items()} for _ in range(repeats + 1)]
    return {key: tuple(one[key] for one in rounds[1:]) for key in works}


def ratio(ours: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
    """Quotients round by round."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def any_order() -> Iterator[None]:
    """Spare what is not ours the cost of giving the same bits twice, which our runs pay."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """What Lightning wraps around a step in this precision.

    Raises:
        KeyError: for a precision that is not in :data:`PRECISIONS`.
    """
    mixed = PRECISIONS[precision] == "bf16-mixed"
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)
