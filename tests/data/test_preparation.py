"""Files whose patterns lie otherwise than here are read as the scan that they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho.config.data_config import PositionsConfig, PreprocessConfig
from ptycho.data.beams import Beam
from ptycho.data.formats.npz import measure_npz, write_npz
from ptycho.data.frames import ArrayFrames
from ptycho.data.geometry import Geometry
from ptycho.data.lazy import LazyAmplitude
from ptycho.data.measurement import Measurement
from ptycho.data.npz_frames import NpzFrames
from ptycho.data.preparation import plan, prepare
from ptycho.data.scan import DataError, Scan

n, N = 5, 12
rng = np.random.default_rng(0)
COUNTS = rng.poisson(20, (n, N, N)).astype(np.uint16)
PROBE = (rng.normal(size=(2, N, N)) + 1j * rng.normal(size=(2, N, N))).astype(np.complex64)
POSITIONS = 30 + 10 * rng.random((n, 2))


def measured(patterns=COUNTS, **changes) -> Measurement:
    frames = ArrayFrames(patterns, Path("star.h5"), "patterns")
    arguments = {"frames": frames, "positions": POSITIONS, "probe": PROBE} | changes
    return Measurement(**arguments)


def prepared(patterns=COUNTS, changes=None, **how) -> Scan:
    return prepare(measured(patterns, **(changes or {})), preprocess=PreprocessConfig(**how))


def test_nothing_is_done_unasked():
    scan = prepared()
    np.testing.assert_array_equal(scan.amplitude, np.sqrt(COUNTS, dtype=np.float32))
    assert scan.notes == {"values": "counts (integer dtype uint16)"}


@pytest.mark.parametrize(
    ("how", "spoiled"),
    [
        ({"transpose": True}, COUNTS.swapaxes(1, 2)),
        ({"flip_y": True}, COUNTS[:, ::-1]),
        ({"flip_x": True}, COUNTS[:, :, ::-1]),
        ({"zero_frequency": "corner"}, np.fft.ifftshift(COUNTS, axes=(1, 2))),
        ({"transpose": True, "flip_y": True}, COUNTS[:, ::-1].swapaxes(1, 2)),
        (
            {"transpose": True, "flip_x": True, "zero_frequency": "corner"},
            np.fft.ifftshift(COUNTS, axes=(1, 2))[:, :, ::-1].swapaxes(1, 2),
        ),
    ],
)
def test_what_was_turned_is_turned_back(how, spoiled):
    """Patterns and bad pixels alike; the probe is nobody's business."""
    brightest = COUNTS.max()
    bad = brightest == COUNTS
    turned = spoiled == brightest
    scan = prepared(spoiled, {"bad_pixels": turned}, **how)
    np.testing.assert_array_equal(scan.amplitude, np.sqrt(np.where(bad, 0, COUNTS), dtype="f4"))
    np.testing.assert_array_equal(np.signbit(scan.amplitude), bad)
    np.testing.assert_array_equal(scan.probe, PROBE)
    assert "prepared" in scan.notes


def test_odd_patterns_have_their_middle_moved_right():
    one = np.zeros((1, 5, 5), np.uint8)
    one[0, 0, 0] = 9
    probe = PROBE[:, :5, :5]
    changes = {"positions": POSITIONS[:1], "probe": probe}
    scan = prepared(one, changes, zero_frequency="corner")
    assert np.argwhere(scan.amplitude[0]).tolist() == [[2, 2]]


def test_a_file_is_as_good_as_memory(tmp_path):
    write_npz(tmp_path / "scan.npz", prepared())
    again = prepare(measure_npz(tmp_path / "scan.npz"), preprocess=PreprocessConfig(transpose=True))
    np.testing.assert_array_equal(again.amplitude, prepared(transpose=True).amplitude)
    assert again.notes["prepared"] == "patterns transposed"


# ---- counts -----------------------------------------------------------------------------


def counts_of(scan: Scan) -> np.ndarray:
    return np.square(scan.amplitude.astype(np.float64))


