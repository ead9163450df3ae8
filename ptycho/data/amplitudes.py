"""Amplitudes from what a file holds, one frame like the other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptycho.data.arrangement import Arrangement
from ptycho.data.frames import Array, Frames, Indices
from ptycho.data.marks import full_from, refuse_marks
from ptycho.data.resampling import Mask, Real, centred

_ROUNDING = 2e-7  # of squared amplitudes in single precision


@dataclass(frozen=True)
class Preparation:
    """What makes amplitudes of a block of frames."""

    counts: bool
    """Whether the numbers are counts, not amplitudes."""
    arrangement: Arrangement
    """Which pixels they are."""
    bad: Mask | None = None
    """``(side, side)`` of the window: pixels that are bad in every frame."""
    flags: Mask | None = None
    """``(n, H, W)`` as in the file: pixels that are bad in a frame."""
    saturation: float | None = None
    background: Real | None = None
    """Counts ``(side, side)`` of the window, or one number."""
    minimum: float | None = None
    maximum: float | None = None
    rows: Indices | None = None
    """Frames of the file that are used; None: all."""

    @property
    def size(self) -> int:
        """Side N of a pattern that comes out."""
        return self.arrangement.size

    @property
    def hides(self) -> bool:
        """Whether pixels may be bad."""
        full = self.saturation, self.maximum
        return any(one is not None for one in (*full, self.flags, self.hidden))

    @cached_property
    def hidden(self) -> Mask | None:
        """``(N, N)``: pixels that are bad in every pattern."""
        return self.arrangement.hidden(self.bad)

    @property
    def counts_change(self) -> bool:
        """Whether a pattern holds anything else than numbers of the file."""
        limits = self.saturation, self.background, self.minimum, self.maximum
        return self.arrangement.counts_change or any(one is not None for one in limits)

    def __call__(self, frames: Frames, rows: slice | Indices) -> NDArray[np.float32]:
        """Amplitudes ``(b, N, N)`` of some rows; negative zero where a pixel is bad.

        Args:
            frames: of the file.
            rows: of the file, whether they are among those used or not.

        Raises:
            DataError: the frames hold what no detector counts.
        """
        images = self.arrangement.window(frames.read(rows))
        bad = None if self.flags is None else self.arrangement.window(self.flags[rows])
        if bad is None:
            bad = self.bad
        elif self.bad is not None:
            bad = bad | self.bad
        _refuse_values(frames, images, bad, low=self.counts and self.minimum is not None)
        refuse_marks(frames, images, bad, full_from(self.saturation, self.maximum, self.counts))
        if self.counts_change:
            return self._one_by_one(images, bad)
        with np.errstate(invalid="ignore"):  # of bad pixels
            if self.counts:
                amplitude = np.sqrt(images, dtype=np.float32, order="C")
            else:
                amplitude = np.array(images, dtype=np.float32, order="C")
        amplitude += np.float32(0)  # negative zeros of a file are no bad pixels
        if self.arrangement.pad:
            amplitude = centred(amplitude, self.arrangement.pad)
        bad = self.hidden if bad is self.bad else self.arrangement.hidden(bad)
        if bad is not None:
            amplitude[np.broadcast_to(bad, amplitude.shape)] = -0.0
        return amplitude

    def _one_by_one(self, images: Array, bad: Mask | None) -> NDArray[np.float32]:
        """Amplitudes of windows, by way of their counts."""
        amplitude = np.empty((len(images), self.size, self.size), np.float32)
        for i, image in enumerate(images):
            known = bad if bad is None or bad.ndim == 2 else bad[i]
            counts, found = self._counted(image, known)
            pattern = self.arrangement.pattern(counts, found)
            np.sqrt(pattern, out=amplitude[i], casting="same_kind")
            hidden = self.hidden if found is self.bad else self.arrangement.hidden(found)
            if hidden is not None:
                amplitude[i][hidden] = -0.0
        return amplitude

    def _counted(self, image: Array, bad: Mask | None) -> tuple[Real, Mask | None]:
        """Counts ``(side, side)`` of a window, 0 where a pixel is bad, and where that is."""
        counts = image.astype(np.float64)
        if not self.counts:
            np.square(counts, out=counts)
            whole = np.rint(counts)  # what was a whole number is one again
            np.copyto(counts, whole, where=np.abs(counts - whole) <= _ROUNDING * whole)
        found = None if self.saturation is None else counts >= self.saturation
        if self.background is not None:
            counts -= self.background
            np.maximum(counts, 0, out=counts)
        if self.minimum is not None:
            counts[counts < self.minimum] = 0
        if self.maximum is not None:
            over = counts > self.maximum
            found = over if found is None else found | over
        if found is None or not found.any():
            found = bad
        elif bad is not None:
            found |= bad
        if found is not None:
            counts[found] = 0
        return counts, found


def _refuse_values(frames: Frames, images: Array, bad: Mask | None, *, low: bool) -> None:
    """Refuse what no detector counts.

    Args:
        frames: where they come from.
        images: ``(b, side, side)``.
        bad: pixels that may hold anything.
        low: whether negative numbers are asked to become 0.
    """
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        wrong = ~np.isfinite(images) if bad is None else ~np.isfinite(images) & ~bad
        if number := int(wrong.sum()):
            raise frames.fault(f"holds NaN or infinity ({number} values); drop them")
    if low or not images.size or images.dtype.kind not in "if" or not (images.min() < 0):
        return
    if bad is not None:
        images = np.where(bad, 0, images)
    if (least := images.min()) < 0:
        raise frames.fault(
            f"must not be negative, the smallest value is {least:g}; if such pixels are bad, name "
            "them in data.preprocess.bad_pixels_file, if they are empty, type "
            "data.preprocess.minimum=0"
        )
