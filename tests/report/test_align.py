"""What diffraction cannot tell is undone, and nothing else is."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ptycho.physics.forward import Experiment
from ptycho.report.align import align, is_flat, level, match_scale, remove_ramp, translate

MARGIN = 12
INNER = np.s_[10:-10, 10:-10]


def smooth_object(height=90, width=76, seed=0):
    """A complex object without sharp edges, so that a sub-pixel shift of it is exact."""
    noise = np.random.default_rng(seed).normal(size=(2, height, width))
    amplitude, phase = ndimage.gaussian_filter(noise, (0, 2.5, 2.5), mode="wrap")
    return (1 + 2 * amplitude) * np.exp(5j * phase)


def shifted(obj, dy, dx):
    """Exact shift of a periodic object."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(obj), (dy, dx)))


def shifted_cut(obj, dy, dx):
    """The middle of an object and of the shifted object: new content enters at the rim."""
    cut = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return shifted(obj, dy, dx)[cut], obj[cut]


def ramp(shape, dy, dx):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.exp(1j * (dy * y + dx * x))


@pytest.mark.parametrize("factor", [1.0, 3.7, -0.2, 0.5j, 1e4 * np.exp(2.2j)])
def test_scale_and_phase_are_undone(factor):
    truth = smooth_object()
    np.testing.assert_allclose(align(factor * truth, truth), truth, atol=1e-9)


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.003, -0.001), (0.171, 0.4), (-1.5, 2.9)])
def test_a_ramp_of_any_size_is_undone(slope):
    truth = smooth_object()
    aligned = align(truth * ramp(truth.shape, *slope), truth)
    assert np.abs(np.angle(aligned * truth.conj())).max() < 1e-6


@pytest.mark.parametrize("shift", [(0.3, -0.45), (-1.25, 0.5), (2.6, 1.9)])
def test_shift_ramp_scale_and_phase_are_undone_together(shift):
    obj, truth = shifted_cut(smooth_object(160, 150), *shift)
    disturbed = 2.5j * obj * ramp(obj.shape, 0.03, -0.11)
    # what entered over the rim is not undone, and pulls the fit of the ramp a little
    np.testing.assert_allclose(align(disturbed, truth)[INNER], truth[INNER], atol=0.04)


def test_noise_does_not_tilt():
    truth = smooth_object()
    rng = np.random.default_rng(1)
    noise = rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape)
    noisy = truth * ramp(truth.shape, 0.05, 0.02) + 0.3 * noise
    product = remove_ramp(noisy, truth) * truth.conj()
    top, bottom = np.angle(product[:45].sum()), np.angle(product[45:].sum())
    # 0.3 of noise averaged over half the image
    assert abs(top - bottom) < 3 * 0.3 / np.sqrt(product.size / 2)


def test_a_flat_object_and_garbage_stay_where_they_are():
    truth = smooth_object()
    flat = align(np.full(truth.shape, 0.3 - 2j), truth)
    assert np.ptp(np.abs(flat)) < 1e-9
    rng = np.random.default_rng(2)
    noise = rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape)
    aligned = align(noise, truth)
    # only scale and ramp: the modulus keeps its pattern pixel by pixel
    ratio = np.abs(aligned) / np.abs(noise)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)


def test_a_shift_too_far_to_believe_is_left():
    obj, truth = shifted_cut(smooth_object(160, 150), 7.0, 0.0)
    ratio = np.abs(align(obj, truth)) / np.abs(obj)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    assert np.abs(align(obj, truth, max_shift=9) - truth)[INNER].max() < 0.04


@pytest.mark.parametrize("shape", [(160, 150), (161, 149)])
def test_the_conjugate_twin_is_undone_when_asked(shape):
    obj, truth = shifted_cut(smooth_object(*shape), 1.3, -0.6)
    twin = 0.4j * np.conj(obj * ramp(obj.shape, 0.03, -0.11))[::-1, ::-1]
    # as good as what is upright; see the shift alone above
    np.testing.assert_allclose(align(twin, truth, twin=True)[INNER], truth[INNER], atol=0.04)
    # upright it is another object: no closer to the truth than unrelated ones
    left = np.linalg.norm(align(twin, truth) - truth)
    other = np.linalg.norm(align(smooth_object(*truth.shape, seed=7), truth) - truth)
    assert left == pytest.approx(other, rel=0.1)


def test_the_twin_explains_the_patterns_only_with_its_own_probe():
    obj = torch.from_numpy(smooth_object(40, 44))
    probe = torch.from_numpy(smooth_object(16, 16, seed=1))
    positions = torch.tensor([[14.25, 20.0], [20.0, 18.375], [22.75, 25.0]], dtype=torch.float64)
    which = torch.arange(3)
    turned = torch.tensor(obj.shape) - positions
    twin = obj.flip(0, 1).conj()
    patterns = Experiment(probe, positions)(obj, which)
    own = Experiment(probe.flip(0, 1).conj(), turned)(twin, which)
    torch.testing.assert_close(own, patterns)
    known = Experiment(probe, turned)(twin, which)
    # most of a pattern is the undiffracted beam, which both share
    assert (known - patterns).norm() > 0.1 * patterns.norm()


def test_what_is_upright_is_not_turned():
    truth = smooth_object()
    noisy = truth + 0.1 * smooth_object(seed=5)
    np.testing.assert_array_equal(align(noisy, truth, twin=True), align(noisy, truth))


def test_scale_of_the_amplitude_ignores_the_phase():
    truth = smooth_object()
    wrong = truth * np.exp(1j * np.random.default_rng(3).normal(size=truth.shape))
    np.testing.assert_allclose(np.abs(match_scale(5 * wrong, truth)), np.abs(truth), rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (5, 5)])
def test_tiny_images_pass(shape):
    truth = smooth_object(20, 20)[: shape[0], : shape[1]]
    np.testing.assert_allclose(align(2j * truth, truth), truth, atol=1e-6)
    assert level(truth).shape == shape


def test_zero_stays_zero():
    truth = smooth_object()
    assert not align(np.zeros_like(truth), truth).any()
    assert not align(truth, np.zeros_like(truth)).any()


def test_level_keeps_a_flat_background_flat():
    phase = np.zeros((60, 70))
    phase[35:, :30] = 1.1  # a block in a corner pulls a least squares plane
    tilted = np.exp(1j * phase) * ramp(phase.shape, 0.3, -0.02)
    np.testing.assert_allclose(np.ptp(np.angle(level(tilted))[:30]), 0, atol=1e-6)


def test_translate_moves_towards_larger_indices():
    image = np.zeros((20, 20), complex)
    image[8, 9] = 1
    moved = translate(image, np.array([2.0, -3.0]))
    assert abs(moved[10, 6]) == pytest.approx(1)


def test_flat_means_flat_in_single_precision():
    assert is_flat(np.full((4, 4), 0.1 + 0.2j, np.complex64))
    # two values lie equally far from their mean
    assert not is_flat(np.array([[1.0, 1.001]]))
