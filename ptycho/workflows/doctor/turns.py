"""The eight ways in which two axes can be ordered and directed."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, order=True)
class Turn:
    """Swap y and x, then negate what is now y and what is now x; every step optional."""

    swap: bool = False
    flip_y: bool = False
    flip_x: bool = False

    @property
    def steps(self) -> int:
        """How many settings say it."""
        return self.swap + self.flip_y + self.flip_x

    @property
    def name(self) -> str:
        """In a few letters, for a table."""
        words = ("y↔x" * self.swap, "-y" * self.flip_y, "-x" * self.flip_x)
        return " ".join(word for word in words if word) or "as is"

    def positions(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn ``(n, 2)`` about the origin."""
        turned = positions[:, ::-1] if self.swap else positions
        return turned * np.array([1 - 2 * self.flip_y, 1 - 2 * self.flip_x], dtype=np.float64)

    def patterns(self, patterns: Tensor) -> Tensor:
        """Turn ``(..., y, x)``, the order of rows and columns."""
        if self.swap:
            patterns = patterns.transpose(-1, -2)
        axes = [axis for axis, flips in ((-2, self.flip_y), (-1, self.flip_x)) if flips]
        return (patterns.flip(axes) if axes else patterns).contiguous()

    def pixel(self, place: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
        """Where a pixel ``(2,)`` of an image ``(H, W)`` is after it."""
        last = np.array(shape) - 1.0
        if self.swap:
            place, last = place[::-1], last[::-1]
        return np.where((self.flip_y, self.flip_x), last - place, place)

    def pixel_before(
        self, place: NDArray[np.float64], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Where a pixel of the turned image was in the image ``(H, W)``."""
        last = np.array(shape[::-1] if self.swap else shape) - 1.0
        before = np.where((self.flip_y, self.flip_x), last - place, place)
        return before[::-1] if self.swap else before

    def settings(self, group: str, swap: str) -> dict[str, Any]:
        """The settings that say it, of a group that calls the swap so."""
        said = {swap: self.swap, "flip_y": self.flip_y, "flip_x": self.flip_x}
        return {f"{group}.{name}": wanted for name, wanted in said.items()}

    def words(self, swapped: str) -> str:
        """In words; ``swapped`` for the swap."""
        axes = [name for name, flips in (("y", self.flip_y), ("x", self.flip_x)) if flips]
        flips = f"flipped along {' and '.join(axes)}" if axes else ""
        both = [word for word in (swapped * self.swap, flips) if word]
        return " and ".join(both) or "as they are"


TURNS = tuple(
    Turn(swap, flip_y, flip_x)
    for swap, flip_y, flip_x in itertools.product((False, True), repeat=3)
)
"""All eight, the plainest first."""
AS_IT_IS = TURNS[0]
