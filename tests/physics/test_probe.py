import math

import pytest
import torch

from ptycho.physics.fourier import fourier_shift
from ptycho.physics.probe import as_modes, centring, photons, reach, shifted_probes, width
from tests.operators import complex_noise


def radius_from_centre(size):
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    return torch.hypot(axis[:, None], axis[None, :])


def test_single_probe_gets_a_mode_axis():
    probe = complex_noise(4, 4)
    torch.testing.assert_close(as_modes(probe), probe[None])
    modes = complex_noise(3, 4, 4)
    assert as_modes(modes) is modes


def test_photons_add_over_modes():
    probe = torch.tensor([[[1, 2j]], [[-3, 0]]])
    assert photons(probe) == 14


@pytest.mark.parametrize("radius", [5, 10, 20])
def test_width_of_a_disk_is_its_diameter(radius):
    disk = (radius_from_centre(64) <= radius).to(torch.complex64)
    # a disk of pixels is round within a pixel
    assert width(disk) == pytest.approx(2 * radius, abs=0.7)


def test_width_of_a_gaussian():
    sigma = 4.0  # of the intensity; <r^2> = 2 sigma^2
    probe = torch.exp(-(radius_from_centre(64) ** 2) / (4 * sigma**2))
    assert width(probe) == pytest.approx(2 * math.sqrt(2 * 2 * sigma**2), rel=1e-3)


def test_width_ignores_scale_place_and_phase():
    probe = torch.exp(-(radius_from_centre(48) ** 2) / 20).to(torch.complex128)
    moved = 7j * fourier_shift(probe, torch.tensor([3.0, -2.0], dtype=torch.float64))
    assert width(moved) == pytest.approx(width(probe), rel=1e-6)
    assert width(torch.stack([probe, probe])) == pytest.approx(width(probe))


def test_table_holds_each_distinct_shift_once():
    probe = complex_noise(2, 8, 8)
    rest = torch.tensor([[0.25, 0], [0, 0], [0.25, 0], [0.251, -0.001]], dtype=torch.float64)
    table, row, _ = shifted_probes(probe, rest, bins=16)
    assert table.shape == (2, 2, 8, 8)
    assert row[0] == row[2] == row[3] != row[1]
    torch.testing.assert_close(table[row[0]], fourier_shift(probe, rest[0]))
    torch.testing.assert_close(table[row[1]], probe)


@pytest.mark.parametrize("bins", [4, 16])
def test_shifts_are_within_half_a_bin(bins):
    probe = torch.exp(-(radius_from_centre(32) ** 2) / 20).to(torch.complex128)[None]
    rest = torch.rand(20, 2, dtype=torch.float64) - 0.5
    table, row, _ = shifted_probes(probe, rest, bins)
    for shift, shifted in zip(rest, table[row], strict=True):
        exact = fourier_shift(probe, shift)
        # the steepest slope of this probe is 0.2 a pixel, in two directions
        assert (shifted - exact).abs().max() < 0.2 * math.sqrt(2) * 0.5 / bins + 1e-12


@pytest.mark.parametrize("size", [8, 7])
def test_centring_moves_zero_frequency_to_the_centre(size):
    wave = complex_noise(size, size)
    centred = torch.fft.fft2(wave * centring(size, dtype=torch.complex128))
    rolled = torch.fft.fft2(wave).roll((size // 2, size // 2), (0, 1))
    torch.testing.assert_close(centred, rolled)


def test_centring_follows_the_dtype_asked_for():
    assert centring(6).dtype == torch.complex64
    assert centring(6, dtype=torch.complex128).dtype == torch.complex128


def test_reach_is_the_square_that_holds_the_light():
    probe = torch.zeros(2, 32, 32, dtype=torch.complex64)
    probe[0, 16 - 5 : 16 + 6, 16] = 1
    probe[1, 16, 16 - 3 : 16 + 4] = 1
    assert reach(probe, 1.0) == 6, "pixels 0 to 5 from the centre"
    assert reach(probe, 0.5) < reach(probe, 0.9) <= 6


def test_reach_is_at_most_half_the_patch():
    assert reach(torch.ones(16, 16, dtype=torch.complex64), 1.0) == 8
    assert reach(torch.ones(9, 9, dtype=torch.complex64), 1.0) == 4.5
