"""Beams that lenses, mirrors and pinholes put on a sample, and how a field travels on.

Inside, lengths are in pixels of the sample: spatial frequencies in cycles per pixel, and a distance
as ``defocus = wavelength * distance / pixel**2``, which is the only combination that matters.
All beams have unit energy and are complex128.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ptycho.physics.fourier import from_detector
from ptycho.physics.instrument import add_modes, orthogonal_modes
from ptycho.physics.probe import as_modes, photons
from ptycho.physics.propagation import fresnel_transfer, to_near_detector

PUPIL = 0.17
"""Radius of the usual pupil in cycles per pixel."""
STOP = 0.35
"""Diameter of the usual central stop over that of the pupil."""


def defocus_of(distance_m: float, wavelength_m: float, pixel_m: float) -> float:
    """A distance along the beam in units of ``pixel**2 / wavelength``."""
    return wavelength_m * distance_m / pixel_m**2


def pupil_of_zone_plate(outer_zone_m: float, pixel_m: float) -> float:
    """Radius of a zone plate's pupil in cycles per pixel.

    Its numerical aperture is ``wavelength / (2 outer_zone)`` (Attwood, Soft X-Rays and Extreme
    Ultraviolet Radiation, 1999, section 9.3): the wavelength drops out.
    """
    return pixel_m / (2 * outer_zone_m)


def pupil_of_aperture(numerical_aperture: float, wavelength_m: float, pixel_m: float) -> float:
    """Half the side of a lens's pupil in cycles per pixel."""
    return numerical_aperture * pixel_m / wavelength_m


def propagate(field: Tensor, defocus: float) -> Tensor:
    """A field some way downstream, by the angular spectrum in Fresnel's approximation.

    As :func:`ptycho.physics.propagation.to_near_detector`, where the Fresnel number of a pixel is
    ``1 / defocus``. Unitary: the inverse, and the adjoint, is the way back. The field is periodic:
    what leaves the window comes in on the other side.

    Args:
        field: complex ``(..., N, N)``.
        defocus: distance in units of ``pixel**2 / wavelength``.

    Returns:
        Complex ``(..., N, N)``.
    """
    if defocus == 0:
        return field
    transfer = fresnel_transfer(field.shape[-1], 1 / defocus, field.dtype)
    return to_near_detector(field, transfer.to(field.device))


def travel(size: int, defocus: float) -> Tensor:
    """What :func:`propagate` multiplies a spectrum with that has its zero at the centre pixel."""
    if defocus == 0:
        return torch.ones(size, size, dtype=torch.complex128)
    turn: Tensor = torch.fft.fftshift(fresnel_transfer(size, 1 / defocus, torch.complex128))
    return turn


def zone_plate(size: int, pupil: float, stop: float, defocus: float) -> Tensor:
    """Beam of a zone plate with a central stop: out of focus, a soft bright ring.

    The pupil is an annulus in the detector plane. Behind the focus by ``defocus`` the beam's
    geometric radius is ``pupil * defocus`` pixels.

    Args:
        size: side N.
        pupil: radius of the pupil in cycles per pixel.
        stop: diameter of the central stop over that of the pupil; 0: none.
        defocus: distance of the sample behind the focus, see :func:`propagate`.

    Returns:
        Complex ``(N, N)``.
    """
    frequency = _frequency(size)
    light = _inside(frequency, pupil, 1 / size)
    if stop:
        # soft edges: half a detector pixel wide, as a real aperture is seen
        light = light * (0.5 * (1 + torch.tanh((frequency - stop * pupil) / (1 / size))))
    return _normal(from_detector(light * travel(size, defocus)))


def rectangular(size: int, pupil: float, aspect: float, defocus: float) -> Tensor:
    """Beam of two crossed mirrors (Kirkpatrick-Baez) or of slits before a lens.

    Args:
        size: side N.
        pupil: half the height of the pupil in cycles per pixel.
        aspect: width of the pupil over its height.
        defocus: distance of the sample behind the focus, see :func:`propagate`.

    Returns:
        Complex ``(N, N)``.
    """
    axis = _axis(size) / size
    down = _inside(axis.abs(), pupil, 1 / size)
    across = _inside(axis.abs(), pupil * aspect, 1 / size)
    return _normal(from_detector(down[:, None] * across[None, :] * travel(size, defocus)))


def disk(size: int, radius: float, defocus: float) -> Tensor:
    """Beam behind a pinhole, evenly lit inside, with an edge of half a pixel.

    Args:
        size: side N.
        radius: of the pinhole in pixels.
        defocus: distance of the sample behind it, see :func:`propagate`.

    Returns:
        Complex ``(N, N)``.
    """
    axis = _axis(size)
    light = _inside(torch.hypot(axis[:, None], axis[None, :]), radius, 0.5)
    return _normal(propagate(light.to(torch.complex128), defocus))


