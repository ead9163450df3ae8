"""Reconstructions from anywhere, in the one convention; what cannot be used is told."""

import h5py
import numpy as np
import pytest

from ptycho.data.formats.npz import write_npz
from ptycho.data.products import read_product, to_our_pixels
from ptycho.data.scan import DataError
from tests.products import (
    PIXEL,
    ptychodus_arrays,
    write_product_h5,
    write_product_npz,
    write_result,
)
from tests.runs import tiny_scan

DICE = np.random.default_rng(0)
OBJECT = (DICE.normal(size=(40, 37, 2)) @ [1, 1j]).astype(np.complex64)
POSITIONS = DICE.uniform(9, 28, (6, 2))
X = POSITIONS[:, 1]


def probe(size: int, modes: int = 1) -> np.ndarray:
    return (DICE.normal(size=(modes, size, size, 2)) @ [1, 1j]).astype(np.complex64)


def test_our_own_result(tmp_path):
    scan = tiny_scan()
    path = write_result(tmp_path / "r.npz", scan, pixel_size_m=5e-9, held_out=np.array([3, 1]))
    read = read_product(path)
    np.testing.assert_array_equal(read.obj, scan.truth)
    np.testing.assert_array_equal(read.probe, scan.probe)
    np.testing.assert_array_equal(read.positions, scan.positions)
    assert read.indexes is None
    assert read.pixel_size_m == 5e-9
    assert list(read.held_out) == [1, 3]


@pytest.mark.parametrize("nobody", [[], np.zeros((0, 1), bool), np.zeros(0, np.int32)])
def test_an_empty_list_means_that_nothing_was_held_out(tmp_path, nobody):
    np.savez(tmp_path / "r.npz", **(GOOD | {"held_out": nobody}))
    assert read_product(tmp_path / "r.npz").held_out.shape == (0,)


def test_a_result_is_called_like_its_run(tmp_path):
    (tmp_path / "night_shift").mkdir()
    path = write_result(tmp_path / "night_shift" / "reconstruction.npz", tiny_scan())
    assert read_product(path).label == "night_shift"


def test_the_estimate_in_a_scan(tmp_path):
    scan = tiny_scan()
    write_npz(tmp_path / "scan.npz", scan)
    read = read_product(tmp_path / "scan.npz")
    np.testing.assert_array_equal(read.obj, scan.truth)
    np.testing.assert_array_equal(read.positions, scan.positions)
    assert read.notes == ("the object is the true one shipped with a scan",)
    assert read.label == scan.label


@pytest.mark.parametrize("key", ["object", "obj", "objectGuess"])
def test_an_object_alone(tmp_path, key):
    np.savez(tmp_path / "a.npz", **{key: OBJECT[None]})
    read = read_product(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.obj, OBJECT)
    assert read.probe is None
    assert read.positions is None


def test_a_bare_array_whatever_its_ending(tmp_path):
    np.save(tmp_path / "a.npy", OBJECT.astype(np.complex128))
    (tmp_path / "a.npy").rename(tmp_path / "a.dat")
    read = read_product(tmp_path / "a.dat")
    np.testing.assert_array_equal(read.obj, OBJECT)
    assert read.obj.dtype == np.complex64


@pytest.mark.parametrize("size", [15, 16])
@pytest.mark.parametrize("write", [write_product_h5, write_product_npz])
def test_metres_of_ptychodus_are_our_pixels(tmp_path, write, size):
    arrays = ptychodus_arrays(OBJECT, probe(size, 2)[None], POSITIONS)
    read = read_product(write(tmp_path / "product", arrays).with_suffix(
        ".npz" if write is write_product_npz else ""
    ))  # fmt: skip
    # metres in double precision, micrometres away, in pixels of nanometres
    np.testing.assert_allclose(read.positions, POSITIONS, atol=1e-9)
    np.testing.assert_array_equal(read.obj, OBJECT)
    np.testing.assert_array_equal(read.probe, arrays["probe"][0])
    np.testing.assert_array_equal(read.indexes, np.arange(6))
    assert read.pixel_size_m == PIXEL


