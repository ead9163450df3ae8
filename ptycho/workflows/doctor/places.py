"""Positions: steps, overlap, what is irregular, and whether neighbours look alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Positions = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """Distances of neighbouring positions, in the unit of the positions."""

    step: float
    """Typical distance of neighbours along a row or between rows: the root of the area that
    a position has to itself, but no less than to the nearest one."""
    nearest: float
    """Median distance to the nearest other position."""
    quartiles: tuple[float, float]
    """Of that distance."""
    extent: tuple[float, float]
    """Rows and columns that the positions span."""
    repeated: int
    """Positions that another one has, too."""
    lonely: NDArray[np.int64]
    """Numbers of positions far from all others."""
    regular: bool
    """Whether all steps are the same, as in an exact raster."""


def look_at_steps(positions: Positions) -> Steps:
    """Measure the steps of a scan.

    Args:
        positions: ``(n, 2)``, finite; at least two.
    """
    extent = np.ptp(positions, axis=0)
    distance = cKDTree(positions).query(positions, k=2)[0][:, 1]
    apart = distance > 1e-6 * max(float(extent.max()), 1e-300)
    moved = distance[apart]
    if not len(moved):
        return Steps(0.0, 0.0, (0.0, 0.0), _pair(extent), len(positions), np.zeros(0, int), False)
    nearest = float(np.median(moved))
    low, high = np.percentile(moved, [25, 75])
    lonely = np.flatnonzero(distance > 4 * max(float(high), nearest))
    area = _area(np.delete(positions, lonely, axis=0))
    step = max(nearest, float(np.sqrt(area / len(positions))))
    spread = float(np.std(np.delete(distance, lonely)[np.delete(apart, lonely)]))
    return Steps(
        step=step,
        nearest=nearest,
        quartiles=(float(low), float(high)),
        extent=_pair(extent),
        repeated=int((~apart).sum()),
        lonely=lonely,
        regular=spread < 1e-3 * nearest,
    )


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _area(positions: Positions) -> float:
    """Area that the positions cover: boxes of about nine positions that hold any."""
    extent = np.ptp(positions, axis=0)
    if (extent <= 0).any():
        return 0.0
    side = 3 * float(np.sqrt(extent.prod() / len(positions)))
    boxes = np.maximum(np.round(extent / side), 1).astype(int)
    counted = np.histogram2d(positions[:, 0], positions[:, 1], bins=boxes)[0]
    return float((counted > 0).mean() * extent.prod())


def areal_overlap(step: float, width: float) -> float:
    """Share of a disk that lies in its neighbour's, one step away.

    Args:
        step: distance of the centres.
        width: diameter.
    """
    ratio = np.clip(step / width, 0, 1) if width > 0 else 1.0
    return float((2 / np.pi) * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio**2)))


def neighbours(positions: Positions, pairs: int, seed: int = 0) -> NDArray[np.int64]:
    """Pairs ``(k, 2)`` of a position and the nearest other one, spread over the scan."""
    number = np.arange(len(positions))
    chosen = np.random.default_rng(seed).permutation(number)[:pairs]
    several = min(6, len(positions))
    distance, other = cKDTree(positions).query(positions[chosen], k=several)
    found = []
    for one, away, near in zip(chosen, distance, np.atleast_2d(other), strict=True):
        # a repeated position says nothing about positions
        usable = [int(j) for d, j in zip(away, near, strict=True) if j != one and d > 1e-9]
        if usable:
            found.append((int(one), usable[0]))
    return np.array(found, np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Alike:
    """How much alike patterns are, as mean correlations of what differs from the mean pattern."""

    near: float
    """Of patterns at neighbouring positions."""
    next: float
    """Of patterns that follow each other in the file."""
    far: float
    """Of patterns chosen at random."""
    error: float
    """Standard error of a difference of them."""


def alike(
    first: NDArray[np.float32], second: NDArray[np.float32], after: NDArray[np.float32]
) -> Alike:
    """Compare patterns with their neighbours.

    Args:
        first: ``(k, M, M)`` amplitudes of patterns.
        second: ``(k, M, M)`` of their neighbours.
        after: ``(k, M, M)`` of those that follow them in the file.
    """
    mean = (first.mean(0) + second.mean(0)) / 2
    a, b, c = (_unit(block - mean) for block in (first, second, after))
    near, following = (a * b).sum(1), (a * c).sum(1)
    far = np.concatenate([(a * np.roll(b, k, axis=0)).sum(1) for k in (3, 7, 11)])
    error = np.hypot(near.std(), far.std()) / np.sqrt(max(len(near), 1))
    return Alike(float(near.mean()), float(following.mean()), float(far.mean()), float(error))


def _unit(block: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = block.reshape(len(block), -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(norm > 0, norm, 1))
