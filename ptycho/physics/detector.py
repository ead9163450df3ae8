"""What the detector sees of a wave."""

import torch
from torch import Tensor


def intensity(detector_wave: Tensor) -> Tensor:
    """Expected photons per pixel: incoherent sum over modes.

    Args:
        detector_wave: complex ``(..., mode, y, x)``.

    Returns:
        Real ``(..., y, x)``.
    """
    real, imag = detector_wave.real, detector_wave.imag
    per_mode = torch.addcmul(real * real, imag, imag)
    # summing a single mode would only copy it
    return per_mode.squeeze(-3) if per_mode.shape[-3] == 1 else per_mode.sum(-3)


def amplitude(detector_wave: Tensor, eps: float = 0.0) -> Tensor:
    """Square root of :func:`intensity`; ``eps`` keeps its gradient finite in the dark."""
    return (intensity(detector_wave) + eps).sqrt()
