"""Runs that find probe, positions, flux and background together with the object."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho.config.config import SyntheticConfig
from ptycho.config.validate import faults
from ptycho.data.formats.npz import write_npz
from ptycho.data.scan import DataError, Scan
from ptycho.data.simulate import zone_plate_probe
from ptycho.physics.instrument import Freedom
from ptycho.report.bundle import NAME, load_bundle
from ptycho.workflows.problem import pose
from tests.runs import CPU, launched, tiny_run, tiny_scan

ALL = {
    "instrument.probe_trainable": True,
    "instrument.probe_modes": 2,
    "instrument.positions_trainable": True,
    "instrument.flux_trainable": True,
    "instrument.background_trainable": True,
}


@pytest.fixture(scope="module")
def scan() -> Scan:
    return tiny_scan(kind="chip", n_patterns=144, photons=1e6)


@pytest.fixture(scope="module")
def wrong(scan: Scan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan with a wrong probe, as a file."""
    path = tmp_path_factory.mktemp("scans") / "wrong.npz"
    probe = zone_plate_probe(32, 1.3 * 6.0, 1.1 * 0.17)[None]
    write_npz(path, replace(scan, probe=probe, truth_is_known=True))
    return path


def from_file(path: Path, **more: object) -> dict[str, object]:
    source = {"data.source": "file", "data.train_data_file": str(path), "data.nphotons": None}
    usual = {f"data.synthetic.{one.name}": one.default for one in fields(SyntheticConfig)}
    return {**source, **usual, "model.N": None, **more}


def c_of(folder: Path, stage: str) -> float:
    return float(json.loads((folder / "metrics.json").read_text())["stages"][stage]["C"])


EFFORT = {"solver.coarse_iterations": 8, "solver.iterations": 8, "solver.poisson_iterations": 6}


def test_solving_finds_a_wrong_probe(wrong: Path, tmp_path: Path) -> None:
    free = {"instrument.probe_trainable": True}
    stuck = launched(tmp_path / "stuck", task="solve", **from_file(wrong), **EFFORT)
    free = {**free, "pictures": True}
    found = launched(tmp_path / "found", task="solve", **from_file(wrong), **EFFORT, **free)
    assert c_of(found, "solver") > c_of(stuck, "solver") + 0.01
    with np.load(found / "reconstruction.npz") as saved, np.load(wrong) as came:
        unit = [one / np.linalg.norm(one) for one in (saved["probe"][0], came["probeGuess"])]
        assert np.abs(np.vdot(*unit)) < 0.98, "the probe found is saved, not the one that came"
    told = json.loads((found / "metrics.json").read_text())["instrument"]
    assert 0.5 < told["probe_agreement"] < 0.98
    assert (found / "instrument.png").stat().st_size > 10_000
    assert not (stuck / "instrument.png").exists()


def test_training_finds_it_too_and_the_bundle_keeps_it(wrong: Path, tmp_path: Path) -> None:
    free = {"instrument.probe_trainable": True, "trainer.nepochs": 6, "task": "train"}
    steps = {"model.lift_coarse_iterations": 8}
    folder = launched(tmp_path / "run", **from_file(wrong), **free, **steps)
    bundle = load_bundle(folder / NAME)
    probe = torch.view_as_complex(bundle.physics["probe"])
    came = pose(tiny_scan(kind="chip", n_patterns=144, photons=1e6), CPU).probe
    likeness = (probe.conj() * came).sum().abs() / (probe.norm() * came.norm())
    assert likeness > 0.9
    stuck = launched(tmp_path / "stuck", **from_file(wrong), task="train", **steps)
    assert c_of(folder, "network") > c_of(stuck, "network") + 0.01


@pytest.mark.parametrize("model", ["object_pinn", "pinn"])
def test_everything_at_once_runs_through(model: str, scan: Scan, tmp_path: Path) -> None:
    patches = {"trainer.batch_size": 16, "data.n_images": 100}
    path = tmp_path / "scan.npz"
    write_npz(path, scan)
    run = from_file(path, **ALL, **patches)
    folder = launched(tmp_path / "run", model__architecture=model, trainer__nepochs=3, **run)
    with np.load(folder / "reconstruction.npz") as saved:
        assert saved["probe"].shape == (2, 32, 32)
        assert saved["flux"].shape == (100,)
        assert saved["background"].shape == (32, 32)
        assert np.isfinite(saved["object"]).all()
    told = json.loads((folder / "metrics.json").read_text())["instrument"]
    assert set(told) >= {"mode_shares", "shift_median_px", "flux_std", "background_photons"}
    again = launched(tmp_path / "again", task="reconstruct", bundle=str(folder / NAME), **run)
    assert (again / "instrument.png").exists()


