"""From the sample to a detector that is near: Fresnel propagation over an effective distance.

In the far field a pattern is a Fourier transform. Nearer, it is a blurred and fringed image of
the exit wave itself, on the same pixels. How blurred, one number tells: the Fresnel number of a
pixel, ``pixel^2 / (wavelength * distance)``. In a beam that diverges from a focus, distance and
pixel are the effective ones (Paganin 2006, *Coherent X-Ray Optics*, section 1.4.3; for
ptychography Stockmar et al. 2013, doi:10.1038/srep01927).
"""

import math

import torch
from torch import Tensor


def fresnel_number(pixel_m: float, wavelength_m: float, distance_m: float) -> float:
    """Fresnel number of a pixel.

    Args:
        pixel_m: side of a pixel of the object in metres.
        wavelength_m: of the light.
        distance_m: effective distance, that of the detector over :func:`magnification`.
    """
    return pixel_m**2 / (wavelength_m * distance_m)


def magnification(focus_m: float | None, detector_m: float) -> float:
    """By how much a beam that diverges from a focus enlarges what the detector sees.

    Pixel and distance of the parallel beam that shows the same are those of the detector, both
    divided by it.

    Args:
        focus_m: from the focus to the sample in metres; None: the beam is parallel.
        detector_m: from the sample to the detector.
    """
    return 1.0 if focus_m is None else (focus_m + detector_m) / focus_m


def fresnel_transfer(size: int, number: float, dtype: torch.dtype = torch.complex64) -> Tensor:
    """What propagation multiplies a spectrum with, ``exp(-i pi k^2 / number)``; modulus 1.

    Args:
        size: side N of a field.
        number: Fresnel number of a pixel; negative to go back.
        dtype: of the result.

    Returns:
        Complex ``(N, N)``, in the order of ``fft2``.
    """
    k = torch.fft.fftfreq(size, dtype=torch.float64)
    phase = -math.pi / number * (k[:, None].square() + k[None, :].square())
    return torch.polar(torch.ones_like(phase), phase).to(dtype)


def farthest(size: int) -> float:
    """The smallest Fresnel number of a pixel at which so many pixels still sample the fringes.

    Farther away, the phase of :func:`fresnel_transfer` turns by more than half a turn from one
    frequency to the next, and light comes back from the other side of the field.
    """
    return 1 / size


def to_near_detector(exit_wave: Tensor, transfer: Tensor) -> Tensor:
    """Propagate an exit wave to a near detector; energy is conserved.

    Args:
        exit_wave: complex ``(..., N, N)``.
        transfer: complex ``(N, N)``, see :func:`fresnel_transfer`.

    Returns:
        Detector wave, complex ``(..., N, N)``, on the same pixels.
    """
    wave: Tensor = torch.fft.ifft2(torch.fft.fft2(exit_wave) * transfer)
    return wave


def from_near_detector(detector_wave: Tensor, transfer: Tensor) -> Tensor:
    """Inverse, and because propagation is unitary also the adjoint, of :func:`to_near_detector`."""
    return to_near_detector(detector_wave, transfer.conj())
