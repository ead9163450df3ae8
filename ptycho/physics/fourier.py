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


def frequency_grid(
    shape: tuple[int, int], device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Frequencies ``(2, y, x)`` in cycles per pixel, zero first, as ``fft2`` orders them."""
    y, x = (torch.fft.fftfreq(n, device=device, dtype=dtype) for n in shape)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))


def fourier_shift(field: Tensor, shift: Tensor) -> Tensor:
    """Shift complex fields by a fraction of a pixel (periodic, unitary).

    Shift theorem: ``f(r - d)`` has the spectrum ``F(k) exp(-2 pi i k d)``.

    Args:
        field: complex ``(..., y, x)``.
        shift: ``(..., 2)`` as (y, x) in pixels; its leading axes broadcast with the field's.

    Returns:
        Shifted fields, complex ``(..., y, x)``.
    """
    ky, kx = frequency_grid((field.shape[-2], field.shape[-1]), field.device, shift.dtype)
    phase = -2 * torch.pi * (ky * shift[..., 0, None, None] + kx * shift[..., 1, None, None])
    ramp = torch.polar(torch.ones_like(phase), phase).to(field.dtype)
    shifted: Tensor = torch.fft.ifft2(torch.fft.fft2(field) * ramp)
    return shifted


def crop_centre(field: Tensor, size: int) -> Tensor:
    """Central ``size x size`` window of ``(..., y, x)``; the centre pixel stays the centre."""
    y, x = (n // 2 - size // 2 for n in field.shape[-2:])
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
