"""Losses, weights and bad pixels through whole runs."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho.data.formats.npz import write_npz
from ptycho.data.scan import Scan
from ptycho.report.bundle import load_bundle
from tests.runs import launched, tiny_scan


def stages(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["stages"]
    return content


def from_file(scan: Scan, path: Path) -> dict[str, Any]:
    write_npz(path, scan)
    return {
        "data__source": "file", "data__train_data_file": str(path), "data__nphotons": None,
        "data__synthetic__n_patterns": 1600, "data__synthetic__step": 6.0,
        "data__synthetic__probe_radius": 12.0,
    }  # fmt: skip


def with_bad_pixels(scan: Scan, marked: bool) -> Scan:
    """Some pixels count far too much; marked as bad or not."""
    bad = np.random.default_rng(0).random(scan.amplitude.shape[1:]) < 0.05
    amplitude = scan.amplitude.copy()
    amplitude[:, bad] = -0.0 if marked else 60.0
    return replace(scan, amplitude=amplitude)


@pytest.mark.parametrize("task", ["solve", "train"])
def test_marked_bad_pixels_do_hardly_any_harm(tmp_path: Path, task: str) -> None:
    common: dict[str, Any] = {"task": task, "trainer__nepochs": 4}
    scan, last = tiny_scan(), "solver" if task == "solve" else "network"
    psnr = {}
    for name, one in {
        "good": scan,
        "marked": with_bad_pixels(scan, marked=True),
        "unmarked": with_bad_pixels(scan, marked=False),
    }.items():
        settings = from_file(one, tmp_path / f"{name}.npz")
        rows = stages(launched(tmp_path / name, **common, **settings))
        psnr[name] = rows[last]["phase_psnr"]
    assert psnr["marked"] > psnr["good"] - 1.5
    assert psnr["unmarked"] < psnr["good"] - 4


def test_a_learned_scale_is_kept_and_used_again(tmp_path: Path) -> None:
    common: dict[str, Any] = {"refine__iterations": 0, "refine__poisson_iterations": 0}
    trained = launched(
        tmp_path / "a", trainer__intensity_scale_trainable=True, trainer__learning_rate=5e-3,
        trainer__nepochs=12, trainer__scheduler="Default", **common,
    )  # fmt: skip
    params = load_bundle(trained / "wts.h5.zip").params
    usual = load_bundle(launched(tmp_path / "b", **common) / "wts.h5.zip").params
    assert usual["intensity_gain"] == 1
    gain = params["intensity_gain"]
    assert gain != pytest.approx(1, abs=1e-3)
    assert params["intensity_scale"] == pytest.approx(usual["intensity_scale"] * gain**0.5)
    again = launched(
        tmp_path / "c", task="reconstruct", bundle=str(trained / "wts.h5.zip"), **common
    )
    mine, its = (dict(np.load(folder / "reconstruction.npz")) for folder in (trained, again))
    assert all(np.array_equal(mine[key], its[key]) for key in mine)
    np.testing.assert_allclose(
        np.square(np.abs(mine["probe"])).sum(), tiny_scan().photons * gain, rtol=0.05
    )


def test_variation_makes_the_object_smoother(tmp_path: Path) -> None:
    import torch

    from ptycho.physics.variation import total_variation

    found = []
    for weight in (0.0, 1.0):
        folder = launched(
            tmp_path / f"{weight}", trainer__tv_weight=weight, trainer__nepochs=10,
            trainer__learning_rate=3e-3, refine__iterations=0, refine__poisson_iterations=0,
        )  # fmt: skip
        obj = torch.from_numpy(np.load(folder / "reconstruction.npz")["object"])[20:-20, 20:-20]
        found.append(float(total_variation(obj, torch.ones(obj.shape))))
    assert found[1] < 0.9 * found[0]


@pytest.mark.parametrize("quiet", [True, False])
def test_a_quiet_run_logs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, quiet: bool
) -> None:
    caplog.set_level(logging.INFO)
    settings = from_file(tiny_scan(), tmp_path / "scan.npz")
    launched(tmp_path / "run", task="solve", execution__quiet=quiet, **settings)
    assert quiet != any("nyx" in one.getMessage() for one in caplog.records)
