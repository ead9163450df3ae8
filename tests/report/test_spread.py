"""Differences that count and those that do not; their size; the photons' own."""

import numpy as np
import pytest

from ptycho.report.spread import differences, errors, mean_square, photon_variance, smooth

rng = np.random.default_rng(0)
y, x = np.mgrid[:60, :50]
RESULT = (1 + 0.2 * np.sin(y / 9)) * np.exp(1j * np.cos(x / 7))


def noise(sigma: float, *shape: int):
    real, imaginary = rng.normal(size=(2, *shape))
    return sigma * (real + 1j * imaginary)


@pytest.mark.parametrize("compare", [differences, errors])
def test_global_phase_ramp_and_scale_are_no_difference(compare):
    other = 1.7 * RESULT * np.exp(1j * (2 + 0.03 * y - 0.05 * x))
    assert np.abs(compare(other, RESULT)).max() < 1e-6


def test_a_difference_is_told_in_radians_and_in_amplitude():
    other = RESULT.copy()
    other[30, 20] *= 1.1 * np.exp(0.2j)
    phase, amplitude = differences(other, RESULT)[:, 30, 20]
    assert phase == pytest.approx(0.2, abs=2e-3)
    assert amplitude == pytest.approx(0.1 * abs(RESULT[30, 20]), abs=2e-3)


def test_noise_of_known_size_is_found_again():
    # of a Gaussian: sigma for the amplitude, sigma over the amplitude for the phase
    sigma = 0.02
    members = [RESULT + noise(sigma, *RESULT.shape) for _ in range(4)]
    found = np.sqrt(mean_square([differences(one, RESULT) for one in members]))
    assert np.median(found[1]) == pytest.approx(sigma, rel=0.05)
    assert np.median(found[0] * np.abs(RESULT)) == pytest.approx(sigma, rel=0.05)
    assert (found.std(axis=(1, 2)) < 0.3 * found.mean(axis=(1, 2))).all()


def test_smoothing_keeps_each_map_to_itself_and_its_mean():
    maps = np.stack([np.zeros((40, 40)), rng.uniform(size=(40, 40))])
    smoothed = smooth(maps)
    assert not smoothed[0].any()
    assert smoothed[1].mean() == pytest.approx(maps[1].mean(), rel=0.02)


def test_photons_tell_the_more_the_more_there_are():
    photons = np.full(RESULT.shape, 50.0)
    few, many = photon_variance(RESULT, photons), photon_variance(RESULT, 100 * photons)
    np.testing.assert_allclose(np.sqrt(few / many), 10)  # one over the root of the dose
    np.testing.assert_allclose(many[1], 1 / (2 * 5000))
    np.testing.assert_allclose(many[0] * np.abs(RESULT) ** 2, many[1])


def test_darkness_knows_nothing_but_stays_finite():
    phase, amplitude = photon_variance(np.zeros((2, 2)), np.zeros((2, 2)))
    np.testing.assert_allclose(phase, np.pi**2 / 3)
    np.testing.assert_allclose(amplitude, 1)
