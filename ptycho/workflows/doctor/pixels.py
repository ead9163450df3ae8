"""Pixels of a detector that do not say what they see."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, median_filter, rank_filter

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]

_HOT = 4.0
"""Times what its surroundings count at most, and a pixel is hot."""
_SEEN = 30.0
"""Counts, over all patterns, that a pixel's surroundings must have for its own to say a thing."""


@dataclass(frozen=True)
class Defects:
    """Masks ``(H, W)``."""

    hot: Mask
    """Far above their surroundings on average."""
    dead: Mask
    """Never above zero where their surroundings are lit."""
    stuck: Mask
    """Always the same value, above zero."""
    broken: Mask
    """Ever NaN or infinite."""

    @property
    def bad(self) -> Mask:
        """Any of them."""
        return self.hot | self.dead | self.stuck | self.broken

    def without(self, known: Mask) -> "Defects":
        """Those that nobody knew of."""
        return Defects(*(one & ~known for one in (self.hot, self.dead, self.stuck, self.broken)))


def find_defects(
    mean: Image, lowest: Image, highest: Image, broken: Mask, patterns: int
) -> Defects:
    """Look for pixels that differ from their surroundings as no light does.

    A speckle is at least two pixels wide where an oversampled pattern may be reconstructed at
    all, so that no single pixel is much brighter than the third brightest around it.

    Args:
        mean: ``(H, W)`` mean counts.
        lowest: ``(H, W)`` smallest value of each pixel, in any unit.
        highest: ``(H, W)`` largest.
        broken: ``(H, W)`` where a value was NaN or infinite.
        patterns: how many were averaged.
    """
    # the third largest of 5 x 5: two hot neighbours do not hide each other
    around = rank_filter(mean, rank=-3, size=5, mode="wrap")
    typical = median_filter(mean, size=5, mode="wrap")
    counted = patterns * mean
    expected = patterns * np.maximum(around, typical)
    hot = (mean > _HOT * around) & (counted > expected + 10 * np.sqrt(expected + 1) + _SEEN)
    stuck = (highest == lowest) & (highest > 0) & (patterns > 3)
    # where speckles are, even the dark places between them must have been seen
    low = patterns * rank_filter(mean, rank=2, size=3, mode="wrap")
    dark: Mask = highest <= 0
    dead = dark & (low > _SEEN) & ~broken
    # a gap between modules is wider than the median's window
    rim = maximum_filter(mean, size=9, mode="wrap") * patterns
    gap = dark & (rim > _SEEN) & _whole_lines(dark)
    return Defects(hot & ~stuck, (dead | gap) & ~broken, stuck, broken)


def _whole_lines(dark: Mask) -> Mask:
    """Rows and columns that are dark from end to end."""
    lines = dark.all(axis=1, keepdims=True) | dark.all(axis=0, keepdims=True)
    return np.asarray(dark & lines)


def plateau(highest: Image) -> tuple[float, int, bool]:
    """Whether the largest value is one at which the detector stopped.

    The brightest of all pixels are a few, and more are a little less bright.

    Args:
        highest: largest counts of every good pixel, in any order.

    Returns:
        The largest of all, how many pixels ever had it, and whether that is a plateau.
    """
    top = float(highest.max(initial=0))
    at_top = int((highest == top).sum())
    near = int((highest >= 0.9 * top).sum()) - at_top
    return top, at_top, at_top >= 5 and top >= 20 and at_top > near


def filled(counter: float) -> str | None:
    """The name of a counter's end where a value is one: 65,535 is 16 bits."""
    for bits in (8, 10, 12, 14, 16, 20, 24, 32):
        if counter in (2.0**bits - 1, 2.0**bits - 2):
            return f"{bits} bits"
    return None
