"""Which turn of patterns and positions, and which scale, explains patterns that were not fitted.

Turning patterns, positions and probe together gives the same patterns of a turned object. The
probe stands where it is, so that turning patterns and positions alike is told only by what
the probe lacks in symmetry; by the same token a half turn (the twin image) is told only where
the probe is not its own conjugate turned by half: a defocused one is not.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.workflows.doctor.region import Answer, Region
from ptycho.workflows.doctor.turns import AS_IT_IS, TURNS, Turn

Image = NDArray[np.float64]
Pair = tuple[Turn, Turn]
"""Turns of the patterns and of the positions."""

_SIGNS = 3.0
"""Standard errors by which one answer must be better than another."""
_LEAST = 0.02
"""And by so much C."""
_FOUND = 0.15
"""C of patterns that were not fitted, below which nothing was found."""
_COARSE = (0.71, 0.84, 1.19, 1.41)
"""Scales to try where the positions as they are explain nothing."""
_STEP = 0.06
_CLOSE = 0.02
"""Of each other: scales that a refinement of the positions brings together."""
_WIDEST = 0.06
"""Beyond, a scale that explains more is another one, however uncertain."""


@dataclass(frozen=True)
class Orientation:
    """How the 64 pairs of turns did."""

    answers: dict[Pair, Answer]
    scale: float
    """Of the positions, with which they were tried."""
    best: Pair
    """The pair of the highest C."""
    alike: tuple[Pair, ...]
    """Those that the data do not tell from the best, which is among them; the plainest first."""

    @property
    def chosen(self) -> Pair:
        """What to set: the plainest of those that fit."""
        return self.alike[0]

    @property
    def c(self) -> float:
        """C of the best."""
        return self.answers[self.best].c

    @property
    def runner_up(self) -> Pair | None:
        """The best of those that are told from it."""
        others = [pair for pair in self.answers if pair not in self.alike]
        return max(others, key=lambda pair: self.answers[pair].c, default=None)

    @property
    def margin(self) -> float:
        """C between the best and the best of those that are told from it."""
        other = self.runner_up
        return self.c - self.answers[other].c if other else 0.0

    @property
    def found(self) -> bool:
        """Whether any pair explains anything."""
        return self.c >= _FOUND and self.margin > 0

    @property
    def grid(self) -> Image:
        """``(8, 8)``: C of every pair."""
        return np.array([[self.answers[a, b].c for b in TURNS] for a in TURNS])


def try_turns(region: Region, scale: float = 1.0, iterations: int = 6) -> Orientation:
    """Try all 64 pairs of turns.

    Args:
        region: some patterns.
        scale: of the positions.
        iterations: of every fit.
    """
    answers = {(a, b): region.solve(a, b, scale, iterations) for a in TURNS for b in TURNS}
    best = max(answers, key=lambda pair: answers[pair].c)
    alike = [pair for pair in answers if not _better(answers[best], answers[pair])]
    # positions are turned at no cost, patterns are what everybody sees first
    alike.sort(key=lambda pair: (pair[0].steps + pair[1].steps, pair[0].steps, pair))
    return Orientation(answers, scale, best, tuple(alike))


def search(region: Region) -> Orientation:
    """Try all turns, with other scales where the positions as they are explain nothing."""
    found = try_turns(region)
    if found.c >= _FOUND:
        return found
    tried = [found, *(try_turns(region, scale, iterations=4) for scale in _COARSE)]
    best = max(tried, key=lambda one: one.c)
    return found if best is found else try_turns(region, best.scale)


def search_far(region: Region, *others: float) -> Orientation:
    """Try scales from a quarter to four times the positions, where nothing tells their unit.

    Args:
        region: some patterns.
        others: scales that are tried as well.
    """
    scales = [*(1.19**step for step in range(-8, 9)), *others]
    # what the patterns' own turns would add shows in one of these, too, if not as well
    tried = {
        (turn, scale): region.solve(AS_IT_IS, turn, scale, iterations=4).c
        for scale in scales
        for turn in TURNS
    }
    _, best = max(tried, key=lambda pair: tried[pair])
    return try_turns(region, best)


def _better(one: Answer, other: Answer) -> bool:
    """Whether an answer is better than another, pattern by pattern."""
    return _gain(one.held, other.held)


def _gain(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    gain = one - other
    error = gain.std() / math.sqrt(max(len(gain) - 1, 1))
    return bool(gain.mean() > max(_LEAST, _SIGNS * error))


def better(one: Answer, other: Answer) -> bool:
    """Whether an answer explains what was not fitted better than another, beyond chance."""
    return _better(one, other)


@dataclass(frozen=True)
class Scale:
    """What the positions must be multiplied by."""

    factor: float
    error: float
    """Standard error."""
    tried: Image
    """``(k, 2)``: factors and C."""
    gains: bool = True
    """Whether patterns that were not fitted are explained better so than by a factor of 1."""

    @property
    def tolerance(self) -> float:
        """How far from what was expected a factor may be, relatively."""
        return max(_CLOSE, min(3 * self.error, _WIDEST))

    @property
    def fits(self) -> bool:
        """Whether that is 1, as far as the data tell."""
        return not self.gains or abs(math.log(self.factor)) <= self.tolerance

    @property
    def known(self) -> bool:
        """Whether the data tell it to a few per cent."""
        return self.error < 0.05


def find_scale(
    region: Region,
    patterns: Turn = AS_IT_IS,
    positions: Turn = AS_IT_IS,
    start: float = 1.0,
    iterations: int = 6,
) -> Scale:
    """Find the scale of the positions at which they explain most.

    Climbs in steps, then fits a parabola to C over the logarithm of the scale.

    Args:
        region: some patterns.
        patterns: how to turn the patterns first.
        positions: how to turn the positions first.
        start: where to begin.
        iterations: of every fit.
    """
    held: dict[float, NDArray[np.float64]] = {}

    def ask(log: float) -> float:
        log = round(log, 6)
        if log not in held:
            held[log] = region.solve(patterns, positions, math.exp(log), iterations).held
        return float(held[log].mean())

    at = math.log(start)
    for _ in range(8):
        around = [at - _STEP, at, at + _STEP]
        top = max(around, key=ask)
        if top == at:
            break
        at = top
    for reach in (_STEP, _STEP / 2):  # C is a parabola near its top only
        points = [at + step * reach for step in (-1, -0.5, 0, 0.5, 1)]
        for point in points:
            ask(point)
        at, error = _top(points, np.stack([held[round(point, 6)] for point in points]))
    ask(0.0)
    gains = _gain(held[max(held, key=ask)], held[0.0])
    tried = np.array(sorted((math.exp(log), c.mean()) for log, c in held.items()))
    return Scale(math.exp(at), error, tried, gains)


def _top(logs: list[float], held: Image) -> tuple[float, float]:
    """Top of a parabola through C, and its standard error by leaving patterns out in turn.

    Args:
        logs: ``(k,)`` of the scales.
        held: ``(k, h)`` correlation of every pattern.
    """
    middle = logs[len(logs) // 2]
    x = np.array(logs) - middle

    def top(values: NDArray[np.float64]) -> float:
        a, b, _ = np.polyfit(x, values, 2)
        limit = 1.5 * float(x.max())
        return float(np.clip(-b / (2 * a), -limit, limit)) if a < 0 else math.copysign(limit, b)

    n = held.shape[1]
    left_out = np.array([top(np.delete(held, one, axis=1).mean(1)) for one in range(n)])
    error = math.sqrt((n - 1) / n * float(np.square(left_out - left_out.mean()).sum()))
    found = top(held.mean(1))
    if abs(found) > 1.4 * x.max():  # beyond what was tried, and no more than a guess
        error = max(error, abs(found))
    return middle + found, error
