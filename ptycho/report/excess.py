"""What patterns hold beyond a model and the noise of counting."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho.report.frames import Frames


@dataclass(frozen=True)
class Excess:
    """Counted photons less expected ones."""

    light: NDArray[np.float64]
    """``(N, N)``: the mean over all frames, over the photons of a frame."""
    misfit: float
    """Squared residual of the frames held out, less what counting explains; over the
    expected photons plus one, the mean over pixels. NaN where none are held out."""


@torch.no_grad()
def excess(frames: Frames, scale: float, held_out: NDArray[np.int64]) -> Excess:
    """Look at all frames once.

    Args:
        frames: expected photons beside measured amplitudes.
        scale: what the expected photons are multiplied by.
        held_out: numbers of the frames that were never fitted.
    """
    n, counted, beyond, pixels = 0, 0.0, 0.0, 0
    light: torch.Tensor | None = None
    for expected, amplitude in frames():
        rate, counts = scale * expected, amplitude.square()
        residual = counts - rate
        total = residual.sum(0).cpu().double()
        light = total if light is None else light + total
        counted += float(counts.sum())
        unseen = held_out[(held_out >= n) & (held_out < n + len(counts))] - n
        which = torch.from_numpy(unseen).to(counts.device)
        squares = (residual[which].square() - counts[which]) / (rate[which] + 1)
        beyond += float(squares.sum())
        pixels += squares.numel()
        n += len(counts)
    assert light is not None
    return Excess(light.numpy() / max(counted, 1e-30), beyond / pixels if pixels else np.nan)
