import contextlib
import io
import json
import logging
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho.config.choices import Values
from ptycho.data.formats.npz import frame_shape, read_npz, write_npz
from ptycho.data.scan import DataError, Scan

N_PATTERNS, N = 6, 8
rng = np.random.default_rng(0)
COUNTS = rng.integers(0, 50, (N_PATTERNS, N, N))
AMPLITUDE = np.sqrt(COUNTS).astype(np.float32)
X, Y = 20 + 10 * rng.random((2, N_PATTERNS))
PROBE = (rng.normal(size=(2, N, N)) + 1j * rng.normal(size=(2, N, N))).astype(np.complex64)
OBJECT = np.exp(1j * rng.random((40, 36))).astype(np.complex64)


@pytest.fixture
def save(tmp_path):
    """Write an NPZ: a good one with some arrays changed, added or (None) left out."""

    def write(**changes):
        arrays = {"diffraction": AMPLITUDE, "xcoords": X, "ycoords": Y, "probeGuess": PROBE[0]}
        arrays |= changes
        path = tmp_path / "star.npz"
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    return write


def metadata(**values):
    return np.array(json.dumps(values))


def damaged(array, value, dtype=None):
    array = array.astype(dtype or array.dtype)
    array.flat[5] = value
    return array


def assert_same(first, second):
    for name in ("amplitude", "positions", "probe", "truth"):
        one, other = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(one, other)
        assert one is other is None or one.dtype == other.dtype
    for name in ("label", "pixel_size_m", "truth_is_known"):
        assert getattr(first, name) == getattr(second, name)


# ---- what is read -----------------------------------------------------------------------


@pytest.mark.parametrize("key", ["diffraction", "diff3d"])
def test_a_plain_file(save, key):
    scan = read_npz(save(**{"diffraction": None, key: AMPLITUDE}))
    np.testing.assert_array_equal(scan.amplitude, AMPLITUDE)
    np.testing.assert_array_equal(scan.positions, np.stack([Y, X], axis=1))
    np.testing.assert_array_equal(scan.probe, PROBE[:1])
    assert (scan.amplitude.dtype, scan.positions.dtype) == (np.float32, np.float64)
    assert scan.label == "star"
    assert scan.truth is None
    assert scan.pixel_size_m is None


def test_what_ptychodus_writes(save):
    """Counts, two probe modes, a mask without bad pixels, a flat object, further keys."""
    path = save(
        diffraction=None,
        diff3d=COUNTS.astype(np.uint16),
        xcoords_start=X,
        ycoords_start=Y,
        bad_pixels=np.zeros((N, N), bool),
        probeGuess=PROBE.astype(np.complex128),
        objectGuess=np.ones((40, 36), complex),
        scan_index=np.zeros(N_PATTERNS, int),
        Y=np.ones(3),
    )
    scan = read_npz(path)
    np.testing.assert_allclose(scan.amplitude, AMPLITUDE)
    np.testing.assert_array_equal(scan.probe, PROBE)
    assert scan.truth is None
    assert frame_shape(path) == (N, N)


@pytest.mark.parametrize("shape", [(N, N), (N_PATTERNS, N, N)])
@pytest.mark.parametrize("last", [False, True])
def test_bad_pixels_are_hidden_and_written_again(save, tmp_path, shape, last):
    bad = rng.random(shape) < 0.3
    counts = COUNTS.astype(np.uint16)
    counts[np.broadcast_to(bad, counts.shape)] = 65535
    path = save(diffraction=np.moveaxis(counts, 0, -1) if last else counts, bad_pixels=bad)
    scan = read_npz(path)
    np.testing.assert_array_equal(scan.bad_pixels, bad)
    good = ~np.broadcast_to(bad, counts.shape)
    np.testing.assert_allclose(scan.amplitude[good], AMPLITUDE[good])
    assert not scan.amplitude[~good].any()
    assert scan.notes["bad_pixels"] == f"{bad.mean():.2%} of the detector"
    write_npz(tmp_path / "again.npz", scan)
    np.testing.assert_array_equal(read_npz(tmp_path / "again.npz").bad_pixels, bad)


