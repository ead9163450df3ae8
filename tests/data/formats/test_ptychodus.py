from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from ptycho.config.data_config import GeometryConfig
from ptycho.data.formats.npz import write_npz
from ptycho.data.formats.ptychodus import (
    DIFFRACTION,
    PRODUCT,
    measure_pair,
    recognises,
    write_pair,
)
from ptycho.data.formats.ptychodus_training import measure_training, write_training
from ptycho.data.formats.registry import measure
from ptycho.data.frames import ArrayFrames
from ptycho.data.geometry import Geometry
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError, Scan
from tests.data.formats.scans import assert_same, made
from tests.products import PIXEL, ptychodus_arrays, write_product_h5, write_product_npz

N, SIZE = 6, 8
rng = np.random.default_rng(0)
COUNTS = rng.integers(0, 500, (N, SIZE, SIZE)).astype(np.uint16)
POSITIONS = 12 + 10 * rng.random((N, 2))
PROBE = (rng.normal(size=(2, SIZE, SIZE)) + 1j * rng.normal(size=(2, SIZE, SIZE))).astype("c8")
OBJECT = np.exp(1j * rng.random((40, 36))).astype(np.complex64)
ARRAYS = ptychodus_arrays(OBJECT, PROBE, POSITIONS)


@pytest.fixture
def save(tmp_path):
    """Write patterns and product as ptychodus does, some arrays changed or (None) left out."""

    def write(npz=False, attributes=None, **changes):
        patterns = {
            "patterns": COUNTS,
            "indexes": np.arange(N),
            "bad_pixels": np.zeros((8, 8), "?"),
        }
        patterns |= {key: changes.pop(key) for key in [*patterns] if key in changes}
        arrays = ARRAYS | changes
        arrays = {key: value for key, value in arrays.items() if value is not None}
        one, other = tmp_path / "d", tmp_path / "p"
        if npz:
            np.savez(one, **{key: value for key, value in patterns.items() if value is not None})
            return one.with_suffix(".npz"), write_product_npz(other.with_suffix(".npz"), arrays)
        with h5py.File(one, "w") as file:
            for key, value in patterns.items():
                if value is not None:
                    file[key] = value
            file["patterns"].attrs["detector_pixel_width_m"] = 75e-6
        write_product_h5(other, arrays)
        with h5py.File(other, "r+") as file:
            file.attrs.update(attributes or {})
        return one, other

    return write


def read(one, other):
    return prepare(measure_pair(one, other))


# ---- what is read ------------------------------------------------------------------------


@pytest.mark.parametrize("npz", [False, True], ids=["hdf5", "npz"])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_pair_as_ptychodus_writes_it(save, npz, swapped):
    files = save(npz)
    found = measure_pair(*(files[::-1] if swapped else files))
    scan = prepare(found)
    np.testing.assert_array_equal(scan.amplitude, np.sqrt(COUNTS, dtype=np.float32))
    np.testing.assert_allclose(scan.positions, POSITIONS, atol=1e-9)
    np.testing.assert_array_equal(scan.probe, PROBE)
    np.testing.assert_array_equal(scan.truth, OBJECT)
    assert not scan.truth_is_known
    assert scan.pixel_size_m == pytest.approx(PIXEL)
    assert scan.label == "by hand"
    assert scan.notes["values"] == "counts (as ptychodus keeps them)"
    assert scan.notes["pairing"] == "6 patterns by their numbers"
    if not npz:
        assert scan.geometry == Geometry(8000.0, 1.0, 75e-6)


def test_a_folder_of_ptychodus_is_a_scan(save, tmp_path):
    one, other = save()
    assert not recognises(tmp_path)
    one.rename(tmp_path / DIFFRACTION)
    other.rename(tmp_path / PRODUCT)
    assert recognises(tmp_path)
    assert len(read(tmp_path, None)) == N


def test_patterns_and_positions_are_paired_by_their_numbers(save):
    """Averaged where a number has several positions, dropped where it has none."""
    patterns, positions = np.array([70, 30, 10, 50, -1, 30]), np.array([10, 30, 50, 30, 99, 98])
    scan = read(*save(indexes=patterns, probe_position_indexes=positions))
    np.testing.assert_array_equal(scan.amplitude, np.sqrt(COUNTS[[1, 2, 3, 5]], dtype=np.float32))
    mean = (POSITIONS[1] + POSITIONS[3]) / 2
    want = [mean, POSITIONS[0], POSITIONS[2], mean]
    np.testing.assert_allclose(scan.positions, want, atol=1e-9)
    assert scan.notes["pairing"] == (
        "4 patterns by their numbers; 1 patterns have several positions, which are averaged; "
        "2 patterns have no position and are left out; 2 positions have no pattern and are left out"
    )


def test_unnumbered_patterns_are_numbered_in_order(save):
    scan = read(*save(True, indexes=None))
    assert scan.notes["indexes"] == "the patterns have no numbers and are numbered from 0"
    np.testing.assert_allclose(scan.positions, POSITIONS, atol=1e-9)


