"""What is told of predicted patches, by itself and through whole runs."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.config.config import UserError
from ptycho.data.formats.npz import write_npz
from ptycho.physics.mask import hide
from ptycho.physics.patches import extract_patches
from ptycho.report.patch_figure import PatchTable
from ptycho.workflows import patch_stats, session, uncertainty
from ptycho.workflows.patch_stats import PatchStatistics
from tests.runs import launched, tiny_problem, tiny_scan
from tests.workflows.test_patches import PINN, UNREFINED

LOGGED: dict[str, Any] = {
    "execution__log_patch_stats": True, "trainer__nepochs": 1, **PINN, **UNREFINED
}  # fmt: skip


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was to be drawn; pictures take longer than such a training."""
    drawn: list[dict[str, Any]] = []

    def draw(table: Any, examples: Any, core: int, label: str, path: Path) -> None:
        drawn.append({"examples": examples, "core": core, "label": label})
        path.write_bytes(b"png")

    monkeypatch.setattr(session, "save_picture", lambda _, __, path: path.write_bytes(b"png"))
    monkeypatch.setattr(uncertainty, "save_uncertainty", lambda _, __, path: path.write_bytes(b""))
    monkeypatch.setattr(patch_stats, "save_patches", draw)
    return drawn


def looked_at(windows: torch.Tensor, core: int = 32, **changes: Any) -> PatchTable:
    """What is told of the windows of the first patterns of a tiny scan."""
    problem = replace(tiny_problem(), **changes)
    watch = PatchStatistics(problem, core, 16, None)
    for some in torch.arange(len(windows)).split(16):
        watch(windows[some], some)
    return watch.table()


def rows(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{name: float(one) for name, one in row.items()} for row in csv.DictReader(file)]


# --- figures ----------------------------------------------------------------------------------


def test_amplitude_and_phase_are_those_of_the_middle() -> None:
    windows = torch.full((20, 32, 32), torch.nan, dtype=torch.complex64)
    inner = torch.polar(torch.ones(16, 16), torch.zeros(16, 16))
    inner[:8] = 3 * torch.polar(torch.tensor(1.0), torch.tensor(1.0))
    windows[:, 8:24, 8:24] = torch.polar(torch.tensor(1.0), torch.tensor(3.0)) * inner
    found = looked_at(windows, core=16)
    np.testing.assert_allclose(found.amplitude_mean, 2.0, rtol=1e-6)
    np.testing.assert_allclose(found.amplitude_std, 1.0, rtol=1e-6)
    np.testing.assert_allclose(found.amplitude_min, 1.0, rtol=1e-6)
    np.testing.assert_allclose(found.amplitude_max, 3.0, rtol=1e-6)
    # halves at 3 and 4 rad: their mean direction is 3.5 and has the length cos(0.5)
    np.testing.assert_allclose(found.phase_mean, 3.5 - 2 * np.pi, rtol=1e-5)
    np.testing.assert_allclose(found.phase_std, np.sqrt(-2 * np.log(np.cos(0.5))), rtol=1e-5)


def test_r_is_that_of_the_experiment() -> None:
    problem = tiny_problem()
    experiment, which = problem.experiment, torch.arange(40)
    obj = torch.polar(1 + 0.1 * torch.rand(problem.shape), torch.rand(problem.shape))
    found = looked_at(extract_patches(obj, experiment.corners[which], 32))
    model, data = experiment(obj, which).sqrt(), problem.amplitude[which]
    wanted = (model - data).abs().sum((1, 2)) / data.sum((1, 2))
    np.testing.assert_allclose(found.R, wanted, rtol=1e-4)
    np.testing.assert_array_equal(np.stack([found.y, found.x], -1), problem.positions[which])


def test_the_truth_has_a_small_r_darkness_one() -> None:
    problem = tiny_problem()
    truth = torch.from_numpy(problem.reconstruction([]).truth)
    patches = extract_patches(truth, problem.experiment.corners, 32)
    photons = problem.experiment.diffract(patches).sum()
    patches *= (problem.amplitude.square().sum() / photons).sqrt()  # an empty object has these
    good, dark = looked_at(patches), looked_at(0 * patches)
    np.testing.assert_allclose(dark.R, 1.0)
    flat = looked_at(torch.ones_like(patches))
    assert np.median(good.R) < 0.6 * np.median(flat.R)
    assert (good.R < flat.R).mean() > 0.9


