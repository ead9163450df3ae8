"""Lengths and energies of the instrument, and how they go together."""

from dataclasses import dataclass

PLANCK_LIGHT = 1.239841984332003e-6
"""Wavelength times energy in metres times electronvolts (CODATA 2018, exact)."""


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
        return PLANCK_LIGHT / energy * distance / (size * pixel)
