"""A scan as its file holds it, before it is brought into the one convention used inside."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho.data.frames import Frames
from ptycho.data.geometry import Geometry as Geometry


@dataclass(frozen=True)
class Measurement:
    """What a reader found in a file; every reader returns one.

    The object's pixel, the probe and the estimate are those of the file's own patterns: whoever
    crops or bins patterns must change all of them.
    """

    frames: Frames
    """``(n, H, W)`` in the file's own numbers."""
    positions: NDArray[np.float64]
    """``(n, 2)``: patch centres (y, x) in ``unit``, one for each frame."""
    unit: str = "px"
    """``px``: object pixels, a patch being ``object[y - N/2 : y + N/2, ...]``; ``m``: metres."""
    probe: NDArray[np.complex64] | None = None
    """``(modes, N, N)`` in any scale; None where the file has none."""
    bad_pixels: NDArray[np.bool_] | None = None
    """``(H, W)`` or ``(n, H, W)``: true where the detector could not be read."""
    obj: NDArray[np.complex64] | None = None
    """``(H, W)``: the object, or an estimate of it, on the grid of positions in pixels."""
    obj_is_truth: bool = False
    """Whether ``obj`` is the object itself (simulated)."""
    patches: NDArray[np.complex64] | None = None
    """``(n, N, N)``: object patches that came with the patterns."""
    values: str = "auto"
    """``counts`` or ``amplitude`` where the format or the file says so; ``auto``: it does not."""
    why: str = ""
    """Who says so, for the record: ``as its _metadata says``."""
    pixel_size_m: float | None = None
    """Side of an object pixel in metres, where the file says it."""
    fresnel: float | None = None
    """Fresnel number of an object pixel, where the file says that its detector is near."""
    geometry: Geometry = field(default_factory=Geometry)
    """The instrument."""
    label: str | None = None
    """Name of the scan, where the file says it."""
    notes: dict[str, str] = field(default_factory=dict)
    """What the reader decided, for the record: ``layout``, ``pairing``."""

    @property
    def path(self) -> Path:
        """The file of the patterns."""
        return self.frames.path

    def __len__(self) -> int:
        return len(self.frames)
