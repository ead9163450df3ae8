"""Positions that lie apart from the patterns, and which pattern each belongs to."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho.data.frames import ChosenFrames, Indices
from ptycho.data.geometry import Geometry
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError

Positions = NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """What a file tells beside the patterns."""

    path: Path
    """The file."""
    name: str
    """What it calls the positions, for sentences."""
    positions: Positions
    """``(n, 2)``: (y, x), as in :class:`ptycho.data.measurement.Measurement`."""
    unit: str = "px"
    """``px`` or ``m``."""
    numbers: Indices | None = None
    """``(n,)``: the pattern that each belongs to, counted from 0; None: in order."""
    probe: NDArray[np.complex64] | None = None
    """``(modes, N, N)``."""
    obj: NDArray[np.complex64] | None = None
    """``(H, W)``: on the grid of the positions, which then are pixels."""
    pixel_size_m: float | None = None
    """Side of an object pixel in metres."""
    geometry: Geometry | None = None
    """The instrument."""
    notes: tuple[str, ...] = ()
    """What was decided, in words."""


def paired(found: Measurement, places: Places, numbers: Indices | None = None) -> Measurement:
    """Patterns with the positions, the probe and the object of ``places``.

    Several positions of one pattern are averaged; patterns without a position, and positions
    without a pattern, are left out, and it is noted how many.

    Args:
        found: patterns, with whatever positions.
        places: where they were taken.
        numbers: ``(n,)``: what the patterns are called; None: 0, 1, 2, ...

    Raises:
        DataError: nothing says which belongs to which.
    """
    n = len(found)
    obj = found.obj if places.obj is None else places.obj
    _refuse(places, n, obj)
    notes = {**found.notes, **({"partner": "; ".join(places.notes)} if places.notes else {})}
    positions, frames, bad = places.positions, found.frames, found.bad_pixels
    if places.numbers is not None or numbers is not None:
        mine = np.arange(n) if numbers is None else numbers
        theirs = np.arange(len(positions)) if places.numbers is None else places.numbers
        rows, positions, said = _matched(mine, theirs, positions)
        if not len(rows):
            raise DataError(
                f"{places.path}: {places.name} numbers the patterns {theirs.min()} to "
                f"{theirs.max()}, and {found.path} has {mine.min()} to {mine.max()}: no position "
                "has a pattern; are the two of one scan?"
            )
        notes |= {"pairing": said} if said else {}
        if len(rows) != n or (rows != np.arange(n)).any():
            frames = ChosenFrames(frames, rows)
            bad = bad[rows] if bad is not None and bad.ndim == 3 else bad
    elif len(positions) != n:
        raise DataError(
            f"{places.path}: {places.name} has {len(positions)} positions for the {n} patterns of "
            f"{found.frames.name}, and nothing says which belong together; leave some out."
        )
    return replace(
        found,
        frames=frames,
        positions=positions,
        unit=places.unit,
        probe=found.probe if places.probe is None else places.probe,
        obj=obj,
        bad_pixels=bad,
        pixel_size_m=places.pixel_size_m or found.pixel_size_m,
        geometry=_joined(found.geometry, places.geometry),
        notes=notes,
    )


def _refuse(places: Places, n: int, obj: NDArray[np.complex64] | None) -> None:
    where = f"{places.path}: {places.name}"
    positions = places.positions
    if positions.ndim != 2 or positions.shape[1] != 2 or not len(positions):
        raise DataError(f"{where} must be positions (n, 2), got {positions.shape}.")
    if not np.isfinite(positions).all():
        raise DataError(f"{where} holds NaN or infinity; drop those positions.")
    if n > 1 and len(positions) > 1 and not np.ptp(positions, axis=0).any():
        raise DataError(f"{where} says the same position for every pattern.")
    if places.numbers is not None and len(places.numbers) != len(positions):
        raise DataError(
            f"{where} has {len(positions)} positions and {len(places.numbers)} numbers of patterns."
        )
    if obj is not None and places.unit == "px":
        low, high = positions.min(0), positions.max(0)
        if (low < -1).any() or (high > obj.shape).any():
            raise DataError(
                f"{where} reach from (y, x) = ({low[0]:.1f}, {low[1]:.1f}) to ({high[0]:.1f}, "
                f"{high[1]:.1f}) in pixels, outside the object of {obj.shape[0]} x "
                f"{obj.shape[1]} that comes with them; are they in another unit?"
            )


def _matched(
    mine: Indices, theirs: Indices, positions: Positions
) -> tuple[Indices, Positions, str]:
    """Rows of the patterns that have a position, those positions, and what was left out."""
    known, back, times = np.unique(theirs, return_inverse=True, return_counts=True)
    sums = [np.bincount(back.ravel(), weights=axis) for axis in positions.T]
    mean = np.stack(sums, axis=1, dtype=np.float64) / times[:, None]
    at = np.searchsorted(known, mine).clip(max=len(known) - 1)
    rows = np.flatnonzero(known[at] == mine)
    lonely = len(mine) - len(rows)
    spare = len(known) - len(np.unique(at[rows]))
    words = [
        f"{count} {what}"
        for count, what in (
            (int((times > 1).sum()), "patterns with several positions, averaged"),
            (lonely, "patterns without a position, left out"),
            (spare, "positions without a pattern, left out"),
        )
        if count
    ]
    return rows, mean[at[rows]], "; ".join(words)


def _joined(mine: Geometry, theirs: Geometry | None) -> Geometry:
    """What either says; the file of the patterns first."""
    if theirs is None:
        return mine
    return Geometry(
        mine.energy_ev or theirs.energy_ev,
        mine.distance_m or theirs.distance_m,
        mine.detector_pixel_m or theirs.detector_pixel_m,
        mine.far_field and theirs.far_field,
        mine.focus_distance_m or theirs.focus_distance_m,
    )
