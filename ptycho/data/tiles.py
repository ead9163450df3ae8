"""Training batches: a tile of the object and the patterns that lie inside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.utils.data import Dataset, Sampler


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
    """Item ``i`` is the tile around position ``i`` with its nearest patterns.

    All tiles have one size, so that they stack and compile; it is the smallest multiple of
    ``stride`` that holds every tile's patterns.

    Args:
        lifted: first answer on the canvas, on the CPU.
        amplitude: measured ``(n, N, N)``, on the CPU.
        positions: patch centres ``(n, 2)`` on the canvas.
        n_patterns: patterns in a tile.
        stride: sides of a tile are divisible by it.
    """

    def __init__(
        self,
        lifted: Lifted,
        amplitude: Tensor,
        positions: NDArray[np.float64],
        n_patterns: int,
        stride: int,
    ) -> None:
        self.lifted, self.amplitude, self.positions = lifted, amplitude, positions
        self.n_patterns = min(n_patterns, len(positions))
        self._tree = cKDTree(positions)
        self._half = amplitude.shape[-1] / 2
        self.tile = self._tile_shape(stride)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Batch:
        near = self._near(self.positions[item : item + 1])[0]
        near.sort()  # scan order: neighbours in memory
        y, x = self._corner(near)
        height, width = self.tile
        window = (slice(y, y + height), slice(x, x + width))
        which = torch.from_numpy(near)
        first = self.lifted
        return Batch(
            first.obj[window],
            first.pull[window],
            first.light[window],
            self.amplitude[which],
            which,
            torch.tensor([y, x]),
        )

    def _near(self, positions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Numbers ``(m, n_patterns)`` of the patterns nearest to positions ``(m, 2)``."""
        found = self._tree.query(positions, k=self.n_patterns)[1]
        return np.asarray(found, dtype=np.int64).reshape(len(positions), -1)

    def _corner(self, near: NDArray[np.int64]) -> tuple[int, int]:
        box = self.positions[near]
        middle = (box.min(0) + box.max(0)) / 2
        limit = np.array(self.lifted.obj.shape) - self.tile
        y, x = np.clip(np.round(middle - np.array(self.tile) / 2), 0, limit).astype(int)
        return int(y), int(x)

    def _tile_shape(self, stride: int) -> tuple[int, int]:
        extent = np.zeros(2)
        for first in range(0, len(self), 4096):
            boxes = self.positions[self._near(self.positions[first : first + 4096])]
            extent = np.maximum(extent, (boxes.max(1) - boxes.min(1)).max(0))
        extent += 2 * self._half + 4  # two pixels of slack on each side: corners are rounded
        sides = np.ceil(extent / stride).astype(int) * stride
        height, width = np.minimum(sides, self.lifted.obj.shape)
        return int(height), int(width)


class TileSampler(Sampler[int]):
    """Random tile centres; the order depends on seed and epoch alone.

    Args:
        n_positions: positions to choose from.
        n_tiles: tiles per epoch over all ranks.
        seed: the run's seed.
        rank: this process.
        world: number of processes; each gets its share of one common order.
    """

    def __init__(
        self, n_positions: int, n_tiles: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.n_positions, self.seed, self.epoch = n_positions, seed, 0
        self.rank, self.world = rank, world
        self.per_rank = -(-n_tiles // world)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_rank

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(self.n_positions)
        wanted = self.per_rank * self.world
        order = np.resize(order, wanted)  # repeats centres when there are fewer than asked
        return iter(order[self.rank :: self.world].tolist())