def test_the_half_pixel():
    # metre 0 is the middle of 8 pixels, between 3 and 4: four pixels lie on either side, so a
    # patch of four about it begins at 2, and its pixel 4 // 2 is pixel 4 of the object
    assert to_our_pixels(np.zeros(1), 0.0, 1.0, side=8, patch=4) == 4
    # three pixels about the middle of nine begin at 3, and their pixel 1 is the middle
    assert to_our_pixels(np.zeros(1), 0.0, 1.0, side=9, patch=3) == 4


def test_of_several_probes_the_first_and_it_is_said(tmp_path):
    several = probe(16, 6).reshape(3, 2, 16, 16)
    path = write_product_h5(tmp_path / "p.h5", ptychodus_arrays(OBJECT, several, POSITIONS))
    read = read_product(path)
    np.testing.assert_array_equal(read.probe, several[0])
    assert read.notes == ("the probe varies over the scan in 3 modes (OPR); the first is used",)


def test_oblong_pixels_have_no_length(tmp_path):
    arrays = ptychodus_arrays(OBJECT, probe(16), POSITIONS)
    arrays["probe_position_y_m"] = arrays["probe_position_y_m"] * 2
    path = write_product_h5(
        tmp_path / "p.h5", arrays, pixel_height_m=2 * PIXEL, center_y_m=2 * 3.1e-6
    )
    read = read_product(path)
    np.testing.assert_allclose(read.positions, POSITIONS, atol=1e-9)
    assert read.pixel_size_m is None
    assert "not square" in read.notes[0]


def test_a_lent_product_is_read(shared_data):
    read = read_product(shared_data / "ptychi_para_sample.hdf5")
    assert read.obj.shape == (415, 415)
    assert read.probe.shape == (2, 256, 256)
    assert len(read.positions) == len(read.indexes) == 961
    assert read.pixel_size_m == pytest.approx(8e-9)


GOOD = {
    "object": OBJECT, "probe": probe(16), "ycoords": POSITIONS[:, 0], "xcoords": POSITIONS[:, 1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"object": None}, "holds probe, ycoords, xcoords; it must be a reconstruction.npz of"),
        ({"object": np.array([{}])}, "object is a pickled object, never opened here"),
        ({"object": np.angle(OBJECT)}, "must hold complex numbers, got float32; save the complex"),
        ({"object": np.stack([OBJECT, OBJECT])}, "object has 2 layers, and only one can be judg"),
        ({"object": OBJECT[0]}, r"object must be \(H, W\), got \(37,\)"),
        ({"object": OBJECT[:0]}, r"object must be \(H, W\), got \(0, 37\)"),
        ({"object": np.where(OBJECT.real > 2, np.nan, OBJECT)}, "object holds NaN or infinity"),
        (
            {"object": OBJECT.astype(complex) * 1e60},
            "object reaches values too large",
        ),
        ({"object": 0 * OBJECT}, "object: no light comes through this object; is it empty"),
        ({"object": OBJECT.astype(complex) * 1e-40}, "too little for single precision; rescale"),
        ({"object": OBJECT * np.float32(1e-34)}, "object reaches no more than .*e-34, too little"),
        ({"probe": probe(16)[:, 1:]}, r"probe must be \(N, N\) or \(modes, N, N\)"),
        ({"probe": 0 * probe(16)}, "probe is zero everywhere"),
        ({"probe": probe(16)[None] * 0}, "probe is zero everywhere"),
        ({"xcoords": None}, "xcoords is missing"),
        ({"xcoords": POSITIONS[1:, 1]}, r"of one length, got \(5,\) and \(6,\)"),
        ({"xcoords": POSITIONS[:, 1] + 20}, r"positions reach .* outside the object of 40 x 37"),
        ({"ycoords": POSITIONS[:, 0] - 30}, "count in pixels from the object's first one"),
        ({"xcoords": X[:0], "ycoords": X[:0]}, "holds not a single position"),
        ({"held_out": np.array([6])}, "held_out must number the 6 positions from 0, got 6 to 6"),
        ({"flux": np.ones(5)}, r"flux must be \(6,\) to go with the rest, got \(5,\)"),
        ({"flux": -np.ones(6)}, "flux must be finite and nowhere negative"),
        ({"background": np.ones((3, 3))}, r"background must be \(16, 16\) to go"),
        ({"background": np.full((16, 16), np.nan)}, "background hold"),
        ({"held_out": np.array([0.5])}, "held_out must hold numbers of patterns, got float64"),
        ({"pixel_size_m": 8.0}, "pixel_size_m must be metres above 0, got 8"),
    ],
)
def test_what_cannot_be_judged_is_told_in_a_sentence(tmp_path, changes, words):
    arrays = {k: v for k, v in (GOOD | changes).items() if v is not None}
    np.savez(tmp_path / "star.npz", **arrays)
    with pytest.raises(DataError, match=r"star\.npz: .*" + words):
        read_product(tmp_path / "star.npz")


