"""Patterns of a file made ready for a fit: photons, bad pixels, zero frequency in the middle."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.frames import Frames
from ptycho.physics.fourier import crop_centre, from_detector
from ptycho.workflows.doctor.beam import Beam
from ptycho.workflows.doctor.frames_seen import Counting

Image = NDArray[np.float64]


@dataclass(frozen=True)
class Centred:
    """How patterns are brought to the middle."""

    beam: Beam
    """Where zero frequency is."""
    size: int
    """Side of the patterns that come out."""

    def __call__(self, images: Image) -> Image:
        """Images ``(..., H, W)`` as ``(..., N, N)``, zero frequency at the centre pixel."""
        shape = images.shape[-2], images.shape[-1]
        if self.beam.corner:
            images = np.fft.fftshift(images, axes=(-2, -1))
        place = np.round(self.beam.in_the_middle(shape)).astype(int)
        shift = [n // 2 - int(at) for n, at in zip(shape, place, strict=True)]
        rolled = np.roll(images, shift, axis=(-2, -1))
        return crop_centre(torch.from_numpy(np.ascontiguousarray(rolled)), self.size).numpy()


@dataclass(frozen=True)
class Reader:
    """Amplitudes of any patterns."""

    frames: Frames
    counting: Counting
    centred: Centred
    bad: NDArray[np.bool_]
    """``(H, W)``, as in the file."""
    saturated: float | None = None
    """The file's value from which pixels say nothing."""

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        """Patterns ``(b, N, N)``: amplitudes, negative zero where a pixel is bad."""
        values = np.asarray(self.frames.read(rows))
        hidden = np.broadcast_to(self.bad, values.shape) | ~np.isfinite(values)
        if self.saturated is not None:
            hidden = hidden | (values >= self.saturated)
        counts = self.counting.counts(np.where(hidden, 0, values))
        amplitude = np.where(hidden, -1.0, np.sqrt(counts))
        found = torch.from_numpy(self.centred(amplitude).astype(np.float32))
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