def test_object_patches_are_read_when_asked_for_and_written_again(save, tmp_path, caplog):
    known = (PROBE[0] * np.arange(1, N_PATTERNS + 1)[:, None, None]).astype(np.complex128)
    path = save(Y=known)
    assert read_npz(path).patches is None
    scan = read_npz(path, patches=True)
    np.testing.assert_allclose(scan.patches, known, rtol=1e-6)
    assert scan.patches.dtype == np.complex64
    np.testing.assert_array_equal(scan.take(np.array([1, 4])).patches, scan.patches[[1, 4]])
    write_npz(tmp_path / "again.npz", scan)
    np.testing.assert_array_equal(
        read_npz(tmp_path / "again.npz", patches=True).patches, scan.patches
    )
    with caplog.at_level(logging.WARNING, "ptycho.data.formats.npz"):
        assert read_npz(save(Y=np.ones(3)), patches=True).patches is None
    assert "Y (3,) of float64 is no complex (6, 8, 8), ignored" in caplog.text


def test_negative_zeros_of_a_file_are_no_bad_pixels(save):
    patterns = AMPLITUDE.copy()
    patterns[0, 0] = -0.0
    assert read_npz(save(diffraction=patterns)).bad_pixels is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", "float64"])
def test_whole_numbers_are_counts(save, dtype, caplog):
    with caplog.at_level(logging.INFO, "ptycho.data.preparation"):
        scan = read_npz(save(diffraction=COUNTS.astype(dtype)))
    np.testing.assert_allclose(scan.amplitude, AMPLITUDE, rtol=1e-6)
    assert scan.notes["values"].startswith("counts (")
    assert dtype in scan.notes["values"]
    assert scan.notes["values"] in caplog.text


def test_fractions_are_amplitudes(save):
    scan = read_npz(save())
    np.testing.assert_array_equal(scan.amplitude, AMPLITUDE)
    assert scan.notes["values"] == "amplitude (fractions)"


def test_one_fraction_in_the_last_pixel_is_enough(save):
    patterns = COUNTS.astype(np.float32)
    patterns[-1, -1, -1] = 1.5
    assert read_npz(save(diffraction=patterns)).notes["values"].startswith("amplitude")


@pytest.mark.parametrize("as_", [str, Values])
def test_the_user_decides_first_then_the_file_then_the_numbers(save, as_):
    path = save(diffraction=COUNTS, _metadata=metadata(values="amplitude"))
    assert read_npz(path).notes["values"] == "amplitude (as its _metadata says)"
    counts = read_npz(path, values=as_("counts"))
    np.testing.assert_allclose(counts.amplitude, AMPLITUDE)
    assert counts.notes["values"] == "counts (as told)"
    fractions = read_npz(save(), values=as_("counts"))
    np.testing.assert_allclose(fractions.amplitude, np.sqrt(AMPLITUDE))


def test_frames_last_as_older_files_have_it(save):
    old = read_npz(save(diffraction=np.moveaxis(COUNTS.astype(np.uint16), 0, -1)))
    np.testing.assert_allclose(old.amplitude, AMPLITUDE)
    assert old.amplitude.flags.c_contiguous
    assert old.notes["layout"] == "yxn"
    assert read_npz(save()).notes["layout"] == "nyx"


def test_fortran_order_is_only_a_storage_order(save):
    scan = read_npz(save(diffraction=np.asfortranarray(AMPLITUDE)))
    np.testing.assert_array_equal(scan.amplitude, AMPLITUDE)
    assert scan.amplitude.flags.c_contiguous


@pytest.mark.parametrize("layout", ["nyx", "yxn"])
def test_metadata_settles_an_ambiguous_layout(save, layout):
    cube, coords = np.random.default_rng(1).random((N, N, N)), np.arange(20.0, 20 + N)
    path = save(diffraction=cube, xcoords=coords, ycoords=coords, _metadata=metadata(layout=layout))
    expected = cube if layout == "nyx" else np.moveaxis(cube, -1, 0)
    np.testing.assert_allclose(read_npz(path).amplitude, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("probe", "modes"), [(PROBE[0], 1), (PROBE[0][..., None], 1), (PROBE[:1], 1), (PROBE, 2)]
)
def test_every_shape_of_a_probe(save, probe, modes):
    path = save(probeGuess=probe)
    np.testing.assert_array_equal(read_npz(path).probe, PROBE[:modes])
    assert frame_shape(path) == (N, N)


