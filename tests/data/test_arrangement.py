"""What is done to patterns is done to probe, positions and object as Fourier's relation asks.

Each time: expected photons at one geometry, prepared; and expected photons of the prepared probe,
positions and object. Both must be the same.
"""

from pathlib import Path

import numpy as np
import pytest

from ptycho.config.data_config import PreprocessConfig
from ptycho.data.arrangement import Arrangement, arrange
from ptycho.data.frames import ArrayFrames
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.resampling import centred, interpolation, on_pixels, tilted, with_band
from ptycho.data.scan import DataError, Scan
from ptycho.data.simulate import expected_photons

N = 64
POSITIONS = np.array([[48.0, 56.0], [64.0, 40.0], [56.0, 72.0]])
rng = np.random.default_rng(3)


def beam(radius: float = 5.0, size: int = N, modes: int = 2) -> np.ndarray:
    """Soft beams that are narrow in both planes, and lopsided."""
    axis = np.arange(size) - size // 2
    y, x = axis[:, None], axis
    soft = np.exp(-(y**2 + x**2) / (2 * radius**2) + 0.4j * y / radius)
    shapes = [soft, soft * (x + 1j * y) / radius]
    return np.stack(shapes[:modes]).astype(np.complex64) * 30


def landscape(size: int, period: int = 128) -> np.ndarray:
    """An object of slow waves: band-limited, on any pixels."""
    y, x = np.mgrid[:size, :size] * (2 * np.pi / period * 128 / size)
    return (1 + 0.3 * np.cos(2 * x) + 0.2j * np.sin(x + 3 * y)).astype(np.complex64)


def prepared(photons: np.ndarray, probe: np.ndarray, obj: np.ndarray | None, **how) -> Scan:
    """Patterns of those photons as they come out."""
    frames = ArrayFrames(photons, Path("star.h5"), "patterns")
    found = Measurement(frames, POSITIONS, probe=probe, obj=obj, pixel_size_m=1e-8)
    return prepare(found, values="counts", preprocess=PreprocessConfig(**how))


def agree(scan: Scan, obj: np.ndarray, tolerance: float) -> None:
    """Photons measured are photons expected, relative to the brightest pixel."""
    model = expected_photons(obj, scan.probe, scan.positions)
    good = ~np.signbit(scan.amplitude)
    difference = np.abs(scan.amplitude.astype(float) ** 2 - model)[good].max()
    assert difference < tolerance * model.max()


class TestCropping:
    def test_a_cropped_pattern_is_one_of_a_coarser_object(self):
        """Exact: neither probe nor object hold what the smaller detector does not see."""
        probe, obj = beam(), landscape(128)
        scan = prepared(expected_photons(obj, probe, POSITIONS), probe, obj, crop=32)
        assert scan.pixel_size_m == 2e-8
        np.testing.assert_array_equal(scan.positions, POSITIONS / 2)
        agree(scan, landscape(64), 2e-5)

    def test_the_object_of_the_file_is_brought_onto_its_pixels(self):
        probe, obj = beam(), landscape(128)
        scan = prepared(expected_photons(obj, probe, POSITIONS), probe, obj, crop=32)
        inside = (slice(6, 58),) * 2
        np.testing.assert_allclose(scan.truth[inside], landscape(64)[inside], atol=2e-3)
        assert "the object of the file resampled" in scan.notes["prepared"]

    def test_by_an_odd_share(self):
        probe, obj = beam(), np.ones((128, 128), np.complex64)
        scan = prepared(expected_photons(obj, probe, POSITIONS), probe, obj, crop=36)
        assert scan.pixel_size_m == pytest.approx(1e-8 * 64 / 36)
        agree(scan, np.ones((80, 80), np.complex64), 2e-5)

    def test_padding_undoes_it(self):
        probe, obj = beam(), landscape(128)
        whole = expected_photons(obj, probe, POSITIONS)
        scan = prepared(whole, probe, None, crop=32, pad=64)
        np.testing.assert_allclose(scan.probe, probe, atol=1e-4)
        np.testing.assert_array_equal(scan.positions, POSITIONS)
        assert scan.pixel_size_m == 1e-8
        agree(scan, obj, 2e-5)
        bad = np.signbit(scan.amplitude[0])
        assert not bad[16:48, 16:48].any()
        assert bad.sum() == 64**2 - 32**2  # nobody measured there

    def test_padding_makes_finer_pixels(self):
        probe, obj = beam(3, 32), landscape(128)
        scan = prepared(expected_photons(obj, probe, POSITIONS), probe, None, pad=64)
        np.testing.assert_array_equal(scan.positions, 2 * POSITIONS)
        assert scan.pixel_size_m == 5e-9
        agree(scan, landscape(256, 128), 1e-4)

    def test_about_the_beam_wherever_it_is(self):
        """Beside the middle by whole pixels and a fraction; the probe takes up the fraction."""
        probe, obj = beam(), landscape(128)
        beside = tilted(probe, (3.0, -4.75))
        photons = expected_photons(obj, beside, POSITIONS)
        scan = prepared(photons, probe, None, crop=32, center_y=35.0, center_x=27.25)
        agree(scan, landscape(64), 2e-5)
        found_with_them = prepared(photons, beside, None, crop=32, center_y=35.0, center_x=27.25)
        agree(found_with_them, landscape(64), 2e-5)

    def test_what_lies_beyond_the_detector_is_bad(self):
        probe, obj = beam(), landscape(128)
        photons = expected_photons(obj, tilted(probe, (20.0, 0.0)), POSITIONS)
        scan = prepared(photons, probe, None, crop=32, center_y=52.0)
        bad = np.signbit(scan.amplitude[0])
        assert bad[28:].all()  # row 36 + 28 would be the 65th
        assert not bad[:28].any()
        agree(scan, landscape(64), 2e-5)


