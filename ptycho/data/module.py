"""Tiles to Lightning: one loader, the order a function of seed and epoch alone."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from ptycho.data.mixture import MixedSampler, MixedTiles
from ptycho.data.patch_batches import PatchDataset
from ptycho.data.tiles import TileDataset


class ScanModule(lightning.LightningDataModule):
    """Training batches of one scan, or of several in mixed order.

    Args:
        tiles: the scan cut into tiles, or into batches of patches.
        seed: the run's seed.
        further: more scans to train on.
        epoch: the first one, where a training goes on.
        **workers: ``num_workers``, ``pin_memory``, ``persistent_workers``,
            ``prefetch_factor`` of :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self,
        tiles: TileDataset | PatchDataset,
        seed: int,
        further: Sequence[TileDataset] = (),
        epoch: int = 0,
        **workers: Any,
    ) -> None:
        super().__init__()
        self.epoch = epoch
        self.tiles, self.further, self.seed, self.workers = tiles, further, seed, workers

    def train_dataloader(self) -> DataLoader[Any]:
        """Tiles that hold every pattern of every scan once, shared among the processes."""
        rank = self.trainer.global_rank if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        tiles: Any = self.tiles
        if self.further:
            scans = (tiles, *self.further)
            tiles, sampler = MixedTiles(scans), MixedSampler(scans, self.seed, rank, world)
        else:
            sampler = tiles.sampler(tiles.places, tiles.n_patterns, self.seed, rank, world)
        # Lightning draws the first batches before it says which epoch it is
        sampler.set_epoch(max(self.epoch, self.trainer.current_epoch if self.trainer else 0))
        # a generator of its own: the loader must not draw from the global one
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            tiles, batch_size=None, sampler=sampler, generator=generator, **self.workers
        )