def test_all_modes_are_preferred_to_the_first(save):
    path = save(probeModes=PROBE)
    np.testing.assert_array_equal(read_npz(path).probe, PROBE)
    assert frame_shape(path) == (N, N)


def test_an_object_is_an_estimate_unless_the_file_says_more(save):
    scan = read_npz(save(objectGuess=OBJECT))
    np.testing.assert_array_equal(scan.truth, OBJECT)
    assert not scan.truth_is_known
    assert read_npz(
        save(objectGuess=OBJECT, _metadata=metadata(object_is_truth=True))
    ).truth_is_known


@pytest.mark.parametrize("empty", [np.full((40, 36), 0.3 - 1j), np.zeros((0, 0), complex)])
def test_an_object_without_structure_is_none(save, empty):
    scan = read_npz(save(objectGuess=empty, _metadata=metadata(object_is_truth=True)))
    assert scan.truth is None
    assert not scan.truth_is_known


def test_label_and_pixel_size_come_with_the_file(save):
    path = save(_metadata=metadata(label="gold balls", pixel_size_m=1.1e-8, anything="else"))
    scan = read_npz(path)
    assert (scan.label, scan.pixel_size_m) == ("gold balls", 1.1e-8)
    assert read_npz(path, label="mine").label == "mine"


def test_pickled_extras_are_left_alone_and_mentioned(save, caplog):
    """PtychoPINN pickles its metadata and every absent array."""
    nothing = np.array(None, dtype=object)
    scan = read_npz(save(objectGuess=nothing, _metadata=nothing, Y=nothing))
    assert scan.truth is None
    assert "objectGuess is a pickled object and was left alone" in caplog.text


def test_size_is_read_without_the_patterns(save):
    path = save(diffraction=-COUNTS)
    assert frame_shape(path) == (N, N)


