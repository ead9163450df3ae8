"""Figures punish what is worse, call perfect perfect, and give nothing for nothing."""

import math

import numpy as np
import pytest
from scipy import ndimage

from ptycho.data.synthetic.objects import make_object
from ptycho.report.metrics import compare, flat_floor

PERFECT = {"pearson": 1.0, "ssim": 1.0, "ms_ssim": 1.0, "psnr": 200.0, "mae": 0.0}


@pytest.fixture(scope="module")
def truth():
    return make_object("natural", (176, 190), np.random.default_rng(0))


def noise(shape, seed=0):
    parts = np.random.default_rng(seed).normal(size=(2, *shape))
    return parts[0] + 1j * parts[1]


def blurred(obj, sigma):
    return ndimage.gaussian_filter(obj.real, sigma) + 1j * ndimage.gaussian_filter(obj.imag, sigma)


def test_identical_images_are_perfect(truth):
    figures = compare(truth, truth)
    for part in ("amplitude", "phase"):
        for name, value in PERFECT.items():
            # single precision, raised by the contrast of five scales
            assert figures[f"{part}_{name}"] == pytest.approx(value, abs=1e-5)
    assert figures["frc_half_bit_px"] == figures["frc_one_seventh_px"] == 2.0
    assert figures["frc_area"] == pytest.approx(1.0)


def test_scale_phase_and_ramp_do_not_count(truth):
    y, x = np.mgrid[: truth.shape[0], : truth.shape[1]]
    figures = compare(truth * 40 * np.exp(1j * (2 + 0.2 * y - 0.07 * x)), truth)
    assert figures["phase_mae"] < 1e-5
    assert figures["amplitude_ssim"] > 0.999999


@pytest.mark.parametrize(
    "worsen",
    [lambda o, s: blurred(o, 2 * s), lambda o, s: o + 0.2 * s * noise(o.shape)],
    ids=["blur", "noise"],
)
def test_worse_images_score_worse(truth, worsen):
    slightly, badly = (compare(worsen(truth, s), truth) for s in (0.3, 1.0))
    for part in ("amplitude", "phase"):
        for name in ("pearson", "ssim", "ms_ssim", "psnr"):
            assert PERFECT[name] > slightly[f"{part}_{name}"] > badly[f"{part}_{name}"]
        assert 0 < slightly[f"{part}_mae"] < badly[f"{part}_mae"]
    assert 1 > slightly["frc_area"] > badly["frc_area"] > 0


@pytest.mark.parametrize("strength", [1.0, 1e-3])
def test_weak_objects_are_told_apart_over_many_scales(truth, strength):
    """An amplitude of 1 + 0.001 structure, where single precision would see rounding."""
    weak = 1 + strength * (truth.real - truth.real.mean())
    blurs = [compare(blurred(weak + 0j, s), weak + 0j)["amplitude_ms_ssim"] for s in (0.3, 1, 3)]
    assert 1 > blurs[0] > blurs[1] > blurs[2] > 0.1
    # luminance apart, which hardly matters, the similarity is that of the structure
    strong = 2 + truth.real - truth.real.mean()
    assert blurs[1] == pytest.approx(
        compare(blurred(strong + 0j, 1), strong + 0j)["amplitude_ms_ssim"], abs=1e-3
    )


def test_the_twin_counts_only_when_asked(truth):
    twin = np.conj(truth[::-1, ::-1]) * 0.3j
    asked = compare(twin, truth, twin=True)
    assert asked["phase_pearson"] > 0.9999
    assert asked["frc_half_bit_px"] == 2.0
    assert compare(twin, truth)["phase_pearson"] < 0.5


def test_many_scales_need_room(truth):
    for rows, known in ((175, False), (176, True)):
        figures = compare(blurred(truth, 1)[:rows], truth[:rows])
        for part in ("amplitude", "phase"):
            assert math.isfinite(figures[f"{part}_ms_ssim"]) == known
            assert math.isfinite(figures[f"{part}_ssim"])


def test_nothing_earns_nothing(truth):
    """Without care the tilt fitted to a flat object correlates 0.6 with a photograph."""
    floor = flat_floor(truth)
    assert floor["phase_pearson"] == floor["amplitude_pearson"] == 0.0
    assert math.isnan(floor["frc_half_bit_px"])
    assert floor["phase_ssim"] < 0.1
    assert compare(np.full_like(truth, 3 - 1j), truth) == pytest.approx(floor, nan_ok=True)


def test_shuffled_and_random_images_are_at_the_floor(truth):
    floor = flat_floor(truth)
    shuffled = np.random.default_rng(0).permutation(truth.ravel()).reshape(truth.shape)
    for garbage in (shuffled, noise(truth.shape)):
        figures = compare(garbage, truth)
        for part in ("amplitude", "phase"):
            assert abs(figures[f"{part}_pearson"]) < 0.05
            assert figures[f"{part}_psnr"] < floor[f"{part}_psnr"]


def test_a_black_object_has_no_phase_to_be_praised(truth):
    figures = compare(np.zeros_like(truth), truth)
    assert figures["phase_psnr"] < 15
    assert figures["phase_pearson"] == 0


def test_an_object_with_nan_scores_nan(truth):
    broken = truth.copy()
    broken[3, 3] = np.nan
    assert all(math.isnan(value) for value in compare(broken, truth).values())


@pytest.mark.filterwarnings("error")
def test_a_truth_of_constant_phase_does_not_crash(truth):
    amplitude = np.abs(truth).astype(np.complex64)
    figures = compare(amplitude * (1 + 0.1 * noise(truth.shape)), amplitude)
    assert math.isnan(figures["phase_psnr"])
    assert math.isnan(figures["phase_ms_ssim"])
    assert figures["phase_pearson"] == 0.0
    assert figures["phase_mae"] > 0.01
    assert figures["amplitude_pearson"] > 0.3
    flat = np.ones((30, 30), complex)
    assert compare(flat, flat)["amplitude_mae"] == 0


def test_phases_are_compared_across_the_wrap():
    y, x = np.mgrid[:80, :80]
    truth = np.exp(9j * np.exp(-((y - 40) ** 2 + (x - 40) ** 2) / 500))
    error = 0.05 * np.random.default_rng(0).normal(size=truth.shape)
    figures = compare(truth * np.exp(1j * error), truth)
    assert figures["phase_mae"] == pytest.approx(np.abs(error).mean(), rel=0.01)
    assert figures["phase_pearson"] > 0.99


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 2), (3, 4), (9, 5)])
def test_tiny_images_get_every_figure(truth, shape):
    figures = compare(truth[: shape[0], : shape[1]] + 0.1, truth[: shape[0], : shape[1]], 1e-8)
    assert set(figures) == set(compare(truth, truth, 1e-8))
    assert all(type(value) is float for value in figures.values())


def test_resolution_in_nanometres(truth):
    noisy = truth + 0.3 * noise(truth.shape)
    figures = compare(noisy, truth, pixel_size_m=12.5e-9)
    for name in ("frc_half_bit", "frc_one_seventh"):
        assert figures[f"{name}_nm"] == pytest.approx(12.5 * figures[f"{name}_px"])
    assert "frc_half_bit_nm" not in compare(noisy, truth)
