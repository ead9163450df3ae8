"""Counts or amplitudes: what the numbers of patterns are, by four kinds of evidence."""

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
        words = "" if unit == 1 else f" of {unit:.4g}"
        if _whole(scaled, 1) and scaled.max() > 1.5:
            return Nature("counts", f"all are whole numbers{words}", unit)
        if _whole(scaled**2, 2) and scaled.max() ** 2 > 1.5:
            return Nature("amplitude", f"their squares are whole numbers{words and words + '²'}", unit)
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


def noise_slope(first: Array, second: Array) -> tuple[Array, float | None]:
    """How noise grows with light, from pairs of patterns that should be alike.

    The variance of counts is at least their mean, and equals it where a pixel sees little but
    noise; that of their square roots is 1/4 whatever the light.

    Args:
        first, second: ``(k, H, W)``, pairs of neighbouring patterns.

    Returns:
        ``(m, 2)`` of mean and variance, pixel by pixel, and the power of the mean by which the
        least varying pixels vary: about 1 for counts, 0 for amplitudes; None when too few say.
    """
    mean = 0.5 * (first + second).mean(0).ravel()
    variance = 0.5 * np.square(first - second).mean(0).ravel()
    usable = (mean > 0) & (variance > 0)
    both = np.stack([mean[usable], variance[usable]], axis=1)
    if len(both) < 400:
        return both, None
    order = np.argsort(both[:, 0])
    # the dim half, without the darkest, where a count or two in all is no mean
    groups = np.array_split(order[len(order) // 20 : len(order) // 2 + 1], 12)
    x = np.log([np.median(both[group, 0]) for group in groups])
    y = np.log([np.percentile(both[group, 1], 10) for group in groups])
    if np.ptp(x) < np.log(2.0):
        return both, None
    return both, float(np.polyfit(x, y, 1)[0])


def steadier(sums: Array, squares: Array) -> tuple[float, float]:
    """Relative spread of the light of patterns, the values being counts, or amplitudes.

    A transparent object scatters light and keeps its amount: what spreads less is the light.

    Args:
        sums: ``(k,)`` sums of the values.
        squares: ``(k,)`` sums of their squares.
    """
    spreads = []
    for light in (sums, squares):
        middle = float(np.median(light))
        off = float(np.median(np.abs(light - middle)))
        spreads.append(1.4826 * off / middle if middle > 0 else np.inf)
    return spreads[0], spreads[1]
