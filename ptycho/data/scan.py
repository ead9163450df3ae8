"""One ptychographic scan in the one convention used inside; it checks itself."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptycho.config.config import UserError
from ptycho.data.sums import digest_of, energies_of, header_of
from ptycho.physics.propagation import farthest

if TYPE_CHECKING:
    from ptycho.data.lazy import LazyAmplitude
from ptycho.data.geometry import Geometry


class DataError(UserError):
    """A scan or its file is unusable; the message says which, why and what to do."""


@dataclass(frozen=True)
class Scan:
    """Measured amplitudes with their positions and the probe they were taken with."""

    amplitude: "NDArray[np.float32] | LazyAmplitude"
    """``(n, N, N)``: square root of counts, zero frequency at ``[N // 2, N // 2]``.

    A bad pixel holds negative zero, see :mod:`ptycho.physics.mask`. Large ones may stay in their
    file, see :mod:`ptycho.data.lazy`; these are checked as they are read.
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
        if isinstance(self.amplitude, np.ndarray):
            faults += _value_faults(self.amplitude)
        if self.patches is not None and self.patches.shape != shape:
            faults.append(f"object patches must be {shape}, got {self.patches.shape}.")
        if self.fresnel is not None and not self.fresnel >= farthest(size):
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
        if not isinstance(self.amplitude, np.ndarray):
            known = self.amplitude.survey().bad
            if known is None:
                return None
            if ((known == 0) | (known == len(self))).all():
                alike: NDArray[np.bool_] = (known > 0).numpy()
                return alike
        bad: NDArray[np.bool_] = np.signbit(np.asarray(self.amplitude))
        if not bad.any():
            return None
        return bad[0] if (bad == bad[0]).all() else bad

    @cached_property
    def photons(self) -> float:
        """Mean photons per pattern, on good pixels."""
        if isinstance(self.amplitude, np.ndarray):
            energies = energies_of(self.amplitude)
        else:
            energies = self.amplitude.survey().energies
        return float(energies.sum() / max(len(self), 1))

    @cached_property
    def sha256(self) -> str:
        """Hash of patterns, positions and probe, whatever file they came from."""
        first = self.amplitude
        if isinstance(first, np.ndarray):
            digest = digest_of(first.shape, first.dtype)
            digest.update(np.ascontiguousarray(first).data)
        else:
            digest = first.survey().digest.copy()
        for array in (self.positions, self.probe):
            digest.update(header_of(array.shape, array.dtype))
            digest.update(np.ascontiguousarray(array).data)
        return str(digest.hexdigest())

    def first(self, n: int | None) -> "Scan":
        """The first ``n`` patterns in scan order; all when ``n`` is None."""
        return self if n is None or n >= len(self) else self.take(slice(n))

    def take(self, which: slice | NDArray[np.int64]) -> "Scan":
        """Some of the patterns, with what belongs to them."""
        patches, amplitude = None if self.patches is None else self.patches[which], self.amplitude
        some = amplitude[which] if isinstance(amplitude, np.ndarray) else amplitude.take(which)
        return replace(self, amplitude=some, positions=self.positions[which], patches=patches)


def _value_faults(amplitude: NDArray[np.float32]) -> list[str]:
    low, total = float(amplitude.min(initial=0)), float(amplitude.sum(dtype=float))
    if not np.isfinite(total):
        return ["patterns hold NaN or infinity; mask or drop those frames first."]
    if low < 0:
        return [f"amplitudes must not be negative, the smallest is {low:g}."]
    return ["every pattern is empty."] if len(amplitude) and total == 0 else []