# ---- what is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diffraction": None}, "diffraction or diff3d is missing; the file holds xcoords, yco"),
        ({"xcoords": None}, "xcoords is missing; the file holds diffraction, ycoords"),
        ({"ycoords": None}, "ycoords is missing"),
        ({"probeGuess": None}, r"holds no probe; type data\.probe\.kind=average"),
        ({"diffraction": np.array([{}])}, "diffraction is a pickled object, never opened here"),
        ({"probeGuess": np.array(None)}, "probeGuess is a pickled object"),
        ({"xcoords": X[:-1]}, r"of one length, got \(5,\) and \(6,\)"),
        ({"xcoords": X[:, None]}, r"must be \(n,\) of one length"),
        ({"xcoords": X[:-1], "ycoords": Y[:-1]}, r"\(6, 8, 8\); 5 positions need square patterns"),
        ({"diffraction": AMPLITUDE[..., 1:]}, r"\(6, 8, 7\); 6 positions need square"),
        ({"diffraction": AMPLITUDE[0]}, r"shape \(8, 8\); 6 positions need square"),
        ({"diffraction": X}, r"shape \(6,\); 6 positions need square"),
        ({"diffraction": np.float32(3)}, r"shape \(\); 6 positions need square"),
        ({"diffraction": AMPLITUDE * 1j}, "diffraction must hold real counts or amplitudes, got"),
        ({"diffraction": damaged(AMPLITUDE, np.nan)}, r"diffraction holds NaN or infinity \(1 val"),
        ({"diffraction": damaged(AMPLITUDE, np.inf)}, "diffraction holds NaN or infinity"),
        ({"diffraction": damaged(AMPLITUDE, -3)}, "not be negative, the smallest value is -3"),
        ({"diffraction": damaged(COUNTS, -3)}, "not be negative, the smallest value is -3"),
        ({"diffraction": 0 * COUNTS}, "every pattern is empty"),
        ({"xcoords": damaged(X, np.nan)}, "xcoords holds NaN"),
        ({"ycoords": damaged(Y, -np.inf)}, "ycoords holds NaN or infinity"),
        ({"ycoords": Y.astype(str)}, "ycoords must hold real numbers, got <U"),
        (
            {"xcoords": X * 1e-8, "ycoords": Y * 1e-8},
            "reach 3e-07, which must be metres, and nothing says",
        ),
        ({"probeGuess": 0 * PROBE}, "probe is zero everywhere"),
        ({"probeGuess": damaged(PROBE, np.nan)}, "probeGuess holds NaN"),
        ({"probeGuess": PROBE[:, 1:]}, r"probeGuess must be \(N, N\) or \(modes, N, N\), got"),
        ({"probeGuess": PROBE[None]}, r"got \(1, 2, 8, 8\)"),
        ({"probeGuess": PROBE[:, 1:, 1:]}, r"probe must be \(modes, 8, 8\), got \(2, 7, 7\)"),
        ({"bad_pixels": np.ones((N, N), bool)}, "bad_pixels marks every pixel; true means bad"),
        ({"bad_pixels": np.eye(N + 1)[:, 1:] > 0}, r"bad_pixels must be \(8, 8\) or \(\d+, 8, 8\)"),
        ({"bad_pixels": np.eye(N)}, "bad_pixels must hold true or false, got float64"),
        ({"objectGuess": damaged(OBJECT, np.nan)}, "objectGuess holds NaN"),
        ({"objectGuess": np.stack([OBJECT, OBJECT])}, r"must be \(H, W\), got \(2, 40, 36\)"),
        ({"_metadata": np.array("{")}, "_metadata is not one JSON text"),
        ({"_metadata": np.array("[]")}, "_metadata must be a JSON object"),
        ({"_metadata": metadata(pixel_size_m=-1.0)}, "pixel_size_m must be metres above 0, got -1"),
        ({"_metadata": metadata(pixel_size_m="8 nm")}, "pixel_size_m must be metres"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(save, changes, words):
    with pytest.raises(DataError, match=r"star\.npz: .*" + words):
        read_npz(save(**changes))


def test_as_many_patterns_as_pixels_is_refused(save):
    cube, coords = np.ones((N, N, N)) / 3, np.arange(20.0, 20 + N)
    with pytest.raises(DataError, match="ambiguous, frames may be first or last; leave one"):
        read_npz(save(diffraction=cube, xcoords=coords, ycoords=coords))


def test_unknown_values_are_refused(save):
    with pytest.raises(DataError, match="one of auto, counts, amplitude, got 'photons'"):
        read_npz(save(), values="photons")


@pytest.mark.parametrize("reader", [read_npz, frame_shape])
def test_a_missing_file(reader, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"star\.npz: no such file"):
        reader(tmp_path / "star.npz")


@pytest.mark.parametrize("reader", [read_npz, frame_shape])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short"])
def test_not_an_npz(reader, content, tmp_path):
    path = tmp_path / "star.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"star\.npz: not an NPZ file, or cut short"):
        reader(path)


def test_a_single_array_is_not_a_scan(tmp_path):
    np.save(tmp_path / "star.npy", AMPLITUDE)
    with pytest.raises(DataError, match="not an NPZ file"):
        read_npz(tmp_path / "star.npy")


def test_a_member_cut_short(save):
    path = save()
    buffer = io.BytesIO()
    np.save(buffer, AMPLITUDE)
    with zipfile.ZipFile(path) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as cut:
        for name, content in (members | {"diffraction.npy": buffer.getvalue()[:-100]}).items():
            cut.writestr(name, content)
    with pytest.raises(DataError, match="diffraction cannot be read, the file is damaged"):
        read_npz(path)


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_damaged_bytes_are_refused_or_harmless_never_anything_else(tmp_path, compress):
    path, dice = tmp_path / "star.npz", np.random.default_rng(0)
    compress(path, diffraction=COUNTS, xcoords=X, ycoords=Y, probeGuess=PROBE)
    whole = path.read_bytes()
    harmless = 0
    for _ in range(300):
        broken = bytearray(whole)
        for place in dice.integers(0, len(whole), 3):
            broken[place] ^= 1 << int(dice.integers(8))
        path.write_bytes(broken[: dice.integers(len(whole) // 2, 2 * len(whole))])
        with contextlib.suppress(DataError):
            read_npz(path)
            harmless += 1
    assert harmless < 100


# ---- what is written --------------------------------------------------------------------


@st.composite
def scans(draw):
    seed, n, size, modes = (
        draw(st.integers(*limits)) for limits in ((0, 99), (1, 9), (2, 9), (1, 3))
    )
    dice = np.random.default_rng(seed)
    whole = draw(st.booleans())
    amplitude = dice.integers(0, 9, (n, size, size)) if whole else dice.random((n, size, size))
    amplitude[0, 0, 0] = 1
    truth = dice.normal(size=(12, 11)) + 1j if draw(st.booleans()) else None
    return Scan(
        amplitude=amplitude.astype(np.float32),
        positions=dice.normal(50, 20, (n, 2)),
        probe=(dice.normal(size=(modes, size, size)) + 1j).astype(np.complex64),
        truth=None if truth is None else truth.astype(np.complex64),
        truth_is_known=truth is not None and draw(st.booleans()),
        pixel_size_m=draw(st.none() | st.floats(1e-12, 1e-3)),
        label=draw(st.text(min_size=1, max_size=20)),
    )


@given(scan=scans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_written_reads_back_to_the_bit(tmp_path, scan):
    path = tmp_path / "copy.npz"
    write_npz(path, scan)
    assert_same(read_npz(path), scan)
    assert frame_shape(path) == (scan.patch_size, scan.patch_size)
    with np.load(path, allow_pickle=False) as file:
        assert all(file[key].dtype != object for key in file.files)


def test_one_mode_is_written_as_a_plane(save, tmp_path):
    """PtychoPINN's own readers want (N, N)."""
    write_npz(tmp_path / "copy.npz", read_npz(save()))
    with np.load(tmp_path / "copy.npz") as file:
        assert file["probeGuess"].shape == (N, N)
        assert set(file.files) == {"diffraction", "xcoords", "ycoords", "probeGuess", "_metadata"}
        assert json.loads(str(file["_metadata"]))["written_by"] == "ptycho"


def test_who_reads_the_old_file_is_not_disturbed(save):
    path = save()
    scan, before = read_npz(path), path.read_bytes()
    with path.open("rb") as reading:
        write_npz(path, scan)
        assert reading.read() == before != path.read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(save, monkeypatch):
    path = save()
    scan, before = read_npz(path), path.read_bytes()

    def disk_full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("ptycho.data.formats.npz.format_.write_array", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_npz(path, scan)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# ---- measured files ---------------------------------------------------------------------


def test_measured_siemens_star(shared_data):
    path = shared_data / "siemens_star_aps_n128.npz"
    scan = read_npz(path)
    assert scan.amplitude.shape == (258, 128, 128)
    assert scan.photons == pytest.approx(4.6e5, rel=0.05)
    assert scan.probe.shape == (1, 128, 128)
    assert scan.truth.shape == (316, 500)
    assert not scan.truth_is_known
    assert scan.notes == {"values": "amplitude (fractions)", "layout": "nyx"}
    # y is the short side of the object
    assert scan.positions.max(0).round().tolist() == [247, 413]
    assert frame_shape(path) == (128, 128)


def test_re_simulated_gold_balls_with_two_modes(shared_data):
    path = shared_data / "gold_balls_als_n128.npz"
    scan = read_npz(path)
    assert scan.amplitude.shape == (800, 128, 128)
    assert scan.photons == pytest.approx(3e5, rel=0.2)
    assert scan.probe.shape == (2, 128, 128)
    assert scan.truth.shape == (250, 250)
    assert frame_shape(path) == (128, 128)


def test_an_object_is_not_a_scan(shared_data):
    with pytest.raises(DataError, match="is missing; the file holds objectGuess, pixel_size"):
        read_npz(shared_data / "object_sky130_chip.npz")


def test_an_array_that_is_there_twice_is_refused(save):
    path = save()
    with zipfile.ZipFile(path) as file:
        content = file.read("ycoords.npy")
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("ycoords.npy", content)
    with pytest.raises(DataError, match=r"ycoords is there twice, and nothing says which"):
        read_npz(path)
