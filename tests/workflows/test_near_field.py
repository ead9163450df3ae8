"""A scan whose detector is near: the same commands, another propagation."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho.config.config import SyntheticConfig, UserError
from ptycho.data.formats.npz import read_npz, write_npz
from ptycho.data.products import read_product
from ptycho.data.scan import DataError, Scan
from ptycho.data.synthetic.objects import make_object
from ptycho.data.synthetic.paths import raster
from ptycho.physics.forward import Experiment
from ptycho.workflows.evidence import against_data, gather
from tests.runs import launched

N, NUMBER = 32, 0.1


@pytest.fixture(scope="module")
def scan() -> Scan:
    """A diffuser in front of dead leaves; near-field patterns need structure in the beam."""
    rng = np.random.default_rng(0)
    positions = raster(10, 10, 5.0, rng, 0.5) + N / 2 + 4
    height, width = np.ceil(positions.max(0) + N / 2 + 4).astype(int)
    obj = make_object("dead_leaves", (int(height), int(width)), rng)
    axis = np.arange(N) - N // 2
    aperture = np.exp(-((np.hypot(axis[:, None], axis) / 12) ** 8))
    phases = np.fft.ifft2(np.fft.fft2(rng.normal(size=(N, N))) * (np.abs(_k()) < 0.15)).real
    probe = aperture * np.exp(1.5j * phases / phases.std())
    probe = (probe * np.sqrt(1e5 / np.square(np.abs(probe)).sum())).astype(np.complex64)
    experiment = Experiment(
        torch.from_numpy(probe), torch.from_numpy(positions), bins=128, fresnel=NUMBER
    )
    expected = experiment(torch.from_numpy(obj), torch.arange(len(positions))).numpy()
    return Scan(
        amplitude=np.sqrt(rng.poisson(expected), dtype=np.float32),
        positions=positions, probe=probe[None], truth=obj, truth_is_known=True, fresnel=NUMBER,
    )  # fmt: skip


def _k():
    k = np.fft.fftfreq(N)
    return np.hypot(k[:, None], k)


def from_file(path: Path) -> dict[str, object]:
    return {
        "data__source": "file", "data__train_data_file": str(path), "data__nphotons": None,
        "data__synthetic": SyntheticConfig(), "model__N": None,
    }  # fmt: skip


def test_the_number_goes_through_a_file(scan, tmp_path):
    write_npz(tmp_path / "near.npz", scan)
    assert read_npz(tmp_path / "near.npz").fresnel == NUMBER


@pytest.mark.parametrize("architecture", ["object_pinn", "pinn"])
def test_networks_learn_and_the_solver_refines(scan, tmp_path, architecture):
    write_npz(tmp_path / "near.npz", scan)
    folder = launched(
        tmp_path / "run", model__architecture=architecture, trainer__nepochs=3,
        refine__iterations=15, **from_file(tmp_path / "near.npz"),
    )  # fmt: skip
    stages = json.loads((folder / "metrics.json").read_text())["stages"]
    assert stages["refined"]["phase_psnr"] > stages["flat"]["phase_psnr"] + 12
    assert stages["refined"]["R"] < 1.1 * stages["noise"]["R"]


def test_the_instrument_is_found_too(scan, tmp_path):
    y, x = np.mgrid[:N, :N] / N - 0.5
    bent = scan.probe * np.exp(4j * (x**2 + x * y)).astype(np.complex64)
    write_npz(tmp_path / "near.npz", replace(scan, probe=bent))
    figures = {}
    for free in (False, True):
        folder = launched(
            tmp_path / f"{free}", task="solve", instrument__probe_trainable=free,
            solver__iterations=60,
            **from_file(tmp_path / "near.npz"),
        )  # fmt: skip
        figures[free] = json.loads((folder / "metrics.json").read_text())["stages"]["solver"]
    assert figures[True]["R"] < 0.9 * figures[False]["R"]
    assert figures[True]["phase_psnr"] > figures[False]["phase_psnr"] + 4


def test_as_far_field_it_is_another_picture(scan, tmp_path):
    """The number has an effect: the same patterns without it make no sense."""
    found = {}
    for name, one in (("near", scan), ("far", replace(scan, fresnel=None))):
        write_npz(tmp_path / f"{name}.npz", one)
        folder = launched(
            tmp_path / name, task="solve", **from_file(tmp_path / f"{name}.npz"),
        )  # fmt: skip
        found[name] = json.loads((folder / "metrics.json").read_text())["stages"]["solver"]["R"]
    assert found["near"] < 0.5 * found["far"]


def test_so_far_away_that_fringes_are_not_sampled_is_refused(scan):
    with pytest.raises(DataError, match=r"Fresnel number of a pixel, 0\.01, is too small .* 32 p"):
        replace(scan, fresnel=0.01)


def test_a_number_that_is_none_is_refused(scan, tmp_path):
    path = tmp_path / "near.npz"
    write_npz(path, scan)
    arrays = dict(np.load(path))
    arrays["_metadata"] = np.array(json.dumps({"fresnel_number": -1.0}))
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=r"fresnel_number must be above 0, got -1\.0"):
        read_npz(path)
    arrays["_metadata"] = np.array(json.dumps({"fresnel_number": 5}))
    np.savez(path, **arrays)
    assert read_npz(path).fresnel == 5


def test_a_result_says_how_near_the_detector_was(scan, tmp_path, capsys):
    """It is judged by the propagation it was made with, wherever the patterns come from."""
    near = tmp_path / "near.npz"
    write_npz(near, scan)
    folder = launched(tmp_path / "run", task="solve", solver__iterations=15, **from_file(near))
    write_npz(tmp_path / "bare.npz", replace(scan, fresnel=None))
    found = []
    for data in ("near", "bare"):
        product = read_product(folder / "reconstruction.npz")
        evidence = gather(product, read_npz(tmp_path / f"{data}.npz"))
        found.append(against_data(evidence, data).scores.figures["R"])
    assert found[0] == found[1] < 0.1
