"""Detail that a reconstruction does not show and the detector still noticed.

Few photons leave fine detail unresolved: the solver stops before it has grown. Scans drawn
from such a result lack the detail, too, so a bootstrap does not see that it is missing. The
detector does: outside the light cone of the probe it counts photons that only the object can
have sent there, more of them than the result predicts. Their energy is that of the missing
detail (as in dark-field imaging), and it is likely at the edges that are resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho.report.align import ComplexImage, remove_ramp
from ptycho.report.spread import Maps, smooth

Image = NDArray[np.float64]

_RINGS = 24  # of frequency, each 1/48 cycle per pixel wide; what lies beyond is in the last
_HALF = 0.5  # of a detail's strength: finer detail than this is unresolved
_BLUR = 6.0  # pixels: coarser than the detail that is looked at
_NEAR = 1.0  # pixels around a steep place in which finer detail is likely
_CONE = 0.99  # share of the probe's light that makes its cone
_BEYOND = 1.1  # radii of the cone at which no light of the probe is left
_TINY = 1e-30


@dataclass(frozen=True)
class Transfer:
    """How strongly detail comes through a reconstruction, ring by ring of frequency."""

    strength: Image
    """``(rings,)`` from 0 to 1."""

    @property
    def cutoff(self) -> float:
        """Frequency in cycles per pixel above which detail comes through by less than half."""
        weak = np.flatnonzero(self.strength < _HALF)
        return float(weak[0] if weak.size else _RINGS) / (2 * _RINGS)

    def lost(self, frequency: Image) -> Image:
        """Share of the energy at some frequencies that does not come through."""
        return np.asarray(np.square(1 - self.strength[_ring(frequency)]))


def detail(obj: ComplexImage) -> Maps:
    """Fine detail of phase and amplitude; no phase needs to be unwrapped for it."""
    flat = remove_ramp(obj)
    coarse = ndimage.gaussian_filter(flat, _BLUR, mode="nearest")
    size = np.abs(flat)
    around = ndimage.gaussian_filter(size, _BLUR, mode="nearest")
    return np.stack([np.angle(flat * np.conj(coarse)), size / np.maximum(around, 1e-12) - 1])


def transfer(result: ComplexImage, members: Sequence[ComplexImage]) -> Transfer:
    """Strength with which detail of an object is found again by reconstructing it.

    Args:
        result: complex ``(H, W)``, the object of which scans were drawn.
        members: what was reconstructed from these scans, complex ``(H, W)`` each.
    """
    was = _spectrum(detail(result)[0])
    ring = _ring(_frequencies(result.shape))
    energy = np.bincount(ring.ravel(), np.square(np.abs(was)).ravel(), _RINGS)
    found = np.zeros(_RINGS)
    for member in members:
        product = (_spectrum(detail(member)[0]) * np.conj(was)).real
        found += np.bincount(ring.ravel(), product.ravel(), _RINGS) / len(members)
    known = energy > _TINY
    strength = np.interp(np.arange(_RINGS), np.flatnonzero(known), found[known] / energy[known])
    return Transfer(strength.clip(0, 1))


def missing_energy(excess: Image, pupil: Image, through: Transfer) -> float:
    """Energy of unresolved detail, relative to that of the object.

    Args:
        excess: photons ``(N, N)`` per pattern that were counted beyond those expected, over
            all photons of a pattern; zero frequency at ``[N // 2, N // 2]``.
        pupil: photons ``(N, N)`` of the probe on the empty detector.
        through: what of the missing detail a bootstrap knows already.
    """
    radius = _radius(len(pupil))
    order = np.argsort(radius, axis=None, kind="stable")
    inside = np.cumsum(pupil.ravel()[order]) / max(pupil.sum(), _TINY)
    cone = radius.ravel()[order][np.searchsorted(inside, _CONE)]
    dark = radius > _BEYOND * cone
    return max(float((excess * through.lost(radius))[dark].sum()), 0.0)


def missing_variance(result: ComplexImage, energy: float, through: Transfer) -> Maps:
    """Where unresolved detail of some energy is likely: at the edges that are resolved.

    An edge reaches through all scales, so that what an octave lacks is where the octave below
    it has its steep places. Phase and amplitude share the energy as they share these.

    Args:
        result: complex ``(H, W)``.
        energy: see :func:`missing_energy`.
        through: tells what is resolved.
    """
    blur = np.sqrt(2) / (2 * np.pi * max(through.cutoff, 0.5 / _RINGS))
    slopes = ndimage.gaussian_filter(detail(result), (0, blur, blur), mode="nearest")
    steep = sum(np.square(np.gradient(slopes, axis=axis)) for axis in (1, 2))
    likely = smooth(np.asarray(steep), _NEAR)
    share = likely / max(likely.mean((1, 2)).sum(), _TINY)
    brightness = np.square(np.abs(result), dtype=np.float64)
    return np.asarray(energy * share * np.stack([np.ones_like(brightness), brightness]))


def _spectrum(image: Image) -> NDArray[np.complex128]:
    window = np.hanning(image.shape[0] + 2)[1:-1, None] * np.hanning(image.shape[1] + 2)[1:-1]
    return np.asarray(np.fft.fft2(image * window))


def _frequencies(shape: tuple[int, ...]) -> Image:
    return np.asarray(np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])))


def _radius(size: int) -> Image:
    axis = (np.arange(size) - size // 2) / size
    return np.asarray(np.hypot(axis[:, None], axis))


def _ring(frequency: Image) -> NDArray[Any]:
    return np.asarray(np.minimum((2 * _RINGS * frequency).astype(int), _RINGS - 1))
