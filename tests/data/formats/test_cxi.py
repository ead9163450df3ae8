import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings

from ptycho.data.formats.cxi import JOULE, measure_cxi, recognises, write_cxi
from ptycho.data.formats.registry import Reading, measure
from ptycho.data.geometry import Geometry
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError, Scan
from tests.data.formats.samples import (
    BAD,
    COUNTS,
    GEOMETRY,
    OBJECT,
    PIXEL,
    POSITIONS,
    PROBE,
    SIDE,
    N,
    a_scan,
)
from tests.data.formats.scans import assert_same, made

ENTRY = "entry_1"
DETECTOR = f"{ENTRY}/instrument_1/detector_1"
ENERGY = f"{ENTRY}/instrument_1/source_1/energy"
TRANSLATION = f"{ENTRY}/sample_1/geometry_1/translation"


@pytest.fixture
def save(tmp_path):
    """A file as beamlines write it: patterns, metres, no probe; some datasets changed or gone."""

    def write(**changes):
        metres = np.zeros((N, 3))
        metres[:, 1], metres[:, 0] = (POSITIONS * PIXEL).T
        arrays = {
            f"{DETECTOR}/data": COUNTS.astype(np.uint16),
            f"{DETECTOR}/distance": 0.03,
            f"{DETECTOR}/x_pixel_size": 75e-6,
            f"{DETECTOR}/y_pixel_size": 75e-6,
            f"{DETECTOR}/mask": BAD.astype(np.uint32) * 512,
            ENERGY: 8000 * JOULE,
            TRANSLATION: metres,
        }
        named = {"translation": TRANSLATION, "energy": ENERGY, "data": f"{DETECTOR}/data"}
        arrays |= {named.get(key, f"{DETECTOR}/{key}"): one for key, one in changes.items()}
        with h5py.File(tmp_path / "scan", "w") as file:
            for key, one in arrays.items():
                if one is not None:
                    file[key] = one
        return tmp_path / "scan"

    return write


def metres():
    return POSITIONS * PIXEL


@settings(max_examples=10, deadline=None)
@given(scan=made())
def test_what_is_written_is_read_again(tmp_path_factory, scan: Scan):
    path = tmp_path_factory.mktemp("cxi") / "scan"
    write_cxi(path, scan)
    assert recognises(path)
    assert_same(prepare(measure_cxi(path)), scan)


def test_what_is_known_comes_back_and_nothing_else(tmp_path):
    path = tmp_path / "x"
    write_cxi(path, Scan(np.sqrt(COUNTS, dtype=np.float32), POSITIONS - 50, PROBE))
    found = measure_cxi(path)
    assert found.pixel_size_m is None
    assert found.geometry == Geometry()
    assert found.obj is None
    np.testing.assert_allclose(found.positions, POSITIONS - 50, rtol=0, atol=1e-9)
    write_cxi(path, a_scan())
    found = measure_cxi(path)
    assert found.pixel_size_m == pytest.approx(PIXEL)
    assert found.geometry.energy_ev == pytest.approx(GEOMETRY.energy_ev)
    assert found.geometry.distance_m == GEOMETRY.distance_m


