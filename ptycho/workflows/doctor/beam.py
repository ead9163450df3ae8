"""Where zero frequency is on the detector."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]

_CORNER = 0.125
"""Of the side: this close to a corner (around the edges), zero frequency is there."""


@dataclass(frozen=True)
class Beam:
    """Zero frequency of some patterns."""

    y: float
    """Row, in pixels of the patterns as they are."""
    x: float
    """Column."""
    corner: bool
    """Whether that is where a plain ``fft2`` puts it."""
    contrast: float
    """How much this place stands out: 1 for a point, 0 for light that is everywhere."""
    against_probe: bool
    """Whether the probe's spectrum says so; else the mean light does."""

    def in_the_middle(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Its place ``(2,)`` once a corner has been moved to the centre of ``(H, W)``."""
        place, sides = np.array([self.y, self.x]), np.array(shape)
        return np.asarray((place + sides // 2) % sides if self.corner else place)


def find_beam(mean: Image, spectrum: Image | None) -> Beam:
    """Find zero frequency.

    A transparent object smears the spectrum of the probe, symmetrically on average: where the
    mean pattern is most like that spectrum, they have the same centre. Without a probe it is
    the centre of the light. Both are looked for around the edges, as on a torus.

    Args:
        mean: ``(H, W)`` mean counts.
        spectrum: ``(N, N)`` mean counts of an empty object, zero frequency at the centre.
    """
    light = np.maximum(mean - np.median(mean), 0)
    place, contrast = _centroid(light)
    against = False
    if spectrum is not None and light.any() and all(n >= spectrum.shape[0] for n in mean.shape):
        like = np.zeros_like(light)
        start = [(n - spectrum.shape[0]) // 2 for n in light.shape]
        size = spectrum.shape[0]
        like[start[0] : start[0] + size, start[1] : start[1] + size] = spectrum
        middle = np.array([s + size // 2 for s in start])
        place, against = middle + shift_of(light, like), True
    height, width = mean.shape
    place = np.mod(place, (height, width))
    away = np.minimum(place, np.array([height, width]) - place)  # from a corner, on the torus
    corner = bool((away < _CORNER * np.array([height, width])).all())
    return Beam(float(place[0]), float(place[1]), corner, contrast, against)


def _centroid(light: Image) -> tuple[NDArray[np.float64], float]:
    """Centre of light on a torus, and how much of it is there."""
    total = light.sum()
    if total <= 0:
        return np.array([n // 2 for n in light.shape], dtype=float), 0.0
    found, sharp = [], []
    for axis in (0, 1):
        n = light.shape[axis]
        turns = np.exp(2j * np.pi * np.arange(n) / n)
        mean = (light.sum(1 - axis) * turns).sum() / total
        found.append(float(np.angle(mean) / (2 * np.pi) * n % n))
        sharp.append(abs(mean))
    return np.array(found), float(min(sharp))


def shift_of(image: Image, like: Image) -> NDArray[np.float64]:
    """How far one image ``(H, W)`` is shifted from another, with sign, to a fraction of a pixel.

    Roots are compared: a few bright pixels do not decide.
    """
    product = np.fft.fft2(np.sqrt(image)) * np.fft.fft2(np.sqrt(like)).conj()
    score = np.fft.ifft2(product).real
    peak = np.unravel_index(int(score.argmax()), score.shape)
    shift = []
    for axis, at in enumerate(peak):
        n = score.shape[axis]
        line = np.take(score, peak[1 - axis], axis=1 - axis)
        low, mid, high = (line[(at + step) % n] for step in (-1, 0, 1))
        bend = low - 2 * mid + high
        fine = float(at) + (0.5 * (low - high) / bend if bend < 0 else 0.0)
        shift.append(fine - n if fine > n / 2 else fine)
    return np.array(shift)
