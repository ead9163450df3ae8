"""Counts or amplitudes: what the numbers of patterns are, as whole numbers and noise tell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TOLERANCE = 5e-3
"""How far from a whole number a value may be that was one before a square root was taken."""
_SHARE = 0.999
"""Of the values that must be whole."""
_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Nature:
    """What the numbers are."""

    kind: str
    """``counts`` or ``amplitude``; empty: the numbers do not say."""
    why: str
    """In words."""
    unit: float = 1.0
    """The value of one count, or the amplitude of one."""
    sure: bool = True
    """Whether whole numbers say so, which nothing else makes."""


def nature(values: Array) -> Nature:
    """What whole numbers say.

    Args:
        values: any number of values of some patterns, not negative.
    """
    lit = values[values > 0]
    if not len(lit):
        return Nature("", "the patterns are empty", sure=False)
    # one photon is the value that comes most often among the smallest
    for unit in (1.0, _quantum(lit)):
        if unit is None:
            continue
        scaled = lit / unit
        words = "" if unit == 1 else f"multiples of {unit:.4g}"
        if _whole(scaled, 1) and scaled.max() > 1.5:
            return Nature("counts", f"all are whole {words or 'numbers'}", unit)
        if _whole(scaled**2, 2) and scaled.max() ** 2 > 1.5:
            return Nature(
                "amplitude", f"their squares are whole {(words and words + '²') or 'numbers'}", unit
            )
    return Nature("", "neither they nor their squares are whole numbers", sure=False)


def _whole(values: Array, power: int) -> bool:
    """Whether values that single precision knew are whole."""
    blur = power * 2 * _EPSILON * values
    known = blur < 0.05  # beyond, every number is as good as whole
    if known.sum() < max(16, 0.01 * len(values)):
        return False
    off = np.abs(values - np.round(values))[known]
    return bool((off <= _TOLERANCE + blur[known]).mean() >= _SHARE)


def _quantum(lit: Array) -> float | None:
    """The smallest value, if it comes often enough to be one photon."""
    low = float(lit.min())
    return low if (lit < low * (1 + 1e-4)).mean() > 0.002 else None


def noise(first: Array, second: Array) -> tuple[Array, float | None]:
    """How counts of neighbouring patterns differ, beside how photons must.

    Photons vary by as much as their mean, and what else differs comes on top: pixels lie on or
    above that line, the darkest ones on it. In any other unit they do not.

    Args:
        first: ``(k, H, W)`` counts of patterns.
        second: likewise, of their neighbours.

    Returns:
        ``(m, 2)`` of mean and variance, pixel by pixel, and variance over mean of the darkest
        tenth of the pixels that saw a photon in twenty patterns; None when too few did.
    """
    mean = 0.5 * (first + second).mean(0).ravel()
    variance = 0.5 * np.square(first - second).mean(0).ravel()
    usable = (mean > 0.05) & (variance > 0)
    both = np.stack([mean[usable], variance[usable]], axis=1)
    if len(both) < 200 or len(first) < 20:
        return both, None
    dark = both[both[:, 0] <= np.percentile(both[:, 0], 10)]
    return both, float(dark[:, 1].sum() / dark[:, 0].sum())