@pytest.mark.parametrize("squares", [False, True])
def test_counts_have_limits(squares):
    """The same for a file of amplitudes: they are squared before and rooted after."""
    patterns = np.sqrt(COUNTS, dtype=np.float32) if squares else COUNTS
    changes = {"values": "amplitude" if squares else "counts", "why": "as the file says"}
    scan = prepared(patterns, changes, minimum=16.0, maximum=24.0)
    bad = np.signbit(scan.amplitude)
    np.testing.assert_array_equal(bad, COUNTS > 24)
    wanted = np.where(COUNTS < 16, 0, COUNTS)
    np.testing.assert_allclose(counts_of(scan)[~bad], wanted[~bad], rtol=1e-6)
    assert "counts below 16 set to 0, counts above 24 left out" in scan.notes["prepared"]


@pytest.mark.parametrize("squares", [False, True])
def test_full_pixels_are_left_out_before_anything_is_subtracted(squares):
    full = COUNTS.copy()
    full[0, 1, 2] = full[3, 4, 5] = 65535
    patterns = np.sqrt(full, dtype=np.float32) if squares else full
    changes = {"values": "amplitude" if squares else "counts", "why": "as the file says"}
    scan = prepared(patterns, changes, saturation=65535.0, background=3.0)
    assert np.argwhere(np.signbit(scan.amplitude)).tolist() == [[0, 1, 2], [3, 4, 5]]
    good = ~np.signbit(scan.amplitude)
    np.testing.assert_allclose(counts_of(scan)[good], full[good] - 3.0, rtol=1e-5)
    assert scan.notes["bad_pixels"] == "0.28% of the detector"
    assert "full from 65535 counts on" in scan.notes["prepared"]


def test_a_background_is_subtracted_and_never_below_nothing(tmp_path):
    image = np.linspace(0, 40, N * N).reshape(N, N)
    np.save(tmp_path / "b.npy", image)
    np.savez(tmp_path / "b.npz", anything=image)
    for name in ("b.npy", "b.npz"):
        scan = prepared(transpose=True, background_file=str(tmp_path / name))
        wanted = np.maximum(COUNTS - image, 0).swapaxes(1, 2)
        np.testing.assert_allclose(counts_of(scan), wanted, rtol=1e-6, atol=1e-9)
    below = (image > COUNTS).mean()
    share = 1 - wanted.sum() / COUNTS.sum()
    words = f"background subtracted ({share:.1%} of the counts; {below:.1%} of pixels were below it"
    assert words in scan.notes["prepared"]


def test_negative_counts_may_be_asked_to_be_none():
    patterns = COUNTS.astype(np.float32) - 12
    with pytest.raises(DataError, match=r"not be negative, .*bad_pixels_file, .*type data\.prep"):
        prepared(patterns)
    scan = prepared(patterns, minimum=0.0)
    np.testing.assert_allclose(counts_of(scan), np.maximum(patterns, 0), rtol=1e-6)
    with pytest.raises(DataError, match="not be negative"):
        prepared(patterns, {"values": "amplitude", "why": "as the file says"}, minimum=0.0)


TOP = 2**32 - 1


@pytest.mark.parametrize("lazy", ["never", "always"])
@pytest.mark.parametrize(
    ("kind", "value"), [("u4", TOP), ("u4", TOP - 1), ("i4", 2**31 - 1), ("u8", 2**64 - 1)]
)
def test_the_largest_integers_are_no_counts(kind, value, lazy, tmp_path):
    patterns = COUNTS.astype(kind)
    patterns[0, 5, 4:6] = value
    np.savez(tmp_path / "scan.npz", diffraction=patterns)
    frames = NpzFrames(tmp_path / "scan.npz", "diffraction")
    found = measured(frames=frames)
    words = (
        rf"scan.npz: diffraction holds {value}, a .* in 2 pixels \(1 pattern .*doctor with --fix"
    )
    with pytest.raises(DataError, match=words):
        prepare(found, lazy=lazy)
    mask = np.zeros((N, N), bool)
    mask[5, 4:6] = True
    scan = prepare(replace(found, bad_pixels=mask), lazy=lazy)
    np.testing.assert_array_equal(np.signbit(np.asarray(scan.amplitude)).all(0), mask)


