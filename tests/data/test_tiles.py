from collections.abc import Iterator

import lightning
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.module import ScanModule
from ptycho.data.tiles import Batch, Lifted, TileDataset, TileSampler
from ptycho.physics.patches import split_positions
from ptycho.workflows.problem import Problem, pose
from tests.runs import CPU, scan_at, tiles_of, tiny_problem


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


@pytest.mark.parametrize("n_patterns", [1, 5, 1000])
@pytest.mark.parametrize("name", SCANS)
def test_patches_lie_inside_their_tile(name: str, n_patterns: int) -> None:
    problem = pose(scan_at(SCANS[name]), CPU)
    tiles = cut(problem, n_patterns)
    corners = split_positions(problem.positions, 16)[0]
    for item in range(len(tiles)):
        batch = tiles[item]
        assert batch.obj.shape == batch.pull.shape == batch.light.shape == tiles.tile
        inside = corners[batch.which] - batch.origin
        assert (inside >= 0).all(), item
        assert (inside + 16 <= torch.tensor(tiles.tile)).all(), item


def test_patches_lie_inside_however_many_positions_there_are() -> None:
    # more positions than one would look at one by one, and a sparse corner among them
    rng = np.random.default_rng(0)
    positions = rng.uniform(20, 120, (9000, 2))
    positions[[1, 3, 5, 7, 9]] = rng.uniform(150, 300, (5, 2))
    problem = pose(scan_at(positions, size=4), CPU)
    tiles = cut(problem, 8)
    corners = split_positions(problem.positions, 4)[0]
    sparse = np.flatnonzero(positions.min(1) > 140)
    for item in sparse:
        batch = tiles[int(item)]
        inside = corners[batch.which] - batch.origin
        assert (inside >= 0).all()
        assert (inside + 4 <= torch.tensor(tiles.tile)).all()


@pytest.mark.parametrize("name", SCANS)
def test_a_tile_holds_its_own_pattern_with_the_nearest(name: str) -> None:
    problem = pose(scan_at(SCANS[name]), CPU)
    tiles = cut(problem, 5)
    distance = torch.cdist(problem.positions, problem.positions)
    for item in range(len(tiles)):
        which = tiles[item].which
        assert len(which.unique()) == min(5, len(tiles))
        found = distance[item, which].sort().values
        torch.testing.assert_close(found, distance[item].sort().values[: len(which)])


def test_amplitudes_belong_to_the_patterns_named() -> None:
    problem = tiny_problem()
    tiles = cut(problem, 16)
    for item in (0, 9, 63):
        batch = tiles[item]
        assert torch.equal(batch.amplitude, problem.amplitude[batch.which])


def test_tile_is_the_canvas_at_its_origin() -> None:
    problem = tiny_problem()
    tiles = cut(problem, 4)
    for item in (0, 31, 63):
        batch = tiles[item]
        y, x = batch.origin.tolist()
        height, width = tiles.tile
        for name in ("obj", "pull", "light"):
            whole: Tensor = getattr(tiles.lifted, name)
            assert torch.equal(getattr(batch, name), whole[y : y + height, x : x + width])


def test_predicting_from_a_tile_is_predicting_from_the_canvas() -> None:
    problem = tiny_problem()
    tiles = cut(problem, 9)
    for item in (0, 7, 28, 63):
        batch = tiles[item]
        from_tile = problem.experiment(batch.obj, batch.which, batch.origin)
        assert torch.equal(from_tile, problem.experiment(tiles.lifted.obj, batch.which))


@pytest.mark.parametrize("stride", [1, 8])
def test_tile_is_the_smallest_that_fits(stride: int) -> None:
    problem = pose(scan_at(raster(12, 12)), CPU)
    tiles = TileDataset(
        empty(problem.shape), problem.amplitude, problem.positions.numpy(), 1, stride
    )
    assert tiles.tile == (-(-20 // stride) * stride,) * 2  # 16 and the slack


def test_same_seed_and_epoch_same_order() -> None:
    first, second = (TileSampler(50, 10, seed=3) for _ in range(2))
    assert list(first) == list(second) == list(first)
    second.set_epoch(1)
    assert list(first) != list(second)
    first.set_epoch(1)
    assert list(first) == list(second)


def test_other_seed_other_order() -> None:
    assert list(TileSampler(50, 10, seed=3)) != list(TileSampler(50, 10, seed=4))


@pytest.mark.parametrize(("tiles", "world"), [(10, 2), (11, 2), (12, 3), (1, 4)])
def test_ranks_share_one_order(tiles: int, world: int) -> None:
    parts = [list(TileSampler(50, tiles, 0, rank, world)) for rank in range(world)]
    assert {len(part) for part in parts} == {-(-tiles // world)}, "ranks would wait for ever"
    together = [one for turn in zip(*parts, strict=True) for one in turn]
    assert len(set(together)) == len(together)
    assert together[:tiles] == list(TileSampler(50, tiles, 0))[:tiles]


def test_few_positions_are_repeated() -> None:
    order = list(TileSampler(3, 8, seed=0))
    assert len(order) == len(TileSampler(3, 8, seed=0)) == 8
    assert set(order) == {0, 1, 2}


def test_an_epoch_holds_every_pattern_about_once() -> None:
    loader = ScanModule(cut(tiny_problem(), 16), 0).train_dataloader()
    assert len(loader) == 4
    assert sum(len(batch.which) for batch in loader) == 64


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
        assert all(torch.equal(a, b) for a, b in zip(mine, its, strict=True))


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
    sampler = TileSampler(len(tiles), 4, seed)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        yield [one for item in sampler for one in tiles[item].which.tolist()]


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
