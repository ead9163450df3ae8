"""Tiles of several scans in one training, in an order of their own."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from ptycho.data.tiles import Batch, CellSampler, Indices, TileDataset


class Choice(NamedTuple):
    """Neighbouring patterns of one of the scans."""

    scan: int
    """Which scan."""
    which: Indices
    """Which of the patterns that may be learnt from."""


class MixedTiles(Dataset[Batch]):
    """The item of a choice is the tile that holds those patterns.

    Args:
        scans: each cut into tiles.
    """

    def __init__(self, scans: Sequence[TileDataset]) -> None:
        self.scans = scans

    def __len__(self) -> int:
        return sum(len(tiles) for tiles in self.scans)

    def __getitem__(self, choice: Choice) -> Batch:
        return self.scans[choice.scan][choice.which]._replace(scan=choice.scan)


class MixedSampler(Sampler[Choice]):
    """Every pattern of every scan once per epoch, the cells of all scans shuffled together.

    The order depends on the seed and the epoch alone. One scan comes in the order of its
    :class:`~ptycho.data.tiles.CellSampler`.

    Args:
        scans: each cut into tiles.
        seed: the run's seed.
        rank: this process.
        world: number of processes; each gets the same number of cells.
    """

    def __init__(
        self, scans: Sequence[TileDataset], seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.seed, self.epoch, self.rank, self.world = seed, 0, rank, world
        self.samplers = [
            CellSampler(tiles.places, tiles.n_patterns, _seed(seed, number), rank, world)
            for number, tiles in enumerate(scans)
        ]

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self.epoch = epoch
        for sampler in self.samplers:
            sampler.set_epoch(epoch)

    def choices(self) -> list[Choice]:
        """All cells of this epoch, in the order in which they are trained."""
        found = [
            Choice(number, cell)
            for number, sampler in enumerate(self.samplers)
            for cell in sampler.cells()
        ]
        if len(self.samplers) == 1:
            return found
        rng = np.random.default_rng((self.seed, self.epoch, len(self.samplers)))
        return [found[i] for i in rng.permutation(len(found))]

    def __len__(self) -> int:
        return sum(len(sampler) for sampler in self.samplers)

    def __iter__(self) -> Iterator[Choice]:
        return iter(self.choices()[self.rank :: self.world])


def _seed(seed: int, number: int) -> int:
    # cells of different scans are cut at different places
    return seed if number == 0 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
