"""The real command, as a user types it."""

import csv
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load

from ptycho.data.formats.npz import write_npz
from tests.runs import tiny_scan

REPOSITORY = Path(__file__).parents[1]
SHORT = (
    "trainer=smoke",
    "logger=none",
    "trainer.batch_size=16",
    "model.lift_coarse_iterations=3",
    "refine.iterations=2",
    "refine.poisson_iterations=1",
)


def ptycho(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m ptycho.run`` in a folder, on one thread of a machine without GPUs."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "ptycho.run", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of one smoke run, and what was printed."""
    folder = tmp_path_factory.mktemp("smoke")
    done = ptycho(folder, "trainer=smoke", "data.synthetic.n_patterns=64", "logger=none")
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "outputs" / "runs").iterdir()
    return run, done.stdout


def content(path: Path) -> dict:
    return json.loads(path.read_text())


def test_no_file_and_no_gpu_are_told_at_once_and_nothing_is_written(tmp_path: Path):
    done = ptycho(tmp_path, "trainer=gpu", "data=fly001")
    assert done.returncode == 2
    assert done.stdout == ""
    file, gpu = done.stderr.splitlines()
    assert file.startswith(f"ptycho: data.train_data_file: no such file: {tmp_path}/data/fly001")
    assert gpu.startswith("ptycho: trainer.accelerator=gpu asks for a GPU, but ")
    assert gpu.endswith("Use trainer=cpu or trainer=auto.")
    assert not list(tmp_path.iterdir())


def test_a_slip_is_told_in_a_sentence_and_nothing_is_written(tmp_path: Path):
    done = ptycho(tmp_path, "+model.lrr=3", "trainer.nepochs=0")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "ptycho: there is no setting model.lrr. Did you mean trainer.learning_rate?",
        "ptycho: trainer.nepochs must be at least 1, got 0.",
    ]
    assert not list(tmp_path.iterdir())


def test_a_run_leaves_everything_in_its_folder(smoke: tuple[Path, str]):
    run, _ = smoke
    expected = {
        "config.resolved.yaml", "overrides.txt", "env.json", "metrics.json", "metrics.csv",
        "status.json", "reconstruction.npz", "reconstruction.png", "wts.h5.zip",
    }  # fmt: skip
    assert expected <= {path.name for path in run.iterdir()}
    assert run.name.endswith("_train_synthetic")
    assert not list(run.glob(".*.part*"))


def test_a_run_ends_with_the_table_and_the_paths(smoke: tuple[Path, str]):
    run, printed = smoke
    rows = re.findall(r"^ *(\w+) +(?:[\d.]+|-)(?: +[\d.-]+){8} *$", printed, re.MULTILINE)
    assert rows == ["lift", "network", "refined", "flat", "noise"]
    assert f"{run}/reconstruction.png" in printed


def test_a_run_says_what_it_was_told(smoke: tuple[Path, str]):
    run, _ = smoke
    settings = yaml.safe_load((run / "config.resolved.yaml").read_text())
    assert settings["data"]["synthetic"]["n_patterns"] == 64
    assert settings["trainer"]["accelerator"] == "cpu"
    assert settings["model"]["N"] == 64
    assert (run / "overrides.txt").read_text().splitlines() == [
        "trainer=smoke",
        "data.synthetic.n_patterns=64",
        "logger=none",
    ]
    assert content(run / "status.json")["state"] == "finished"


def test_a_run_says_where_it_was_done(smoke: tuple[Path, str]):
    told = content(smoke[0] / "env.json")
    assert {"git", "packages", "threads", "device", "seed", "data_sha256"} <= set(told)
    assert len(told["data_sha256"]) == 64
    assert told["device"].startswith("cpu")
    assert told["packages"]["torch"]


def test_a_run_is_scored_beside_the_flat_floor(smoke: tuple[Path, str]):
    stages = content(smoke[0] / "metrics.json")["stages"]
    assert list(stages) == ["lift", "network", "refined", "flat", "noise"]
    assert stages["flat"]["C"] == pytest.approx(0, abs=1e-3)
    assert stages["refined"]["C"] > 0.5
    with (smoke[0] / "metrics.csv").open() as file:
        (epoch,) = csv.DictReader(file)
    assert float(epoch["train/loss"]) > 0


