"""Training batches of patch networks: patterns, and the canvas on which their patches meet."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ptycho.data.canvases import Canvas, CanvasSampler
from ptycho.data.tiles import CellSampler, Indices
from ptycho.physics.measured import Measured
from ptycho.physics.patches import extract_patches


class PatchBatch(NamedTuple):
    """Patterns, and where each lies on a canvas."""

    amplitude: Tensor
    """Real ``(b, y, x)``: measured amplitudes."""
    which: Tensor
    """int64 ``(b,)``: their numbers in the scan."""
    origin: Tensor
    """int64 ``(b, 2)``: what to take from a patch's corner on the scan's canvas."""
    shape: tuple[int, int]
    """Height and width of the batch's canvas."""
    labels: Tensor | None = None
    """Complex ``(p, N, N)``: what the predicted patches should be, where that is known."""
    predicted: Tensor | None = None
    """int64 ``(p,)``: which of the batch are predicted; None: all. All are measured."""

    @property
    def shown(self) -> tuple[Tensor, Tensor, Tensor]:
        """``amplitude``, ``which`` and ``origin`` of what is predicted."""
        if self.predicted is None:
            return self.amplitude, self.which, self.origin
        return (
            self.amplitude[self.predicted],
            self.which[self.predicted],
            self.origin[self.predicted],
        )


@dataclass(frozen=True)
class Labelled:
    """Object patches of all patterns: kept one by one, or cut from an object when asked for."""

    source: Tensor
    """Complex ``(n, N, N)``, or the object ``(H, W)`` on the scan's canvas."""
    corners: Tensor
    """int64 ``(n, 2)``: first row and column of each patch on that canvas."""
    size: int
    """Side ``N`` of a patch."""

    def __call__(self, numbers: Tensor) -> Tensor:
        """Complex ``(b, N, N)`` of some patterns."""
        if self.source.ndim == 3:
            return self.source[numbers]
        return extract_patches(self.source, self.corners[numbers], self.size)


class ShuffledSampler(CellSampler):
    """As :class:`CellSampler`, but what is together in a batch is drawn anew every epoch."""

    def cells(self) -> list[Indices]:
        """All batches of this epoch."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.positions))
        return np.array_split(order, self.n_cells)


class PatchDataset(Dataset[PatchBatch]):
    """The item of some group numbers is a batch of those groups.

    Args:
        amplitude: measured ``(n, N, N)``, on the CPU or read there when indexed.
        corners: int64 ``(n, 2)``, first row and column of each patch on the scan's canvas.
        groups: numbers of the patterns ``(g, members)`` of each group.
        n_patterns: patterns in a batch, about.
        shared: patterns that share a canvas, about; None: each group has its own.
        share: how much of a shared canvas is predicted.
        labels: what the patches should be, where that is known.

    Attributes:
        places: centres ``(g, 2)`` of the groups; items are numbered like them.
        n_patterns: groups in a batch.
        sampler: what puts groups together: neighbours on shared canvases, else chance.
    """

    def __init__(
        self,
        amplitude: Measured,
        corners: NDArray[np.int64],
        groups: Indices,
        n_patterns: int,
        *,
        shared: int | None = None,
        share: float = 1.0,
        labels: "Labelled | None" = None,
    ) -> None:
        self.amplitude, self.corners, self.groups = amplitude, corners, groups
        members = groups.shape[1]
        self.n_patterns = max(n_patterns // members, 1)
        self.labels = labels
        self.places = corners[groups].mean(1)
        self.sampler: Callable[..., Sampler[Any]] = ShuffledSampler
        if shared is not None:
            per_canvas = min(max(shared // members, 1), self.n_patterns)
            self.sampler = partial(CanvasSampler, per_canvas=per_canvas, share=share)

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, which: "Indices | list[Canvas]") -> PatchBatch:
        if isinstance(which, list):
            first = [self._members(one.predicted) for one in which]
            on_canvas = [
                np.concatenate([some, self._members(one.measured)])
                for some, one in zip(first, which, strict=True)
            ]
        else:
            first = on_canvas = list(self.groups[np.sort(which)])
        size = self.amplitude.shape[-1]
        inside = [self.corners[numbers] for numbers in on_canvas]
        low = np.stack([some.min(0) for some in inside])
        height, width = (np.stack([some.max(0) for some in inside]) + size - low).max(0)
        # canvases lie below each other, a dark row apart: no gradient reaches from one to the next
        height += len(low) > 1
        low[:, 0] -= height * np.arange(len(low))
        lengths = [len(some) for some in inside]
        numbers = torch.from_numpy(np.concatenate(on_canvas))
        predicted = _starts_of(lengths, [len(some) for some in first])
        named = numbers if predicted is None else numbers[predicted]
        return PatchBatch(
            self.amplitude[numbers],
            numbers,
            torch.from_numpy(low.repeat(lengths, axis=0)),
            (int(height) * len(low), int(width)),
            None if self.labels is None else self.labels(named),
            predicted,
        )

    def _members(self, groups: Indices) -> Indices:
        return self.groups[np.sort(groups)].reshape(-1)


def _starts_of(lengths: list[int], wanted: list[int]) -> Tensor | None:
    """Where the first so many of every part stand among all; None when that is everything."""
    if lengths == wanted:
        return None
    begins = np.cumsum([0, *lengths[:-1]])
    parts = [begin + np.arange(count) for begin, count in zip(begins, wanted, strict=True)]
    return torch.from_numpy(np.concatenate(parts))
