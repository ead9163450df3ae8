from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from ptycho.data.formats.registry import Reading, measure, recognised
from ptycho.data.scan import DataError
from tests.data.formats.samples import (
    COUNTS,
    HEIGHT,
    OBJECT,
    PIXEL,
    POSITIONS,
    PROBE,
    SIDE,
    WIDTH,
    N,
    sample,
)

PARA = Path(__file__).parents[4] / "shared/data/ptychi_para_sample.hdf5"
WAVELENGTH = 1.55e-10


@pytest.fixture
def pair(tmp_path):
    """``scan_dp.hdf5`` and ``scan_para.hdf5``, some datasets changed or gone."""

    def write(**changes):
        y, x = (POSITIONS * PIXEL).T
        arrays = {"ppY": y, "ppX": x[None], "lambda": WAVELENGTH, "dx": PIXEL, "angle": 0.0}
        with h5py.File(tmp_path / "scan_dp.hdf5", "w") as file:
            file["dp"] = changes.pop("dp", COUNTS)
        with h5py.File(tmp_path / "scan_para.hdf5", "w") as file:
            for key, one in (arrays | changes).items():
                if one is not None:
                    file[key] = one
        return tmp_path / "scan_dp.hdf5"

    return write


@pytest.fixture
def matlab(tmp_path):
    """A reconstruction as MATLAB saves it, version 5 or 7.3, and the patterns."""

    def write(version=5, **changes):
        corner = np.array([-(-(HEIGHT - SIDE) // 2), -(-(WIDTH - SIDE) // 2)])
        found = {
            "p": {"lambda": WAVELENGTH, "dx_spec": np.array([[PIXEL, PIXEL]])},
            "outputs": {"probe_positions": (POSITIONS - corner - SIDE // 2)[:, ::-1]},
            "probe": np.moveaxis(PROBE, 0, -1),
            "object": OBJECT[..., None],
        } | changes
        found = {key: one for key, one in found.items() if one is not None}
        if version == 5:
            scipy.io.savemat(tmp_path / "recon.mat", found)
            return tmp_path / "recon.mat"
        flat = {}
        for key, one in found.items():
            for field, value in one.items() if isinstance(one, dict) else [("", one)]:
                flat[f"{key}/{field}".strip("/")] = np.asarray(value)
        with h5py.File(tmp_path / "recon.mat", "w", userblock_size=512) as file:
            for key, one in flat.items():
                file[key] = _parts(one.T) if one.dtype.kind == "c" else one.T
        with (tmp_path / "recon.mat").open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file")
        return tmp_path / "recon.mat"

    return write


def _parts(array):
    """Complex numbers as MATLAB writes them."""
    kind = array.real.dtype
    found = np.empty(array.shape, [("real", kind), ("imag", kind)])
    found["real"], found["imag"] = array.real, array.imag
    return found


def test_the_other_half_is_found_by_its_name(pair):
    path = pair()
    found = measure(path)
    assert recognised(path).name == "fold_slice"
    np.testing.assert_allclose(found.positions, POSITIONS * PIXEL)
    assert (found.unit, found.pixel_size_m, found.probe) == ("m", PIXEL, None)
    assert found.geometry.energy_ev == pytest.approx(1.239841984e-6 / WAVELENGTH)
    np.testing.assert_array_equal(found.frames.read(slice(2, 4)), COUNTS[2:4])


def test_the_other_half_may_be_a_product(pair, tmp_path):
    """As pty-chi and ptycho-fm lay it out."""
    if not PARA.is_file():
        pytest.skip("../shared/data is absent")
    path = pair(dp=np.ones((961, 256, 256), "u1"))
    (tmp_path / "scan_para.hdf5").write_bytes(PARA.read_bytes())
    found = measure(path)
    assert found.probe.shape == (2, 256, 256)
    assert found.obj is None  # 0.5 everywhere
    assert found.unit == "px"
    assert found.pixel_size_m == pytest.approx(8e-9)
    assert found.positions.min() > 0
    assert found.positions.max() < 415


@pytest.mark.parametrize("version", [5, 7.3])
def test_a_reconstruction_tells_positions_probe_and_object(pair, matlab, version):
    found = measure(pair(), how=Reading(positions_file=matlab(version)))
    np.testing.assert_allclose(found.positions, POSITIONS, atol=1e-9)
    np.testing.assert_array_equal(found.probe, PROBE)
    np.testing.assert_array_equal(found.obj, OBJECT)
    assert found.unit == "px"
    assert found.pixel_size_m == PIXEL


def test_varying_probes_come_last_in_matlab(pair, matlab):
    several = np.stack([np.moveaxis(PROBE, 0, -1), np.ones((SIDE, SIDE, 2))], axis=-1)
    found = measure(pair(), how=Reading(positions_file=matlab(probe=several)))
    np.testing.assert_array_equal(found.probe, PROBE)
    assert "2 modes (OPR)" in found.notes["partner"]


def test_patterns_may_be_in_a_matlab_file(matlab):
    path = matlab(dp=np.moveaxis(COUNTS, 0, -1))
    found = measure(path)
    np.testing.assert_array_equal(found.frames.read(slice(None)), COUNTS)
    np.testing.assert_allclose(found.positions, POSITIONS, atol=1e-9)
    found = measure(matlab(7.3, dp=np.moveaxis(COUNTS, 0, -1)))
    np.testing.assert_array_equal(found.frames.read(slice(1, 3)), COUNTS[1:3])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ppX": np.zeros(4)}, "ppX and ppY differ in length: 4 and 6"),
        ({"ppX": None}, "holds no positions that are known here"),
        ({"ppX": np.full(N, np.inf)}, "ppX holds NaN or infinity"),
        ({"dx": -1.0}, "dx must be the side of an object pixel in metres, got -1"),
        ({"dx": [1e-8, 2e-8]}, "dx is pixels are not square"),
        ({"lambda": 0.0, "dx": np.ones(3)}, "dx must be one or two lengths"),
        ({"lambda": -1.0}, "lambda must be a wavelength in metres, got -1"),
        ({"lambda": "text"}, "lambda must hold one real number, got text, references or objects"),
        ({"dp": COUNTS[0]}, r"dp must be patterns \(n, H, W\), got \(8, 8\)"),
        ({"dp": COUNTS[1:]}, "has 6 positions for the 5 patterns of dp"),
    ],
)
def test_what_cannot_be_used(pair, changes, words):
    with pytest.raises(DataError, match=words):
        measure(pair(**changes))


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": {"x": 1.0}}, "outputs.probe_positions is missing"),
        ({"outputs": {"probe_positions": POSITIONS.T}}, r"must be \(n, 2\), got \(2, 6\)"),
        ({"outputs": {"probe_positions": POSITIONS + 99}}, "outside the object of 40 x 36"),
        ({"probe": PROBE[0] * 0}, "probe is zero everywhere"),
        ({"probe": PROBE[:, 0, 0]}, "must be"),
        ({"probe": PROBE[0] * np.nan}, "NaN|finite"),
        ({"object": OBJECT.real}, "object must hold complex numbers, got float32"),
        ({"p": {"lambda": 1.0, "dx_spec": 1.0}}, "p/dx_spec must be the side of an object pixel"),
    ],
)
def test_what_is_no_reconstruction(pair, matlab, version, changes, words):
    with pytest.raises(DataError, match=rf"recon\.mat: .*{words}"):
        measure(pair(), how=Reading(positions_file=matlab(version, **changes)))


def test_the_halves_must_not_be_exchanged(pair, tmp_path):
    path = pair()
    with pytest.raises(DataError, match=r"para.hdf5: holds positions and no patterns \(dp\); name"):
        measure(tmp_path / "scan_para.hdf5")
    (tmp_path / "scan_para.hdf5").unlink()
    with pytest.raises(DataError, match=r"no positions; .* as scan_para.hdf5 would be: data.posit"):
        measure(path)


def test_a_matlab_file_cut_short(tmp_path):
    whole = sample("fold_slice", tmp_path)
    partner = whole.how.positions_file
    partner.write_bytes(partner.read_bytes()[:300])
    with pytest.raises(DataError, match=r"recon\.mat: not a MATLAB file, or cut short"):
        measure(whole.path, how=whole.how)
