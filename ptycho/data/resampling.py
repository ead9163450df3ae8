"""Patterns, probes and objects on more or fewer pixels."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho.data.frames import Array
from ptycho.physics.fourier import centre_start, from_detector, to_detector

Real = NDArray[np.float64]
Mask = NDArray[np.bool_]
Complex = NDArray[np.complex64]


def binned(image: Array, by: int) -> Array:
    """Sums of ``by x by`` pixels; of a mask, whether any of them is set.

    Args:
        image: ``(..., N, N)``.
        by: divides N.
    """
    join = np.logical_or if image.dtype == bool else np.add
    parts = [image[..., i::by, j::by] for i in range(by) for j in range(by)]
    total = parts[0].copy()
    for part in parts[1:]:  # one after the other: the same bits however many images there are
        join(total, part, out=total)
    return total


def centred(field: Array, size: int, outside: complex = 0) -> Array:
    """The central window ``(..., size, size)``, pixels ``n // 2`` coinciding; else ``outside``."""
    whole = field.shape[-1]
    if size <= whole:
        first = centre_start(whole, size)
        return field[..., first : first + size, first : first + size]
    first = centre_start(size, whole)
    larger = np.full((*field.shape[:-2], size, size), outside, field.dtype)
    larger[..., first : first + whole, first : first + whole] = field
    return larger


@lru_cache(maxsize=8)
def interpolation(whole: int, size: int) -> Real:
    """What makes ``size`` samples of ``whole`` over the same range: a matrix ``(size, whole)``.

    Trigonometric interpolation; of frequencies, those are kept that both can hold. Zero frequency
    stays at the middle ``n // 2``. Sums are kept: each column adds up to 1.
    """
    most = min(whole, size)
    there = (np.arange(size) - size // 2) / size
    here = (np.arange(whole) - whole // 2) / whole
    angle = np.pi * (there[:, None] - here)
    same = np.abs(angle) < 1e-12
    # Dirichlet's kernel; the highest frequency of an even number is shared by both ends
    slope = np.sin(angle) if most % 2 else np.tan(angle)
    matrix: Real = np.where(same, most, np.sin(most * angle) / np.where(same, 1, slope)) / size
    return matrix


@lru_cache(maxsize=8)
def _touching(whole: int, size: int) -> Real:
    """Which of ``whole`` pixels each of ``size`` is made of most, ``(size, whole)``, 0 or 1."""
    scale = whole / size
    there = (np.arange(size) - size // 2) * scale
    here = np.arange(whole) - whole // 2
    matrix: Real = (np.abs(there[:, None] - here) < max(scale, 1) - 1e-9).astype(np.float64)
    return matrix


@lru_cache(maxsize=2)
def _nearness(size: int) -> Real:
    away = np.arange(size)[:, None] - np.arange(size)
    matrix: Real = 1 / (1 + away**2) ** 2
    return matrix


def interpolated(counts: Real, size: int, bad: Mask | None = None) -> Real:
    """A pattern over the same angles on ``size x size`` pixels; as many photons in all.

    Exact where the light that leaves the sample fits into a half of both patches: its
    autocorrelation, of which a pattern is the transform, then fits into them. What little the
    interpolation takes below 0 becomes 0. Bad pixels are filled from their neighbourhood, lest
    they ring; :func:`touched` says which new ones know of them.

    Args:
        counts: ``(N, N)``, zero frequency at the centre.
        size: new side.
        bad: ``(N, N)``: pixels without a count.
    """
    if bad is not None and bad.any():
        near, good = _nearness(len(counts)), ~bad
        guess = (near @ (counts * good) @ near) / np.maximum(near @ good @ near, 1e-300)
        counts = np.where(good, counts, guess)
    matrix = interpolation(counts.shape[-1], size)
    found: Real = np.maximum(matrix @ counts @ matrix.T, 0)
    total = found.sum()
    return found * (counts.sum() / total) if total > 0 else found


def touched(bad: Mask, size: int) -> Mask:
    """Pixels ``(size, size)`` over the same angles within the reach of a bad one of ``(N, N)``.

    The reach is the main lobe of the interpolation: a pixel, of the old or of the new ones.
    """
    touching = _touching(bad.shape[-1], size)
    mask: Mask = touching @ bad @ touching.T > 0
    return mask


def with_band(field: Complex, size: int) -> Complex:
    """Fields ``(..., N, N)`` on ``size x size`` pixels of the same area, by their spectrum.

    Unitary: photons inside the common band are kept.
    """
    spectrum = to_detector(torch.from_numpy(np.asarray(field, dtype=np.complex128)))
    cut = centred(spectrum.numpy(), size)
    found: Complex = from_detector(torch.from_numpy(np.ascontiguousarray(cut))).numpy()
    return found.astype(np.complex64)


def middle_of_light(probe: Complex) -> tuple[float, float]:
    """Row and column about which the transform of a probe ``(modes, N, N)`` has its light."""
    wave = to_detector(torch.from_numpy(np.asarray(probe, dtype=np.complex128))).numpy()
    light = np.square(np.abs(wave)).sum(0)
    axis, total = np.arange(light.shape[-1]), max(float(light.sum()), 1e-300)
    return float((light.sum(1) * axis).sum() / total), float((light.sum(0) * axis).sum() / total)


def tilted(field: Complex, away: tuple[float, float]) -> Complex:
    """Fields ``(..., N, N)`` whose transform lies so many pixels (y, x) further on."""
    size = field.shape[-1]
    axis = (np.arange(size) - size // 2) / size
    ramps = [np.exp(2j * np.pi * one * axis) for one in away]
    moved: Complex = (field * ramps[0][:, None] * ramps[1]).astype(np.complex64)
    return moved


def on_pixels(obj: Complex, factor: float) -> Complex:
    """An object ``(H, W)`` on pixels of which there are ``factor`` for one; the first coincide.

    Cosines that fit it, so that its edges need not match; those that the new pixels cannot hold
    are left out.
    """
    found = obj.astype(np.complex128)
    for axis in (0, 1):
        matrix = _cosines(obj.shape[axis], factor)
        found = np.moveaxis(np.tensordot(matrix, found, axes=(1, axis)), 0, axis)
    return found.astype(np.complex64)


def _cosines(whole: int, factor: float) -> Real:
    """From ``whole`` samples to those at the multiples of ``1 / factor`` among them."""
    wanted = np.arange(int((whole - 1) * factor + 1e-9) + 1) / factor
    order = np.arange(min(whole, max(int(np.ceil(whole * factor)), 1)))
    there = np.cos(np.pi / whole * np.outer(wanted + 0.5, order))
    here = np.cos(np.pi / whole * np.outer(order, np.arange(whole) + 0.5))
    here *= np.where(order == 0, 1, 2)[:, None] / whole
    matrix: Real = there @ here
    return matrix
