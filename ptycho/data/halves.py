"""A scan cut in two that both see the whole sample."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

Indices = NDArray[np.int64]

_NEIGHBOURS = 8


def split_halves(positions: NDArray[np.float64]) -> tuple[Indices, Indices]:
    """Cut positions into two halves so that neighbours part.

    Going by scan order, every second pattern of a raster with two columns would put one
    column into each half. Instead the nearest neighbours are joined to a tree (of all
    spanning trees the shortest) and every joint changes the half: on a raster that is a
    chessboard, whatever the order in which it was scanned.

    Args:
        positions: patch centres ``(n, 2)``.

    Returns:
        Numbers of the positions in either half, ascending; every position in exactly one.
    """
    n = len(positions)
    tree = minimum_spanning_tree(_neighbours(positions))
    side = np.zeros(n, dtype=bool)
    sizes = np.zeros(2, dtype=int)
    _, component = connected_components(tree, directed=False)
    together = np.argsort(component, kind="stable")
    for members in np.split(together, np.cumsum(np.bincount(component))[:-1]):
        order, parent = breadth_first_order(tree, members[0], directed=False)
        # what begins a new tree goes where there is more room
        side[members[0]] = sizes[1] < sizes[0]
        for node in order[1:]:
            side[node] = not side[parent[node]]
        sizes += np.bincount(side[members].astype(int), minlength=2)
    return np.flatnonzero(~side), np.flatnonzero(side)


def _neighbours(positions: NDArray[np.float64]) -> coo_array:
    """Distances of every position to the nearest few, as a sparse ``(n, n)``."""
    n = len(positions)
    k = min(_NEIGHBOURS + 1, n)
    distance, near = cKDTree(positions).query(positions, k=range(1, k + 1))
    rows = np.repeat(np.arange(n), k)
    # zeros mean no edge, but repeated positions are the nearest of all
    lengths = distance.ravel() + 1e-6
    apart = near.ravel() != rows
    return coo_array((lengths[apart], (rows[apart], near.ravel()[apart])), shape=(n, n))
