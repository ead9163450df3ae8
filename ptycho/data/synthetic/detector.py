"""What a detector makes of the photons that reach it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_OFF_MIDDLE = 6  # a gap lies so many-eths of a pattern beside the middle


@dataclass(frozen=True)
class Detector:
    """A photon counter and its faults; without any it counts with Poisson noise alone."""

    blur: float = 0.0
    """Standard deviation of its point spread in pixels; light that spreads off it is lost."""
    read_noise: float = 0.0
    """Standard deviation of its own noise in photons; negative counts become 0."""
    saturation: float | None = None
    """Counts at which a pixel stops."""
    dead_pixels: float = 0.0
    """Share of pixels that never count."""
    gap: int = 0
    """Width of the gaps between modules in pixels, one across and one down."""
    beamstop: float = 0.0
    """Radius of the stop in the middle in pixels."""

    def bad_pixels(self, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """``(N, N)``: true where nothing is counted."""
        bad = np.zeros((size, size), bool)
        dead = round(self.dead_pixels * size**2)
        bad.flat[rng.permutation(size**2)[:dead]] = True
        first = size // 2 + size // _OFF_MIDDLE - self.gap // 2
        bad[first : first + self.gap] = True
        bad[:, first : first + self.gap] = True
        y, x = np.ogrid[:size, :size]
        bad |= np.hypot(y - size // 2, x - size // 2) < self.beamstop
        return bad

    def spread(self, photons: NDArray[np.float32]) -> NDArray[np.float32]:
        """Expected photons ``(n, N, N)`` as the point spread blurs them."""
        if not self.blur:
            return photons
        sigma = (0, self.blur, self.blur)
        return np.asarray(ndimage.gaussian_filter(photons, sigma, mode="constant"))

    def read(
        self, counts: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64] | NDArray[np.float64]:
        """Counts ``(n, N, N)`` as the electronics give them."""
        found: NDArray[np.int64] | NDArray[np.float64] = counts
        if self.read_noise:
            found = np.maximum(counts + rng.normal(0, self.read_noise, counts.shape), 0)
        return found if self.saturation is None else np.minimum(found, self.saturation)


def air_scattering(size: int, photons: float) -> NDArray[np.float32]:
    """Photons ``(N, N)`` of a broad hill around the middle, so many per pixel on average."""
    axis = (np.arange(size) - size // 2) / (size / 3)
    hill = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / 2)
    return np.asarray(photons * hill / hill.mean(), np.float32)
