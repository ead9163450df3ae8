import math

import pytest
import torch

from ptycho.physics.forward import Experiment
from ptycho.physics.mask import seen_share
from ptycho.physics.propagation import (
    farthest,
    fresnel_number,
    fresnel_transfer,
    from_near_detector,
    magnification,
    to_near_detector,
)
from ptycho.physics.sweep import misfit
from tests.operators import assert_adjoint, assert_linear, assert_unitary, complex_noise


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("number", [0.13, 1.0, -0.4])
def test_propagation_is_linear_and_unitary(size, number):
    transfer = fresnel_transfer(size, number, torch.complex128)
    x, y = complex_noise(2, size, size), complex_noise(2, size, size)

    def there(field):
        return to_near_detector(field, transfer)

    def back(field):
        return from_near_detector(field, transfer)

    assert_unitary(there, back, x)
    assert_adjoint(there, back, x, y)
    assert_linear(there, x, y)


def test_distances_add_up():
    """1 / number is proportional to the distance."""
    x = complex_noise(16, 16)
    once = to_near_detector(x, fresnel_transfer(16, 0.25, torch.complex128))
    half = fresnel_transfer(16, 0.5, torch.complex128)
    torch.testing.assert_close(to_near_detector(to_near_detector(x, half), half), once)


@pytest.mark.parametrize("number", [0.05, 0.2])
def test_a_gaussian_beam_widens_as_it_should(number):
    """w(z)^2 = w0^2 (1 + (z / z_R)^2) with z_R = pi w0^2 / wavelength, in pixels."""
    size, waist = 128, 6.0
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    distance = axis[:, None].square() + axis.square()
    beam = torch.exp(-distance / waist**2).to(torch.complex128)
    light = to_near_detector(beam, fresnel_transfer(size, number, torch.complex128)).abs().square()
    width = math.sqrt(float(2 * (light * distance).sum() / light.sum()))
    wanted = waist * math.sqrt(1 + (1 / number / (math.pi * waist**2)) ** 2)
    assert width == pytest.approx(wanted, rel=1e-6)


def test_the_fresnel_number_of_a_diverging_beam_is_that_of_its_parallel_one():
    assert magnification(None, 1.9) == 1
    times = magnification(0.1, 1.9)
    pixel, distance = 2e-6 / times, 1.9 / times
    assert (pixel, distance) == (pytest.approx(1e-7), pytest.approx(0.095))
    assert fresnel_number(pixel, 1e-10, distance) == pytest.approx(1e-14 / 1e-10 / 0.095)


def test_the_farthest_distance_is_where_fringes_are_still_sampled():
    size = 64
    k = torch.fft.fftfreq(size, dtype=torch.float64).sort().values
    phase = math.pi / farthest(size) * k.square()
    assert phase.diff().abs().max() < math.pi
    assert (2 * phase).diff().abs().max() > math.pi


@pytest.fixture
def near():
    size, shape = 9, (24, 22)
    positions = torch.tensor([[8.25, 9.5], [12.0, 10.125], [15.5, 11.0]], dtype=torch.float64)
    probe = complex_noise(2, size, size)
    return Experiment(probe, positions, fresnel=0.3), probe, positions, complex_noise(*shape)


def test_a_near_detector_sees_the_propagated_exit_wave(near):
    """Where nothing is between pixels: |propagated (probe * patch)|^2, modes added."""
    experiment, probe, _, obj = near
    which = torch.tensor([1])
    on_grid = Experiment(probe, torch.tensor([[12.0, 10.0]], dtype=torch.float64), fresnel=0.3)
    patch = obj[8:17, 6:15]
    transfer = fresnel_transfer(9, 0.3, torch.complex128)
    wanted = to_near_detector(probe * patch, transfer).abs().square().sum(0)
    torch.testing.assert_close(on_grid(obj, torch.tensor([0]))[0], wanted)
    assert experiment(obj, which).shape == (1, 9, 9)


def test_the_gradient_of_a_near_misfit_is_its_derivative(near):
    experiment, *_, obj = near
    measured = experiment(complex_noise(*obj.shape), torch.arange(3)).sqrt()

    def judge(expected, amplitude):
        difference = expected - amplitude.square()
        return difference.square().sum(), -2 * difference

    torch.autograd.gradcheck(
        lambda o: misfit(experiment, o, measured, judge), obj.requires_grad_(), fast_mode=True
    )


def test_a_near_table_is_gathered_by_its_adjoint(near):
    _, probe, positions, _ = near

    def table(modes):
        return Experiment(modes, positions, fresnel=0.3).table

    experiment = near[0]
    some = complex_noise(*experiment.table.shape)
    assert_adjoint(table, experiment.gather, probe, some)


def test_the_seen_share_looks_where_a_near_detector_does():
    size = 16
    probe = torch.zeros(1, size, size, dtype=torch.complex64)
    probe[:, :, :8] = 1  # lights the left half, and at once behind it only that
    amplitude = torch.ones(1, size, size)
    amplitude[:, :, :8] = -0.0
    assert seen_share(probe, amplitude, fresnel=1e6) == pytest.approx(0, abs=1e-6)
    assert seen_share(probe, amplitude) > 0.1
