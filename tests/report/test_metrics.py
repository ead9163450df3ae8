"""Figures punish what is worse, call perfect perfect, and give nothing for nothing."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from ptycho.data.reconstruction import Reconstruction, Stage
from ptycho.data.simulate import make_object, simulate
from ptycho.physics.forward import Experiment
from ptycho.report.frames import frame_fit, misfit
from ptycho.report.metrics import FLAT, compare, flat_floor, score

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


@pytest.fixture(scope="module")
def tiny():
    scan = simulate(kind="natural", n_patterns=36, patch_size=32, photons=1e5, probe_radius=6)
    two_modes = np.concatenate([scan.probe, 0.3j * scan.probe[:, ::-1].copy()])
    # positions on the grid of tabulated shifts: the reference shifts the probe exactly
    positions = np.round(scan.positions * 16) / 16
    experiment = Experiment(torch.from_numpy(two_modes), torch.from_numpy(positions))
    return scan, two_modes, positions, experiment


def reference_fit(obj, probe, positions, measured):
    """R and C as shared/tools/score_real.py computes them, frame by frame in numpy."""
    n = measured.shape[-1]
    ky, kx = np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None]
    model = np.empty(measured.shape)
    for i, (y, x) in enumerate(positions):
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        turn = np.exp(-2j * np.pi * (ky * (y - row) + kx * (x - column)))
        shifted = np.fft.ifft2(np.fft.fft2(probe) * turn)
        patch = obj[row - n // 2 : row + n // 2, column - n // 2 : column + n // 2]
        wave = np.fft.fftshift(np.fft.fft2(shifted * patch, norm="ortho"), axes=(-2, -1))
        model[i] = np.sqrt((np.abs(wave) ** 2).sum(0))
    model *= (model * measured).sum() / (model * model).sum()
    m, d = model - model.mean(0), measured - measured.mean(0)
    c = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(m, d, strict=True)])
    return np.abs(model - measured).sum() / measured.sum(), c


def test_frames_agree_with_the_definition(tiny):
    scan, probe, positions, experiment = tiny
    obj = (scan.truth * (1 + 0.1 * noise(scan.truth.shape))).astype(np.complex64)
    figures = frame_fit(experiment, torch.from_numpy(obj), torch.from_numpy(scan.amplitude))
    r, c = reference_fit(obj, probe, positions, scan.amplitude.astype(float))
    assert figures["R"] == pytest.approx(r, rel=1e-4)
    assert figures["C"] == pytest.approx(c, rel=1e-4)
    r_flat, _ = reference_fit(np.ones_like(obj), probe, positions, scan.amplitude.astype(float))
    assert figures["R_flat"] == pytest.approx(r_flat, rel=1e-4)
    assert figures["C_flat"] == 0.0


def test_frames_do_not_depend_on_batches_or_on_the_dose(tiny):
    scan, _, _, experiment = tiny
    obj, amplitude = torch.from_numpy(scan.truth), torch.from_numpy(scan.amplitude)
    whole = frame_fit(experiment, obj, amplitude)
    for batch_size in (1, 7, 36):
        assert frame_fit(experiment, obj, amplitude, batch_size) == pytest.approx(whole, abs=1e-5)
    assert frame_fit(experiment, obj * 3, amplitude * 0.01) == pytest.approx(whole, abs=1e-5)


def test_c_is_high_for_the_truth_and_zero_for_shuffled_frames(tiny):
    scan, _, _, experiment = tiny
    obj, amplitude = torch.from_numpy(scan.truth), torch.from_numpy(scan.amplitude)
    assert misfit(experiment, obj, amplitude)[1] > 0.6
    assert abs(misfit(experiment, obj, amplitude.roll(17, 0))[1]) < 0.2


def test_frames_that_never_change_correlate_with_nothing(tiny):
    scan, _, _, experiment = tiny
    same = torch.from_numpy(scan.amplitude[:1]).expand(len(scan), -1, -1)
    assert misfit(experiment, torch.from_numpy(scan.truth), same)[1] == 0.0
    assert misfit(
        experiment, torch.zeros_like(torch.from_numpy(scan.truth)), same
    ) == pytest.approx((1, 0))


def test_score_has_a_row_per_stage_and_the_floor(tiny):
    scan, probe, positions, experiment = tiny
    rough = (scan.truth * (1 + 0.2 * noise(scan.truth.shape))).astype(np.complex64)
    reconstruction = Reconstruction(
        stages=(Stage("lift", rough, 0.5), Stage("refined", scan.truth, 2.0)),
        probe=probe,
        positions=positions,
        truth=scan.truth,
        truth_is_known=True,
    )
    rows = score(reconstruction, experiment, torch.from_numpy(scan.amplitude))
    assert list(rows) == ["lift", "refined", FLAT]
    assert rows["lift"]["seconds"] == 0.5
    assert "seconds" not in rows[FLAT]
    assert rows["refined"]["phase_psnr"] == 200.0
    assert rows["refined"]["C"] > rows["lift"]["C"] > rows[FLAT]["C"] == 0.0
    assert all(type(value) is float for row in rows.values() for value in row.values())
    # too small for five scales
    known = {k: v for k, v in rows["refined"].items() if not k.endswith("_ms_ssim")}
    assert json.loads(json.dumps(known, allow_nan=False)) == known


def test_score_without_a_truth_has_frames_only(tiny):
    scan, probe, positions, experiment = tiny
    reconstruction = Reconstruction((Stage("solver", scan.truth, 1.0),), probe, positions)
    rows = score(reconstruction, experiment, torch.from_numpy(scan.amplitude))
    assert set(rows["solver"]) == {"seconds", "R", "C"}
    assert set(rows[FLAT]) == {"R", "C"}