def test_it_is_laid_out_as_the_standard_and_ptychodus_want(tmp_path):
    """Joules; x, y, z; metre 0 at the middle of the object; links; a mask."""
    write_cxi(tmp_path / "x", a_scan())
    with h5py.File(tmp_path / "x") as file:
        assert file["cxi_version"][()] == 160
        assert file[ENERGY][()] == pytest.approx(8000 * JOULE)
        place, (height, width) = file[TRANSLATION][:], OBJECT.shape
        half = (SIDE // 2) - (SIDE - 1) / 2
        np.testing.assert_allclose(
            place[:, 0] / PIXEL + (width - 1) / 2 + half, POSITIONS[:, 1], atol=1e-9
        )
        np.testing.assert_allclose(
            place[:, 1] / PIXEL + (height - 1) / 2 + half, POSITIONS[:, 0], atol=1e-9
        )
        assert not place[:, 2].any()
        np.testing.assert_array_equal(file["entry_1/data_1/data"][:], np.where(BAD, 0, COUNTS))
        assert file["entry_1/data_1/translation"].shape == (N, 3)
        np.testing.assert_array_equal(file[f"{DETECTOR}/mask"][:], BAD)
        assert file["entry_1/image_1/data"].shape == (1, 2, SIDE, SIDE)
        assert file["entry_1/image_2/data"].shape == (1, height, width)


def test_a_file_of_a_beamline(save):
    found = measure_cxi(save())
    np.testing.assert_allclose(found.positions, metres(), rtol=1e-12)
    assert (found.unit, found.values, found.probe) == ("m", "auto", None)
    assert found.geometry == Geometry(pytest.approx(8000.0), 0.03, 75e-6)
    np.testing.assert_array_equal(found.bad_pixels, BAD)
    np.testing.assert_array_equal(found.frames.read(np.array([3, 1])), COUNTS[[3, 1]])


def test_older_files_have_coordinates_first(save):
    turned = np.zeros((3, N))
    turned[1], turned[0] = metres().T
    np.testing.assert_allclose(measure_cxi(save(translation=turned)).positions, metres())


def test_electronvolts_are_taken_for_what_they_are(save):
    found = measure_cxi(save(energy=8000.0))
    assert found.geometry.energy_ev == 8000
    assert "energy of 8000 is read as electronvolts" in found.notes["cxi"]


def test_pixels_that_are_no_squares_tell_no_lengths(save):
    found = measure_cxi(save(x_pixel_size=50e-6))
    assert found.geometry.detector_pixel_m is None
    assert "not square (7.5e-05 x 5e-05 m)" in found.notes["cxi"]


def test_a_detector_may_be_upstream(save):
    assert measure_cxi(save(distance=-0.03)).geometry.distance_m == 0.03


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"translation": metres()[:4] @ np.eye(2, 3)}, "has 4 positions for the 6 patterns"),
        ({"translation": metres().ravel()}, r"must be \(n, 3\): x, y, z in metres, got \(12,\)"),
        ({"translation": np.full((N, 3), np.nan)}, "translation holds NaN or infinity"),
        ({"translation": np.ones((N, 3))}, "says the same position for every pattern"),
        ({"translation": np.array(["a"] * N, "S1")}, "must hold metres, got |S1"),
        ({"translation": None}, "geometry_1/translation or .* is missing; the file holds entry_1/"),
        ({"energy": -1.0}, "says an energy of -6.242e[+]18 eV, which cannot be"),
        ({"energy": np.ones(3)}, "energy must be one real number"),
        ({"distance": 1e9}, "distance must be metres between -10000 and 10000, got 1e[+]09"),
        ({"mask": BAD * 1.5}, "mask must hold whole numbers, 0 where a pixel is good, got float64"),
        ({"mask": BAD[1:]}, r"bad_pixels must be \(8, 8\)"),
        ({"data": COUNTS[0]}, r"data must be patterns \(n, H, W\), got \(8, 8\)"),
        ({"data": COUNTS * -1}, "must not be negative"),
        ({"data": COUNTS * 1j}, "must hold real counts or amplitudes, got complex128"),
        ({"data": None}, "data is missing"),
    ],
)
def test_what_cannot_be_used(save, changes, words):
    with pytest.raises(DataError, match=words) as refusal:
        prepare(measure_cxi(save(**changes)))
    assert "\n" not in str(refusal.value)


def test_near_fields_have_no_place(tmp_path):
    scan = Scan(np.sqrt(COUNTS, dtype=np.float32), POSITIONS, PROBE, fresnel=1.0)
    with pytest.raises(DataError, match=r"near field, which CXI cannot say; .*to=npz"):
        write_cxi(tmp_path / "x", scan)
    assert not [*tmp_path.iterdir()]


PYTHON = os.environ.get("PTYCHO_PTYCHODUS_PYTHON", "")


@pytest.mark.ptychodus
@pytest.mark.skipif(not PYTHON, reason="PTYCHO_PTYCHODUS_PYTHON names no Python")
def test_ptychodus_sees_the_same_numbers(tmp_path):
    """And its own product goes with our patterns."""
    scan = a_scan()
    write_cxi(tmp_path / "x.cxi", scan)
    script = Path(__file__).with_name("cxi_in_ptychodus.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([PYTHON, script, tmp_path], check=True, env=environment)
    seen = np.load(tmp_path / "seen.npz")
    np.testing.assert_array_equal(seen["patterns"], np.where(BAD, 0, COUNTS))
    np.testing.assert_array_equal(seen["bad"], BAD)
    np.testing.assert_array_equal(seen["object"].reshape(OBJECT.shape), OBJECT)
    np.testing.assert_array_equal(seen["probe"].reshape(PROBE.shape), PROBE)
    # ptychodus names the middle of a patch, which lies half a pixel before our centre
    np.testing.assert_allclose(np.stack([seen["y"], seen["x"]], 1), POSITIONS - 0.5, rtol=1e-9)
    assert float(seen["pixel"]) == PIXEL
    assert float(seen["energy"]) == pytest.approx(8000)
    assert float(seen["distance"]) == 0.5
    assert str(seen["name"]) == "scan"
    how = Reading(positions_file=tmp_path / "product.cxi")
    found = measure(tmp_path / "x.cxi", how=how)
    np.testing.assert_allclose(found.positions, POSITIONS, rtol=1e-9)
    np.testing.assert_array_equal(found.probe, PROBE)
    np.testing.assert_array_equal(found.obj, OBJECT)