def test_free_space_lies_around_small_windows() -> None:
    small = torch.ones(64, 16, 16, dtype=torch.complex64)
    np.testing.assert_allclose(
        looked_at(small, core=16).R, looked_at(torch.ones(64, 32, 32, dtype=torch.complex64)).R
    )


def test_bad_pixels_do_not_count() -> None:
    problem = tiny_problem()
    ones = torch.ones(64, 32, 32, dtype=torch.complex64)
    bad = torch.rand(32, 32) < 0.2
    junk = problem.amplitude.clone()
    junk[:, bad] = 1e6
    hidden = looked_at(ones, amplitude=hide(junk, bad))
    model, data = problem.experiment.diffract(ones).sqrt(), problem.amplitude
    good = (model - data).abs()[:, ~bad].sum(1) / data[:, ~bad].sum(1)
    np.testing.assert_allclose(hidden.R, good, rtol=1e-5)


# --- runs ---------------------------------------------------------------------------------------


def test_every_fitted_pattern_is_told_of(
    tmp_path: Path, pictures: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    write_npz(tmp_path / "second.npz", replace(tiny_scan(seed=5), label="second"))
    folder = launched(
        tmp_path / "run", data__test_data_file=str(tmp_path / "second.npz"),
        uncertainty__method="bootstrap", uncertainty__members=1,
        execution__recon_log_every_n_epochs=1, **LOGGED,
    )  # fmt: skip
    assert {file.name for file in folder.rglob("*patch_stats*")} == {
        f"{prefix}patch_stats.{kind}" for prefix in ("", "test_") for kind in ("csv", "png")
    }
    assert [one["label"] for one in pictures] == ["scan", "second"]
    found = rows(folder / "patch_stats.csv")
    env = json.loads((folder / "env.json").read_text())
    assert len(found) == 64 - env["data"]["held_out"]
    numbers = [row["number"] for row in found]
    assert numbers == sorted(set(numbers))
    metrics = json.loads((folder / "metrics.json").read_text())
    told, second = metrics["patches"], metrics["test_patches"]
    assert told != second
    assert told["R"] == pytest.approx(np.median([row["R"] for row in found]))
    worst = max(found, key=lambda row: row["R"])
    assert (told["worst"], told["worst_R"]) == (worst["number"], worst["R"])
    said = capsys.readouterr().out
    assert said.count("patches: ") == 2
    assert f"worst is pattern {told['worst']} with R {told['worst_R']:.3f}" in said
    assert f"{folder}/patch_stats.png" in said
    for drawn in pictures:
        shown = drawn["examples"]
        assert [one.name for one in shown if one.name] == ["worst"]
        assert shown[0].window.shape == (32, 32)
        assert drawn["core"] == 16


def test_a_bundle_tells_the_same_and_no_bit_of_the_object_changes(tmp_path: Path) -> None:
    first = launched(tmp_path / "first", **LOGGED)
    plain = launched(tmp_path / "plain", **LOGGED | {"execution__log_patch_stats": False})
    for name in ("reconstruction.npz",):
        with np.load(first / name) as one, np.load(plain / name) as other:
            assert all(np.array_equal(one[key], other[key]) for key in one)
    again = launched(
        tmp_path / "again", task="reconstruct", bundle=str(first / "wts.h5.zip"),
        execution__log_patch_stats=True, **UNREFINED,
    )  # fmt: skip
    assert (first / "patch_stats.csv").read_text() == (again / "patch_stats.csv").read_text()
    assert not (plain / "patch_stats.csv").exists()
    few = launched(
        tmp_path / "few", task="reconstruct", bundle=str(first / "wts.h5.zip"), **UNREFINED,
        execution__log_patch_stats=True, execution__patch_stats_limit=2,
        execution__inference_batch_size=1, execution__middle_trim=6,
    )  # fmt: skip
    assert len(rows(few / "patch_stats.csv")) == 32
    assert rows(few / "patch_stats.csv")[0]["R"] == pytest.approx(
        rows(first / "patch_stats.csv")[0]["R"], rel=1e-3
    )


def test_what_predicts_no_patches_is_refused(tmp_path: Path) -> None:
    trained = launched(tmp_path / "a", trainer__nepochs=1)
    with pytest.raises(UserError, match=r"^execution\.log_patch_stats belongs to networks that pr"):
        launched(
            tmp_path / "b", task="reconstruct", bundle=str(trained / "wts.h5.zip"),
            execution__log_patch_stats=True,
        )  # fmt: skip
    assert not (tmp_path / "b").exists()
