"""Training batches: a tile of the object and the patterns that lie inside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ptycho.data.scan import DataError
from ptycho.physics.measured import Measured

Indices = NDArray[np.int64]


class Window(NamedTuple):
    """Rows and columns cut out of a larger image; an index as it is."""

    rows: slice
    columns: slice


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
    lit: Window
    """Rows and columns of the tile that the beam reaches: what the network corrects."""
    scan: int = 0
    """Which of the scans that are trained on."""
    label: Tensor | None = None
    """Complex ``(H, W)``: what the object should be, where somebody knows."""


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
        amplitude: measured ``(n, N, N)``, on the CPU or read there when indexed.
        positions: patch centres ``(n, 2)`` on the canvas.
        n_patterns: patterns in a tile, about.
        stride: sides of what the network sees are divisible by it.
        reach: pixels around a patch centre that the beam lights; at most ``N / 2``.
        numbers: patterns ``(m,)`` to learn from; all when None.
        label: complex ``(H, W)`` on the canvas, on the CPU: what the object should be.
        room: pixels around the patches, into which positions may move.

    Attributes:
        places: centres ``(m, 2)`` of the patterns to learn from; items are numbered like them.
        tile: height and width of what the network sees, typically.
        sampler: what chooses the patterns of a tile.
    """

    sampler: "type[CellSampler]"

    def __init__(
        self,
        lifted: Lifted,
        amplitude: Measured,
        positions: NDArray[np.float64],
        n_patterns: int,
        stride: int,
        reach: float,
        numbers: Indices | None = None,
        label: Tensor | None = None,
        room: float = 0.0,
    ) -> None:
        self.lifted, self.amplitude, self.label = lifted, amplitude, label
        self.room = room
        self.n_patterns, self.stride, self.reach = n_patterns, stride, reach
        self.sampler = CellSampler
        self.numbers = np.arange(len(positions)) if numbers is None else numbers
        self.places = positions[self.numbers]
        self.tile = self._typical(CellSampler(self.places, n_patterns, seed=0).cells())

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: Indices) -> Batch:
        which = np.sort(which)  # scan order: neighbours in memory
        # one pixel more: corners are rounded
        half = self.amplitude.shape[-1] / 2 + 1 + self.room
        patches, lit = self.box(which, half, 1), self.box(which, self.reach, self.stride)
        low = np.minimum(_starts(patches), _starts(lit))
        high = np.maximum(_stops(patches), _stops(lit))
        tile = _window(low, high)
        first, numbers = self.lifted, torch.from_numpy(self.numbers[which])
        return Batch(
            first.obj[tile],
            first.pull[tile],
            first.light[tile],
            self.amplitude[numbers],
            numbers,
            torch.from_numpy(low),
            _window(_starts(lit) - low, _stops(lit) - low),
            label=None if self.label is None else self.label[tile],
        )

    def box(self, which: Indices, around: float, stride: int) -> Window:
        """The smallest window of the canvas with so much around these patterns' centres."""
        centres = self.places[which]
        low, high = np.floor(centres.min(0) - around), np.ceil(centres.max(0) + around)
        canvas = np.array(self.lifted.obj.shape)
        size = np.minimum(np.ceil((high - low) / stride) * stride, canvas)
        corner = low.clip(0, canvas - size)
        return _window(corner, corner + size)

    def _typical(self, cells: list[Indices]) -> tuple[int, int]:
        boxes = [self.box(cell, self.reach, self.stride) for cell in cells]
        sizes = np.median([_stops(box) - _starts(box) for box in boxes], axis=0)
        height, width = (np.ceil(sizes / self.stride) * self.stride).astype(int)
        return int(height), int(width)


def _window(low: NDArray[Any], high: NDArray[Any]) -> Window:
    return Window(*(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))


def _starts(window: Window) -> Indices:
    return np.array([side.start for side in window])


def _stops(window: Window) -> Indices:
    return np.array([side.stop for side in window])


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

    Raises:
        DataError: there are more processes than positions.
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
        if len(positions) < world:
            raise DataError(
                f"{len(positions)} patterns or groups to learn from cannot be shared among "
                f"{world} processes; set fewer trainer.devices."
            )
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
