"""The illumination: coherent modes ``(mode, y, x)``, added in intensity."""

import math

import torch
from torch import Tensor

from ptycho.physics.fourier import fourier_shift


def as_modes(probe: Tensor) -> Tensor:
    """Give a single probe ``(y, x)`` its mode axis; ``(mode, y, x)`` passes unchanged."""
    return probe if probe.ndim == 3 else probe[None]


def photons(probe: Tensor) -> Tensor:
    """Photons per pattern for a fully transparent object: the probe's energy (scalar)."""
    return probe.abs().square().sum()


def width(probe: Tensor) -> float:
    """Width of the beam in pixels: the diameter of the disk with the same second moment.

    A uniform disk of radius R has <r^2> = R^2 / 2, a Gaussian of FWHM f has
    <r^2> = f^2 / (4 ln 2); the diameter ``2 sqrt(2 <r^2>)`` describes both within 30 %.
    """
    intensity = as_modes(probe).abs().square().sum(0).cpu().double()
    axis = torch.arange(intensity.shape[-1], dtype=torch.float64)
    spread = 0.0
    for i, mean in enumerate(centre_of_light(probe)):
        spread += float((intensity.sum(1 - i) * (axis - mean).square()).sum() / intensity.sum())
    return 2 * math.sqrt(2 * spread)


def centre_of_light(probe: Tensor) -> Tensor:
    """Where the light of a probe is on average, in pixels, float64 ``(2,)`` on the CPU."""
    intensity = as_modes(probe).abs().square().sum(0).cpu().double()
    axis = torch.arange(intensity.shape[-1], dtype=torch.float64)
    total = intensity.sum()
    return torch.stack([(intensity.sum(1 - i) * axis).sum() / total for i in (0, 1)])


def reach(probe: Tensor, share: float = 0.99) -> float:
    """Half the side of the square around the patch centre that holds so much of the light.

    Args:
        probe: complex ``(mode, N, N)``.
        share: of the photons.

    Returns:
        Pixels, at most ``N / 2``.
    """
    intensity = as_modes(probe).abs().square().sum(0).cpu().double()
    size = intensity.shape[-1]
    far = (torch.arange(size) - size // 2).abs()
    ring = torch.maximum(far[:, None], far[None, :])
    inside = torch.bincount(ring.flatten(), intensity.flatten()).cumsum(0)
    enough = int((inside < share * inside[-1]).sum()) + 1
    return min(float(enough), size / 2)


def shifted_probes(probe: Tensor, rest: Tensor, bins: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Probe shifted by each sub-pixel rest, computed once per distinct shift.

    Illuminating the object between pixels equals shifting the probe: exact, and free once
    the shifts are tabulated. Shifts are rounded to ``1 / bins`` of a pixel.

    Args:
        probe: complex ``(mode, y, x)``.
        rest: ``(n, 2)`` sub-pixel parts of the positions.
        bins: distinct shifts per pixel and axis.

    Returns:
        Table ``(k, mode, y, x)``, the row ``(n,)`` of each position in it, and the shifts
        ``(k, 2)`` of its rows.
    """
    rounded = torch.round(rest.double() * bins).long()
    distinct, row = torch.unique(rounded, dim=0, return_inverse=True)
    shift = (distinct.double() / bins).to(probe.real.dtype).to(probe.device)
    return fourier_shift(probe[None], shift[:, None]), row.to(probe.device), shift


def centring(
    size: int, device: torch.device | None = None, dtype: torch.dtype = torch.complex64
) -> Tensor:
    """Phase ``(y, x)`` that moves zero frequency to the centre of a plain ``fft2``.

    By the shift theorem ``fft2(f * centring)`` is ``fft2(f)`` rolled by ``N // 2``: a probe
    that carries this phase saves two shifts per pattern and leaves intensities unchanged.
    """
    turns = torch.arange(size, dtype=torch.float64) * (size // 2) / size
    ramp = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
    return (ramp[:, None] * ramp[None, :]).to(device=device, dtype=dtype)
