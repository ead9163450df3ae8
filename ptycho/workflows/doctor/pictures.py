"""Patterns of a file made ready for a fit: photons, bad pixels, turns, zero frequency."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.frames import Frames
from ptycho.physics.fourier import from_detector
from ptycho.workflows.doctor.beam import Beam, shift_of
from ptycho.workflows.doctor.frames_seen import Counting
from ptycho.workflows.doctor.turns import Turn

Image = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """The square part of an image of the detector that is looked at."""

    corner: bool
    """Whether zero frequency is to be moved from the corner first."""
    shape: tuple[int, int]
    """``(H, W)`` of an image."""
    origin: tuple[int, int]
    """First row and column."""
    size: int
    """Side."""

    def __call__(self, images: Image) -> Image:
        """Images ``(..., H, W)`` as ``(..., N, N)``."""
        if self.corner:
            images = np.fft.fftshift(images, axes=(-2, -1))
        y, x = self.origin
        return images[..., y : y + self.size, x : x + self.size]


def window_about(beam: Beam, shape: tuple[int, int], size: int) -> Window:
    """The window of this size whose middle is next to zero frequency, inside the image."""
    place = np.round(beam.in_the_middle(shape)).astype(int)
    y, x = (int(np.clip(at - size // 2, 0, n - size)) for at, n in zip(place, shape, strict=True))
    return Window(beam.corner, shape, (y, x), size)


@dataclass(frozen=True)
class Turned:
    """Patterns in a window, turned, with zero frequency in the middle."""

    turn: Turn
    shift: tuple[float, float]
    """How far zero frequency of the turned window is from ``[N // 2, N // 2]``."""

    def __call__(self, amplitude: Tensor) -> Tensor:
        """Patterns ``(n, N, N)`` of the window."""
        whole = tuple(-round(one) for one in self.shift)
        return torch.roll(self.turn.patterns(amplitude), whole, (-2, -1))

    def centre(self, window: Window) -> NDArray[np.float64]:
        """Zero frequency (y, x) of the whole image, once that is turned."""
        place = np.array(self.shift) + window.size // 2
        square = (window.size, window.size)
        return self.turn.pixel(self.turn.pixel_before(place, square) + window.origin, window.shape)


def turned_by(turn: Turn, mean: Image, spectrum: Image) -> Turned:
    """A turn, and what it takes to bring zero frequency to the middle.

    Args:
        turn: of the patterns.
        mean: ``(N, N)`` mean counts of the window.
        spectrum: ``(N, N)`` of the probe.
    """
    turned = turn.patterns(torch.from_numpy(np.ascontiguousarray(mean))).numpy()
    y, x = shift_of(np.maximum(turned - np.median(turned), 0), spectrum)
    return Turned(turn, (float(y), float(x)))


@dataclass(frozen=True)
class Reader:
    """Amplitudes of any patterns."""

    frames: Frames
    counting: Counting
    window: Window
    bad: NDArray[np.bool_]
    """``(H, W)``, as in the file."""
    saturated: float | None = None
    """The file's value from which pixels say nothing."""

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """Patterns ``(b, N, N)`` of the window: amplitudes, negative zero where a pixel is bad."""
        values = np.asarray(self.frames.read(rows))
        hidden = np.broadcast_to(self.bad, values.shape) | ~np.isfinite(values)
        if self.saturated is not None:
            hidden = hidden | (values >= self.saturated)
        counts = self.counting.counts(np.where(hidden, 0, values))
        amplitude = np.where(hidden, -1.0, np.sqrt(counts))
        found = torch.from_numpy(np.ascontiguousarray(self.window(amplitude)).astype(np.float32))
        return torch.where(found < 0, torch.tensor(-0.0), found)


def probe_of(mean: Image) -> NDArray[np.complex64]:
    """A probe in focus that the mean pattern would be of, ``(1, N, N)``.

    Args:
        mean: ``(N, N)`` mean counts, zero frequency at the centre.
    """
    light = np.sqrt(np.maximum(mean - np.median(mean), 0))
    wave = from_detector(torch.from_numpy(light).to(torch.complex64))
    return wave[None].numpy()


def spectrum_of(probe: NDArray[np.complex64]) -> Image:
    """Counts ``(N, N)`` of an empty object, in any unit."""
    waves = np.fft.fftshift(np.fft.fft2(probe.astype(np.complex128)), axes=(-2, -1))
    return np.asarray(np.square(np.abs(waves)).sum(0))