def test_marks_are_no_counts_unless_they_are_left_out_as_full():
    patterns = COUNTS.astype(np.uint32)
    patterns[1, 5, 5] = TOP
    for how in ({"saturation": float(TOP)}, {"maximum": 1e6}, {"saturation": 1e5, "bin": 2}):
        assert np.signbit(prepared(patterns, **how).amplitude).sum() == 1
    for how in ({"saturation": 1e10}, {"crop": 8}):
        with pytest.raises(DataError, match="holds 4294967295"):
            prepared(patterns, **how)
    prepared(patterns, crop=4, center_x=10, center_y=10)
    roots = {"values": "amplitude", "why": "as the file says"}
    with pytest.raises(DataError, match="holds 4294967295"):
        prepared(patterns, roots, saturation=float(TOP) ** 2 * 2)
    assert np.signbit(prepared(patterns, roots, saturation=1e10).amplitude).sum() == 1


def test_16_bits_may_be_full_but_not_in_every_pattern():
    patterns = COUNTS.copy()
    patterns[1:, 5, 5] = 65535
    assert not np.signbit(prepared(patterns).amplitude).any()
    patterns[0, 5, 5] = 65535
    with pytest.raises(DataError, match=r"holds 65535, .* in 1 pixel \(5 .*saturation=65535"):
        prepared(patterns, transpose=True)
    bad = patterns == 65535
    bad[1] = False
    with pytest.raises(DataError, match="holds 65535"):
        prepared(patterns, {"bad_pixels": bad})
    bad[1] = bad[0]
    prepared(patterns, {"bad_pixels": bad})
    prepared(patterns, {"bad_pixels": bad[0]})
    prepared(patterns, saturation=65535.0)
    prepared(patterns, mask_hot=True)
    prepared(np.where(patterns == 65535, 255, patterns).astype(np.uint8))


def test_a_mask_of_the_detector_covers_what_the_file_has_there(tmp_path):
    """Whatever it is: negative marks, NaN; together with what the file says itself."""
    mask, own = np.zeros((N, N), np.uint8), np.zeros((N, N), bool)
    mask[2, 3], own[5, 6] = 1, True
    np.save(tmp_path / "m.npy", mask)
    patterns = COUNTS.astype(np.float32)
    patterns[:, 2, 3] = np.nan
    patterns[1:, 2, 3] = -1
    how = {"bad_pixels_file": str(tmp_path / "m.npy"), "flip_y": True}
    scan = prepared(patterns, {"bad_pixels": own}, **how)
    assert np.argwhere(scan.bad_pixels).tolist() == [[N - 6, 6], [N - 3, 3]]
    assert "2 bad pixels" in scan.notes["prepared"]
    each = np.zeros((n, N, N), bool)
    each[1, 7, 8] = True
    both = prepared(patterns, {"bad_pixels": each}, **how)
    assert np.signbit(both.amplitude).sum() == n + 1


def test_one_bad_pixel_spoils_its_bin():
    bad = np.zeros((n, N, N), bool)
    bad[2, 5, 6] = True
    scan = prepared(changes={"bad_pixels": bad}, bin=2)
    assert np.argwhere(np.signbit(scan.amplitude)).tolist() == [[2, 2, 3]]
    sums = COUNTS.reshape(n, 6, 2, 6, 2).sum((2, 4))
    good = ~np.signbit(scan.amplitude)
    np.testing.assert_allclose(counts_of(scan)[good], sums[good], rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "setting", "words"),
    [
        (np.zeros((N, N + 1)), "bad_pixels_file", r"shape of a frame .* 12 x 12, got 12 x 13"),
        (np.ones((N, N)), "bad_pixels_file", r"bad pixels cover all .* true \(or 1\) means bad"),
        (np.zeros((N, N), complex), "bad_pixels_file", "must hold numbers, got complex128"),
        (np.full((N, N), np.nan), "background_file", "holds NaN or infinity; replace them by 0"),
        (np.full((N, N), -1.0), "background_file", "must not be negative, got -1"),
        (np.array([None]), "background_file", "not an NPY file"),
        (None, "background_file", "no such file"),
    ],
)
def test_images_of_the_detector_that_are_none(image, setting, words, tmp_path):
    path = tmp_path / "image.npy"
    if image is not None:
        np.save(path, image, allow_pickle=True)
    with pytest.raises(DataError, match=words):
        prepared(**{setting: str(path)})


