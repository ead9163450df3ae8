"""Our files in ptychodus 1.7.0, and its files here: the same numbers.

``PTYCHO_PTYCHODUS_PYTHON`` names the Python of an environment with ptychodus in it.
"""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho.data.formats.ptychodus import write_pair
from ptycho.data.formats.ptychodus_training import write_training
from ptycho.data.formats.registry import Reading, measure
from ptycho.data.geometry import Geometry
from ptycho.data.preparation import prepare
from tests.runs import tiny_scan

PYTHON = os.environ.get("PTYCHO_PTYCHODUS_PYTHON", "")

pytestmark = [
    pytest.mark.ptychodus,
    pytest.mark.skipif(not PYTHON, reason="PTYCHO_PTYCHODUS_PYTHON names no Python"),
]


@pytest.fixture(scope="module")
def scan():
    """A simulated scan with two modes, a bad pixel, and lengths that go together."""
    scan = tiny_scan(patch_size=16, n_patterns=49)
    amplitude = scan.amplitude.copy()
    amplitude[:, 3, 5] = -0.0
    probe = np.concatenate([scan.probe, 0.3j * scan.probe[:, ::-1]])
    return replace(
        scan, amplitude=amplitude, probe=probe, geometry=Geometry(8500.0, 1.9, 75e-6),
        pixel_size_m=Geometry(8500.0, 1.9, 75e-6).object_pixel_m(16), label="star",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scan):
    folder = tmp_path_factory.mktemp("ptychodus")
    write_pair(folder / "pair", scan)
    write_training(folder / "training.h5", scan)
    script = Path(__file__).with_name("in_ptychodus.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([PYTHON, script, folder], check=True, env=environment)
    return folder


@pytest.mark.parametrize("name", ["pair", "training"])
def test_ptychodus_sees_the_same_numbers(folder, scan, name):
    with np.load(folder / "seen.npz") as file:
        seen = {key.removeprefix(f"{name}_"): file[key] for key in file if key.startswith(name)}
    counts = np.rint(np.square(scan.amplitude, dtype=float))
    np.testing.assert_array_equal(seen["patterns"], counts)
    np.testing.assert_array_equal(seen["bad"], scan.bad_pixels)
    np.testing.assert_array_equal(seen["object"].reshape(scan.truth.shape), scan.truth)
    np.testing.assert_array_equal(seen["probe"].reshape(scan.probe.shape), scan.probe)
    # ptychodus names the middle of a patch, which lies half a pixel before our centre
    theirs = np.stack([seen["y"], seen["x"]], 1)
    np.testing.assert_allclose(theirs, scan.positions - 0.5, rtol=1e-12)
    np.testing.assert_array_equal(seen["indexes"], np.arange(len(scan)))
    assert float(seen["pixel"]) == scan.pixel_size_m
    assert (float(seen["energy"]), float(seen["distance"])) == (8500.0, 1.9)
    assert float(seen["detector"]) == pytest.approx(75e-6)
    assert bool(seen["far"])
    if name == "pair":
        assert (str(seen["name"]), str(seen["comments"])) == ("star", "")


@pytest.mark.parametrize(
    ("file", "partner"),
    [("theirs_d.h5", "theirs.h5"), ("theirs_d.h5", "theirs_p.npz"), ("theirs_t.h5", None)],
)
def test_what_ptychodus_writes_is_the_same_scan(folder, scan, file, partner):
    how = Reading(positions_file=folder / partner if partner else None)
    found = prepare(measure(folder / file, how=how))
    good = ~scan.bad_pixels
    np.testing.assert_array_equal(found.amplitude[:, good], scan.amplitude[:, good])
    np.testing.assert_array_equal(found.bad_pixels, scan.bad_pixels)
    np.testing.assert_array_equal(found.probe, scan.probe)
    np.testing.assert_array_equal(found.truth, scan.truth)
    np.testing.assert_allclose(found.positions, scan.positions, rtol=1e-9)
    assert found.pixel_size_m == pytest.approx(scan.pixel_size_m, rel=1e-12)
    assert found.geometry.energy_ev == 8500.0


def test_its_training_npz_is_read(folder, scan):
    found = prepare(measure(folder / "theirs.npz"))
    np.testing.assert_array_equal(found.bad_pixels, scan.bad_pixels)
    np.testing.assert_allclose(found.positions, scan.positions - 0.5, rtol=1e-9)
