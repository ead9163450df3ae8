"""Which pixels of the detector make a pattern, and what that means for object and probe.

A pattern of side N about the beam is the Fourier transform of a patch of N x N object pixels:

====================  ===================  ==================  ==============================
the pattern is        an object pixel is   positions times     the probe is
====================  ===================  ==================  ==============================
cropped, N to n       N / n as long        n / N               cropped in its spectrum
padded, N to n        N / n as long        n / N               padded in its spectrum
binned by b           as before            1                   cropped to N / b pixels
resampled, N to n     as before            1                   cropped or padded to n pixels
====================  ===================  ==================  ==============================

since its width in metres, and nothing else, says how long an object pixel is, and the distance of
its pixels how wide a patch.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ptycho.data.frames import Array


@dataclass(frozen=True)
class Arrangement:
    """From an image of the detector to a pattern, steps in the order of the fields."""

    shape: tuple[int, int]
    """``(H, W)`` of an image as its file has it."""
    transpose: bool = False
    flip_y: bool = False
    flip_x: bool = False
    corner: bool = False
    """Whether the file has zero frequency at ``[0, 0]`` (then: after the three above)."""

    @property
    def turned_shape(self) -> tuple[int, int]:
        """``(H, W)`` after transposition."""
        height, width = self.shape
        return (width, height) if self.transpose else (height, width)

    @property
    def size(self) -> int:
        """Side N of a pattern."""
        return self.turned_shape[0]

    @property
    def factor(self) -> Fraction:
        """Object pixels of the pattern for each of the file's own patterns."""
        return Fraction(1)

    def turned(self, images: Array) -> Array:
        """Images ``(..., H, W)`` with rows and columns in their final order; a view if it can."""
        if self.transpose:
            images = images.swapaxes(-1, -2)
        if self.flip_y:
            images = images[..., ::-1, :]
        if self.flip_x:
            images = images[..., ::-1]
        return np.fft.fftshift(images, axes=(-2, -1)) if self.corner else images

    def done(self) -> list[str]:
        """What is done to patterns, for the record."""
        said = []
        if self.transpose:
            said.append("patterns transposed")
        for name, flip in (("rows", self.flip_y), ("columns", self.flip_x)):
            if flip:
                said.append(f"{name} of patterns turned round")
        if self.corner:
            said.append("zero frequency moved from the corner to the centre")
        return said