def test_bad_pixels_are_hidden(save):
    bad = rng.random((SIZE, SIZE)) < 0.2
    np.testing.assert_array_equal(read(*save(bad_pixels=bad)).bad_pixels, bad)


def test_of_several_probes_the_first_is_used(save):
    scan = read(*save(probe=np.stack([PROBE, 2 * PROBE])))
    np.testing.assert_array_equal(scan.probe, PROBE)
    assert "varies over the scan in 2 modes (OPR)" in scan.notes["product_1"]


def test_layers_and_flat_objects_are_left_out(save):
    scan = read(*save(object=np.stack([OBJECT] * 3)))
    assert scan.truth is None
    assert scan.notes["product_1"] == "the object has 3 layers and is left out"
    assert read(*save(object=np.ones_like(OBJECT))).truth is None


def test_patterns_stay_in_their_file(save):
    frames = measure_pair(*save()).frames
    np.testing.assert_array_equal(frames.read(np.array([5, 2, 2])), COUNTS[[5, 2, 2]])
    assert type(frames).__name__ == "Hdf5Frames"
    frames.close()
    chosen = measure_pair(*save(indexes=np.arange(3, N + 3))).frames
    np.testing.assert_array_equal(chosen.read(slice(1, 3)), COUNTS[1:3])


def test_a_near_detector_is_near(save):
    found = measure_pair(*save(attributes={"far_field": False, "focus_object_distance_m": 0.25}))
    assert not found.geometry.far_field
    wavelength = 1.239841984e-6 / 8000
    assert found.fresnel == pytest.approx(PIXEL**2 / (wavelength * 0.2))
    found.frames.close()
    unknown = {"far_field": False, "photon_energy_eV": 0.0}
    with pytest.raises(
        DataError, match=r"near field, and nothing says how near; type data\.geometry\.energy_ev"
    ):
        prepare(measure_pair(*save(attributes=unknown)))


# ---- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"indexes": np.arange(5)}, "d: indexes must be one for each of 6 patterns, got 5"),
        ({"indexes": np.arange(N) + 50}, "numbered 50 to 55 and the positions of .* 0 to 5"),
        ({"bad_pixels": np.zeros((8, 7), "?")}, r"bad_pixels must be \(8, 8\), got \(8, 7\)"),
        ({"bad_pixels": np.ones((8, 8), "?")}, "marks every pixel"),
        ({"patterns": COUNTS[0]}, r"patterns must be patterns \(n, H, W\), got \(8, 8\)"),
        ({"patterns": COUNTS * -1.0}, "must not be negative"),
        ({"patterns": np.full((N, 8, 8), np.nan)}, "holds NaN or infinity"),
        ({"probe": None}, "p: probe is missing"),
        ({"probe": PROBE * 0}, "probe is zero everywhere"),
        ({"probe": PROBE[..., :7, :7]}, r"probe must be \(modes, 8, 8\), got \(2, 7, 7\)"),
        ({"probe_position_y_m": None}, "p: probe_position_y_m is missing"),
        ({"probe_position_x_m": ARRAYS["probe_position_x_m"][1:]}, "differ in length: 5 and 6"),
        ({"probe_position_x_m": 9 * ARRAYS["probe_position_x_m"]}, "outside the object of 40 x 36"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("npz", [False, True], ids=["hdf5", "npz"])
def test_what_cannot_be_used(save, npz, changes, words):
    if npz:
        words = words.replace("d:", "d.npz:").replace("p:", "p.npz:")
    with pytest.raises(DataError, match=words):
        read(*save(npz, **changes))


def test_the_other_file_must_be_named(save, tmp_path):
    one, other = save()
    with pytest.raises(DataError, match=r"without positions and probe; name the other file, too: "
                       r"data.positions_file=FILE \(ptychodus calls it product.h5\)"):  # fmt: skip
        measure_pair(one, None)
    other.rename(tmp_path / PRODUCT)
    with pytest.raises(DataError, match=r"FILE \(\S+product.h5 is there\)"):
        measure_pair(one, None)
    with pytest.raises(DataError, match=r"product, without patterns; .*calls it diffraction.h5"):
        measure_pair(tmp_path / PRODUCT, None)
    with pytest.raises(DataError, match=r"data.positions_file: .*d is no ptychodus product"):
        measure_pair(one, one)
    with pytest.raises(DataError, match=r"is no ptychodus patterns \(it has no patterns\)"):
        measure_pair(tmp_path / PRODUCT, tmp_path / PRODUCT)
    np.savez(tmp_path / "x.npz", a=1)
    with pytest.raises(DataError, match="neither a ptychodus product nor its patterns; it holds a"):
        measure_pair(one, tmp_path / "x.npz")


# ---- what is written ---------------------------------------------------------------------

LOSSLESS = {
    "pair": (write_pair, lambda path: measure_pair(path, None)),
    "training": (write_training, measure_training),
}


@pytest.mark.parametrize("name", LOSSLESS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture])  # fmt: skip
@given(scan=made(one_mask=True))
def test_what_is_written_is_read_again(tmp_path_factory, name, scan):
    write, measure = LOSSLESS[name]
    path = tmp_path_factory.mktemp("scan") / "scan"
    write(path, scan)
    assert_same(prepare(measure(path)), scan)


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_scan_without_any_length_stays_without(tmp_path, name):
    write, measure = LOSSLESS[name]
    scan = small_scan()
    write(tmp_path / "scan", scan)
    again = prepare(measure(tmp_path / "scan"))
    assert again.pixel_size_m is None
    assert again.geometry == Geometry()