def test_a_file_of_several_images_is_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.ones((N, N)), b=np.ones((N, N)))
    with pytest.raises(
        DataError, match=r"background_file=.*two\.npz must hold one array, got a, b"
    ):
        prepared(background_file=str(tmp_path / "two.npz"))


# ---- frames -----------------------------------------------------------------------------


def test_empty_frames_go_with_their_positions():
    counts = COUNTS.copy()
    counts[[0, 3]] = 0
    labels = (np.arange(n)[:, None, None] * np.ones((N, N))).astype(np.complex64)
    found = measured(counts, patches=labels)
    scan = prepare(found, patches=True)
    assert scan.notes["prepared"] == "2 empty frames dropped"
    np.testing.assert_array_equal(scan.positions, POSITIONS[[1, 2, 4]])
    np.testing.assert_array_equal(scan.patches[:, 0, 0].real, [1, 2, 4])
    np.testing.assert_allclose(counts_of(scan), counts[[1, 2, 4]], rtol=1e-6)
    assert len(prepared(counts, drop_empty=False)) == n


def test_dark_and_bright_frames_are_left_out_when_asked_for():
    counts = COUNTS.copy()
    counts[1] //= 4
    counts[2] *= 3
    total = counts.sum((1, 2))
    scan = prepared(counts, drop_below=total[1] + 1.0, drop_above=total[2] - 1.0)
    np.testing.assert_array_equal(scan.positions, POSITIONS[[0, 3, 4]])
    assert scan.notes["prepared"] == "1 dark frame dropped, 1 bright frame dropped"
    with pytest.raises(
        DataError, match=r"no frame is left: they hold .* counts; change data\.prep"
    ):
        prepared(counts, drop_below=1e9)


def test_repeated_frames_are_told_and_used(caplog):
    counts = COUNTS.copy()
    counts[4] = counts[2] = counts[1]
    scan = prepared(counts)
    assert len(scan) == n
    assert scan.notes["repeated"] == "2 frames hold what another does"
    assert "star.h5: 2 frames hold what another does; both are used" in caplog.text


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"transpose": True, "zero_frequency": "corner", "crop": 8},
        {"bin": 2, "background": 2.5, "saturation": 30.0},
        {"resample": 9, "bad": True},
        {"pad": 20, "resample": 15, "maximum": 30.0},
    ],
)
def test_the_same_bits_however_many_frames_are_read(how, monkeypatch):
    how = dict(how)
    bad = np.eye(N, dtype=bool) if how.pop("bad", False) else None
    how = {name: 16 if name == "crop" else value for name, value in how.items()}
    large = rng.poisson(15, (7, 20, 20)).astype(np.uint16) if "crop" in how else COUNTS
    changes = {"bad_pixels": bad, "positions": np.zeros((len(large), 2))}
    changes["probe"] = np.ones((1, *large.shape[1:]), np.complex64)
    whole = prepared(large, changes, **how)
    monkeypatch.setattr("ptycho.data.frames.BLOCK_BYTES", 2 * large[0].nbytes)
    parts = prepared(large, changes, **how)
    np.testing.assert_array_equal(whole.amplitude, parts.amplitude)
    np.testing.assert_array_equal(np.signbit(whole.amplitude), np.signbit(parts.amplitude))
    step = plan(measured(large, **changes), preprocess=PreprocessConfig(**how)).step
    chosen = np.array([4, 1])
    some = step(ArrayFrames(large, Path("star.h5"), "patterns"), chosen)
    np.testing.assert_array_equal(some, whole.amplitude[chosen])
    assert step.size == whole.patch_size


# ---- the rest ---------------------------------------------------------------------------


def test_a_probe_may_be_made_from_the_patterns_as_prepared():
    scan = prepare(
        measured(probe=None, pixel_size_m=1e-8),
        beam=Beam(kind="average"),
        preprocess=PreprocessConfig(resample=16),
    )
    assert scan.probe.shape == (1, 16, 16)
    assert scan.notes["probe"] == "average"


