"""Which patterns share a canvas, and which of them are predicted: small canvases from everywhere.

A batch on one large canvas is one neighbourhood, all of whose patterns teach nearly the same.
Several small ones teach as many things. Measuring a pattern costs a twentieth of predicting it,
so what is predicted of some is held against the neighbours' patterns, too.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ptycho.data.tiles import CellSampler, Indices, partition


class Canvas(NamedTuple):
    """Numbers of what lies on one canvas."""

    predicted: Indices
    """Whose patches make it."""
    measured: Indices
    """What is only held against it."""


class CanvasSampler(Sampler[list[Canvas]]):
    """Everything once an epoch, on canvases of neighbours; batches mix canvases from everywhere.

    As with :class:`ptycho.data.tiles.CellSampler`, an epoch depends on its seed and number alone.

    Args:
        positions: centres ``(n, 2)``.
        per_batch: of them in a batch, about.
        seed: the run's seed.
        rank: this process.
        world: number of processes; each gets the same number of batches.
        per_canvas: of them on a canvas, about; no more than in a batch.
        share: how many of a canvas are predicted, in (0, 1]; one at least.
    """

    def __init__(
        self,
        positions: NDArray[np.float64],
        per_batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        *,
        per_canvas: int,
        share: float = 1.0,
    ) -> None:
        self.batches = CellSampler(positions, per_batch, seed, rank, world)
        self.share = share
        canvases = max(round(per_batch / per_canvas), 1) * self.batches.n_cells
        self.n_canvases = min(canvases, len(positions))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self.batches.set_epoch(epoch)

    def cells(self) -> list[list[Canvas]]:
        """All batches of this epoch, in the order in which they are trained."""
        mine = self.batches
        rng = np.random.default_rng((mine.seed, mine.epoch))
        found = partition(mine.positions, self.n_canvases, rng)
        order = np.array_split(rng.permutation(len(found)), mine.n_cells)
        return [[self._thinned(found[i], rng) for i in some] for some in order]

    def _thinned(self, cell: Indices, rng: np.random.Generator) -> Canvas:
        """One of every few neighbours is predicted, so that the canvas is covered evenly."""
        wanted = max(round(self.share * len(cell)), 1)
        if wanted == len(cell):
            return Canvas(cell, cell[:0])
        parts = partition(self.batches.positions[cell], wanted, rng)
        chosen = np.array([rng.choice(part) for part in parts])
        return Canvas(cell[chosen], np.delete(cell, chosen))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Canvas]]:
        mine = self.batches
        return iter(self.cells()[mine.rank :: mine.world])
