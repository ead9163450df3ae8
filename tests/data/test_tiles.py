from collections.abc import Iterator

import lightning
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.module import ScanModule
from ptycho.data.scan import DataError
from ptycho.data.tiles import Batch, CellSampler, Lifted, TileDataset, partition
from ptycho.physics.patches import split_positions
from ptycho.workflows.problem import Problem, pose
from tests.runs import CPU, scan_at, tiles_of, tiny_problem, tiny_scan


def raster(rows: int, columns: int, step: float = 3.3) -> NDArray[np.float64]:
    y, x = np.mgrid[:rows, :columns].reshape(2, -1).astype(float)
    return np.stack([y, x], axis=1) * step + 20.3


def empty(shape: tuple[int, int]) -> Lifted:
    obj = torch.randn(shape, dtype=torch.complex64)
    return Lifted(obj, 2j * obj, obj.abs())


def cut(problem: Problem, n_patterns: int) -> TileDataset:
    return tiles_of(problem, n_patterns, empty(problem.shape))


SCANS = {
    "raster": raster(7, 9),
    "one row": raster(1, 20),
    "one column": raster(20, 1, 6.7),
    "tiny": raster(2, 2),
    "one pattern": raster(1, 1),
    "repeated": np.repeat(raster(3, 3), 4, axis=0),
    "stragglers": np.concatenate([raster(6, 6), [[150.0, 21.0], [20.0, 170.2]]]),
    "negative": raster(5, 5) - 200,
}


def cells_of(tiles: TileDataset, seed: int = 0) -> list[NDArray[np.int64]]:
    return CellSampler(tiles.places, tiles.n_patterns, seed).cells()


@pytest.mark.parametrize("n_patterns", [1, 5, 1000])
@pytest.mark.parametrize("name", SCANS)
def test_patches_lie_inside_their_tile(name: str, n_patterns: int) -> None:
    problem = pose(scan_at(SCANS[name]), CPU)
    tiles = cut(problem, n_patterns)
    corners = split_positions(problem.positions, 16)[0]
    for cell in cells_of(tiles):
        batch = tiles[cell]
        assert batch.obj.shape == batch.pull.shape == batch.light.shape
        inside = corners[batch.which] - batch.origin
        assert (inside >= 0).all(), cell
        assert (inside + 16 <= torch.tensor(batch.obj.shape)).all(), cell


@pytest.mark.parametrize("n_patterns", [1, 5, 1000])
@pytest.mark.parametrize("name", SCANS)
def test_the_lit_window_holds_the_beam_and_fits_the_network(name: str, n_patterns: int) -> None:
    problem = pose(scan_at(SCANS[name]), CPU)
    tiles = cut(problem, n_patterns)
    for cell in cells_of(tiles):
        batch = tiles[cell]
        assert all(side % 8 == 0 for side in batch.obj[batch.lit].shape)
        low, high = (
            [getattr(side, end) for side in batch.lit] + batch.origin.numpy()
            for end in ("start", "stop")
        )
        centres = problem.positions[batch.which].numpy()
        assert (centres.min(0) - problem.reach >= low).all()
        assert (centres.max(0) + problem.reach <= high).all()


