"""What frames say about an object, against definitions written out and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ptycho.physics.forward import Experiment
from ptycho.physics.mask import hide
from ptycho.report.frames import (
    judge,
    measured_frames,
    misfit,
    photon_scale,
    simulated_frames,
)

ALL = torch.arange(36)


def frame_misfit(experiment, obj, amplitude):
    judged = judge(measured_frames(experiment, obj, amplitude))
    return judged.residual, judged.correlation


def deviance(experiment, obj, amplitude, batch_size=256):
    return judge(measured_frames(experiment, obj, amplitude, batch_size)).deviance.mean()


def disturbed(truth, strength=0.1):
    generator = torch.Generator().manual_seed(1)
    return truth * (1 + strength * torch.randn(truth.shape, dtype=truth.dtype, generator=generator))


def reference_fit(obj, tiny):
    """R and C frame by frame in numpy, the probe shifted anew for each."""
    probe, measured, n = tiny.probe, tiny.amplitude.double().numpy(), 32
    ky, kx = np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None]
    model = np.empty(measured.shape)
    for i, (y, x) in enumerate(tiny.positions):
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        turn = np.exp(-2j * np.pi * (ky * (y - row) + kx * (x - column)))
        shifted = np.fft.ifft2(np.fft.fft2(probe) * turn)
        patch = obj[row - n // 2 : row + n // 2, column - n // 2 : column + n // 2]
        wave = np.fft.fftshift(np.fft.fft2(shifted * patch, norm="ortho"), axes=(-2, -1))
        model[i] = np.sqrt((np.abs(wave) ** 2).sum(0))
    model *= (model * measured).sum() / (model * model).sum()
    m, d = model - model.mean(0), measured - measured.mean(0)
    c = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(m, d, strict=True)]
    return np.abs(model - measured).sum((1, 2)) / measured.sum((1, 2)), np.array(c)


def test_every_frame_agrees_with_the_definition(tiny):
    obj = disturbed(tiny.truth)
    residual, correlation = frame_misfit(tiny.experiment, obj, tiny.amplitude)
    r, c = reference_fit(obj.numpy(), tiny)
    # single precision against double, over 1024 pixels
    np.testing.assert_allclose(residual, r, rtol=1e-4)
    np.testing.assert_allclose(correlation, c, rtol=1e-4)
    assert residual.dtype == correlation.dtype == np.float64


def test_frames_together_are_r_and_c(tiny):
    obj = disturbed(tiny.truth)
    r, c = misfit(tiny.experiment, obj, tiny.amplitude)
    residual, correlation = frame_misfit(tiny.experiment, obj, tiny.amplitude)
    light = tiny.amplitude.double().sum((1, 2)).numpy()
    assert correlation.mean() == pytest.approx(c, rel=1e-12)
    # frames count as much as they are bright
    assert np.average(residual, weights=light) == pytest.approx(r, rel=1e-5)


def test_a_flat_object_correlates_with_nothing(tiny):
    flat = torch.ones_like(tiny.truth)
    r, c = misfit(tiny.experiment, flat, tiny.amplitude)
    assert c == 0.0
    assert r == pytest.approx(misfit(tiny.experiment, 3j * flat, tiny.amplitude)[0], rel=1e-5)


def test_neither_batches_nor_the_dose_count(tiny):
    obj = disturbed(tiny.truth)
    whole = misfit(tiny.experiment, obj, tiny.amplitude)
    told = deviance(tiny.experiment, obj, tiny.amplitude)
    for size in (1, 7, 36):
        assert misfit(tiny.experiment, obj, tiny.amplitude, size) == pytest.approx(whole, abs=1e-5)
        again = deviance(tiny.experiment, obj, tiny.amplitude, size)
        assert again == pytest.approx(told, rel=1e-5)
    assert misfit(tiny.experiment, 3 * obj, tiny.amplitude * 0.01) == pytest.approx(whole, abs=1e-5)
    # the scale of the object is free, that of counts is not
    assert deviance(tiny.experiment, 3 * obj, tiny.amplitude) == pytest.approx(told, rel=1e-4)
    assert deviance(tiny.experiment, obj, tiny.amplitude * 2) > 3 * told


def test_c_is_high_for_the_truth_and_zero_for_shuffled_frames(tiny):
    assert misfit(tiny.experiment, tiny.truth, tiny.amplitude)[1] > 0.6
    assert abs(misfit(tiny.experiment, tiny.truth, tiny.amplitude.roll(17, 0))[1]) < 0.2


def test_frames_that_never_change_correlate_with_nothing(tiny):
    same = tiny.amplitude[:1].expand(36, -1, -1)
    assert misfit(tiny.experiment, tiny.truth, same)[1] == 0.0
    black = torch.zeros_like(tiny.truth)
    assert misfit(tiny.experiment, black, same) == pytest.approx((1, 0))
    assert math.isfinite(deviance(tiny.experiment, black, same))


@pytest.mark.filterwarnings("error")
def test_a_frame_without_light_has_no_residual(tiny):
    amplitude = tiny.amplitude.clone()
    amplitude[5] = 0
    residual, correlation = frame_misfit(tiny.experiment, tiny.truth, amplitude)
    assert list(np.flatnonzero(np.isnan(residual))) == [5]
    assert np.isfinite(correlation).all()
    # but it counts against the object all the same
    assert misfit(tiny.experiment, tiny.truth, amplitude)[0] > residual[0]


def unit_deviance(rate, eps=0.05):
    """Mean and variance of the deviance of a Poisson count, summed over the counts."""
    n = np.arange(0, int(rate.max() + 12 * math.sqrt(rate.max()) + 30))
    chance = stats.poisson.pmf(n, rate[:, None])
    counted, expected = n + eps, rate[:, None] + eps
    value = 2 * (counted * np.log(counted / expected) - counted + expected)
    mean = (chance * value).sum(1)
    return mean, (chance * value**2).sum(1) - mean**2


@pytest.mark.parametrize("photons", [300, 3000, 1e4])
def test_the_deviance_of_the_truth_is_what_photons_scatter(tiny, photons):
    rate = photons / 1e5 * tiny.experiment(tiny.truth, ALL)
    amplitude = torch.poisson(rate, generator=torch.Generator().manual_seed(3)).sqrt()
    mean, variance = unit_deviance(rate.double().numpy().ravel())
    spread = math.sqrt(variance.sum()) / len(mean)
    found = deviance(tiny.experiment, tiny.truth, amplitude)
    # the overall scale is fitted: of 36 x 1024 degrees of freedom one less
    assert abs(found - mean.mean()) < 4 * spread
    # so dark a detector scatters less than 1
    assert found < 0.9


@pytest.mark.parametrize("counts", [50, 1e4, 1e7])
def test_many_counts_have_a_deviance_of_one(counts):
    """A point of light spreads evenly over the detector: every pixel expects as much."""
    probe = torch.zeros(32, 32, dtype=torch.complex64)
    probe[16, 16] = 32 * math.sqrt(counts)
    positions = torch.full((36, 2), 20.0, dtype=torch.float64)
    experiment, obj = Experiment(probe, positions), torch.ones(40, 40, dtype=torch.complex64)
    amplitude = torch.poisson(experiment(obj, ALL)).sqrt()
    # 1 + 1 / (6 m) + ...; a unit deviance has the variance 2 of a squared normal number
    expected, spread = 1 + 1 / (6 * counts), math.sqrt(2 / (36 * 1024))
    found = deviance(experiment, obj, amplitude)
    # on top of it rounding in single precision: 6e-8 of the counts, of either sign
    assert abs(found - expected) < 4 * spread + 6e-8 * counts / math.sqrt(36 * 1024)


def test_what_is_worse_has_more_deviance(tiny):
    values = [
        deviance(tiny.experiment, disturbed(tiny.truth, strength), tiny.amplitude)
        for strength in (0, 0.02, 0.1, 0.5)
    ]
    assert values == sorted(values)
    assert values[1] > 1.02 * values[0]


def test_the_scale_of_photons_is_that_of_total_counts(tiny):
    scale = photon_scale(tiny.experiment, 0.5 * tiny.truth, tiny.amplitude)
    # about 36 x 1e5 photons, counted once
    assert scale == pytest.approx(4, rel=4 / math.sqrt(36 * 1e5))
    assert photon_scale(tiny.experiment, torch.zeros_like(tiny.truth), tiny.amplitude) == 0


def test_simulated_frames_are_the_same_each_time_and_in_any_batches(tiny):
    def counts(seed, batch_size):
        frames = simulated_frames(tiny.experiment, tiny.truth, 0.01, seed, batch_size)
        first, second = (torch.cat([data for _, data in frames()]) for _ in range(2))
        assert torch.equal(first, second)
        return first.square()

    found = counts(0, 256)
    assert torch.equal(found, counts(0, 5))
    assert not torch.equal(found, counts(1, 256))
    torch.testing.assert_close(found, found.round())
    rate = 0.01 * tiny.experiment(tiny.truth, ALL)
    # Pearson's statistic where enough is counted: its mean is 1, its variance 2 / pixels
    lit = rate > 5
    pearson = ((found - rate).square() / rate)[lit]
    assert abs(pearson.mean() - 1) < 4 * math.sqrt(2 / int(lit.sum()))


def test_an_object_of_nan_is_judged_nan(tiny):
    obj = tiny.truth * math.nan
    for frames in (
        measured_frames(tiny.experiment, obj, tiny.amplitude),
        simulated_frames(tiny.experiment, obj, 1.0, 0),
    ):
        judged = judge(frames)
        assert math.isnan(judged.misfit[0])
        assert np.isnan(judged.deviance).all()


@pytest.mark.parametrize("each", [False, True])
def test_bad_pixels_say_nothing_whatever_they_hold(tiny, each):
    bad = torch.rand(36 if each else 1, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.2
    obj = disturbed(tiny.truth)
    seen = hide(tiny.amplitude, bad)
    wrong = hide(torch.where(bad, 1e3, tiny.amplitude), bad)
    one, other = (judge(measured_frames(tiny.experiment, obj, frames)) for frames in (seen, wrong))
    for figure in ("error", "light", "correlation", "deviance"):
        np.testing.assert_array_equal(getattr(one, figure), getattr(other, figure))


@pytest.mark.parametrize("each", [False, True])
def test_good_pixels_are_judged_as_if_there_were_no_others(tiny, each):
    """Frames without the bad pixels, by the definitions."""
    bad = torch.rand(36 if each else 1, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.2
    good = (~bad).expand(36, -1, -1).numpy()
    obj, data = disturbed(tiny.truth), tiny.amplitude.numpy().astype(float)
    model = tiny.experiment(obj, ALL).sqrt().numpy().astype(float)
    found = judge(measured_frames(tiny.experiment, obj, hide(tiny.amplitude, bad)))
    scale = (model * data)[good].sum() / np.square(model)[good].sum()
    photons = np.square(data)[good].sum() / np.square(model)[good].sum()
    seen = np.maximum(good.sum(0), 1)
    means = [(frames * good).sum(0) / seen for frames in (model, data)]
    for i, here in enumerate(good):
        m, d = (
            frames[i][here] - mean[here] for frames, mean in zip((model, data), means, strict=True)
        )
        assert found.correlation[i] == pytest.approx(np.corrcoef(m, d)[0, 1], rel=1e-4)
        assert found.error[i] == pytest.approx(
            np.abs(scale * model - data)[i][here].sum(), rel=1e-4
        )
        n, rate = np.square(data[i][here]) + 0.05, photons * np.square(model[i][here]) + 0.05
        assert found.deviance[i] == pytest.approx(
            2 * (n * np.log(n / rate) - n + rate).mean(), rel=1e-3
        )


def test_simulated_frames_are_as_blind_as_the_measured(tiny):
    bad = torch.eye(32, dtype=torch.bool)
    seen = hide(tiny.amplitude, bad)
    frames = simulated_frames(tiny.experiment, tiny.truth, 1.0, 0, batch_size=7, like=seen)
    for expected, data in frames():
        assert not expected[:, bad].any()
        assert torch.equal(torch.signbit(data), bad.expand_as(data))
