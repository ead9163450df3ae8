"""How far a result may be from the truth, told from other results like it.

Maps ``(2, H, W)`` hold the phase first, in radians, then the amplitude.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho.report.align import ComplexImage, align, match_scale, remove_ramp

Maps = NDArray[np.float64]

_AROUND = 3.0  # pixels: a few members say much about a neighbourhood, little about a pixel


def differences(other: ComplexImage, result: ComplexImage) -> Maps:
    """By how much another object differs where both should be the same.

    Global phase, ramp and scale are free, so they are no difference.

    Args:
        other: complex ``(H, W)``.
        result: complex ``(H, W)``.
    """
    return _apart(match_scale(remove_ramp(other, result), result), result)


def errors(obj: ComplexImage, truth: ComplexImage) -> Maps:
    """By how much an object differs from the truth, brought onto it as for its scores."""
    level = remove_ramp(truth)
    return _apart(align(obj, level), level)


def _apart(aligned: ComplexImage, target: ComplexImage) -> Maps:
    return np.stack([np.angle(aligned * np.conj(target)), np.abs(aligned) - np.abs(target)])


def mean_square(deviations: Sequence[Maps]) -> Maps:
    """Mean square of some deviations in the neighbourhood of each pixel."""
    square = np.mean([np.square(one) for one in deviations], axis=0)
    return smooth(square)


def smooth(maps: Maps, around: float = _AROUND) -> Maps:
    """Average over a Gaussian neighbourhood of so many pixels; each map by itself."""
    return np.asarray(ndimage.gaussian_filter(maps, (0, around, around), mode="nearest"))


def photon_variance(obj: ComplexImage, photons: NDArray[Any]) -> Maps:
    """Variance if nothing but the photons on a pixel limits what is known of it.

    The bound of :func:`ptycho.report.metrics.noisy`: ``1 / (2 photons)`` for the amplitude,
    that divided by the squared amplitude for the phase.

    Args:
        obj: complex ``(H, W)``.
        photons: photons that fell on each pixel, ``(H, W)``.
    """
    variance = 1 / (2 * np.maximum(photons.astype(np.float64), 0.5))
    brightness = np.square(np.abs(obj), dtype=np.float64)
    # a phase is known at least to lie on the circle
    phase = np.minimum(variance / np.maximum(brightness, 1e-12), np.pi**2 / 3)
    return np.stack([phase, variance])
