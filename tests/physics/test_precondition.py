import pytest
import torch

from ptycho.physics.precondition import fast_length, low_frequency_filter


@pytest.mark.parametrize(("shape", "cutoff", "cap"), [((40, 36), 1 / 16, 20.0), ((31, 45), 0.2, 4)])
def test_low_frequency_filter(shape, cutoff, cap):
    gain = low_frequency_filter(shape, cutoff, cap)
    assert gain.shape == torch.fft.rfft2(torch.zeros(shape)).shape
    assert gain[0, 0] == 0  # the mean phase is nobody's business
    assert ((gain >= 0) & (gain <= cap)).all()
    falling = gain[0, 1:]
    assert (falling.diff() <= 0).all()
    assert gain[0, 1] > 0.9 * min(cap, (cutoff * shape[1]) ** 2)
    torch.testing.assert_close(gain[1 : shape[0] // 2, 0], gain.flip(0)[: shape[0] // 2 - 1, 0])


def test_low_frequency_filter_at_the_cutoff():
    gain = low_frequency_filter((64, 64), 8 / 64, 20.0)
    torch.testing.assert_close(gain[0, 8], torch.tensor(1 / 8).neg().exp())


@pytest.mark.parametrize(("wanted", "found"), [(1, 1), (7, 8), (13.1, 15), (97, 100), (128, 128)])
def test_fast_length_is_the_next_product_of_small_primes(wanted, found):
    assert fast_length(wanted) == found