def test_the_same_seed_finds_the_same(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "scan.npz"
    write_npz(path, scan)
    found = []
    for name in ("one", "two"):
        folder = launched(tmp_path / name, trainer__nepochs=3, **from_file(path, **ALL))
        with np.load(folder / "reconstruction.npz") as saved:
            found.append({key: saved[key] for key in saved})
    for key, one in found[0].items():
        np.testing.assert_array_equal(one, found[1][key], err_msg=key)


def test_a_training_moves_the_instrument_by_itself(wrong: Path, tmp_path: Path) -> None:
    free = {"instrument.probe_trainable": True, "instrument.positions_trainable": True}
    alone = {"refine.iterations": 0, "refine.poisson_iterations": 0}
    run = from_file(wrong, **free, **alone, trainer__nepochs=4, model__lift_coarse_iterations=0)
    folder = launched(tmp_path / "run", **run)
    told = json.loads((folder / "metrics.json").read_text())["instrument"]
    assert told["probe_agreement"] < 0.999
    assert told["shift_median_px"] > 0.01


def test_lift_and_training_together_keep_to_max_shift(scan: Scan, tmp_path: Path) -> None:
    off = 2 * np.random.default_rng(0).normal(size=scan.positions.shape)
    path = tmp_path / "scan.npz"
    write_npz(path, replace(scan, positions=scan.positions + off))
    free = {"instrument.positions_trainable": True, "instrument.max_shift": 0.25}
    alone = {"refine.iterations": 0, "refine.poisson_iterations": 0}
    run = from_file(path, **free, **alone, trainer__nepochs=4, model__lift_coarse_iterations=8)
    folder = launched(tmp_path / "run", **run)
    told = json.loads((folder / "metrics.json").read_text())["instrument"]
    assert 0.2 < told["shift_largest_px"] <= np.sqrt(2) * 0.25 + 1e-9
    assert "probe_agreement" not in told


def test_a_brightness_that_is_learnt_is_no_new_probe(tmp_path: Path) -> None:
    free = {"instrument.flux_trainable": True, "trainer.intensity_scale_trainable": True}
    folder = launched(tmp_path / "run", **free)
    told = json.loads((folder / "metrics.json").read_text())["instrument"]
    assert set(told) == {"flux_std"}


def test_positions_get_room_to_move() -> None:
    scan = tiny_scan()
    near = pose(scan, CPU)
    far = pose(scan, CPU, freedom=Freedom(positions=True, max_shift=7.5))
    assert (np.array(far.shape) >= np.array(near.shape) + 16).all()
    lowest = far.positions.min() - scan.patch_size / 2
    assert lowest >= 8


def test_more_modes_than_a_beam_can_have_are_refused() -> None:
    scan = tiny_scan()
    probe = np.zeros_like(scan.probe)
    probe[0, 16, 16] = 1
    with pytest.raises(DataError, match=r"too few pixels for instrument.probe_modes=2; ask for 1"):
        pose(replace(scan, probe=probe), CPU, freedom=Freedom(probe=True), modes=2)


def test_what_was_found_is_what_results_are_judged_with(scan: Scan) -> None:
    problem = pose(scan, CPU)
    moved = replace(problem.instrument, probe=2 * problem.probe, flux=torch.ones(len(scan)))
    later = problem.knowing(moved)
    assert later.home is problem.instrument
    found = later.reconstruction([])
    back = problem.found_in(found)
    torch.testing.assert_close(back.experiment.table, later.experiment.table)
    torch.testing.assert_close(back.experiment.gain, later.experiment.gain)
    assert problem.found_in(problem.reconstruction([])) is problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"instrument.probe_modes": 2}, "instrument.probe_trainable=true"),
        ({"instrument.max_shift": 3.0}, "instrument.positions_trainable=true"),
        ({"instrument.probe_trainable": True, "instrument.probe_modes": 0}, "at least 1"),
    ],
)
def test_settings_without_effect_are_refused(changes: dict[str, object], said: str) -> None:
    (sentence,) = faults(tiny_run(**changes))
    assert said in sentence
