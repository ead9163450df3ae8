"""One ptychographic scan in the one convention used inside; it checks itself."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptycho.config.config import UserError
from ptycho.data.geometry import Geometry


class DataError(UserError):
    """A scan or its file is unusable; the message says which, why and what to do."""


@dataclass(frozen=True)
class Scan:
    """Measured amplitudes with their positions and the probe they were taken with."""

    amplitude: NDArray[np.float32]
    """``(n, N, N)``: square root of counts, zero frequency at ``[N // 2, N // 2]``.

    A bad pixel holds negative zero, see :mod:`ptycho.physics.mask`.
    """
    positions: NDArray[np.float64]
    """``(n, 2)``: patch centres as (y, x) in object pixels."""
    probe: NDArray[np.complex64]
    """``(modes, N, N)``: illumination, any scale."""
    truth: NDArray[np.complex64] | None = None
    """``(H, W)``: the object itself, or somebody's estimate of it, on the positions' grid."""
    truth_is_known: bool = False
    """Whether ``truth`` is the object (simulated) rather than an estimate of it."""
    pixel_size_m: float | None = None
    """Side of an object pixel in metres, when known."""
    fresnel: float | None = None
    """Fresnel number of an object pixel, where the detector is near; None: far field."""
    geometry: Geometry = field(default_factory=Geometry)
    """The instrument, as far as the file told; for files that are written."""
    patches: NDArray[np.complex64] | None = None
    """``(n, N, N)``: object patches that came with the patterns, for networks to learn."""
    label: str = "scan"
    """Name for people."""
    notes: dict[str, str] = field(default_factory=dict)
    """What the reader decided (counts or amplitude, axis layout), for the record."""

    def __post_init__(self) -> None:
        for fault in self._faults():
            raise DataError(f"{self.label}: {fault}")

    def _faults(self) -> list[str]:
        shape = self.amplitude.shape
        if self.amplitude.ndim != 3 or shape[1] != shape[2]:
            return [f"patterns must have the shape (n, N, N), got {shape}."]
        n, size = shape[0], shape[1]
        faults = []
        if n == 0:
            faults.append("the scan holds no patterns.")
        if self.positions.shape != (n, 2):
            faults.append(f"{n} patterns need positions (n, 2), got {self.positions.shape}.")
        elif not np.isfinite(self.positions).all():
            faults.append("positions hold NaN or infinity.")
        if self.probe.ndim != 3 or self.probe.shape[1:] != (size, size):
            faults.append(f"the probe must be (modes, {size}, {size}), got {self.probe.shape}.")
        elif not np.isfinite(self.probe).all() or not np.abs(self.probe).any():
            faults.append("the probe is zero everywhere or holds NaN.")
        low, total = float(self.amplitude.min(initial=0)), float(self.amplitude.sum(dtype=float))
        if not np.isfinite(total):
            faults.append("patterns hold NaN or infinity; mask or drop those frames first.")
        elif low < 0:
            faults.append(f"amplitudes must not be negative, the smallest is {low:g}.")
        elif n and total == 0:
            faults.append("every pattern is empty.")
        if self.patches is not None and self.patches.shape != shape:
            faults.append(f"object patches must be {shape}, got {self.patches.shape}.")
        if self.fresnel is not None and not self.fresnel >= 1 / size:
            faults.append(
                f"the Fresnel number of a pixel, {self.fresnel:.3g}, is too small for patterns of "
                f"{size} pixels: so far away, treat it as far field, or use more pixels "
                f"(at least {int(np.ceil(1 / max(self.fresnel, 1e-9)))})."
            )
        if self.truth is not None and self.truth.ndim != 2:
            faults.append(f"the true object must be (H, W), got {self.truth.shape}.")
        return faults

    def __len__(self) -> int:
        """Number of patterns."""
        return len(self.amplitude)

    @property
    def patch_size(self) -> int:
        """Side N of a pattern."""
        return int(self.amplitude.shape[-1])

    @property
    def bad_pixels(self) -> NDArray[np.bool_] | None:
        """``(N, N)``, or ``(n, N, N)`` where patterns differ: pixels not to be looked at."""
        bad = np.signbit(self.amplitude)
        if not bad.any():
            return None
        return bad[0] if (bad == bad[0]).all() else bad

    @property
    def photons(self) -> float:
        """Mean photons per pattern, on good pixels."""
        # buffered: the squares in double precision would be twice the scan
        total = np.einsum("nyx,nyx->", self.amplitude, self.amplitude, dtype=np.float64)
        return float(total / max(len(self), 1))

    @cached_property
    def sha256(self) -> str:
        """Hash of patterns, positions and probe, whatever file they came from."""
        digest = hashlib.sha256()
        for array in (self.amplitude, self.positions, self.probe):
            digest.update(str((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def first(self, n: int | None) -> "Scan":
        """The first ``n`` patterns in scan order; all when ``n`` is None."""
        return self if n is None or n >= len(self) else self.take(slice(n))

    def take(self, which: slice | NDArray[np.int64]) -> "Scan":
        """Some of the patterns, with what belongs to them."""
        patches = None if self.patches is None else self.patches[which]
        return replace(
            self, amplitude=self.amplitude[which], positions=self.positions[which], patches=patches
        )
