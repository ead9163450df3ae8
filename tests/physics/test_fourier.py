import pytest
import torch

from ptycho.physics.fourier import (
    crop_centre,
    fourier_crop,
    fourier_shift,
    from_detector,
    to_detector,
)
from tests.operators import (
    assert_adjoint,
    assert_linear,
    assert_unitary,
    complex_noise,
    energy,
)

SHAPES = [(8, 8), (7, 7), (6, 9), (5, 8), (1, 1), (3, 2, 7, 10)]


@pytest.mark.parametrize("shape", SHAPES)
def test_propagation_is_unitary(shape):
    assert_unitary(to_detector, from_detector, complex_noise(*shape))
    assert_adjoint(to_detector, from_detector, complex_noise(*shape), complex_noise(*shape))
    assert_linear(to_detector, complex_noise(*shape), complex_noise(*shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_plane_wave_lights_the_centre_pixel(shape):
    height, width = shape[-2:]
    detector = to_detector(torch.ones(shape, dtype=torch.complex128))
    expected = torch.zeros_like(detector)
    expected[..., height // 2, width // 2] = (height * width) ** 0.5
    torch.testing.assert_close(detector, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_point_at_the_centre_gives_a_flat_detector(shape):
    height, width = shape[-2:]
    point = torch.zeros(shape, dtype=torch.complex128)
    point[..., height // 2, width // 2] = 1
    flat = torch.full_like(point, (height * width) ** -0.5)
    torch.testing.assert_close(to_detector(point), flat)
    torch.testing.assert_close(from_detector(flat), point)


@pytest.mark.parametrize(("shape", "ky", "kx"), [((8, 8), 2, -3), ((7, 9), -3, 4)])
def test_tilted_wave_moves_by_its_frequency(shape, ky, kx):
    height, width = shape
    y = torch.arange(height, dtype=torch.float64)[:, None] * ky / height
    x = torch.arange(width, dtype=torch.float64) * kx / width
    lit = to_detector(torch.exp(2j * torch.pi * (y + x))).abs()
    assert divmod(int(lit.argmax()), width) == (height // 2 + ky, width // 2 + kx)
    torch.testing.assert_close(lit.max() ** 2, lit.square().sum())


@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (2, 9, 5)])
def test_whole_shift_is_a_roll(shape):
    field = complex_noise(*shape)
    shifted = fourier_shift(field, torch.tensor([2, -3], dtype=torch.float64))
    torch.testing.assert_close(shifted, field.roll((2, -3), (-2, -1)))


@pytest.mark.parametrize("shape", [(8, 8), (7, 10)])
def test_fractional_shift_is_unitary_and_its_opposite_undoes_it(shape):
    shift = torch.tensor([0.3, -0.45], dtype=torch.float64)
    field = complex_noise(*shape)
    assert_unitary(lambda f: fourier_shift(f, shift), lambda f: fourier_shift(f, -shift), field)
    assert_adjoint(
        lambda f: fourier_shift(f, shift),
        lambda f: fourier_shift(f, -shift),
        field,
        complex_noise(*shape),
    )
    halves = fourier_shift(fourier_shift(field, shift / 2), shift / 2)
    torch.testing.assert_close(halves, fourier_shift(field, shift))


def test_shift_theorem():
    """A smooth blob, shifted, is the blob drawn elsewhere."""

    def blob(cy, cx):
        y, x = torch.meshgrid(torch.arange(32.0), torch.arange(31.0), indexing="ij")
        return torch.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8).to(torch.complex64)

    moved = fourier_shift(blob(15, 14), torch.tensor([0.4, -1.7]))
    # single precision
    torch.testing.assert_close(moved, blob(15.4, 12.3), atol=1e-5, rtol=0)


def test_shifts_broadcast_over_leading_axes():
    fields, shifts = complex_noise(3, 1, 8, 8), torch.rand(4, 2, dtype=torch.float64)
    together = fourier_shift(fields, shifts)
    assert together.shape == (3, 4, 8, 8)
    torch.testing.assert_close(together[1, 2], fourier_shift(fields[1, 0], shifts[2]))


def test_shift_keeps_single_precision_single():
    shifted = fourier_shift(torch.ones(4, 4, dtype=torch.complex64), torch.rand(2).double())
    assert shifted.dtype == torch.complex64


@pytest.mark.parametrize(("side", "size"), [(8, 4), (9, 4), (8, 3), (9, 5), (6, 6)])
def test_crop_keeps_the_centre_pixel(side, size):
    field = torch.zeros(side, side)
    field[side // 2, side // 2] = 1
    cropped = crop_centre(field, size)
    assert cropped.shape == (size, size)
    assert cropped[size // 2, size // 2] == 1


@pytest.mark.parametrize(("side", "size"), [(16, 8), (15, 6), (16, 7), (9, 5)])
def test_fourier_crop_is_a_smaller_detector(side, size):
    wave = complex_noise(2, side, side)
    detector = crop_centre(to_detector(wave), size)
    coarse = fourier_crop(wave, size)
    torch.testing.assert_close(to_detector(coarse), detector)
    torch.testing.assert_close(energy(coarse), energy(detector))


def test_fourier_crop_keeps_a_band_limited_wave():
    """Nothing outside the kept band: nothing lost, and the samples stay where they were."""
    band = torch.zeros(16, 16, dtype=torch.complex128)
    band[5:12, 5:12] = complex_noise(7, 7)
    wave = from_detector(band)
    coarse = fourier_crop(wave, 8)
    torch.testing.assert_close(energy(coarse), energy(wave))
    # every second sample, twice the amplitude on a quarter of the pixels
    torch.testing.assert_close(coarse, 2 * wave[::2, ::2])