class TestBinning:
    def test_sums_and_a_smaller_patch(self):
        """The closed form: a sum of b samples weighs the autocorrelation by a Dirichlet kernel."""
        probe, obj = beam(3), landscape(128)
        photons = expected_photons(obj, probe, POSITIONS)
        scan = prepared(photons, probe, None, bin=2)
        assert (scan.patch_size, scan.pixel_size_m) == (32, 1e-8)
        np.testing.assert_array_equal(scan.positions, POSITIONS)
        sums = photons.reshape(3, 32, 2, 32, 2).sum((2, 4))
        np.testing.assert_allclose(scan.amplitude**2, sums, rtol=1e-4, atol=1e-4)
        model = expected_photons(obj, scan.probe, scan.positions)
        axis = np.arange(32) - 16
        kernel = np.cos(np.pi * axis / N)  # |1 + exp(2 pi i r / N)| / 2
        inner = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(model, axes=(1, 2))), axes=(1, 2))
        weighed = np.fft.ifftshift(inner * kernel[:, None] * kernel, axes=(1, 2))
        wanted = np.fft.fftshift(np.fft.fft2(weighed).real, axes=(1, 2))
        np.testing.assert_allclose(sums, wanted, atol=1e-4 * sums.max())

    def test_the_narrower_the_beam_the_better(self):
        obj = landscape(128)
        for radius, tolerance in ((4.0, 0.06), (1.5, 0.01)):
            probe = beam(radius)
            agree(
                prepared(expected_photons(obj, probe, POSITIONS), probe, None, bin=2),
                obj,
                tolerance,
            )

    def test_no_count_is_lost(self):
        counts = rng.integers(0, 9, (3, N, N))
        scan = prepared(counts, beam(), None, bin=4)
        np.testing.assert_allclose((scan.amplitude**2).sum((1, 2)), counts.sum((1, 2)), rtol=1e-6)


class TestResampling:
    @pytest.mark.parametrize("size", [48, 47, 96, 128])
    def test_it_is_exact_for_narrow_beams(self, size):
        """The autocorrelation of the exit wave fits into half of the patch."""
        probe, obj = beam(2.0), landscape(128)
        photons = expected_photons(obj, probe, POSITIONS)
        positions = POSITIONS + 32
        large = np.pad(obj, 32, mode="wrap")
        frames = ArrayFrames(photons, Path("star.h5"), "patterns")
        found = Measurement(frames, positions, probe=probe, pixel_size_m=1e-8)
        how = PreprocessConfig(resample=size)
        scan = prepare(found, values="counts", preprocess=how)
        assert (scan.patch_size, scan.pixel_size_m) == (size, 1e-8)
        agree(scan, large, 1e-4)

    @pytest.mark.parametrize(("whole", "size"), [(64, 48), (64, 33), (9, 14), (33, 64), (12, 12)])
    def test_sums_and_constants_stay(self, whole, size):
        matrix = interpolation(whole, size)
        np.testing.assert_allclose(matrix.sum(0), 1, atol=1e-12)
        np.testing.assert_allclose(matrix.sum(1), whole / size, atol=1e-12)
        if whole == size:
            np.testing.assert_allclose(matrix, np.eye(size), atol=1e-12)

    def test_photons_stay_and_none_is_negative(self):
        counts = rng.poisson(0.05, (3, N, N))
        scan = prepared(counts, beam(), None, resample=40)
        np.testing.assert_allclose((scan.amplitude**2).sum((1, 2)), counts.sum((1, 2)), rtol=1e-5)
        assert scan.amplitude.min() >= 0

    def test_a_bad_pixel_spoils_its_neighbourhood_and_no_more(self):
        probe, obj = beam(2.0), landscape(128)
        photons = expected_photons(obj, probe, POSITIONS)
        clean = prepared(photons, probe, None, resample=48)
        bad = np.zeros((N, N), bool)
        bad[30, 20] = True
        spoiled = np.where(bad, 1e9, photons)
        frames = ArrayFrames(spoiled, Path("star.h5"), "patterns")
        found = Measurement(frames, POSITIONS, probe=probe, bad_pixels=bad)
        scan = prepare(found, values="counts", preprocess=PreprocessConfig(resample=48))
        hidden = np.signbit(scan.amplitude[0])
        assert 2 <= hidden.sum() <= 9
        y, x = np.argwhere(hidden).mean(0)
        assert abs((y - 24) * 64 / 48 - (30 - 32)) < 1
        assert abs((x - 24) * 64 / 48 - (20 - 32)) < 1
        difference = np.abs(scan.amplitude**2 - clean.amplitude**2)[:, ~hidden]
        assert difference.max() < 0.03 * photons.max()


