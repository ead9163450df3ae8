"""Train, save, load and infer on the committed fixture, by processes of their own and in this."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from ptycho import inference, train
from ptycho.config.store import check_command_line, register
from ptycho.report.bundle import load_bundle

REPOSITORY = Path(__file__).parents[2]
FIXTURE = REPOSITORY / "tests" / "fixtures" / "minimal_dataset_v1.npz"


def typed(folder: Path, module: str, *words: str) -> str:
    """Run a command of the package; returns what it prints."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


Typed = Callable[..., Any]
"""Does a command: a folder, a module, words."""


def called(folder: Path, module: str, *words: str) -> None:
    """Do a command of the package in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        {"ptycho.train": train, "ptycho.inference": inference}[module].main([*words])


def train_and_infer(folder: Path, scan: Path, gridsize: int, command: Typed = typed) -> None:
    """The two command lines as scripts have them."""
    command(
        folder, "ptycho.train", "--train_data_file", str(scan), "--output_dir", "out",
        "--n_images", "64", "--max_epochs", "1", "--gridsize", str(gridsize),
        "--accelerator", "cpu", "--deterministic", "--num-workers", "0", "--learning-rate", "1e-4",
        "--logger", "none",
    )  # fmt: skip
    command(
        folder, "ptycho.inference", "--model_path", "out", "--test_data", str(scan),
        "--output_dir", "inferred", "--accelerator", "cpu", "--logger", "none",
    )  # fmt: skip


def check_words(folder: Path) -> None:
    """What a run is said to be typed as has its settings; a bundle says what its model is."""
    register()
    for run in (folder / "out", folder / "inferred"):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            (meant,) = check_command_line((run / "overrides.txt").read_text().splitlines())
        recorded = yaml.safe_load((run / "config.resolved.yaml").read_text())
        found = yaml.safe_load(OmegaConf.to_yaml(OmegaConf.structured(meant)))
        assert found | {"model": None} == recorded | {"model": None}


def check(folder: Path, gridsize: int) -> None:
    """What both of them leave behind."""
    check_words(folder)
    bundle = load_bundle(folder / "out")
    assert bundle.config["model"]["gridsize"] == gridsize
    assert bundle.config["trainer"]["learning_rate"] == 1e-4
    stages = json.loads((folder / "inferred" / "metrics.json").read_text())["stages"]
    assert {"lift", "network", "refined", "flat"} <= stages.keys()
    with np.load(folder / "inferred" / "reconstruction.npz") as found:
        assert np.isfinite(found["object"]).all()
        assert found["object"].std() > 0.05
        assert found["probe"].shape[-2:] == (bundle.config["model"]["N"],) * 2
        assert "held_out" not in found.files
    for name in ("reconstruction.png", "reconstructed_amplitude.png", "reconstructed_phase.png"):
        assert (folder / "inferred" / name).stat().st_size > 5000


@pytest.mark.parametrize(("gridsize", "command"), [(1, called), (2, typed)])
def test_run_pytorch_train_save_load_infer(tmp_path: Path, gridsize: int, command: Typed) -> None:
    train_and_infer(tmp_path, FIXTURE, gridsize, command)
    check(tmp_path, gridsize)
    with np.load(tmp_path / "inferred" / "reconstruction.npz") as found:
        assert len(found["xcoords"]) == 64
    stages = json.loads((tmp_path / "inferred" / "metrics.json").read_text())["stages"]
    assert stages["refined"]["phase_psnr"] > stages["flat"]["phase_psnr"] + 10  # has a truth


@pytest.mark.slow
@pytest.mark.parametrize("name", ["siemens_star_aps_n128.npz", "gold_balls_als_n128.npz"])
def test_measured_scans_go_the_same_way(tmp_path: Path, shared_data: Path, name: str) -> None:
    train_and_infer(tmp_path, shared_data / name, 2)
    check(tmp_path, 2)


@pytest.mark.slow
def test_the_run_command_has_the_same_numbers(tmp_path: Path) -> None:
    train_and_infer(tmp_path, FIXTURE, 2)
    for name in ("out", "inferred"):
        words = (tmp_path / name / "overrides.txt").read_text().splitlines()
        typed(tmp_path, "ptycho.run", *words, f"hydra.run.dir=again_{name}")
        assert same(tmp_path / name, tmp_path / f"again_{name}")


def same(one: Path, other: Path) -> bool:
    """Whether two runs had the same settings and came out the same to the bit."""
    settings = [yaml.safe_load((run / "config.resolved.yaml").read_text()) for run in (one, other)]
    assert settings[0] == settings[1]
    files = [np.load(run / "reconstruction.npz") for run in (one, other)]
    assert files[0].files == files[1].files
    return all(np.array_equal(files[0][key], files[1][key]) for key in files[0].files)