def gaussian(size: int, radius: float, defocus: float) -> Tensor:
    """Gaussian beam.

    Args:
        size: side N.
        radius: distance from the axis in pixels at which the intensity at the waist is
            ``1 / e^2`` of that in the middle.
        defocus: distance of the sample behind the waist, see :func:`propagate`. There the
            radius is larger by ``sqrt(1 + (defocus / (pi radius^2))^2)``.

    Returns:
        Complex ``(N, N)``.
    """
    axis = _axis(size)
    light = torch.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / radius**2)
    return _normal(propagate(light.to(torch.complex128), defocus))


def back_propagated(intensity: Tensor, good: Tensor, defocus: float) -> Tensor:
    """A beam from the average pattern, as if the detector had seen it without the sample.

    The square root of the average is its amplitude on the detector. The phase there is that of
    the defocus alone, none without one: the beam as it is in the focus. Pixels without an
    average take the mean of their neighbours.

    Args:
        intensity: mean photons ``(N, N)``, zero frequency at the centre.
        good: ``(N, N)``, true where there is a mean.
        defocus: distance of the sample behind the focus, see :func:`propagate`.

    Returns:
        Complex ``(N, N)``.
    """
    amplitude = _filled(intensity.double().clamp_min(0).sqrt(), good)
    return _normal(from_detector(amplitude * travel(amplitude.shape[-1], defocus)))


def with_modes(probe: Tensor, count: int | None = None, powers: Sequence[float] = ()) -> Tensor:
    """A beam as orthogonal modes with stated powers.

    Modes that a beam does not have are made of its brightest one times Hermite polynomials,
    see :func:`ptycho.physics.instrument.add_modes`.

    Args:
        probe: complex ``(mode, N, N)`` or ``(N, N)``.
        count: modes wanted; as many as there are powers, else as the beam has, when None.
        powers: relative powers, the first mode's first. Without them modes that are there keep
            theirs, and each that is added has half the power of the one before.

    Returns:
        Complex ``(count, N, N)`` with the energy of the beam given; fewer modes where a beam of
        a pixel or two holds no more.
    """
    own = as_modes(probe)
    count = count or len(powers) or len(own)
    total = photons(own)
    modes = add_modes(orthogonal_modes(own)[:count], count)
    if powers:
        share = torch.tensor(powers[: len(modes)], dtype=torch.float64)
    else:
        share = modes.abs().square().sum((-2, -1)).double().cpu()
        for new in range(min(len(own), count), len(modes)):
            share[new] = share[new - 1] / 2
    wanted = (total.cpu() * share / share.sum()).to(modes.real.dtype).to(modes.device)
    energy = modes.abs().square().sum((-2, -1))
    return modes * (wanted / energy).sqrt()[:, None, None]


def light_at_the_rim(probe: Tensor) -> float:
    """Brightness of the outermost pixels over that of a patch which the beam fills evenly.

    Far below 1 for a beam that lies inside its patch.
    """
    light = as_modes(probe).abs().square().sum(0)
    rim = torch.cat([light[0], light[-1], light[:, 0], light[:, -1]])
    return float(rim.mean() / light.mean())


def _axis(size: int) -> Tensor:
    """Pixels from the centre pixel, float64 ``(N,)``."""
    return torch.arange(size, dtype=torch.float64) - size // 2


def _frequency(size: int) -> Tensor:
    """Distance from zero frequency in cycles per pixel, ``(N, N)``."""
    axis = _axis(size) / size
    return torch.hypot(axis[:, None], axis[None, :])


def _inside(distance: Tensor, edge: float, softness: float) -> Tensor:
    """1 inside an edge, 0 outside, with a soft step between."""
    return 0.5 * (1 - torch.tanh((distance - edge) / softness))


def _normal(field: Tensor) -> Tensor:
    return field / field.abs().square().sum().sqrt()


def _filled(values: Tensor, good: Tensor) -> Tensor:
    """Values with each gap as the mean of those beside it, from its rim inwards."""
    values, known = torch.where(good, values, 0.0), good.clone()
    ring = torch.ones(1, 1, 3, 3, dtype=values.dtype)
    while not bool(known.all()) and bool(known.any()):
        total = torch.nn.functional.conv2d(values[None, None], ring, padding=1)[0, 0]
        beside = torch.nn.functional.conv2d(known.to(values)[None, None], ring, padding=1)[0, 0]
        new = ~known & (beside > 0)
        values = torch.where(new, total / beside.clamp_min(1), values)
        known = known | new
    return values