class TestFieldsOnOtherPixels:
    @pytest.mark.parametrize("size", [32, 33, 63, 80])
    def test_band_limited_fields_keep_their_photons(self, size):
        probe = beam(6)
        np.testing.assert_allclose(
            np.square(np.abs(with_band(probe, size))).sum(),
            np.square(np.abs(probe)).sum(),
            rtol=1e-5,
        )

    def test_the_middle_stays_the_middle(self):
        for whole, size in ((6, 4), (6, 5), (5, 3), (4, 7), (5, 8)):
            one = np.zeros((whole, whole))
            one[whole // 2, whole // 2] = 1
            assert np.argwhere(centred(one, size)).tolist() == [[size // 2, size // 2]]

    @pytest.mark.parametrize("factor", [0.5, 0.75, 1.0, 1.5])
    def test_an_object_at_other_points(self, factor):
        y, x = np.mgrid[:40, :50]
        obj = np.cos(np.pi * 3 * (y + 0.5) / 40) + 1j * np.cos(np.pi * 4 * (x + 0.5) / 50)
        found = on_pixels(obj, factor)
        y, x = np.mgrid[: int(39 * factor) + 1, : int(49 * factor) + 1] / factor
        wanted = np.cos(np.pi * 3 * (y + 0.5) / 40) + 1j * np.cos(np.pi * 4 * (x + 0.5) / 50)
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def made(shape=(N, N), **how) -> Arrangement:
    return arrange(Path("star.h5"), shape, PreprocessConfig(**how))


@pytest.mark.parametrize(
    ("how", "size"),
    [
        ({}, 64),
        ({"crop": 48}, 48),
        ({"crop": 48, "bin": 2}, 24),
        ({"crop": 48, "bin": 2, "pad": 40}, 40),
        ({"crop": 48, "bin": 2, "pad": 40, "resample": 20}, 20),
    ],
)
def test_the_size_is_known_before_a_frame_is_read(how, size):
    assert made(**how).size == size
    assert prepared(np.ones((3, N, N)), beam(), None, **how).patch_size == size


@pytest.mark.parametrize(
    ("shape", "how", "words"),
    [
        (
            (64, 100),
            {},
            r"^star\.h5: patterns are 64 x 100 .* square; type data\.preprocess\.crop=64",
        ),
        ((64, 64), {"crop": 65}, r"crop=65 is more than the 64 x 64 .* or enlarge .*pad=65"),
        ((64, 64), {"bin": 80}, r"bin=80 is more than the 64 pixels of .*; bin fewer together\.$"),
        ((64, 64), {"bin": 3}, r"bin=3 does not divide the 64 .* first: data\.preprocess\.crop=63"),
        ((64, 64), {"pad": 32}, r"pad=32 is less than the 64 pixels"),
        ((64, 100), {"crop": 32, "center_y": 64.0}, r"center_y=64 lies beyond the 64 x 100 pixels"),
        ((64, 100), {"crop": 32, "transpose": True, "center_x": 64.0}, "center_x=64 lies beyond"),
    ],
)
def test_what_does_not_fit_is_refused(shape, how, words):
    with pytest.raises(DataError, match=words):
        made(shape, **how)


def test_oblong_frames_are_cropped():
    frames = ArrayFrames(rng.integers(0, 9, (3, 20, 40)), Path("star.h5"), "patterns")
    found = Measurement(frames, POSITIONS, probe=beam(2, 16))
    scan = prepare(found, preprocess=PreprocessConfig(crop=16, center_x=30.0))
    np.testing.assert_array_equal(
        scan.amplitude, np.sqrt(frames.read(slice(None))[:, 2:18, 22:38], dtype=np.float32)
    )
    np.testing.assert_array_equal(scan.probe, found.probe)
    np.testing.assert_array_equal(scan.positions, POSITIONS)


def test_a_probe_of_neither_size_is_refused():
    with pytest.raises(DataError, match=r"probe must be \(modes, 64, 64\) .* or \(modes, 32, 32\)"):
        prepared(np.ones((3, N, N)), beam(size=40), None, crop=32)
    ready = beam(2, 32)
    np.testing.assert_array_equal(prepared(np.ones((3, N, N)), ready, None, crop=32).probe, ready)
