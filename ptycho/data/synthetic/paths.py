"""Ways of the beam over the object."""

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]

IN_ROWS = ("snake", "raster")
"""Ways that are made of whole rows."""


def way(
    kind: str, n_patterns: int, step: float, jitter: float, rng: np.random.Generator
) -> tuple[Positions, tuple[float, float]]:
    """Positions ``(n, 2)`` as (y, x) in pixels, and the height and width that they cover.

    Args:
        kind: ``snake``, ``raster``, ``fermat``, ``concentric`` or ``random``.
        n_patterns: as many as are wanted; of those in rows whole rows are made, never more.
        step: mean distance of neighbouring positions.
        jitter: standard deviation that is added to them; not to random ones.
        rng: randomness.
    """
    if kind in IN_ROWS:
        columns = int(np.sqrt(n_patterns))
        rows = n_patterns // columns
        return raster(rows, columns, step, rng, jitter, snake=kind == "snake"), (
            rows * step, columns * step,
        )  # fmt: skip
    side = float(np.sqrt(n_patterns)) * step
    if kind == "random":
        return rng.uniform(0, side, (n_patterns, 2)), (side, side)
    made = {"fermat": fermat, "concentric": concentric}[kind](n_patterns, step)
    extent = np.ptp(made, axis=0) + step
    placed = made - made.min(0) + step / 2 + rng.normal(0, jitter, made.shape)
    return placed, (float(extent[0]), float(extent[1]))


def raster(
    rows: int, columns: int, step: float, rng: np.random.Generator, jitter: float,
    snake: bool = True,
) -> Positions:  # fmt: skip
    """Rows ``(rows * columns, 2)`` as (y, x) with Gaussian jitter, in pixels.

    Every second one runs backwards in a ``snake``.
    """
    y, x = np.mgrid[:rows, :columns].astype(float)
    if snake:
        x[1::2] = x[1::2, ::-1]
    grid = np.stack([y.ravel(), x.ravel()], axis=1) * step
    return grid + rng.normal(0, jitter, grid.shape)


def fermat(n_patterns: int, step: float) -> Positions:
    """A Fermat spiral by the golden angle: evenly dense, without any lattice.

    Huang et al. 2014, doi:10.1364/OE.22.012634. Each position has an area of ``step^2``.
    """
    number = np.arange(n_patterns) + 0.5
    angle = number * np.pi * (3 - np.sqrt(5))
    radius = step * np.sqrt(number / np.pi)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def concentric(n_patterns: int, step: float) -> Positions:
    """Rings ``step`` apart around a position in the middle, on each about ``step`` from the next.

    Dierolf et al. 2010, doi:10.1088/1367-2630/12/3/035017.
    """
    found = [np.zeros((1, 2))]
    ring = 0
    while sum(map(len, found)) < n_patterns:
        ring += 1
        count = round(2 * np.pi * ring)
        angle = 2 * np.pi * np.arange(count) / count
        found.append(ring * step * np.stack([np.sin(angle), np.cos(angle)], axis=1))
    return np.concatenate(found)[:n_patterns]


def on_the_fly(positions: Positions, points: int, step: float) -> Positions:
    """Where a beam that never stops is while each pattern is taken.

    The exposure of a pattern begins halfway from the last position and ends halfway to the next;
    the position is reached in its middle. Where a neighbour is far away (a new row, the ends of
    the scan) the beam goes on as on the other side.

    Args:
        positions: ``(n, 2)`` in the order of the scan.
        points: places on the way, evenly spaced in time.
        step: usual distance of neighbours; twice as far is far away.

    Returns:
        ``(n, points, 2)``.
    """
    apart = np.diff(positions, axis=0)
    far = (np.linalg.norm(apart, axis=1) > 2 * step)[:, None]
    nowhere = np.full((1, 2), np.nan)
    before = np.concatenate([nowhere, np.where(far, np.nan, apart)]) / 2
    after = np.concatenate([np.where(far, np.nan, apart), nowhere]) / 2
    before, after = (
        np.nan_to_num(np.where(np.isnan(one), other, one)) for one, other in
        ((before, after), (after, before))
    )  # fmt: skip
    time = ((np.arange(points) + 0.5) / points * 2 - 1)[None, :, None]
    return positions[:, None] + np.where(time < 0, time * before[:, None], time * after[:, None])