def test_the_instrument_is_that_of_the_patterns_as_prepared():
    """Whoever computes the object's pixel from it finds the one that is told."""
    known = Geometry(energy_ev=8000.0, distance_m=2.0, detector_pixel_m=1e-4)
    for how in ({}, {"crop": 16}, {"crop": 16, "bin": 2}, {"pad": 40}, {"resample": 17}):
        large = rng.poisson(9, (n, 20, 20))
        found = measured(large, geometry=known, probe=np.ones((1, 20, 20), np.complex64))
        scan = prepare(found, preprocess=PreprocessConfig(**how))
        assert scan.geometry.object_pixel_m(scan.patch_size) == pytest.approx(scan.pixel_size_m)


@pytest.mark.parametrize("how", [{}, {"bin": 2, "background": 2.5}, {"drop_below": 2900.0}])
def test_patterns_that_stay_in_their_file_are_the_same(how, tmp_path):
    counts = COUNTS.copy()
    counts[2] = 0
    np.savez(
        tmp_path / "star.npz", diffraction=counts, probeGuess=PROBE,
        ycoords=POSITIONS[:, 0], xcoords=POSITIONS[:, 1],
    )  # fmt: skip
    scans = [
        prepare(measure_npz(tmp_path / "star.npz"), preprocess=PreprocessConfig(**how), lazy=lazy)
        for lazy in ("never", "always")
    ]
    assert isinstance(scans[1].amplitude, LazyAmplitude)
    assert "1 empty frame dropped" in scans[0].notes["prepared"]
    assert scans[0].sha256 == scans[1].sha256
    assert scans[0].notes["prepared"] == scans[1].notes["prepared"]


@pytest.mark.parametrize("how", [{"bin": 2}, {"center_x": 3.0}, {"find_center": True}])
def test_what_is_of_frequencies_is_not_done_to_the_near_field(how):
    near = measured(fresnel=0.5)
    assert prepare(near, preprocess=PreprocessConfig(transpose=True)).fresnel == 0.5
    with pytest.raises(DataError, match=rf"data\.preprocess\.{next(iter(how))}=.* is no spectrum"):
        prepare(near, preprocess=PreprocessConfig(**how))


def test_patches_to_learn_shrink_with_the_patterns():
    labels = (rng.normal(size=(n, N, N)) + 1j).astype(np.complex64)
    found = measured(patches=labels)
    binned = prepare(found, patches=True, preprocess=PreprocessConfig(bin=2))
    np.testing.assert_array_equal(binned.patches, labels[:, 3:9, 3:9])
    for how in ({"pad": 16}, {"resample": 16}):
        scan = prepare(found, patches=True, preprocess=PreprocessConfig(**how))
        assert scan.patches is None
        assert "object patches of the file left out" in scan.notes["prepared"]


@pytest.mark.parametrize("held", [np.nan, np.inf, -1.0, 0.5])
@pytest.mark.parametrize("shape", [(N, N), (n, N, N)])
def test_what_bad_pixels_hold_does_not_make_counts_amplitudes(held, shape):
    bad = np.zeros(shape, bool)
    bad[..., 2, 3] = True
    patterns = COUNTS.astype(np.float32)
    patterns[np.broadcast_to(bad, patterns.shape)] = held
    assert prepared(patterns, {"bad_pixels": bad}).notes["values"].startswith("counts")


def test_frames_at_a_limit_are_kept():
    patterns = np.full((n, N, N), 21, np.uint16)
    patterns[0] += 1
    total = 21 * N * N
    assert len(prepared(patterns, drop_below=total)) == n
    assert len(prepared(patterns, drop_above=total)) == n - 1


@pytest.mark.parametrize("how", [{"swap": True}, {"flip_y": True}, {"flip_x": True}, {"scale": 2}])
def test_an_object_does_not_stay_where_positions_left_it(how):
    obj = np.exp(1j * rng.random((60, 60))).astype(np.complex64)
    found = measured(obj=obj, obj_is_truth=True)
    assert prepare(found).truth is not None
    turned = prepare(found, positions=PositionsConfig(**how))
    assert turned.truth is None
    assert not turned.truth_is_known
    assert "the object of the file left out" in turned.notes["prepared"]
