"""Training batches of patch networks: patterns, and the canvas on which their patches meet."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ptycho.data.tiles import CellSampler, Indices
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
    """Complex ``(b, N, N)``: what the patches should be, where that is known."""


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
        amplitude: measured ``(n, N, N)``, on the CPU.
        corners: int64 ``(n, 2)``, first row and column of each patch on the scan's canvas.
        groups: numbers of the patterns ``(g, members)`` of each group.
        n_patterns: patterns in a batch, about.
        shared: whether a batch has one canvas; else each group has its own.
        labels: what the patches should be, where that is known.

    Attributes:
        places: centres ``(g, 2)`` of the groups; items are numbered like them.
        n_patterns: groups in a batch.
        sampler: what puts groups together: neighbours on a shared canvas, else chance.
    """

    def __init__(
        self,
        amplitude: Tensor,
        corners: NDArray[np.int64],
        groups: Indices,
        n_patterns: int,
        *,
        shared: bool,
        labels: "Labelled | None" = None,
    ) -> None:
        self.amplitude, self.corners, self.groups = amplitude, corners, groups
        self.n_patterns = max(n_patterns // groups.shape[1], 1)
        self.shared, self.labels = shared, labels
        self.places = corners[groups].mean(1)
        self.sampler = CellSampler if shared else ShuffledSampler

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, which: Indices) -> PatchBatch:
        members = self.groups[np.sort(which)]
        inside = self.corners[members]
        size = self.amplitude.shape[-1]
        if self.shared:
            members, inside = members.reshape(1, -1), inside.reshape(1, -1, 2)
        low, high = inside.min(1), inside.max(1) + size
        height, width = (high - low).max(0)
        # canvases lie below each other
        low[:, 0] -= height * np.arange(len(low))
        origin = np.broadcast_to(low[:, None], inside.shape).reshape(-1, 2)
        numbers = torch.from_numpy(members.reshape(-1))
        return PatchBatch(
            self.amplitude[numbers],
            numbers,
            torch.from_numpy(origin.copy()),
            (int(height) * len(members), int(width)),
            None if self.labels is None else self.labels(numbers),
        )
