import torch
from torch.autograd import gradcheck

from ptycho.physics.detector import amplitude, intensity
from tests.operators import complex_noise


def test_one_mode_is_the_squared_magnitude():
    wave = complex_noise(3, 1, 4, 5)
    torch.testing.assert_close(intensity(wave), wave[:, 0].abs().square())


def test_modes_add_in_intensity_not_in_amplitude():
    wave = torch.tensor([[[1 + 0j, 3j]], [[-1 + 0j, 4]]])
    torch.testing.assert_close(intensity(wave), torch.tensor([[2.0, 25.0]]))
    torch.testing.assert_close(amplitude(wave), torch.tensor([[2.0, 25.0]]).sqrt())


def test_phase_is_lost():
    wave = complex_noise(2, 4, 4)
    phases = torch.polar(torch.ones(4, 4), torch.randn(4, 4)).to(wave.dtype)
    torch.testing.assert_close(intensity(wave * phases), intensity(wave))


def test_gradient_of_intensity():
    wave = complex_noise(2, 3, 3).requires_grad_()
    assert gradcheck(intensity, (wave,))


def test_dark_pixels_have_a_finite_gradient_with_a_floor():
    wave = torch.zeros(1, 2, 2, dtype=torch.complex64, requires_grad=True)
    amplitude(wave, eps=1e-6).sum().backward()
    assert torch.isfinite(torch.view_as_real(wave.grad)).all()
