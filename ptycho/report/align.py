"""Bringing a reconstruction onto the truth: what diffraction cannot tell must not count.

A known probe still leaves a global phase, a scale, a phase ramp (a tilt of the incoming
light) and a common shift of all positions free. They are removed before comparing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import phase_cross_correlation

ComplexImage = NDArray[np.complexfloating[Any, Any]]
Vector = NDArray[np.float64]

_ROUNDS = 3  # ramp and shift disturb each other a little, so they take turns
_SMALLEST = 16  # pixels; a smaller image says nothing reliable about its own shift


def align(
    obj: ComplexImage, truth: ComplexImage, *, max_shift: float = 4.0, twin: bool = False
) -> ComplexImage:
    """Undo shift, phase ramp, global phase and scale of an object.

    A shift is kept only if it is at most ``max_shift`` and brings the two closer; a constant
    object has nothing to hold on to and stays where it is.

    The twin ``conj(obj[::-1, ::-1])`` gives the same patterns where probe and positions are
    turned around and conjugated with it. It is a true ambiguity only when the probe is not
    known; with a known probe a twin is a failure, and undoing it would hide that.

    Args:
        obj: complex ``(H, W)``, the reconstruction.
        truth: complex ``(H, W)`` on the same grid.
        max_shift: largest believable shift in pixels.
        twin: try the conjugate twin, too, and keep what comes closer to the truth.

    Returns:
        Complex128 ``(H, W)``.
    """
    target = truth.astype(np.complex128)
    aligned = _align(obj, target, max_shift)
    if not twin:
        return aligned
    turned = _align(np.conj(obj[::-1, ::-1]), target, max_shift)
    return turned if _distance(turned, target) < _distance(aligned, target) else aligned


def _align(obj: ComplexImage, target: ComplexImage, max_shift: float) -> ComplexImage:
    upright = remove_ramp(obj, target)
    unmoved = match_scale(upright, target)
    featureless = any(is_flat(image) for image in (obj, upright, target))
    shift = np.zeros(2) if featureless else find_shift(upright, target, max_shift)
    if not shift.any():
        return unmoved
    moved = match_scale(_refine_ramp(translate(upright, shift), target), target)
    return moved if _distance(moved, target) < _distance(unmoved, target) else unmoved


def _distance(a: ComplexImage, b: ComplexImage) -> float:
    return float(np.linalg.norm(a - b))


def is_flat(image: NDArray[Any]) -> bool:
    """Whether an image is one constant, up to rounding in single precision."""
    deviation = np.abs(image - image.mean()).max(initial=0)
    return bool(deviation <= 1e-6 * np.abs(image).max(initial=0))


def match_scale(obj: ComplexImage, truth: ComplexImage) -> ComplexImage:
    """Least squares scale: the phase from the fields, the size from their amplitudes.

    Separate fits, so that an error of the phase does not pull the amplitude down.
    """
    energy = np.square(np.abs(obj)).sum()
    if energy == 0:
        return obj
    size = (np.abs(obj) * np.abs(truth)).sum() / energy
    turn = np.exp(1j * np.angle(np.vdot(obj, truth)))
    return np.asarray(obj * (size * turn))


def remove_ramp(obj: ComplexImage, truth: ComplexImage | None = None) -> ComplexImage:
    """Take the linear phase between an object and the truth out of the object.

    The peak of the spectrum of ``obj * conj(truth)`` finds a ramp of any size without
    unwrapping; least squares on the complex fields finds the fraction of a bin.

    Args:
        obj: complex ``(H, W)``.
        truth: complex ``(H, W)``; None levels the object itself.

    Returns:
        Complex128 ``(H, W)`` with the truth's (or zero) mean tilt and mean phase.
    """
    target = np.ones(obj.shape, np.complex128) if truth is None else truth
    product = obj.astype(np.complex128) * np.conj(target)
    padded = tuple(2 * n for n in obj.shape)
    peak = np.unravel_index(np.argmax(np.abs(np.fft.fft2(product, padded))), padded)
    y, x = np.ogrid[: obj.shape[0], : obj.shape[1]]
    turns = peak[0] / padded[0] * y + peak[1] / padded[1] * x
    return _refine_ramp(obj * np.exp(-2j * np.pi * turns), target)


def _refine_ramp(obj: ComplexImage, truth: ComplexImage) -> ComplexImage:
    """Gauss-Newton on ``|obj - c exp(i (a + b y + c x)) truth|^2`` from a ramp of < 1 turn."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in obj.shape]
    y, x = np.meshgrid(*axes, indexing="ij")
    plane = np.stack([np.ones_like(y), y, x])
    weight = np.square(np.abs(truth))
    # a row or column of one pixel has no slope: least squares then leaves it at zero
    inverse = np.linalg.pinv(np.einsum("ayx,yx,byx->ab", plane, weight, plane))
    for _ in range(20):
        product = obj * np.conj(truth)
        agreement = product.sum() / max(weight.sum(), np.finfo(float).tiny)
        if agreement == 0:
            break
        pull = np.einsum("ayx,yx->a", plane, (product / agreement).imag)
        step = inverse @ pull
        # the first entry is the global phase, which `agreement` measures afresh anyway
        step[0] = np.angle(agreement)
        obj = obj * np.exp(-1j * np.tensordot(step, plane, 1))
        if np.abs(step[1:]).max() < 1e-9:
            break
    return np.asarray(obj)


