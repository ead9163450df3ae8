"""The uncertainty of a result: laws of the estimates, and runs through the real command."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.config.config import RunConfig, UserError
from ptycho.data.formats.npz import write_npz
from ptycho.data.reconstruction import NETWORK, Reconstruction
from ptycho.workflows import stages, uncertainty
from ptycho.workflows.problem import Problem
from ptycho.workflows.session import Session
from ptycho.workflows.solve import solve_alone
from tests.runs import launched, session_of, tiny_run, tiny_scan

FROM_FILE: dict[str, Any] = {
    "data__source": "file", "data__nphotons": None, "model__N": None,
    "data__synthetic__n_patterns": 1600, "data__synthetic__step": 6.0,
    "data__synthetic__probe_radius": 12.0,
}  # fmt: skip
UNREFINED: dict[str, Any] = {"refine__iterations": 0, "refine__poisson_iterations": 0}
METHODS = ("fisher", "halves", "bootstrap", "combined")


def solved(folder: Path, **changes: Any) -> Path:
    return launched(folder, task="solve", **changes)


def told(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["uncertainty"]
    return content


def maps(folder: Path) -> np.ndarray:
    with np.load(folder / "reconstruction.npz") as file:
        return np.stack([file["phase_std"], file["amplitude_std"]])


def variance(method: str, folder: Path, again: Any = solve_alone, **scan: Any) -> np.ndarray:
    """Of the tiny scan, solved."""
    run = tiny_run(uncertainty__method=method, solver__iterations=30)
    with session_of(run, folder) as opened:
        problem = opened.pose(tiny_scan(**scan))
        found = solve_alone(opened, problem)
        return uncertainty.estimate(opened, problem, found, again).variance


def noisy(found: Reconstruction, sigma: float) -> Any:
    """A method that answers, whatever is drawn, the same result with noise of known size."""

    def again(session: Session, problem: Problem) -> Reconstruction:
        rng = np.random.default_rng(session.run.seed)
        real, imaginary = sigma * rng.normal(size=(2, *found.obj.shape))
        obj = torch.from_numpy(found.obj + (real + 1j * imaginary).astype(np.complex64))
        return problem.reconstruction([stages.as_stage("solver", obj, 0.0)])

    return again


class TestLaws:
    @pytest.mark.parametrize("method", ["fisher", "bootstrap", "halves"])
    def test_a_hundred_times_the_photons_a_tenth_of_the_uncertainty(
        self, tmp_path: Path, method: str
    ) -> None:
        few, many = (
            np.sqrt(np.median(variance(method, tmp_path / f"{photons}", photons=photons), (1, 2)))
            for photons in (1e4, 1e6)
        )
        # the solver adds what it leaves unfinished, which more photons do not mend
        assert few / many == pytest.approx(10, rel=1e-2 if method == "fisher" else 0.5)

    def test_noise_of_a_method_is_found_again(self, tmp_path: Path) -> None:
        run = tiny_run(uncertainty__method="bootstrap", uncertainty__members=4)
        with session_of(run, tmp_path / "run") as opened:
            problem = opened.pose(tiny_scan(photons=1e9))
            found, sigma = solve_alone(opened, problem), 0.03
            made = uncertainty.estimate(opened, problem, found, noisy(found, sigma))
        _, amplitude = made.variance
        assert np.sqrt(np.median(amplitude)) == pytest.approx(sigma, rel=0.1)

    def test_the_mean_of_two_halves_is_surer_than_either(self, tmp_path: Path) -> None:
        with session_of(tiny_run(uncertainty__method="halves"), tmp_path / "run") as opened:
            problem = opened.pose(tiny_scan())
            found, sigma = solve_alone(opened, problem), 0.03
            made = uncertainty.estimate(opened, problem, found, noisy(found, sigma))
        _, amplitude = made.variance
        assert np.sqrt(np.median(amplitude)) == pytest.approx(sigma / np.sqrt(2), rel=0.1)

    def test_a_network_alone_has_the_phase_that_held_out_patterns_tell(
        self, tmp_path: Path
    ) -> None:
        run = tiny_run(uncertainty__method="bootstrap", data__holdout_fraction=0.2)
        scan = tiny_scan(photons=1e6)
        y, x = np.mgrid[-16:16, -16:16]
        bent = scan.probe * np.exp(0.02j * (y**2 - x**2)).astype(np.complex64)
        with session_of(run, tmp_path / "run") as opened:
            problem = opened.pose(replace(scan, probe=bent))
            found = solve_alone(opened, problem)
            alone = replace(found, stages=(replace(found.stages[-1], name=NETWORK),))
            refined, network = (
                uncertainty.estimate(opened, problem, one, solve_alone) for one in (found, alone)
            )
        assert network.misfit == refined.misfit > 2
        np.testing.assert_allclose(network.variance[0], refined.misfit**2 * refined.variance[0])
        np.testing.assert_array_equal(network.variance[1], refined.variance[1])

    def test_detail_that_is_missing_is_added(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uncertainty, "missing_variance", lambda *_: 0.0)
        without = variance("bootstrap", tmp_path / "a")
        monkeypatch.setattr(uncertainty, "missing_variance", lambda *_: 7.0)
        np.testing.assert_allclose(variance("bootstrap", tmp_path / "b"), without + 7)

    def test_bad_pixels_are_bad_in_scans_drawn_too(self, tmp_path: Path) -> None:
        scan = tiny_scan()
        bad = np.random.default_rng(0).random(scan.amplitude.shape) < 0.5
        amplitude = np.where(bad, np.float32(-0.0), scan.amplitude)
        drawn = []

        def watched(session: Session, problem: Problem) -> Reconstruction:
            drawn.append(problem)
            return solve_alone(session, problem)

        with session_of(tiny_run(uncertainty__method="bootstrap"), tmp_path / "run") as opened:
            problem = opened.pose(replace(scan, amplitude=amplitude))
            uncertainty.estimate(opened, problem, solve_alone(opened, problem), watched)
        assert len(drawn) == 2
        for member in drawn:
            np.testing.assert_array_equal(np.signbit(member.scan.amplitude), bad)
            assert torch.equal(torch.signbit(member.amplitude), torch.from_numpy(bad))

    @pytest.mark.parametrize("method", ["bootstrap", "halves"])
    def test_members_look_for_the_instrument_themselves(self, tmp_path: Path, method: str) -> None:
        run = tiny_run(uncertainty__method=method, instrument__positions_trainable=True)
        rng, scan, drawn = np.random.default_rng(0), tiny_scan(), []
        wrong = replace(scan, positions=scan.positions + rng.normal(0, 0.7, (len(scan), 2)))

        def watched(session: Session, problem: Problem) -> Reconstruction:
            drawn.append(problem)
            return solve_alone(session, problem)

        with session_of(run, tmp_path / "run") as opened:
            problem = opened.pose(wrong)
            found = solve_alone(opened, problem)
            assert not torch.equal(torch.from_numpy(found.positions), problem.positions)
            uncertainty.estimate(opened, problem.found_in(found), found, watched)
        assert len(drawn) == 2
        for member in drawn:
            assert torch.equal(member.positions, problem.positions)
            assert torch.equal(member.experiment.corners, problem.experiment.corners)
            assert member.home is None

    def test_a_learned_scale_is_not_applied_twice(self, tmp_path: Path) -> None:
        seen = []

        def brighter(session: Session, problem: Problem) -> Reconstruction:
            seen.append(problem.probe)
            return solve_alone(session, problem.brightened(2))

        with session_of(tiny_run(uncertainty__method="bootstrap"), tmp_path / "run") as opened:
            problem = opened.pose(tiny_scan())
            found = brighter(opened, problem)
            uncertainty.estimate(opened, problem.found_in(found), found, brighter)
            for member in seen:
                assert torch.equal(member, seen[0])
        assert len(seen) == 3

    def test_photons_on_bad_pixels_tell_nothing(self, tmp_path: Path) -> None:
        scan = tiny_scan()
        bad = np.random.default_rng(0).random(scan.amplitude.shape) < 0.75
        blind = replace(scan, amplitude=np.where(bad, np.float32(-0.0), scan.amplitude))
        with session_of(tiny_run(uncertainty__method="fisher"), tmp_path / "run") as opened:
            found = solve_alone(opened, opened.pose(scan))
            whole, part = (
                uncertainty.estimate(opened, opened.pose(one), found, solve_alone).variance
                for one in (scan, blind)
            )
        np.testing.assert_allclose(part / whole, 4, rtol=0.05)

    def test_combined_is_the_larger_of_both(self, tmp_path: Path) -> None:
        both, *parts = (
            variance(method, tmp_path / method) for method in ("combined", "bootstrap", "halves")
        )
        np.testing.assert_array_equal(both, np.maximum(*parts))

    def test_halves_need_patterns(self, tmp_path: Path) -> None:
        with (
            session_of(tiny_run(uncertainty__method="halves"), tmp_path / "run") as opened,
            pytest.raises(UserError, match=r"needs at least 16 patterns, got 15 .*=bootstrap\.$"),
        ):
            opened.pose(tiny_scan(n_patterns=16))


class TestRuns:
    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_tells_every_pixel(self, tmp_path: Path, method: str) -> None:
        drawn = method == "combined"
        folder = solved(tmp_path / "run", uncertainty__method=method, pictures=drawn)
        known = told(folder)
        assert known["method"] == method
        for name, sigma in zip(("phase", "amplitude"), maps(folder), strict=True):
            inside = sigma[np.isfinite(sigma)]
            assert 28**2 / 2 < inside.size < sigma.size
            assert (inside > 0).all()
            assert known[name]["rms_sigma"] == pytest.approx(
                np.sqrt(np.square(inside).mean()), rel=1e-4
            )
            assert 0 <= known[name]["calibration_error"] <= 0.5
            assert len(known[name]["reliability"]) == 99
        assert (folder / "uncertainty.png").read_bytes().startswith(b"\x89PNG" if drawn else b"png")

    def test_same_seed_same_bits(self, tmp_path: Path) -> None:
        one, same, other = (
            maps(solved(tmp_path / name, uncertainty__method="bootstrap", uncertainty__seed=seed))
            for name, seed in (("a", 1), ("b", 1), ("c", 2))
        )
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other, equal_nan=True)

    def test_without_a_truth_there_is_no_calibration(self, tmp_path: Path) -> None:
        scan = tiny_scan()
        write_npz(tmp_path / "scan.npz", replace(scan, truth=None, truth_is_known=False))
        folder = solved(
            tmp_path / "run", uncertainty__method="bootstrap",
            data__train_data_file=str(tmp_path / "scan.npz"), **FROM_FILE,
        )  # fmt: skip
        assert set(told(folder)["phase"]) == {"rms_sigma"}
        assert np.isfinite(maps(folder)).any()

    def test_a_wrong_probe_is_noticed_and_halves_see_its_harm(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        scan = tiny_scan(photons=1e6)
        y, x = np.mgrid[-16:16, -16:16]
        bent = scan.probe * np.exp(0.02j * (y**2 - x**2)).astype(np.complex64)
        write_npz(tmp_path / "scan.npz", replace(scan, probe=bent))
        common: dict[str, Any] = FROM_FILE | {
            "data__train_data_file": str(tmp_path / "scan.npz"),
            "data__holdout_fraction": 0.2,
        }
        alone = solved(tmp_path / "a", uncertainty__method="bootstrap", **common)
        said = " ".join(capsys.readouterr().out.split())
        assert "times as far from the model as photon noise explains" in said
        assert told(alone)["misfit"] > 5
        both = solved(tmp_path / "b", uncertainty__method="combined", **common)
        assert told(both)["phase"]["rms_sigma"] > 2 * told(alone)["phase"]["rms_sigma"]
        said = " ".join(capsys.readouterr().out.split())
        assert "times as far from the model as photon noise explains" in said
        assert said.count("halves tell in part only") == 1
        assert "find the instrument: instrument=measured" in said
        assert "use uncertainty.method=combined" not in said

    def test_what_is_found_already_is_not_recommended(self) -> None:
        free: dict[str, Any] = {"uncertainty__method": "combined"}
        ends = []
        for more in ("probe", "positions", "flux", "background"):
            free |= {f"instrument__{more}_trainable": True}
            ends.append(uncertainty._whats_left(tiny_run(**free)).partition("; ")[2])
        assert ends == [
            "find the instrument: instrument=measured",
            "find more of the instrument: instrument=all",
            "find more of the instrument: instrument=all",
            "",
        ]

    def test_networks_are_trained_again_when_asked(self, tmp_path: Path) -> None:
        changes: dict[str, Any] = {"trainer__nepochs": 1, **UNREFINED}
        method = {"uncertainty__method": "bootstrap"}
        shared = launched(tmp_path / "a", **changes, **method)
        own = launched(tmp_path / "b", **changes, **method, uncertainty__retrain=True)
        assert not (shared / "members").exists()
        assert {one.name for one in (own / "members").iterdir()} == {"0", "1"}
        losses = [(own / "members" / name / "metrics.csv").read_text() for name in "01"]
        assert losses[0] != losses[1]
        assert not np.array_equal(maps(shared), maps(own), equal_nan=True)

    def test_members_learn_from_as_many_scans(self, tmp_path: Path) -> None:
        folder = launched(
            tmp_path / "run", trainer__nepochs=1, data__synthetic__n_objects=2,
            uncertainty__method="bootstrap", uncertainty__members=1, uncertainty__retrain=True,
        )  # fmt: skip
        steps = [
            (one / "metrics.csv").read_text().splitlines()[1].split(",")[1]
            for one in (folder, folder / "members" / "0")
        ]
        assert steps == ["8", "8"]

    def test_a_shared_network_is_admitted(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        changes: dict[str, Any] = {"uncertainty__method": "bootstrap", "trainer__nepochs": 1}
        said = []
        for name, more in {
            "a": UNREFINED,
            "b": {"refine__iterations": 0},  # the Poisson iterations are left
            "c": {"model__architecture": "pinn", "trainer__tv_weight": 0.0, **UNREFINED},
        }.items():
            launched(tmp_path / name, **changes, **more)
            said.append(" ".join(capsys.readouterr().out.split()))
        words = "the members share that network: the uncertainty is too small; "
        assert words + "use uncertainty.retrain=true" in said[0]
        assert words not in said[1]
        assert words + "let refine finish it" in said[2]

    def test_a_bundle_and_a_second_scan_have_their_own(self, tmp_path: Path) -> None:
        write_npz(tmp_path / "test.npz", tiny_scan(seed=3))
        changes: dict[str, Any] = {"uncertainty__method": "bootstrap", "trainer__nepochs": 1}
        trained = launched(
            tmp_path / "a", data__test_data_file=str(tmp_path / "test.npz"), **changes
        )
        content = json.loads((trained / "metrics.json").read_text())
        assert content["test_uncertainty"] != content["uncertainty"]
        assert (trained / "test_uncertainty.png").is_file()
        folder = launched(
            tmp_path / "b", task="reconstruct", bundle=str(trained / "wts.h5.zip"),
            uncertainty__method="bootstrap",
        )  # fmt: skip
        np.testing.assert_array_equal(maps(folder), maps(trained))

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, UserError])
    def test_who_stops_it_keeps_the_result(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
    ) -> None:
        def stopped(*_: Any) -> None:
            raise stop

        monkeypatch.setattr(uncertainty, "estimate", stopped)
        with pytest.raises(stop):
            solved(tmp_path / "run", uncertainty__method="bootstrap")
        state = json.loads((tmp_path / "run" / "status.json").read_text())["state"]
        assert state == ("interrupted" if stop is KeyboardInterrupt else "failed")
        with np.load(tmp_path / "run" / "reconstruction.npz") as file:
            assert "object" in file
            assert "phase_std" not in file
        metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
        assert "stages" in metrics
        assert "uncertainty" not in metrics


def test_nothing_is_estimated_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncertainty, "estimate", pytest.fail)
    folder = solved(tmp_path / "run")
    with np.load(folder / "reconstruction.npz") as file:
        assert "phase_std" not in file
    assert not (folder / "uncertainty.png").exists()
    assert RunConfig().uncertainty.method == "none"