def test_the_reconstruction_is_in_the_pixels_of_its_object(smoke: tuple[Path, str]):
    with np.load(smoke[0] / "reconstruction.npz") as found:
        obj, probe, x, y = (found[key] for key in ("object", "probe", "xcoords", "ycoords"))
    assert obj.ndim == 2
    assert obj.dtype == np.complex64
    assert probe.shape == (1, 64, 64)
    assert len(x) == len(y) == 64
    height, width = obj.shape
    assert 32 <= x.min() < x.max() <= width - 32
    assert 32 <= y.min() < y.max() <= height - 32


def test_the_picture_is_a_picture(smoke: tuple[Path, str]):
    with (smoke[0] / "reconstruction.png").open("rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_the_bundle_holds_weights_and_settings(smoke: tuple[Path, str]):
    with zipfile.ZipFile(smoke[0] / "wts.h5.zip") as archive:
        weights = load(archive.read("diffraction_to_obj.safetensors"))
        settings = json.loads(archive.read("config.json"))
        manifest = json.loads(archive.read("manifest.json"))
    assert sum(one.size for one in weights.values()) > 1000
    assert settings["model"]["N"] == 64
    assert set(manifest["models"]) == {"autoencoder", "diffraction_to_obj"}


def test_a_bad_scan_is_one_sentence(tmp_path: Path):
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"this is no archive")
    done = ptycho(tmp_path, "data=npz", "data.train_data_file=bad.npz", *SHORT)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("ptycho: ")
    assert "bad.npz" in said
    assert {content(one)["state"] for one in tmp_path.rglob("status.json")} <= {"failed"}


@pytest.mark.slow  # a quiet run in this process: tests/compat/test_flags_have_effect.py
def test_a_quiet_run_says_nothing_also_when_it_goes_on(tmp_path: Path):
    typed = (
        "task=solve", "logger=none", "data.synthetic.n_patterns=64", "execution.quiet=true",
        "execution.enable_progress_bar=true", "execution.resume=auto",
    )  # fmt: skip
    for state in ("interrupted", "finished"):
        done = ptycho(tmp_path, *typed)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        (run,) = (tmp_path / "outputs" / "runs").iterdir()
        known = content(run / "status.json")
        assert known["state"] == "finished"
        (run / "status.json").write_text(json.dumps(known | {"state": state}))
    assert known["attempts"] == 2


def test_a_word_that_is_no_command_is_told(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "ptycho", "sweep", "--help"], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("ptycho: there is no command sweep; commands are ")
    assert "evaluate, " in done.stderr


def test_several_runs_may_be_asked_for_anywhere(tmp_path: Path):
    done = ptycho(tmp_path, "trainer.nepochs=0", "-m", "trainer.batch_size=0,0")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "ptycho: trainer.nepochs must be at least 1, got 0.",
        "ptycho: trainer.batch_size must be at least 1, got 0.",
    ]


def test_jobs_of_a_sweep_know_nothing_of_each_other(tmp_path: Path):
    write_npz(tmp_path / "good.npz", tiny_scan())
    (tmp_path / "bad.npz").write_bytes(b"this is no archive")
    done = ptycho(
        tmp_path, "-m", "task=solve", "logger=none", "data=npz", "data.n_images=36,null",
        "data.train_data_file=bad.npz,good.npz", "paths.outputs=mine", "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.returncode == 2  # one of the jobs failed, and the others were done all the same
    assert "Traceback" not in done.stderr
    assert "bad.npz" in done.stderr
    assert not (tmp_path / "outputs").exists()
    patterns = {
        content(one.parent / "env.json")["data"]["patterns"]
        for one in (tmp_path / "sweep").glob("*/status.json")
        if content(one)["state"] == "finished"
    }
    assert patterns == {36, 64}
