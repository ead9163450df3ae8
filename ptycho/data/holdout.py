"""Patterns that nothing is fitted to, chosen so that they can judge a reconstruction."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_COVERED = 0.9  # share of a pattern's light that must fall where the others bring enough
_ENOUGH = 0.5  # of the light that is typical for the scan


def hold_out(
    light: NDArray[np.floating[Any]],
    beams: NDArray[np.floating[Any]],
    row: NDArray[np.int64],
    corners: NDArray[np.int64],
    wanted: int,
) -> NDArray[np.int64]:
    """Choose patterns at random whose places the remaining ones light as well.

    A pattern at the rim of a scan sees what no other has seen: left out of the fit, it would
    judge the extrapolation and not the reconstruction. The choice is the same for every run
    of a scan, whatever the run's seed, so that runs can be compared.

    Args:
        light: photons ``(H, W)`` that fell on the object in the whole scan.
        beams: photons ``(k, N, N)`` of the beam at each of its sub-pixel shifts.
        row: ``(n,)``, which of these belongs to a pattern.
        corners: ``(n, 2)``, first row and column of each patch.
        wanted: how many.

    Returns:
        Sorted numbers; fewer than wanted where patterns hardly overlap.
    """
    size = beams.shape[-1]
    remaining = light.astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(remaining, (size, size), writeable=True)
    enough = _ENOUGH * _typical(light, beams, row, corners)
    chosen: list[int] = []
    for number in np.random.default_rng(0).permutation(len(row)):
        if len(chosen) == wanted:
            break
        beam, there = beams[row[number]], windows[tuple(corners[number])]
        if beam[there - beam >= enough].sum() >= _COVERED * beam.sum():
            there -= beam
            chosen.append(int(number))
    return np.sort(np.array(chosen, dtype=np.int64))


def _typical(
    light: NDArray[Any], beams: NDArray[Any], row: NDArray[np.int64], corners: NDArray[np.int64]
) -> float:
    """Light that a pattern usually finds, weighted with its own."""
    size = beams.shape[-1]
    some = range(0, len(row), max(len(row) // 200, 1))
    found = [
        np.average(light[y : y + size, x : x + size], weights=beams[row[number]])
        for number in some
        for y, x in [corners[number]]
    ]
    return float(np.median(found))