def level(obj: ComplexImage) -> ComplexImage:
    """Remove the tilt an eye would remove: the median slope of the phase.

    For looking, where there is no truth. A median leaves a flat background flat where least
    squares would tilt it to balance whatever stands on it.

    Args:
        obj: complex ``(H, W)``.

    Returns:
        Complex128 ``(H, W)`` of mean phase zero.
    """
    flat = obj.astype(np.complex128)
    # neighbours find a steep tilt, distant pixels measure it better
    for lag, axis in ((1, 0), (1, 1), (8, 0), (8, 1)):
        lines = np.moveaxis(flat, axis, 0)
        lag = max(min(lag, len(lines) // 4), 1)
        turns = lines[lag:] * np.conj(lines[:-lag])
        if turns.size:
            mean = np.angle(turns.sum())
            slope = (mean + np.median(np.angle(turns * np.exp(-1j * mean)))) / lag
            lines *= np.exp(-1j * slope * np.arange(len(lines)))[:, None]
    return np.asarray(flat * np.exp(-1j * np.angle(flat.mean())))


def find_shift(obj: ComplexImage, truth: ComplexImage, max_shift: float) -> Vector:
    """Shift ``(2,)`` as (y, x) in pixels that brings an object onto the truth.

    Returns zeros where nothing within ``max_shift`` is found.
    """
    shift = np.zeros(2)
    if min(obj.shape) < _SMALLEST:
        return shift
    for _ in range(_ROUNDS):
        moved = _refine_ramp(translate(obj, shift), truth)
        step, _, _ = phase_cross_correlation(
            soft_edges(truth), soft_edges(moved), upsample_factor=100, normalization=None
        )
        shift = shift + step
        if np.hypot(*shift) > max_shift:
            return np.zeros(2)
    return shift


def soft_edges(image: ComplexImage) -> ComplexImage:
    """Subtract the mean and fade to zero at the border (Hann), against leakage."""
    window = np.hanning(image.shape[0] + 2)[1:-1, None] * np.hanning(image.shape[1] + 2)[1:-1]
    return np.asarray((image - (image * window).sum() / window.sum()) * window)


def translate(image: ComplexImage, shift: Vector) -> ComplexImage:
    """Shift an image ``(H, W)`` by ``shift`` (y, x) pixels; its borders are mirrored.

    Splines rather than a Fourier ramp: a cut-out is not periodic, and its edges would ring.
    """
    if not shift.any():
        return image
    return np.asarray(ndimage.shift(image, shift, order=5, mode="reflect"))