def test_patterns_held_out_are_never_shown() -> None:
    problem = pose(tiny_scan(), CPU, 0.1)
    tiles = tiles_of(problem)
    shown = sorted(int(one) for cell in cells_of(tiles) for one in tiles[cell].which)
    assert problem.fitted is not None
    assert shown == problem.fitted.tolist()
    assert set(shown).isdisjoint(problem.held_out)
    assert len(shown) + len(problem.held_out) == len(problem.scan)


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("n_patterns", [1, 3, 7, 1000])
def test_cells_hold_every_pattern_once_and_nearly_equally(name: str, n_patterns: int) -> None:
    positions = SCANS[name]
    cells = CellSampler(positions, n_patterns, seed=0).cells()
    assert len(cells) == -(-len(positions) // n_patterns)
    assert sorted(np.concatenate(cells)) == list(range(len(positions)))
    sizes = [len(cell) for cell in cells]
    assert min(sizes) >= 1
    assert max(sizes) <= 2 * n_patterns


def test_cells_are_compact() -> None:
    positions = raster(40, 40, 1.0)
    for seed in range(20):
        for cell in partition(positions, 16, np.random.default_rng(seed)):
            sides = np.ptp(positions[cell], axis=0) + 1
            assert sides.max() <= 5 * sides.min(), "a strip needs a large tile"
            assert sides.prod() <= 1.6 * len(cell), "a cell is a block of neighbours"


def test_borders_of_cells_move() -> None:
    positions = raster(20, 20)
    sampler = CellSampler(positions, 25, seed=0)
    before = {frozenset(cell.tolist()) for cell in sampler.cells()}
    sampler.set_epoch(1)
    after = {frozenset(cell.tolist()) for cell in sampler.cells()}
    assert len(before & after) < len(before) / 2


def test_amplitudes_belong_to_the_patterns_named() -> None:
    problem = tiny_problem()
    tiles = cut(problem, 16)
    for cell in cells_of(tiles):
        batch = tiles[cell]
        assert batch.which.tolist() == sorted(cell)
        assert torch.equal(batch.amplitude, problem.amplitude[batch.which])


def test_tile_is_the_canvas_at_its_origin() -> None:
    problem = tiny_problem()
    tiles = cut(problem, 4)
    for cell in cells_of(tiles):
        batch = tiles[cell]
        y, x = batch.origin.tolist()
        height, width = batch.obj.shape
        for name in ("obj", "pull", "light"):
            whole: Tensor = getattr(tiles.lifted, name)
            assert torch.equal(getattr(batch, name), whole[y : y + height, x : x + width])


def test_predicting_from_a_tile_is_predicting_from_the_canvas() -> None:
    problem = tiny_problem()
    tiles = cut(problem, 9)
    for cell in cells_of(tiles):
        batch = tiles[cell]
        from_tile = problem.experiment(batch.obj, batch.which, batch.origin)
        assert torch.equal(from_tile, problem.experiment(tiles.lifted.obj, batch.which))


@pytest.mark.parametrize("stride", [1, 8])
def test_tile_is_the_smallest_that_fits(stride: int) -> None:
    problem = pose(scan_at(raster(12, 12)), CPU)
    tiles = TileDataset(
        empty(problem.shape), problem.amplitude, problem.positions.numpy(), 1, stride, reach=6
    )
    # the beam on both sides, up to the next whole pixel
    assert all(
        side in (-(-12 // stride) * stride, -(-13 // stride) * stride) for side in tiles.tile
    )


def test_same_seed_and_epoch_same_order() -> None:
    first, second = (CellSampler(raster(5, 10), 5, seed=3) for _ in range(2))
    assert order_of(first) == order_of(second) == order_of(first)
    second.set_epoch(1)
    assert order_of(first) != order_of(second)
    first.set_epoch(1)
    assert order_of(first) == order_of(second)


def test_other_seed_other_order() -> None:
    positions = raster(5, 10)
    assert order_of(CellSampler(positions, 5, seed=3)) != order_of(
        CellSampler(positions, 5, seed=4)
    )


@pytest.mark.parametrize(("per_cell", "world"), [(5, 2), (4, 2), (4, 3), (50, 4)])
def test_ranks_share_one_partition(per_cell: int, world: int) -> None:
    positions = raster(5, 10)
    parts = [list(CellSampler(positions, per_cell, 0, rank, world)) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1, "ranks would wait for ever"
    assert len(parts[0]) == len(CellSampler(positions, per_cell, 0, 0, world))
    together = np.concatenate([cell for part in parts for cell in part])
    assert sorted(together) == list(range(50))


def test_more_processes_than_patterns_are_refused() -> None:
    with pytest.raises(DataError, match=r"^3 patterns or groups .* among 4 processes; set fewer"):
        CellSampler(raster(1, 3), 5, 0, rank=3, world=4)


def order_of(sampler: CellSampler) -> list[list[int]]:
    return [cell.tolist() for cell in sampler]


def test_an_epoch_holds_every_pattern_once() -> None:
    loader = ScanModule(cut(tiny_problem(), 16), 0).train_dataloader()
    assert len(loader) == 4
    assert sorted(torch.cat([batch.which for batch in loader]).tolist()) == list(range(64))


def test_loading_does_not_draw_from_the_global_generator() -> None:
    loader = ScanModule(cut(tiny_problem(), 16), 0).train_dataloader()
    before = torch.get_rng_state()
    list(loader)
    assert torch.equal(before, torch.get_rng_state())


def test_worker_gives_the_same_batches() -> None:
    tiles = cut(tiny_problem(), 16)
    here = list(ScanModule(tiles, 5, num_workers=0).train_dataloader())
    there = list(ScanModule(tiles, 5, num_workers=1).train_dataloader())
    assert len(here) == len(there) == 4
    for mine, its in zip(here, there, strict=True):
        assert isinstance(its, Batch)
        assert all(torch.equal(a, b) for a, b in zip(mine[:6], its[:6], strict=True))
        assert mine.lit == its.lit


class Onlooker(lightning.LightningModule):
    """Trains nothing and remembers which patterns it was shown, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.shown: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.shown.append([])

    def training_step(self, batch: Batch, _: int) -> Tensor:
        self.shown[-1] += batch.which.tolist()
        return self.weight.square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def orders(tiles: TileDataset, seed: int, epochs: int) -> Iterator[list[int]]:
    sampler = CellSampler(tiles.places, tiles.n_patterns, seed)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        yield [one for cell in sampler for one in tiles[cell].which.tolist()]


@pytest.mark.parametrize(
    "workers",
    [{}, {"num_workers": 1}, {"num_workers": 1, "persistent_workers": True, "prefetch_factor": 3}],
    ids=["none", "one", "persistent"],
)
def test_lightning_walks_through_the_order_of_every_epoch(workers: dict[str, int]) -> None:
    tiles = cut(tiny_problem(), 16)
    module = Onlooker()
    lightning.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    ).fit(module, ScanModule(tiles, 7, **workers))  # fmt: skip
    assert module.shown == list(orders(tiles, 7, 3))
