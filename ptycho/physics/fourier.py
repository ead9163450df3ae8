"""Unitary Fourier optics with zero frequency at the centre pixel ``[N // 2, N // 2]``."""

import torch
from torch import Tensor

_PLANE = (-2, -1)


def to_detector(exit_wave: Tensor) -> Tensor:
    """Propagate an exit wave to the far field; energy is conserved.

    Zero frequency sits at the centre pixel of both planes.

    Args:
        exit_wave: complex ``(..., y, x)``.

    Returns:
        Detector wave, complex ``(..., y, x)``.
    """
    centred = torch.fft.ifftshift(exit_wave, dim=_PLANE)
    wave: Tensor = torch.fft.fftshift(torch.fft.fft2(centred, norm="ortho"), dim=_PLANE)
    return wave


def from_detector(detector_wave: Tensor) -> Tensor:
    """Inverse, and because the transform is unitary also the adjoint, of :func:`to_detector`.

    Args:
        detector_wave: complex ``(..., y, x)``, zero frequency at the centre pixel.

    Returns:
        Exit wave, complex ``(..., y, x)``.
    """
    corner = torch.fft.ifftshift(detector_wave, dim=_PLANE)
    wave: Tensor = torch.fft.fftshift(torch.fft.ifft2(corner, norm="ortho"), dim=_PLANE)
    return wave


def fourier_shift(field: Tensor, shift: Tensor) -> Tensor:
    """Shift complex fields by a fraction of a pixel (periodic, unitary).

    Shift theorem: ``f(r - d)`` has the spectrum ``F(k) exp(-2 pi i k d)``.

    Args:
        field: complex ``(..., y, x)``.
        shift: ``(..., 2)`` as (y, x) in pixels; its leading axes broadcast with the field's.

    Returns:
        Shifted fields, complex ``(..., y, x)``.
    """
    ramps = []
    for axis in (0, 1):  # two short ramps: their product is the plane's, for less
        k = torch.fft.fftfreq(field.shape[axis - 2], device=field.device, dtype=shift.dtype)
        phase = -2 * torch.pi * k * shift[..., axis, None]
        ramps.append(torch.polar(torch.ones_like(phase), phase).to(field.dtype))
    ramp = ramps[0][..., :, None] * ramps[1][..., None, :]
    shifted: Tensor = torch.fft.ifft2(torch.fft.fft2(field) * ramp)
    return shifted


def centre_start(whole: int, size: int) -> int:
    """First pixel of the central window of so many pixels: centres ``n // 2`` coincide."""
    return whole // 2 - size // 2


def crop_centre(field: Tensor, size: int) -> Tensor:
    """Central ``size x size`` window of ``(..., y, x)``; the centre pixel stays the centre."""
    y, x = (centre_start(n, size) for n in field.shape[-2:])
    return field[..., y : y + size, x : x + size]


def fourier_crop(field: Tensor, size: int) -> Tensor:
    """Resample a square field to fewer pixels by cropping its spectrum.

    The energy inside the kept band is conserved: cropping the detector and cropping the
    spectrum of the probe describe the same, coarser, experiment.

    Args:
        field: complex ``(..., N, N)``.
        size: new side, at most ``N``.

    Returns:
        Complex ``(..., size, size)``.
    """
    return from_detector(crop_centre(to_detector(field), size))


def paste_spectrum(field: Tensor, coarse: Tensor) -> Tensor:
    """A field whose low frequencies are those of a coarser one; undoes :func:`fourier_crop`.

    Args:
        field: complex ``(..., N, N)``.
        coarse: complex ``(..., n, n)``, at most as large.

    Returns:
        Complex ``(..., N, N)``.
    """
    spectrum = to_detector(field)
    crop_centre(spectrum, coarse.shape[-1])[:] = to_detector(coarse)
    return from_detector(spectrum)
