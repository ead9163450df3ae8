"""What an experiment was measured with, as far as it is known: beam, positions, background."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptycho.physics.forward import Experiment
from ptycho.physics.fourier import crop_centre, fourier_crop, fourier_shift, paste_spectrum
from ptycho.physics.probe import as_modes, centre_of_light

_NOTHING_NEW = 1e-4  # of a polynomial's light: less is left where the modes already hold it


@dataclass(frozen=True)
class Freedom:
    """What is not known well and is found together with the object."""

    probe: bool = False
    """The modes of the probe."""
    positions: bool = False
    """Where the patterns were taken: shifts one by one, magnification and shear of all."""
    flux: bool = False
    """How bright the beam was at each position."""
    background: bool = False
    """Photons that all patterns hold besides."""
    max_shift: float = 10.0
    """Pixels that a position may move at most along an axis."""

    @property
    def any(self) -> bool:
        """Whether there is anything to find besides the object."""
        return self.probe or self.positions or self.flux or self.background


KNOWN = Freedom()
"""Nothing but the object is unknown."""


@dataclass(frozen=True)
class Instrument:
    """One state of knowledge about everything that is not the object."""

    probe: Tensor
    """Complex ``(mode, y, x)`` in square roots of photons, on the device."""
    positions: Tensor
    """``(n, 2)`` float64 on the CPU: patch centres (y, x) on the canvas."""
    flux: Tensor | None = None
    """``(n,)`` on the device: brightness of the beam, 1 on average; None: the same for all."""
    background: Tensor | None = None
    """``(y, x)`` on the device: photons that every pattern holds besides; None: none."""
    fresnel: float | None = None
    """Fresnel number of an object pixel, where the detector is near; None: far."""

    def experiment(self, bins: int = 16) -> Experiment:
        """The forward model."""
        return Experiment(
            self.probe,
            self.positions,
            bins,
            flux=self.flux,
            background=self.background,
            fresnel=self.fresnel,
        )

    @property
    def halves(self) -> bool:
        """Whether :meth:`halved` can be asked for: in the far field, patterns being even."""
        return self.fresnel is None and self.probe.shape[-1] % 4 == 0

    def halved(self) -> "Instrument":
        """The same experiment with half the resolution: the centre of a far detector."""
        half = self.probe.shape[-1] // 2
        background = self.background
        return replace(
            self,
            probe=fourier_crop(self.probe, half),
            positions=self.positions / 2,
            background=None if background is None else crop_centre(background, half),
        )

    def with_coarse(self, coarse: "Instrument") -> "Instrument":
        """What was found at half resolution taken over; the rim of the detector stays."""
        background = self.background
        if background is not None and coarse.background is not None:
            background = background.clone()
            crop_centre(background, coarse.background.shape[-1])[:] = coarse.background
        return replace(
            self,
            probe=paste_spectrum(self.probe, coarse.probe),
            positions=2 * coarse.positions,
            flux=coarse.flux,
            background=background,
        )


def settle(
    obj: Tensor, instrument: Instrument, light: Tensor, reference: Tensor
) -> tuple[Tensor, Instrument]:
    """Pin what no pattern can tell, once probe and object are both free.

    A shift of probe and object together, a phase ramp that one has and the other lacks, and a
    unitary mixture of the modes leave every pattern as it is. Here the light of the probe is
    centred where that of the reference is, the object's phase rises nowhere on average, and
    the modes are orthogonal, the brightest first.

    Args:
        obj: complex ``(H, W)``.
        instrument: what was found with it.
        light: ``(H, W)`` illumination, which weighs the object's pixels.
        reference: probe ``(mode, y, x)`` whose centre counts.
    """
    ramp = torch.stack([_mean_slope(obj, light, axis) for axis in (0, 1)])
    level = obj * _plane_wave(obj.shape, -ramp)
    tilted = instrument.probe * _plane_wave(instrument.probe.shape[-2:], ramp)
    shift = centre_of_light(reference) - centre_of_light(tilted)
    probe, moved = (fourier_shift(field, shift.to(ramp)) for field in (tilted, level))
    return moved, replace(instrument, probe=orthogonal_modes(probe))


def orthogonal_modes(probe: Tensor) -> Tensor:
    """Modes of the same mutual coherence that are orthogonal, the brightest first.

    A unitary mixture of incoherent modes gives the same patterns (Thibault & Menzel 2013,
    doi:10.1038/nature11806).

    Args:
        probe: complex ``(mode, y, x)``.
    """
    modes = as_modes(probe)
    if len(modes) == 1:
        return modes
    flat = modes.flatten(1).cpu()
    _, mixture = torch.linalg.eigh(flat.conj() @ flat.T)
    mixed = mixture.T.flip(0) @ flat
    found: Tensor = mixed.reshape(modes.shape).to(modes.device)
    return found


def add_modes(probe: Tensor, count: int, share: float = 0.03) -> Tensor:
    """A probe with more modes: the brightest one times Hermite polynomials, made orthogonal.

    Args:
        probe: complex ``(mode, y, x)``.
        count: modes wanted; existing ones stay, in front.
        share: of the photons, in each new mode.

    Returns:
        Complex ``(count, y, x)`` with the energy of the probe given; fewer where a beam of
        a pixel or two holds no more.
    """
    modes = as_modes(probe)
    if count <= len(modes):
        return modes
    brightest = modes[modes.abs().square().sum((-2, -1)).argmax()]
    size, total = modes.shape[-1], modes.abs().square().sum()
    centre = centre_of_light(modes)
    axes = [(torch.arange(size, device=modes.device) - float(middle)) / size for middle in centre]
    found, basis = list(modes), list(orthogonal_modes(modes))
    for order in _orders(count):
        new = brightest * (axes[0][:, None] ** order[0] * axes[1][None, :] ** order[1])
        whole = new.abs().square().sum()
        for mode in basis:
            energy = mode.abs().square().sum()
            new = new - mode * ((mode.conj() * new).sum() / energy.clamp_min(1e-30))
        rest = new.abs().square().sum()
        if rest <= _NOTHING_NEW * whole:
            continue
        found.append(new * (share * total / rest).sqrt())
        basis.append(found[-1])
        if len(found) == count:
            break
    more = torch.stack(found)
    return more * (total / more.abs().square().sum()).sqrt()


def _orders(count: int) -> list[tuple[int, int]]:
    """Powers of y and x, by degree, without the constant."""
    return [(degree - x, x) for degree in range(1, count + 1) for x in range(degree + 1)]


def _mean_slope(obj: Tensor, light: Tensor, axis: int) -> Tensor:
    """Radians per pixel by which the phase rises on average along an axis."""
    n = obj.shape[axis] - 1
    turn = obj.narrow(axis, 1, n) * obj.narrow(axis, 0, n).conj() * light.narrow(axis, 0, n)
    return turn.sum().angle()


def _plane_wave(shape: tuple[int, ...] | torch.Size, slope: Tensor) -> Tensor:
    """``exp(i slope r)`` around the centre pixel."""
    y, x = (torch.arange(n, device=slope.device, dtype=slope.dtype) - n // 2 for n in shape)
    phase = slope[0] * y[:, None] + slope[1] * x[None, :]
    return torch.polar(torch.ones_like(phase), phase)
