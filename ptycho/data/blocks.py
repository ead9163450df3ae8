"""A scan in blocks of neighbours, in an order in which each overlaps those before it."""

import numpy as np
from numpy.typing import NDArray

from ptycho.data.tiles import Indices, partition

Corners = NDArray[np.int64]


def blocks_of(corners: Corners, window: int, at_most: int) -> list[Indices]:
    """Cut a scan into compact blocks of nearly equal count.

    Args:
        corners: ``(n, 2)``, first row and column of each pattern's window.
        window: side of a window.
        at_most: windows in a block, give or take a few.

    Returns:
        Numbers of the windows in each block, sorted; the next block is always the one that
        shares most of the canvas with those before it.
    """
    count = -(-len(corners) // at_most)
    if count == 1:
        return [np.arange(len(corners))]
    places = corners.astype(np.float64)
    found = [np.sort(one) for one in partition(places, count, np.random.default_rng(0))]
    cells = [_cells(corners[one], window) for one in found]
    left, order, seen = [*range(count)], list[int](), set[tuple[int, int]]()
    while left:
        shared = [len(cells[block] & seen) for block in left]
        block = left.pop(int(np.argmax(shared)))  # the first one where none shares anything
        seen |= cells[block]
        order.append(block)
    return [found[block] for block in order]


def _cells(corners: Corners, window: int) -> set[tuple[int, int]]:
    """Squares of the canvas, half a window wide, on which the middles of windows lie."""
    half = max(window // 2, 1)
    first = corners + window // 4
    touched = [first + half * np.array(step) for step in ((0, 0), (0, 1), (1, 0), (1, 1))]
    found = np.unique(np.concatenate(touched) // half, axis=0)
    return {(int(y), int(x)) for y, x in found}
