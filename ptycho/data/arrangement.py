"""Which pixels of the detector make a pattern, and what that means for object and probe.

A pattern of side N about the beam is the Fourier transform of a patch of N x N object pixels.
Their length follows from the width of the detector alone, the width of the patch from the distance
of its pixels:

====================  =========================  =================  ==========================
a pattern is          pixels of the object are   positions times    the probe is
====================  =========================  =================  ==========================
cropped, N to n       N / n times as long        n / N              cropped in its spectrum
padded, N to n        N / n times as long        n / N              padded in its spectrum
binned by b           as before                  1                  cropped to N / b
resampled, N to n     as before                  1                  cropped or padded to n
====================  =========================  =================  ==========================
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ptycho.config.choices import ZeroFrequency
from ptycho.config.data_config import PreprocessConfig
from ptycho.data.frames import Array
from ptycho.data.resampling import (
    Complex,
    Mask,
    Real,
    binned,
    centred,
    interpolated,
    middle_of_light,
    tilted,
    touched,
    with_band,
)
from ptycho.data.scan import DataError

Centre = tuple[float, float]


@dataclass(frozen=True)
class Arrangement:
    """From an image of the detector to a pattern, steps in the order of the fields."""

    shape: tuple[int, int]
    """``(H, W)`` of an image as its file has it."""
    transpose: bool
    flip_y: bool
    flip_x: bool
    corner: bool
    """Whether zero frequency is at ``[0, 0]`` then."""
    centre: Centre
    """Row and column of zero frequency after that; the middle ``[n // 2]``, or as was told."""
    side: int
    """Of the window about it."""
    bin: int = 1
    pad: int | None = None
    resample: int | None = None

    @property
    def turned_shape(self) -> tuple[int, int]:
        """``(H, W)`` after transposition."""
        height, width = self.shape
        return (width, height) if self.transpose else (height, width)

    @property
    def base(self) -> int:
        """Side of the pattern that the file's own object pixels belong to."""
        return self.shape[0] if self.shape[0] == self.shape[1] else self.side

    @property
    def size(self) -> int:
        """Side N of a pattern."""
        return self.resample or self.pad or self.side // self.bin

    @property
    def factor(self) -> Fraction:
        """Object pixels of the pattern for each of the file's own."""
        padded = Fraction(self.pad, self.side // self.bin) if self.pad else Fraction(1)
        return Fraction(self.side, self.base) * padded

    @property
    def pixels(self) -> Fraction:
        """Pixels of the detector along one of a pattern."""
        now = self.pad or self.side // self.bin
        return Fraction(self.bin * now, self.size)

    @property
    def start(self) -> tuple[int, int]:
        """First row and column of the window; it may lie beyond the detector."""
        y, x = (int(np.floor(middle + 0.5)) - self.side // 2 for middle in self.centre)
        return y, x

    @property
    def changes(self) -> bool:
        """Whether patterns are of other pixels than the file's own, however they are turned."""
        window = self.turned_shape != (self.side, self.side) or self.start != (0, 0)
        return window or any(self.rest) or self.counts_change or self.pad not in (None, self.side)

    @property
    def counts_change(self) -> bool:
        """Whether a pixel is more than one pixel of the detector."""
        return self.bin > 1 or self.resample is not None

    def turned(self, images: Array) -> Array:
        """Images ``(..., H, W)`` with rows and columns in their final order; a view if it can."""
        if self.transpose:
            images = images.swapaxes(-1, -2)
        if self.flip_y:
            images = images[..., ::-1, :]
        if self.flip_x:
            images = images[..., ::-1]
        return np.fft.fftshift(images, axes=(-2, -1)) if self.corner else images

    def window(self, images: Array) -> Array:
        """The window ``(..., side, side)`` of images ``(..., H, W)`` as the file has them."""
        return self.cut(self.turned(images))

    def cut(self, turned: Array, outside: float = 0) -> Array:
        """The window ``(..., side, side)`` of turned images; a view if it can."""
        shape = turned.shape[-2:]
        low = [max(first, 0) for first in self.start]
        ends = [first + self.side for first in self.start]
        high = [min(end, n) for end, n in zip(ends, shape, strict=True)]
        seen = turned[..., low[0] : high[0], low[1] : high[1]]
        if seen.shape[-2:] == (self.side, self.side):
            return seen
        whole = np.full((*turned.shape[:-2], self.side, self.side), outside, turned.dtype)
        y, x = (
            slice(a - first, b - first)
            for a, b, first in zip(low, high, self.start, strict=True)
        )  # fmt: skip
        whole[..., y, x] = seen
        return whole

    def pattern(self, counts: Real, bad: Mask | None) -> Real:
        """Counts ``(N, N)`` of a window ``(side, side)``; those of bad pixels mean nothing."""
        if self.bin > 1:
            counts = binned(counts, self.bin)
            bad = None if bad is None else binned(bad, self.bin)
        if self.pad:
            counts = centred(counts, self.pad)
            bad = self._padded(bad)
        return counts if self.resample is None else interpolated(counts, self.resample, bad)

    def hidden(self, bad: Mask | None) -> Mask | None:
        """Bad pixels ``(..., N, N)`` of a pattern, those of its window being ``(..., side, side)``.

        One bad pixel spoils whatever it is a part of: nobody knows its counts.
        """
        if bad is not None and self.bin > 1:
            bad = binned(bad, self.bin)
        if self.pad:
            bad = self._padded(bad)
        return bad if bad is None or self.resample is None else touched(bad, self.resample)

    def _padded(self, bad: Mask | None) -> Mask | None:
        if self.pad is None or self.pad == self.side // self.bin:
            return bad
        known = np.zeros((self.side // self.bin,) * 2, bool) if bad is None else bad
        return centred(known, self.pad, outside=True)

    def probe(self, probe: Complex) -> Complex:
        """The probe ``(modes, N, N)`` of these patterns from that of the file's own.

        Where the beam is said to be beside the middle of the file's patterns, the probe may have
        been found with them as they are, its own light beside the middle, too; or it may be one
        that lies on the axis. Its light decides: it is kept where it is nearer.
        """
        fitted = tilted(probe, away) if any(away := self._moved(probe)) else probe
        if self.side != self.base:
            fitted = with_band(fitted, self.side)
        if self.bin > 1:
            now, middle = self.side // self.bin, self.side // 2
            fitted = centred(fitted, now)
            beside = (middle - (self.bin - 1) / 2) / self.bin - now // 2
            fitted = tilted(fitted, (beside, beside))
        if self.pad and self.pad != fitted.shape[-1]:
            fitted = with_band(fitted, self.pad)
        if self.resample:
            fitted = centred(fitted, self.resample)
        return np.ascontiguousarray(fitted, dtype=np.complex64)

    def _moved(self, probe: Complex) -> Centre:
        """Pixels (y, x) of the detector by which the probe's light must be moved."""
        if self.shape[0] != self.shape[1]:
            return self.rest
        middle = self.base // 2
        light = middle_of_light(probe)
        on_axis = np.hypot(light[0] - middle, light[1] - middle)
        with_beam = np.hypot(light[0] - self.centre[0], light[1] - self.centre[1])
        if on_axis <= with_beam:
            return self.rest
        y, x = (middle - first - self.side // 2 for first in self.start)
        return y, x

    @property
    def rest(self) -> Centre:
        """Pixels (y, x) of the detector from the middle one of the window to zero frequency."""
        y, x = (c - s - self.side // 2 for c, s in zip(self.centre, self.start, strict=True))
        return y, x

    def done(self) -> list[str]:
        """What is done to patterns, for the record."""
        said = ["patterns transposed"] if self.transpose else []
        for name, flip in (("rows", self.flip_y), ("columns", self.flip_x)):
            if flip:
                said.append(f"{name} of patterns turned round")
        if self.corner:
            said.append("zero frequency moved from the corner to the centre")
        about = f"about ({self.centre[0]:g}, {self.centre[1]:g})"
        if self.turned_shape != (self.side, self.side):
            said.append(f"cropped {_sides(self.turned_shape)} -> {self.side} {about}")
        elif self.start != (0, 0) or any(self.rest):
            said.append(f"centred {about}")
        now = self.side // self.bin
        if self.bin > 1:
            said.append(f"binned {self.side} -> {now}")
        if self.pad:
            said.append(f"padded {now} -> {self.pad}")
        if self.resample:
            said.append(f"resampled {self.pad or now} -> {self.resample}")
        return said


def arrange(
    path: Path, shape: tuple[int, int], how: PreprocessConfig, centre: Centre | None = None
) -> Arrangement:
    """Which pixels of the detector make a pattern.

    Args:
        path: the file, for sentences.
        shape: ``(H, W)`` of its frames.
        how: what was typed.
        centre: of the beam, where it was found.

    Raises:
        DataError: what was typed does not fit the frames.
    """
    height, width = shape[::-1] if how.transpose else shape
    least = min(height, width)
    if how.crop is None and height != width:
        raise DataError(
            f"{path}: patterns are {height} x {width} pixels and must be square; type "
            f"data.preprocess.crop={least - least % 2}, or less."
        )
    if how.crop is not None and how.crop > least:
        raise DataError(
            f"data.preprocess.crop={how.crop} is more than the {height} x {width} pixels of {path};"
            f" type {least} or less, or enlarge patterns with data.preprocess.pad={how.crop}."
        )
    typed = (
        height // 2 if how.center_y is None else how.center_y,
        width // 2 if how.center_x is None else how.center_x,
    )
    for name, value, most in zip("yx", typed, (height, width), strict=True):
        if value > most - 1:
            raise DataError(
                f"data.preprocess.center_{name}={value:g} lies beyond the {height} x {width} "
                f"pixels of {path}, counted from 0."
            )
    made = Arrangement(
        shape=shape,
        transpose=how.transpose,
        flip_y=how.flip_y,
        flip_x=how.flip_x,
        corner=how.zero_frequency == ZeroFrequency.corner,
        centre=centre or typed,
        side=how.crop or least,
        bin=how.bin,
    )
    if how.bin > made.side:
        raise DataError(
            f"data.preprocess.bin={how.bin} is more than the {made.side} pixels of a pattern "
            f"({path}); bin fewer together."
        )
    if made.side % how.bin:
        raise DataError(
            f"data.preprocess.bin={how.bin} does not divide the {made.side} pixels of a pattern "
            f"({path}); crop it first: data.preprocess.crop={made.side - made.side % how.bin}."
        )
    if how.pad is not None and how.pad < made.size:
        raise DataError(
            f"data.preprocess.pad={how.pad} is less than the {made.size} pixels of a pattern "
            f"({path}); use data.preprocess.crop to make it smaller."
        )
    return replace(made, pad=how.pad, resample=how.resample)


def _sides(shape: tuple[int, int]) -> str:
    return str(shape[0]) if shape[0] == shape[1] else f"{shape[0]} x {shape[1]}"
