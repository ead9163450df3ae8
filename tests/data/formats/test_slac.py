import numpy as np
import pytest

from ptycho.data.formats.registry import measure, recognised
from ptycho.data.formats.slac import measure_slac
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError

N, SIZE = 8, 8  # as many patterns as pixels: the shape alone does not say which axis is which
rng = np.random.default_rng(0)
COUNTS = rng.integers(0, 500, (N, SIZE, SIZE)).astype(np.uint16)
Y, X = 12 + 10 * rng.random((2, N))
PROBE = (rng.normal(size=(SIZE, SIZE, 2)) @ [1, 1j]).astype(np.complex64)
OBJECT = np.exp(1j * rng.random((40, 36))).astype(np.complex64)


@pytest.fixture
def save(tmp_path):
    def write(**changes):
        arrays = {
            "diffraction": np.moveaxis(COUNTS, 0, -1), "xcoords_start": X, "ycoords_start": Y,
            "probeGuess": PROBE, "objectGuess": OBJECT,
        } | changes  # fmt: skip
        np.savez(tmp_path / "run1084.npz", **arrays)
        return tmp_path / "run1084.npz"

    return write


def test_frames_come_last_and_positions_are_pixels(save):
    path = save()
    assert recognised(path).name == "slac"
    scan = prepare(measure(path))
    np.testing.assert_array_equal(scan.amplitude, np.sqrt(COUNTS, dtype=np.float32))
    np.testing.assert_array_equal(scan.positions, np.stack([Y, X], 1))
    np.testing.assert_array_equal(scan.truth, OBJECT)
    assert scan.notes["geometry"] == (
        "assumed, as the file does not say: energy_ev 8000, distance_m 0.75, detector_pixel_m "
        "7.5e-05"
    )


def test_lengths_of_the_file_come_first(save):
    path = save(photon_energy_eV=9000.0, detector_distance_m=2.0, detector_pixel_size_m=5e-5)
    found = measure_slac(path)
    assert "geometry" not in found.notes
    pixel = 1.239841984e-6 / 9000 * 2 / (SIZE * 5e-5)
    assert found.pixel_size_m == pytest.approx(pixel)


def test_small_positions_are_metres(save):
    pixel = 1.239841984e-6 / 8000 * 0.75 / (SIZE * 75e-6)
    scan = prepare(measure(save(xcoords_start=X * pixel, ycoords_start=Y * pixel)))
    np.testing.assert_allclose(scan.positions, np.stack([Y, X], 1), atol=1e-6)
    assert scan.truth is None
    assert "nothing says where it lies" in scan.notes["object"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"xcoords_start": X[1:]}, r"xcoords_start and ycoords_start must be \(n,\) of one length"),
        ({"diffraction": COUNTS[:5]}, r"shape \(5, 8, 8\); 8 positions need square patterns"),
        ({"photon_energy_eV": -1.0}, "photon_energy_eV must be above 0, got -1"),
        ({"photon_energy_eV": np.ones(2)}, "photon_energy_eV must be one real number"),
    ],
)
def test_what_cannot_be_used(save, changes, words):
    with pytest.raises(DataError, match=words):
        measure_slac(save(**changes))


def test_files_with_both_kinds_of_positions_are_the_usual_ones(save):
    assert recognised(save(xcoords=X, ycoords=Y)).name == "npz"
