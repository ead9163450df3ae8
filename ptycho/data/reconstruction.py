"""What a run found out about the object: the one input of every report and file."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex64]

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
        """Rows and columns between the outermost patch centres: the area that is judged."""
        return scanned_area(self.positions, self.probe.shape[-1])


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
