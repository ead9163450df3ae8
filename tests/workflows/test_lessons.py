"""Training on several scans: different objects, mixed tiles, the first one reported."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho.config.config import RunConfig
from ptycho.config.validate import faults
from ptycho.data.mixture import MixedSampler
from ptycho.data.module import ScanModule
from ptycho.data.scan import Scan
from ptycho.data.tiles import CellSampler, TileDataset
from ptycho.report.bundle import load_bundle
from ptycho.workflows import build, lessons, session, simulating
from tests.runs import launched, session_of, tiles_of, tiny_problem, tiny_run

SEVERAL = {"data.synthetic.n_objects": 3, "data.synthetic.object": "mixed"}


def several(**changes: object) -> RunConfig:
    run = tiny_run(**SEVERAL, **changes)
    assert not faults(run)  # and plain strings become choices
    return run


def scans(run: RunConfig, count: int) -> list[Scan]:
    return [build.make_scan(run.data, 32, number=number) for number in range(count)]


@pytest.fixture(scope="module")
def cuts() -> list[TileDataset]:
    return [tiles_of(tiny_problem(seed=seed)) for seed in (0, 1, 2)]


@pytest.mark.parametrize("kind", ["natural", "dead_leaves", "chip", "mixed"])
def test_every_scan_has_an_object_noise_and_positions_of_its_own(kind: str) -> None:
    run = several(data__synthetic__object=kind)
    found = scans(run, 4)
    for i, one in enumerate(found):
        for other in found[:i]:
            size = np.minimum(one.truth.shape, other.truth.shape)
            mine, its = (np.angle(s.truth[: size[0], : size[1]]).ravel() for s in (one, other))
            assert abs(np.corrcoef(mine, its)[0, 1]) < 0.9  # chips share their grid
            assert not np.array_equal(one.positions, other.positions)
    for one in found:
        np.testing.assert_allclose(one.probe, found[0].probe)
        assert one.photons == pytest.approx(found[0].photons, rel=0.2)


def test_first_of_several_is_the_scan_of_one() -> None:
    one, several_ = tiny_run(), tiny_run(data__synthetic__n_objects=3)
    assert not faults(one) + faults(several_)
    assert scans(one, 1)[0].sha256 == scans(several_, 1)[0].sha256


def test_many_photographs_before_any_comes_again() -> None:
    run = tiny_run(data__synthetic__n_patterns=16)
    assert not faults(run)
    found = (build.make_scan(run.data, 16, number=number) for number in range(60))
    seen = {scan.truth[8:48, 8:48].tobytes() for scan in found}
    assert len(seen) == 60


def test_an_epoch_holds_every_pattern_of_every_scan_once(cuts: list[TileDataset]) -> None:
    module = ScanModule(cuts[0], 0, cuts[1:])
    loader = module.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 12
    for number in range(3):
        which = torch.cat([batch.which for batch in batches if batch.scan == number])
        assert sorted(which.tolist()) == list(range(64))
    for batch in batches:
        first = cuts[batch.scan]
        assert torch.equal(batch.amplitude, first.amplitude[batch.which])


def test_worker_gives_the_same_batches(cuts: list[TileDataset]) -> None:
    here, there = (
        list(ScanModule(cuts[0], 5, cuts[1:], num_workers=count).train_dataloader())
        for count in (0, 1)
    )
    assert [batch.scan for batch in here] == [batch.scan for batch in there]
    for mine, its in zip(here, there, strict=True):
        assert torch.equal(mine.which, its.which)
        assert torch.equal(mine.amplitude, its.amplitude)


def test_scans_are_mixed(cuts: list[TileDataset]) -> None:
    order = [choice.scan for choice in MixedSampler(cuts, 0)]
    changes = sum(a != b for a, b in pairwise(order))
    assert changes > 2, "one scan after another"


def test_order_is_a_function_of_seed_and_epoch(cuts: list[TileDataset]) -> None:
    def order(seed: int, epoch: int) -> list[tuple[int, list[int]]]:
        sampler = MixedSampler(cuts, seed)
        sampler.set_epoch(epoch)
        return [(scan, which.tolist()) for scan, which in sampler]

    assert order(3, 1) == order(3, 1)
    assert order(3, 1) != order(3, 2)
    assert order(3, 1) != order(4, 1)


def test_one_scan_comes_in_the_order_of_its_cells(cuts: list[TileDataset]) -> None:
    mixed, plain = MixedSampler(cuts[:1], 5), CellSampler(cuts[0].places, 16, 5)
    mine, its = [which.tolist() for _, which in mixed], [which.tolist() for which in plain]
    assert mine == its


@pytest.mark.parametrize("world", [2, 5])
def test_processes_share_all_scans_evenly(cuts: list[TileDataset], world: int) -> None:
    parts = [list(MixedSampler(cuts, 0, rank, world)) for rank in range(world)]
    assert {len(part) for part in parts} == {len(MixedSampler(cuts, 0, 0, world))}
    together = [(scan, one) for part in parts for scan, which in part for one in which]
    assert sorted(together) == [(scan, one) for scan in range(3) for one in range(64)]


def test_only_the_first_scan_holds_patterns_out(tmp_path: Path) -> None:
    run = several()
    with session_of(run, tmp_path / "run") as opened:
        first = opened.pose(build.make_scan(run.data, 32))
        found = lessons.further(opened, build.make_recipe(run.solver))
    assert len(first.held_out) > 0
    assert [len(one.cut) for one in found] == [64, 64]


@pytest.fixture(scope="module")
def run_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "save_picture", lambda _, __, path: path.write_bytes(b"png"))
        return launched(tmp_path_factory.mktemp("three") / "run", **SEVERAL)


def test_training_walks_through_all_scans(run_of_three: Path) -> None:
    rows = (run_of_three / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["step", "12", "24"]
    metrics = json.loads((run_of_three / "metrics.json").read_text())
    assert list(metrics["stages"]) == ["lift", "network", "refined", "flat", "noise"]


def test_bundle_knows_all_scans_it_was_trained_on(run_of_three: Path) -> None:
    params = load_bundle(run_of_three / "wts.h5.zip").params
    run = several()
    first, *others = [scan.sha256 for scan in scans(run, 3)]
    assert params["data_sha256"] == first
    assert params["also_seen"] == {key: [] for key in others}


def test_a_scan_it_was_trained_on_judges_nothing(run_of_three: Path, tmp_path: Path) -> None:
    seed = simulating.seed_of(0, 1)
    bundle = str(run_of_three / "wts.h5.zip")
    again = launched(
        tmp_path / "run", task="reconstruct", bundle=bundle,
        data__synthetic__object="chip", data__synthetic__seed=seed,
    )  # fmt: skip
    assert json.loads((again / "env.json").read_text())["data"]["held_out"] == 0
    assert "deviance" not in json.loads((again / "metrics.json").read_text())["stages"]["network"]


def test_several_scans_are_for_training() -> None:
    assert faults(tiny_run(task="solve", data__synthetic__n_objects=2)) == [
        "data.synthetic.n_objects=2 scans are for task=train, and this is task=solve, which works "
        "on one. Leave it out."
    ]
