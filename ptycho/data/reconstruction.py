"""What a run found out about the object: the one input of every report and file."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

Complex = NDArray[np.complex64]

_TRIED = 65  # places along either side for the edges of a rectangle

NETWORK = "network"
"""Name of the stage that a network left."""


@dataclass(frozen=True)
class Stage:
    """The object as one step of the reconstruction left it."""

    name: str
    """``lift``, ``network``, ``refined`` or ``solver``."""
    obj: Complex
    """``(H, W)`` on the canvas of the reconstruction."""
    seconds: float
    """Wall seconds this step took (for ``network``: inference, not training)."""


@dataclass(frozen=True)
class Uncertainty:
    """How far the result may be from the truth: a standard deviation for every pixel.

    NaN outside the scanned area.
    """

    phase: NDArray[np.float32]
    """``(H, W)`` in radians, a global phase and a ramp left out."""
    amplitude: NDArray[np.float32]
    """``(H, W)``; a common factor left out."""
    method: str
    """What told: ``fisher``, ``halves``, ``bootstrap`` or ``combined``."""


@dataclass(frozen=True)
class Reconstruction:
    """Object, probe and positions on one canvas, with the steps that led there."""

    stages: tuple[Stage, ...]
    """In order; the last one is the result."""
    probe: Complex
    """``(modes, N, N)`` in square roots of photons."""
    positions: NDArray[np.float64]
    """``(n, 2)``: patch centres (y, x) in pixels of the canvas."""
    flux: NDArray[np.float32] | None = None
    """``(n,)``: brightness of the beam, 1 on average; None where it was not asked for."""
    background: NDArray[np.float32] | None = None
    """``(N, N)``: photons that every pattern holds besides; None where it was not asked for."""
    fresnel: float | None = None
    """Fresnel number of a pixel, where the detector was near; None: far."""
    truth: Complex | None = None
    """``(H, W)`` on the canvas, when the object (or an estimate of it) came with the scan."""
    truth_is_known: bool = False
    """True for a simulated object; False for somebody's estimate."""
    pixel_size_m: float | None = None
    """Side of a canvas pixel in metres, when known."""
    label: str = "scan"
    """Name of the scan."""
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Named curves of (seconds, value), for instance ``train/loss``."""
    held_out: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Sorted numbers of the patterns that were never fitted."""
    uncertainty: Uncertainty | None = None
    """Of the last stage, when it was asked for."""

    @property
    def obj(self) -> Complex:
        """The result, complex ``(H, W)``."""
        return self.stages[-1].obj

    @property
    def scanned(self) -> tuple[slice, slice]:
        """Rows and columns between the outermost patch centres: the area that is shown."""
        return scanned_area(self.positions, self.probe.shape[-1])

    @property
    def judged(self) -> tuple[slice, slice]:
        """Rows and columns that are held against the truth, see :func:`judged_area`."""
        return judged_area(self.positions, self.probe.shape[-1])


def judged_area(positions: NDArray[np.float64], patch_size: int) -> tuple[slice, slice]:
    """The largest rectangle within a scan of patch centres ``(n, 2)``.

    All of :func:`scanned_area` where that is rectangular, but for two steps; of a round scan the
    corners are left out, where no light came.
    """
    area = scanned_area(positions, patch_size)
    try:
        hull = ConvexHull(positions)
    except (QhullError, ValueError):  # too few, or on a line
        return area
    away = 2 * np.sqrt(hull.volume / len(positions))  # of a plane, that is its area

    rows, columns = (np.linspace(side.start, side.stop - 1, _TRIED) for side in area)
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    inside = (corners @ hull.equations[:, :2].T + hull.equations[:, 2]).max(-1) <= away
    # convex: what holds both ends of a row holds the row, what holds four corners the rectangle
    first = np.where(inside.any(1), inside.argmax(1), _TRIED)
    last = np.where(inside.any(1), _TRIED - 1 - inside[:, ::-1].argmax(1), -1)
    top, bottom = np.triu_indices(_TRIED, 1)
    left, right = np.maximum(first[top], first[bottom]), np.minimum(last[top], last[bottom])
    best = int(((bottom - top) * np.maximum(right - left, 0)).argmax())
    low = np.ceil([rows[top[best]], columns[left[best]]]).astype(int)
    high = np.floor([rows[bottom[best]], columns[right[best]]]).astype(int) + 1
    if (high - low < patch_size // 2).any():
        return area
    return slice(low[0], high[0]), slice(low[1], high[1])


def scanned_area(positions: NDArray[np.float64], patch_size: int) -> tuple[slice, slice]:
    """Rows and columns between the outermost of some patch centres ``(n, 2)``.

    At least half a patch wide, so that a line or a single pattern can be judged, too.
    """
    low, high = np.ceil(positions.min(0)), np.floor(positions.max(0)) + 1
    middle, least = (low + high) // 2, patch_size // 2
    narrow = high - low < least
    low = np.where(narrow, middle - least // 2, low).astype(int)
    high = np.where(narrow, low + least, high).astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1])
