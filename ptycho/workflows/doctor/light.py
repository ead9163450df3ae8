"""Photons of patterns: how many, how steady, and which patterns hold none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_DIM = 0.1
"""Of the middle pattern's light: less is no exposure of the same scan."""
_BRIGHT = 4.0
"""Times the middle pattern's light: more is none either."""


@dataclass(frozen=True)
class Light:
    """What patterns hold, in counts."""

    middle: float
    """Median photons of a pattern."""
    spread: float
    """Relative standard deviation of ordinary patterns, as their quartiles tell it."""
    empty: NDArray[np.int64]
    """Numbers of patterns without any."""
    dim: NDArray[np.int64]
    """Numbers of patterns with hardly any."""
    bright: NDArray[np.int64]
    """Numbers of patterns with far too many."""

    @property
    def drop_below(self) -> float:
        """Counts between dim and ordinary patterns."""
        return _DIM * self.middle

    @property
    def drop_above(self) -> float:
        """Counts between ordinary and too bright patterns."""
        return _BRIGHT * self.middle


def look_at_light(photons: Vector, numbers: NDArray[np.int64]) -> Light:
    """Sort patterns by their light.

    Args:
        photons: ``(k,)`` of every pattern, in counts.
        numbers: ``(k,)`` of the patterns in the scan.
    """
    lit = photons > 0
    middle = float(np.median(photons[lit])) if lit.any() else 0.0
    dim = lit & (photons < _DIM * middle)
    bright = photons > _BRIGHT * middle
    usual = photons[lit & ~dim & ~bright]
    quartiles = np.percentile(usual, [25, 75]) if len(usual) else np.zeros(2)
    spread = float((quartiles[1] - quartiles[0]) / 1.349 / middle) if middle else 0.0
    return Light(middle, spread, numbers[~lit], numbers[dim], numbers[bright & lit])
