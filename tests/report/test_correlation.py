"""The Fourier ring correlation finds the resolution that was put in."""

import math

import numpy as np
import pytest
from scipy import ndimage

from ptycho.report.correlation import frc, frc_area, half_bit_threshold, resolution

SIDE = 512
_WINDOW = 1.5**2  # noise bandwidth of a Hann window, squared: pixels of a ring go together


def white(seed, shape=(SIDE, SIDE - 32)):
    """Complex noise of variance 1: every frequency carries the same power."""
    parts = np.random.default_rng(seed).normal(size=(2, *shape))
    return (parts[0] + 1j * parts[1]) / math.sqrt(2)


def blurred(image, sigma):
    """A periodic blur: frequency f is multiplied by ``exp(-2 (pi sigma f)^2)``."""
    return np.fft.ifft2(ndimage.fourier_gaussian(np.fft.fft2(image), sigma))


def scatter(crossing, threshold, steepness):
    """Standard deviation of a crossing: that of the correlation on a ring, over the slope.

    ``n`` independent pairs of complex numbers correlate with an error (1 - c^2) / sqrt(2 n).
    ``steepness`` is |d ln c / df| / (1 - c^2) at the crossing.
    """
    pixels = 2 * math.pi * crossing * SIDE / _WINDOW
    return 1 / math.sqrt(2 * pixels) / (threshold * steepness)


@pytest.mark.parametrize("noise", [0.05, 0.2])
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("threshold", [1 / 7, 0.5])
def test_a_blur_ends_where_it_drowns_in_noise(sigma, noise, threshold):
    """The truth against g truth + s noise: c = g / sqrt(g^2 + s^2) with g the blur."""
    truth = white(1)
    frequency, curve, _ = frc(blurred(truth, sigma) + noise * white(2), truth)
    found = resolution(frequency, curve, np.full_like(curve, threshold))
    # c = threshold where g = s / sqrt(1 / threshold^2 - 1)
    gain = noise / math.sqrt(1 / threshold**2 - 1)
    crossing = math.sqrt(-math.log(gain) / 2) / (math.pi * sigma)
    # d ln c / df = (1 - c^2) d ln g / df, and d ln g / df = -4 pi^2 sigma^2 f
    spread = scatter(crossing, threshold, 4 * math.pi**2 * sigma**2 * crossing)
    if crossing + 4 * spread < 0.5:
        assert abs(1 / found - crossing) < 4 * spread
        assert spread < 0.05 * crossing
    else:
        assert found < 1 / (crossing - 4 * spread)


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_two_noisy_halves_end_earlier_than_the_truth_allows(sigma, noise):
    """Both halves g truth + s noise, the noise independent: c = g^2 / (g^2 + s^2)."""
    seen = blurred(white(1), sigma)
    frequency, curve, _ = frc(seen + noise * white(2), seen + noise * white(3))
    found = resolution(frequency, curve, np.full_like(curve, 1 / 7))
    # c = 1/7 where g^2 = s^2 / 6
    crossing = math.sqrt(-math.log(noise / math.sqrt(6)) / 2) / (math.pi * sigma)
    # d ln c / df = 2 (1 - c) d ln g / df
    steepness = 2 * 4 * math.pi**2 * sigma**2 * crossing / (1 + 1 / 7)
    assert abs(1 / found - crossing) < 4 * scatter(crossing, 1 / 7, steepness)
    expected = np.exp(-4 * (np.pi * sigma * frequency) ** 2)
    expected = expected / (expected + noise**2)
    # the mean over all rings is far better known than each of them
    assert frc_area(frequency, curve) == pytest.approx(frc_area(frequency, expected), abs=0.01)


def test_equal_and_unrelated_images():
    a, b = white(1, (64, 80)), white(2, (64, 80))
    frequency, curve, half_bit = frc(a, a)
    np.testing.assert_allclose(curve, 1)
    assert frequency[0] == pytest.approx(1 / 64)
    assert frequency[-1] == 0.5
    assert (half_bit < 1).all()
    assert np.abs(frc(a, b)[1][5:]).max() < 0.3


def test_the_area_is_one_for_equal_and_nothing_for_unrelated_images():
    for shape in ((64, 80), (65, 71), (9, 9)):
        assert frc_area(*frc(white(1, shape), 3j * white(1, shape))[:2]) == pytest.approx(0)
        assert frc_area(*frc(white(1, shape), 3 * white(1, shape))[:2]) == pytest.approx(1)
    # rings k of 2 pi k pixels: the variances 1 / (4 pi k) of their mean add up to 0.009^2
    assert abs(frc_area(*frc(white(1), white(2))[:2])) < 4 * 0.009
    assert frc_area(*frc(np.ones((64, 64)), white(2, (64, 64)))[:2]) == 0


def test_the_area_is_that_under_the_curve_up_to_the_highest_frequency():
    frequency = np.arange(1, 33) / 64
    # half of it is 1, then a straight line down to 0: 1/2 + 1/4
    curve = np.clip(2 - 4 * frequency, 0, 1)
    assert frc_area(frequency, curve) == pytest.approx(0.75)
    # an odd side ends below 0.5 and begins above 0: both ends are continued
    assert frc_area(frequency[2:-1], np.ones(29)) == pytest.approx(1)
    assert math.isnan(frc_area(np.empty(0), np.empty(0)))


def test_half_bit_threshold_is_the_published_curve():
    assert half_bit_threshold(np.array([1.0])) == pytest.approx(1.0, abs=1e-4)
    assert half_bit_threshold(np.array([1e12])) == pytest.approx(0.2071 / 1.2071, abs=1e-4)


def test_resolution_at_the_first_crossing():
    frequency = np.arange(1, 33) / 64
    threshold = np.full(32, 0.5)
    curve = np.array([*[1] * 10, 0.75, 0.25, *[0.9] * 20])
    assert resolution(frequency, curve, threshold) == pytest.approx(64 / 11.5)
    assert resolution(frequency, np.ones(32), threshold) == 2.0
    assert math.isnan(resolution(frequency, np.zeros(32), threshold))


@pytest.mark.parametrize("side", [32, 64, 200])
def test_a_period_beyond_an_eighth_of_the_image_resolves_nothing(side):
    frequency = np.arange(1, side // 2 + 1) / side
    threshold = np.full_like(frequency, 0.5)
    for rings in range(1, 12):  # that agree; the crossing lies halfway to the next
        found = resolution(frequency, np.where(np.arange(side // 2) < rings, 1.0, 0.0), threshold)
        period = side / (rings + 0.5)
        assert math.isnan(found) if period > side / 8 else found == pytest.approx(period)


def test_what_agrees_by_chance_resolves_nothing():
    for seed in range(8):
        frequency, curve, half_bit = frc(white(seed, (96, 96)), white(seed + 100, (96, 96)))
        assert math.isnan(resolution(frequency, curve, half_bit))