@pytest.mark.parametrize(
    ("arrays", "attributes", "words"),
    [
        ({"probe_position_y_m": None}, {}, "probe_position_y_m is missing; the file holds"),
        ({"probe_position_y_m": np.zeros(3)}, {}, "differ in length: 6 and 3"),
        ({"probe_position_x_m": np.full(6, np.nan)}, {}, "probe_position_x_m holds NaN"),
        ({"probe_position_x_m": np.full(6, 1.0)}, {}, "outside the object of 40 x 37"),
        ({"probe_position_indexes": np.arange(5)}, {}, "one for each of 6 positions, got 5"),
        ({"probe": None}, {}, "probe is missing"),
        ({"object": None}, {}, "object is missing"),
        ({"object": np.stack([OBJECT, OBJECT])}, {}, "object has 2 layers"),
        ({}, {"pixel_width_m": None}, "object pixel_width_m is missing; the side of a pixel"),
        ({}, {"pixel_height_m": -1e-9}, "object pixel_height_m is -1e-09"),
        ({}, {"center_x_m": np.nan}, "object.center_x_m must be one real number"),
    ],
)
def test_broken_products_are_told_in_a_sentence(tmp_path, arrays, attributes, words):
    good = ptychodus_arrays(OBJECT, probe(16), POSITIONS)
    kept = {k: v for k, v in (good | arrays).items() if v is not None}
    path = write_product_h5(tmp_path / "p.h5", kept, **attributes)
    with pytest.raises(DataError, match=r"p\.h5: .*" + words):
        read_product(path)


def test_groups_are_no_arrays(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file.create_group("object")
    with pytest.raises(DataError, match="object must be an array, got a group"):
        read_product(tmp_path / "p.h5")


def test_a_scan_without_an_estimate(tmp_path):
    scan = tiny_scan()
    np.savez(tmp_path / "scan.npz", diffraction=scan.amplitude)
    with pytest.raises(DataError, match="objectGuess is missing: this is a scan without"):
        read_product(tmp_path / "scan.npz")
    np.savez(tmp_path / "scan.npz", diffraction=scan.amplitude, objectGuess=np.ones((9, 9)))
    with pytest.raises(DataError, match="objectGuess has no structure"):
        read_product(tmp_path / "scan.npz")


def test_no_file_a_folder_and_anything_else(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.npz: no such file"):
        read_product(tmp_path / "a.npz")
    with pytest.raises(DataError, match="is a folder; name the file in it"):
        read_product(tmp_path)
    for content in (b"", b"\x89PNG\r\n\x1a\n", b"PK"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npz: not a"):
            read_product(tmp_path / "a.npz")


def test_damaged_bytes_are_refused_or_harmless_never_anything_else(tmp_path):
    arrays = ptychodus_arrays(OBJECT[:20, :20], probe(4), POSITIONS / 2)
    path = write_product_npz(tmp_path / "p.npz", arrays)
    whole, dice = path.read_bytes(), np.random.default_rng(1)
    refused = []
    for _ in range(150):
        broken = bytearray(whole)
        for place in dice.integers(0, len(whole), 20):
            broken[place] = dice.integers(256)
        path.write_bytes(broken)
        try:
            assert np.isfinite(read_product(path).obj).all()
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all("p.npz" in said for said in refused)


@pytest.mark.parametrize("write", [write_product_h5, write_product_npz])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.98])
def test_a_file_cut_short(tmp_path, write, share):
    path = write(tmp_path / "p.npz", ptychodus_arrays(OBJECT, probe(16), POSITIONS))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"p\.npz: (not an NPZ|an HDF5) file.* or (was )?cut short"):
        read_product(path)


def test_a_bare_array_of_zeros(tmp_path):
    np.save(tmp_path / "dark.npy", 0 * OBJECT)
    with pytest.raises(DataError, match=r"dark\.npy: the array: no light comes through"):
        read_product(tmp_path / "dark.npy")
