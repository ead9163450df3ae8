"""Lengths and energies of the instrument, and how they go together."""

from dataclasses import asdict, dataclass, fields
from typing import Any

PLANCK_TIMES_LIGHT = 1.239841984332003e-6
"""Electronvolts times metres (CODATA 2018): wavelength times energy of a photon."""


@dataclass(frozen=True)
class Geometry:
    """Lengths and energies of the instrument, as far as a file tells them."""

    energy_ev: float | None = None
    """Photon energy in electronvolts."""
    distance_m: float | None = None
    """Sample to detector in metres."""
    detector_pixel_m: float | None = None
    """Side of a detector pixel in metres, before any binning of ours."""
    far_field: bool = True
    """Whether the detector is so far away that a pattern is a Fourier transform."""
    focus_distance_m: float | None = None
    """Focus to sample in metres, of a detector that is near; None: the beam is parallel."""

    def object_pixel_m(self, size: int) -> float | None:
        """Side of an object pixel in the far field: ``wavelength * distance / (N * pixel)``.

        Args:
            size: side N of a pattern in detector pixels.

        Returns:
            Metres; None where something is missing or the detector is near.
        """
        energy, distance, pixel = self.energy_ev, self.distance_m, self.detector_pixel_m
        if energy is None or distance is None or pixel is None or not self.far_field:
            return None
        return PLANCK_TIMES_LIGHT / energy * distance / (size * pixel)

    def known(self) -> dict[str, Any]:
        """What is known, by name, for the metadata of a file."""
        named = asdict(self)
        far = named.pop("far_field")
        lengths = {name: value for name, value in named.items() if value is not None}
        return lengths if far else lengths | {"far_field": False}

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> "Geometry":
        """What metadata say; what makes no sense there is left out."""
        said = {item.name: metadata.get(item.name) for item in fields(cls)}
        lengths = {
            name: float(value)
            for name, value in said.items()
            if isinstance(value, int | float) and value is not True and 0 < value < float("inf")
        }
        return cls(**lengths, far_field=said["far_field"] is not False)
