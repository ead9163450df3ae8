"""The beam of a scan: as it came, from another file, found in the patterns, or made."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.geometry import PLANCK_TIMES_LIGHT
from ptycho.data.lazy import LazyAmplitude
from ptycho.data.probe_files import read_probe_file
from ptycho.data.scan import DataError
from ptycho.physics import illumination

Probe = NDArray[np.complex64]
Amplitude = NDArray[np.float32] | LazyAmplitude

MADE = ("zone_plate", "rectangular", "disk", "gaussian")
"""Kinds that need neither a file nor patterns."""
_FOCUSED = ("zone_plate", "rectangular")
_BRIGHT_RIM = 0.2  # of a beam that does not end within its patch
_BLOCK = 256  # patterns that are averaged at once


@dataclass(frozen=True)
class Optics:
    """What turns metres into pixels, as far as it is known."""

    pixel_m: float | None = None
    """Side of an object pixel in metres."""
    energy_ev: float | None = None
    """Photon energy in electronvolts."""
    near_field: bool = False
    """Whether patterns are of the near field."""

    def pixel(self, setting: str) -> float:
        """Side of an object pixel in metres, for this setting."""
        if self.pixel_m is None:
            raise DataError(
                f"{setting} is in metres, and nobody says how large an object pixel is; type "
                "data.geometry.pixel_size_m=METRES, or the form in pixels."
            )
        return self.pixel_m

    def wavelength(self, setting: str) -> float:
        """Wavelength in metres, for this setting."""
        if self.energy_ev is None:
            raise DataError(
                f"{setting} needs the photon energy, and nobody says it; type "
                "data.geometry.energy_ev=ELECTRONVOLTS, or the form in pixels."
            )
        return PLANCK_TIMES_LIGHT / self.energy_ev


@dataclass(frozen=True, kw_only=True)
class Beam:
    """How a beam is made; what the fields mean stands at the settings ``data.probe``."""

    kind: str = "file"
    file: Path | None = None
    """A probe that takes the place of the scan's own."""
    radius: float | None = None
    radius_m: float | None = None
    pupil: float | None = None
    outer_zone_m: float | None = None
    aperture: float | None = None
    aspect: float = 1.0
    stop: float = illumination.STOP
    defocus: float | None = None
    defocus_m: float | None = None
    modes: int | None = None
    powers: tuple[float, ...] = field(default=())

    @property
    def is_usual(self) -> bool:
        """Whether it is the scan's own, untouched."""
        return self == Beam()

    @property
    def is_the_scans(self) -> bool:
        """Whether it begins from the probe that came with the scan."""
        return self.kind == "file" and self.file is None

    @property
    def words(self) -> str:
        """What it is, for the record."""
        usual = Beam()
        said = (
            f"{name} {value}"
            for name, value in vars(self).items()
            if name != "kind" and value != getattr(usual, name)
        )
        return ", ".join((self.kind, *said))

    def of_scan(self, amplitude: Amplitude, own: Probe | None, optics: Optics) -> Probe:
        """The probe for measured patterns.

        Args:
            amplitude: ``(n, N, N)``, negative zero where a pixel is bad.
            own: the probe that came with them, if one did.
            optics: pixel and energy.

        Returns:
            ``(modes, N, N)``.

        Raises:
            DataError: there is none, it does not fit, or something must be known first.
        """
        if self.kind == "average":
            if optics.near_field:
                raise DataError(
                    "data.probe.kind=average takes the mean pattern for that of a beam seen from "
                    "afar, and these patterns are of the near field; make a beam "
                    "(data.probe.kind=disk or gaussian), or type data.probe_file=FILE."
                )
            return self._finished(_averaged(amplitude, self._defocus(optics)), optics)
        return self.alone(amplitude.shape[-1], optics, own)

    def alone(self, size: int, optics: Optics, own: Probe | None = None) -> Probe:
        """The probe where no patterns are needed for it, ``(modes, size, size)``."""
        if self.kind in MADE:
            return self._finished(self._made(size, optics), optics)
        if self.file is not None:
            own = read_probe_file(self.file)
            if own.shape[-1] != size:
                raise DataError(
                    f"data.probe_file: {self.file} holds a probe of {own.shape[-1]} x "
                    f"{own.shape[-1]} pixels, and the patterns have {size} x {size}; resample it."
                )
        if own is None:
            raise DataError(
                "holds no probe; type data.probe.kind=average (found in the patterns; out of focus "
                "it needs data.probe.defocus_m, too), data.probe_file=FILE, or make one: "
                "data.probe.kind=zone_plate, rectangular, disk or gaussian."
            )
        if self.is_usual:
            return own
        field = torch.from_numpy(own).to(torch.complex128)
        return self._finished(illumination.propagate(field, self._defocus(optics)), optics)

    def _made(self, size: int, optics: Optics) -> Tensor:
        defocus = self._defocus(optics)
        radius = self._radius(optics)
        if self.kind in _FOCUSED:
            pupil = self._pupil(optics)
            if radius is not None:
                defocus = -(radius / pupil)  # in front of the focus
            if self.kind == "rectangular":
                made = illumination.rectangular(size, pupil, self.aspect, defocus)
            else:
                made = illumination.zone_plate(size, pupil, self.stop, defocus)
        else:
            if radius is None:
                raise DataError(f"data.probe.radius must say how wide the {self.kind} is.")
            make = illumination.disk if self.kind == "disk" else illumination.gaussian
            made = make(size, radius, defocus)
        rim = illumination.light_at_the_rim(made)
        if rim > _BRIGHT_RIM:
            raise DataError(
                f"data.probe.kind={self.kind}: the beam does not end within {size} x {size} pixels "
                f"(its rim has {rim:.0%} of the mean brightness); choose a smaller radius or "
                "defocus, or a larger model.N."
            )
        return made

    def _finished(self, made: Tensor, optics: Optics) -> Probe:
        found = illumination.with_modes(made, self.modes, self.powers)
        wanted = self.modes or len(self.powers)
        if len(found) < wanted:
            raise DataError(
                f"data.probe.modes={wanted}: the beam lights too few pixels for them; ask for "
                f"{len(found)}."
            )
        return np.asarray(found.numpy(), np.complex64)

    def _radius(self, optics: Optics) -> float | None:
        if self.radius_m is not None:
            return self.radius_m / optics.pixel("data.probe.radius_m")
        return self.radius

    def _defocus(self, optics: Optics) -> float:
        if self.defocus_m is None:
            return self.defocus or 0.0
        name = "data.probe.defocus_m"
        return illumination.defocus_of(self.defocus_m, optics.wavelength(name), optics.pixel(name))

    def _pupil(self, optics: Optics) -> float:
        """Of lenses, in cycles per pixel."""
        if self.outer_zone_m is not None:
            name, pixel = "data.probe.outer_zone_m", optics.pixel("data.probe.outer_zone_m")
            pupil = illumination.pupil_of_zone_plate(self.outer_zone_m, pixel)
        elif self.aperture is not None:
            name = "data.probe.aperture"
            wavelength, pixel = optics.wavelength(name), optics.pixel(name)
            pupil = illumination.pupil_of_aperture(self.aperture, wavelength, pixel)
        else:
            return illumination.PUPIL if self.pupil is None else self.pupil
        if pupil > 0.5:
            raise DataError(
                f"{name}={getattr(self, name.rpartition('.')[2]):g}: such optics light more than "
                f"the detector sees with object pixels of {pixel:.3g} m (pupil of {pupil:.2f} "
                "cycles per pixel, 0.5 is the edge); check data.geometry."
            )
        return pupil


def _averaged(amplitude: Amplitude, defocus: float) -> Tensor:
    """The beam that the average pattern tells of, see ``illumination.back_propagated``."""
    size = amplitude.shape[-1]
    total, seen = np.zeros((size, size)), np.zeros((size, size))
    for start in range(0, len(amplitude), _BLOCK):
        block = amplitude[start : start + _BLOCK]
        total += np.square(block, dtype=np.float64).sum(0)
        seen += (~np.signbit(block)).sum(0)
    mean = torch.from_numpy(total / np.maximum(seen, 1))
    return illumination.back_propagated(mean, torch.from_numpy(seen > 0), defocus)
