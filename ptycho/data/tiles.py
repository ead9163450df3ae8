"""Training batches: a tile of the object and the patterns that lie inside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

Indices = NDArray[np.int64]


class Batch(NamedTuple):
    """Neighbouring patterns and the tile of the canvas under them."""

    obj: Tensor
    """Complex ``(H, W)``: the lifted object."""
    pull: Tensor
    """Complex ``(H, W)``: what the patterns still ask of it."""
    light: Tensor
    """Real ``(H, W)``: illumination relative to the brightest pixel of the canvas."""
    amplitude: Tensor
    """Real ``(b, y, x)``: measured amplitudes."""
    which: Tensor
    """int64 ``(b,)``: their numbers in the scan."""
    origin: Tensor
    """int64 ``(2,)``: first row and column of the tile on the canvas."""


@dataclass(frozen=True)
class Lifted:
    """First answer on the canvas: the input of an object network."""

    obj: Tensor
    """Complex ``(H, W)``."""
    pull: Tensor
    """Complex ``(H, W)``."""
    light: Tensor
    """Real ``(H, W)``, at most 1."""


class TileDataset(Dataset[Batch]):
    """The item of some pattern numbers is the tile that holds those patterns.

    Args:
        lifted: first answer on the canvas, on the CPU.
        amplitude: measured ``(n, N, N)``, on the CPU.
        positions: patch centres ``(n, 2)`` on the canvas.
        n_patterns: patterns in a tile, about.
        stride: sides of a tile are divisible by it.

    Attributes:
        tile: height and width of a typical tile.
    """

    def __init__(
        self,
        lifted: Lifted,
        amplitude: Tensor,
        positions: NDArray[np.float64],
        n_patterns: int,
        stride: int,
    ) -> None:
        self.lifted, self.amplitude = lifted, amplitude
        self.positions, self.n_patterns, self.stride = positions, n_patterns, stride
        self.tile = self._typical(CellSampler(positions, n_patterns, seed=0).cells())

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, which: Indices) -> Batch:
        which = np.sort(which)  # scan order: neighbours in memory
        corner, shape = self.place(which)
        window = tuple(slice(a, a + n) for a, n in zip(corner, shape, strict=True))
        first, numbers = self.lifted, torch.from_numpy(which)
        return Batch(
            first.obj[window],
            first.pull[window],
            first.light[window],
            self.amplitude[numbers],
            numbers,
            torch.tensor(corner),
        )

    def place(self, which: Indices) -> tuple[tuple[int, int], tuple[int, int]]:
        """First pixel and size of the smallest tile that holds these patterns."""
        half = self.amplitude.shape[-1] / 2 + 1  # one pixel more: corners are rounded
        box = self.positions[which]
        low, high = np.floor(box.min(0) - half), np.ceil(box.max(0) + half)
        canvas = np.array(self.lifted.obj.shape)
        size = np.minimum(np.ceil((high - low) / self.stride) * self.stride, canvas)
        y, x = low.clip(0, canvas - size).astype(int)
        height, width = size.astype(int)
        return (int(y), int(x)), (int(height), int(width))

    def _typical(self, cells: list[Indices]) -> tuple[int, int]:
        sizes = np.median([self.place(cell)[1] for cell in cells], axis=0)
        height, width = (np.ceil(sizes / self.stride) * self.stride).astype(int)
        return int(height), int(width)


class CellSampler(Sampler[Indices]):
    """Every pattern once per epoch, in cells of neighbours whose borders move.

    The cells of an epoch depend on the seed and the epoch alone, so that an interrupted
    training can go on as if nothing had happened.

    Args:
        positions: patch centres ``(n, 2)``.
        per_cell: patterns in a cell, about.
        seed: the run's seed.
        rank: this process.
        world: number of processes; each gets the same number of cells of one partition.
    """

    def __init__(
        self,
        positions: NDArray[np.float64],
        per_cell: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.positions, self.seed, self.epoch = positions, seed, 0
        self.rank, self.world = rank, world
        wanted = -(-len(positions) // per_cell)
        # the same number for each process: they step together
        self.n_cells = min(-(-wanted // world) * world, len(positions) // world * world)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self.epoch = epoch

    def cells(self) -> list[Indices]:
        """All cells of this epoch, in the order in which they are trained."""
        rng = np.random.default_rng((self.seed, self.epoch))
        found = partition(self.positions, self.n_cells, rng)
        return [found[i] for i in rng.permutation(len(found))]

    def __len__(self) -> int:
        return self.n_cells // self.world

    def __iter__(self) -> Iterator[Indices]:
        return iter(self.cells()[self.rank :: self.world])


def partition(
    positions: NDArray[np.float64], n_cells: int, rng: np.random.Generator
) -> list[Indices]:
    """Cut positions into compact cells of nearly equal count, at random places.

    Args:
        positions: ``(n, 2)``, at least ``n_cells`` of them.
        n_cells: how many cells.
        rng: chooses where to cut.

    Returns:
        Numbers of the positions in each cell; every position in exactly one.
    """

    def split(numbers: Indices, parts: int) -> list[Indices]:
        if parts == 1:
            return [numbers]
        axis = int(np.ptp(positions[numbers], axis=0).argmax())
        ordered = numbers[np.argsort(positions[numbers, axis], kind="stable")]
        # between a third and two thirds: the cells stay compact and the borders move
        left = int(rng.integers(max(parts // 3, 1), parts - max(parts // 3, 1) + 1))
        cut = round(len(ordered) * left / parts)
        return split(ordered[:cut], left) + split(ordered[cut:], parts - left)

    return split(np.arange(len(positions)), n_cells)