def test_lengths_that_are_made_up_are_said_to_be(tmp_path):
    write_pair(tmp_path / "scan", replace(small_scan(), pixel_size_m=2e-8))
    with h5py.File(tmp_path / "scan" / PRODUCT) as file:
        comment = file.attrs["comments"]
        assert file["object"].attrs["pixel_width_m"] == 2e-8
    assert comment == (
        "Nominal, made up where nothing was known: energy_ev, distance_m, detector_pixel_m. Do not "
        "read lengths off this file."
    )


def test_whole_counts_are_written_as_integers(tmp_path):
    write_pair(tmp_path / "scan", small_scan())
    with h5py.File(tmp_path / "scan" / DIFFRACTION) as file:
        assert file["patterns"].dtype == np.uint16
        np.testing.assert_array_equal(file["patterns"], COUNTS)


@pytest.mark.parametrize("write", [write_pair, write_training])
def test_what_cannot_be_written(tmp_path, write):
    amplitude = small_scan().amplitude.copy()
    amplitude[0, 0, 0] = -0.0
    with pytest.raises(DataError, match=r"different bad pixels, and ptychodus .* has room for one"):
        write(tmp_path / "scan", replace(small_scan(), amplitude=amplitude))
    with pytest.raises(DataError, match="positions lie off its object of 40 x 36 pixels"):
        write(tmp_path / "scan", replace(small_scan(), truth=OBJECT, positions=POSITIONS + 30))
    with pytest.raises(DataError, match=r"too many for the object that .* are they in pixels"):
        write(tmp_path / "scan", replace(small_scan(), positions=POSITIONS * 1e6))
    assert not [*tmp_path.iterdir()]


def test_a_near_scan_is_written_as_one(tmp_path):
    scan = replace(small_scan(), fresnel=0.3, pixel_size_m=1e-8)
    write_pair(tmp_path / "scan", scan)
    again = prepare(measure_pair(tmp_path / "scan", None))
    assert again.fresnel == 0.3
    with h5py.File(tmp_path / "scan" / PRODUCT) as file:
        assert not file.attrs["far_field"]
    with pytest.raises(DataError, match="its detector is near the sample"):
        write_training(tmp_path / "scan.h5", scan)


@pytest.mark.parametrize("known", [{}, {"energy_ev": 9e3}, {"detector_pixel_m": 1e-6}])
def test_made_up_lengths_of_a_near_field_are_unknown_again(tmp_path, known):
    geometry = Geometry(**known, far_field=False)
    scan = replace(small_scan(), fresnel=0.3, geometry=geometry)
    write_pair(tmp_path / "scan", scan)
    again = prepare(measure_pair(tmp_path / "scan", None))
    assert again.fresnel == 0.3
    assert again.pixel_size_m is None
    assert again.geometry == replace(geometry, detector_pixel_m=None)


def test_a_near_instrument_comes_back_with_its_focus(tmp_path):
    # a beam from a focus 10 um before the sample: 50 times enlarged, 20 nm a pixel
    lengths = {"energy_ev": 9e3, "distance_m": 4.9e-4, "detector_pixel_m": 1e-6}
    told = GeometryConfig(near_field=True, focus_distance_m=1e-5, **lengths)
    found = Measurement(ArrayFrames(COUNTS, tmp_path / "made", "patterns"), POSITIONS, probe=PROBE)
    scan = prepare(found, geometry=told)
    assert scan.pixel_size_m == pytest.approx(2e-8)
    write_pair(tmp_path / "scan", scan)
    write_npz(tmp_path / "scan.npz", scan)
    for path in (tmp_path / "scan", tmp_path / "scan.npz"):
        found = measure(path)
        for typed in ({}, {"energy_ev": 9e3}, {"pixel_size_m": 2e-8}):
            again = prepare(found, geometry=GeometryConfig(**typed))
            assert again.fresnel == pytest.approx(scan.fresnel, rel=1e-9)
            assert again.pixel_size_m == pytest.approx(2e-8)
            assert again.geometry == scan.geometry
            assert "pixel_size" not in again.notes


def small_scan():
    return Scan(np.sqrt(COUNTS, dtype=np.float32), POSITIONS, PROBE)
