"""Fourier ring correlation: up to which frequency two images agree."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from ptycho.report.align import ComplexImage, soft_edges

Curve = NDArray[np.float64]

_FIRST_RINGS = 3  # rings within which a curve must rise to count at all
_COARSEST = 8  # periods that fit into the image, at least: fewer may agree by chance
_HIGHEST = 0.5  # cycles per pixel that a pixel grid can carry


def frc(a: ComplexImage, b: ComplexImage) -> tuple[Curve, Curve, Curve]:
    """Fourier ring correlation of two complex images ``(H, W)`` with softened edges.

    Returns:
        Frequency of the rings in cycles per pixel up to 0.5, the correlation on them, and
        the 1/2-bit threshold (van Heel & Schatz 2005, doi:10.1016/j.jsb.2005.05.009).
    """
    fa, fb = np.fft.fft2(soft_edges(a)), np.fft.fft2(soft_edges(b))
    ky, kx = (np.fft.fftfreq(n) for n in a.shape)
    rings = min(a.shape) // 2
    ring = np.rint(np.hypot(ky[:, None], kx[None, :]) * min(a.shape)).astype(int).ravel()

    def over_rings(values: NDArray[Any]) -> Curve:
        sums = np.bincount(ring, values.ravel(), minlength=rings + 1)
        return np.asarray(sums[1 : rings + 1], dtype=np.float64)

    energy = over_rings(np.square(np.abs(fa))) * over_rings(np.square(np.abs(fb)))
    # what single precision leaves of a flat image is no structure
    empty = energy <= 1e-24 * a.size**2 * np.vdot(a, a).real * np.vdot(b, b).real
    cross = over_rings((fa * np.conj(fb)).real)
    curve = np.where(empty, 0.0, cross / np.sqrt(np.where(empty, 1.0, energy)))
    frequency = np.arange(1, rings + 1) / min(a.shape)
    return frequency, curve, half_bit_threshold(over_rings(np.ones(a.shape)))


def half_bit_threshold(n: Curve) -> Curve:
    """Correlation at which a ring of ``n`` pixels carries half a bit of information each."""
    root = np.sqrt(np.maximum(n, 1))
    return np.asarray((0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root))


def resolution(frequency: Curve, curve: Curve, threshold: Curve) -> float:
    """Period in pixels at which a curve first falls below its threshold; at least 2.

    NaN when the curve is not above it in any of the first rings, and when it falls below it
    within those of a period beyond an eighth of the image. They hold few pixels, so that
    unrelated images may rise there by chance: that resolves nothing.
    """
    above = curve > threshold
    if not above[:_FIRST_RINGS].any():
        return math.nan
    start = int(above.argmax())
    if above[start:].all():
        return 2.0
    below = start + int((~above[start:]).argmax())
    left, right = (curve - threshold)[below - 1 : below + 1]
    crossing = np.interp(left / (left - right), [0, 1], frequency[below - 1 : below + 1])
    if crossing < _COARSEST * frequency[0]:
        return math.nan
    return max(2.0, float(1 / crossing))


def frc_area(frequency: Curve, curve: Curve) -> float:
    """Mean of a curve between 0 and 0.5 cycles per pixel.

    1 for identical images, about 0 for unrelated ones. One number for all frequencies: it
    still tells apart what is resolved down to the pixel, and needs no threshold.

    Returns:
        The area under the curve over its width; NaN for an image too small to have rings.
    """
    if not len(frequency):
        return math.nan
    ends = np.concatenate([[0.0], frequency, [_HIGHEST]])
    return float(trapezoid(np.interp(ends, frequency, curve), ends) / _HIGHEST)
