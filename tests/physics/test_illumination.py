import math

import pytest
import torch

from ptycho.physics import illumination as light
from ptycho.physics.fourier import to_detector
from ptycho.physics.probe import width
from tests.operators import assert_adjoint, assert_linear, assert_unitary, complex_noise, energy

MADE = {
    "zone_plate": lambda size: light.zone_plate(size, 0.17, 0.35, -6 / 0.17),
    "rectangular": lambda size: light.rectangular(size, 0.12, 1.4, 30.0),
    "disk": lambda size: light.disk(size, 6.0, 10.0),
    "gaussian": lambda size: light.gaussian(size, 5.0, 40.0),
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def axis(size):
    return torch.arange(size, dtype=torch.float64) - size // 2


@pytest.mark.parametrize("size", [16, 17])
@pytest.mark.parametrize("defocus", [0.0, 7.3, -41.0])
def test_propagation_is_unitary_linear_and_the_way_back_is_its_adjoint(size, defocus):
    there = lambda field: light.propagate(field, defocus)  # noqa: E731
    back = lambda field: light.propagate(field, -defocus)  # noqa: E731
    one, other = complex_noise(2, size, size), complex_noise(2, size, size)
    assert_unitary(there, back, one)
    assert_adjoint(there, back, one, other)
    assert_linear(there, one, other)


def test_two_ways_are_one_long_one():
    field = complex_noise(16, 16)
    torch.testing.assert_close(
        light.propagate(light.propagate(field, 5.0), 8.0), light.propagate(field, 13.0)
    )


def test_a_plane_wave_stays_one():
    field = torch.ones(16, 16, dtype=torch.complex128)
    torch.testing.assert_close(light.propagate(field, 123.0), field)


@pytest.mark.parametrize("defocus", [0.0, 100.0, -250.0])
def test_a_gaussian_beam_grows_as_the_closed_form_says(defocus):
    waist, size = 6.0, 128
    beam = light.gaussian(size, waist, defocus)
    wanted = waist * math.sqrt(1 + (defocus / (math.pi * waist**2)) ** 2)
    # a Gaussian of radius w has <r^2> = w^2 / 2, from which width() makes 2 w
    assert width(beam[None]) / 2 == pytest.approx(wanted, rel=1e-6)
    # and it stays a Gaussian
    expected = torch.exp(-2 * (axis(size)[:, None] ** 2 + axis(size)[None] ** 2) / wanted**2)
    torch.testing.assert_close(
        beam.abs().square(), expected / expected.sum(), rtol=1e-6, atol=1e-12
    )


def test_lengths_become_pixels():
    # 8 keV is 1.55 angstrom; a quarter of a millimetre with pixels of 10 nm
    wave = 1.5498e-10
    assert light.defocus_of(250e-6, wave, 10e-9) == pytest.approx(387.45, rel=1e-4)
    # the numerical aperture of a zone plate is wavelength / (2 outer zone)
    numerical_aperture = wave / (2 * 50e-9)
    assert light.pupil_of_zone_plate(50e-9, 10e-9) == pytest.approx(0.1)
    assert light.pupil_of_aperture(numerical_aperture, wave, 10e-9) == pytest.approx(0.1)


@pytest.mark.parametrize("size", [48, 49])
@pytest.mark.parametrize("kind", MADE)
def test_beams_have_unit_energy_in_the_middle_of_the_patch(kind, size):
    beam = MADE[kind](size)
    assert beam.shape == (size, size)
    torch.testing.assert_close(energy(beam), torch.tensor(1.0, dtype=torch.float64))
    intensity = beam.abs().square()[1 - size % 2 :, 1 - size % 2 :]  # an even side has one more
    torch.testing.assert_close(intensity, intensity.flip(0, 1))
    assert light.light_at_the_rim(beam) < 0.1


def test_the_pupil_of_a_zone_plate_is_a_ring():
    seen = to_detector(light.zone_plate(64, 0.2, 0.5, 30.0)).abs()
    seen = seen / seen.max()
    frequency = torch.hypot(axis(64)[:, None], axis(64)[None]) / 64
    assert seen[frequency < 0.06].max() < 0.01
    assert seen[(frequency > 0.13) & (frequency < 0.17)].min() > 0.9
    assert seen[frequency > 0.24].max() < 0.01


def test_a_zone_plate_out_of_focus_has_its_geometric_radius():
    pupil, radius = 0.2, 20.0
    beam = light.zone_plate(128, pupil, 0.0, radius / pupil)
    # a uniform disk of radius R has <r^2> = R^2 / 2, from which width() makes 2 R
    assert width(beam[None]) / 2 == pytest.approx(radius, rel=0.05)


def test_before_and_behind_the_focus_are_conjugate():
    before, behind = (light.zone_plate(64, 0.17, 0.35, sign * 60.0) for sign in (-1, 1))
    torch.testing.assert_close(before.conj(), behind)


def test_the_pupil_of_mirrors_is_a_rectangle_as_wide_as_asked_for():
    seen = to_detector(light.rectangular(64, 0.1, 2.0, 17.0)).abs()
    lit = seen > 0.5 * seen.max()
    assert lit.any(1).sum() == pytest.approx(2 * 0.1 * 64, abs=1.5)
    assert lit.any(0).sum() == pytest.approx(2 * 0.2 * 64, abs=1.5)


def test_a_disk_is_even_and_as_large_as_asked_for():
    light_ = light.disk(64, 10.0, 0.0).abs().square()
    radius = torch.hypot(axis(64)[:, None], axis(64)[None])
    inside = light_[radius < 8]
    assert inside.std() < 1e-3 * inside.mean()
    assert light_[radius > 12].sum() < 1e-3
    # the edge is where the amplitude, not the intensity, is one half
    assert float(1 / inside.mean() / math.pi) ** 0.5 == pytest.approx(10, abs=0.3)


def test_the_average_pattern_gives_the_beam_back():
    true = light.zone_plate(64, 0.17, 0.35, 70.0)
    intensity = 5.0 * to_detector(true).abs().square()
    good = torch.ones(64, 64, dtype=torch.bool)
    torch.testing.assert_close(light.back_propagated(intensity, good, 70.0), true)
    # and without the phase of the defocus what it is in the focus
    focus = light.back_propagated(intensity, good, 0.0)
    torch.testing.assert_close(focus, light.zone_plate(64, 0.17, 0.35, 0.0))


def test_pixels_without_an_average_take_that_of_their_neighbours():
    intensity = to_detector(light.gaussian(64, 5.0, 0.0)).abs().square()
    good = torch.ones(64, 64, dtype=torch.bool)
    good[30:33] = False
    good[10, 10] = False
    broken = torch.where(good, intensity, torch.nan)
    found = light.back_propagated(broken.nan_to_num(1e9), good, 0.0)
    whole = light.back_propagated(intensity, torch.ones_like(good), 0.0)
    dark = light.back_propagated(torch.where(good, intensity, 0.0), torch.ones_like(good), 0.0)
    likeness = [torch.vdot(one.flatten(), whole.flatten()).abs() for one in (found, dark)]
    assert likeness[0] > 0.99 > 0.9 > likeness[1]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_modes_are_orthogonal_and_the_first_is_the_beam(count):
    beam = light.gaussian(32, 5.0, 20.0) * 3
    modes = light.with_modes(beam, count)
    flat = modes.flatten(1)
    gram = (flat.conj() @ flat.T).real
    powers = 0.5 ** torch.arange(count, dtype=torch.float64)
    torch.testing.assert_close(gram, torch.diag(9 * powers / powers.sum()), atol=1e-9, rtol=1e-9)
    same = torch.vdot(modes[0].flatten(), beam.flatten()).abs()
    torch.testing.assert_close(same, modes[0].norm() * beam.norm())


def test_modes_have_the_powers_that_were_stated():
    modes = light.with_modes(light.disk(32, 6.0, 0.0), None, (6.0, 3.0, 1.0))
    shares = modes.abs().square().sum((-2, -1))
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64))


def test_modes_that_are_there_keep_their_powers_until_others_are_stated():
    own = complex_noise(3, 16, 16) * torch.tensor([3.0, 2.0, 1.0])[:, None, None]
    kept = light.with_modes(own)
    assert kept.shape == own.shape
    torch.testing.assert_close(
        kept.abs().square().sum(0), own.abs().square().sum(0)
    )  # a mixture of the same modes gives the same light
    more, fewer = light.with_modes(own, 4), light.with_modes(own, 2)
    assert (len(more), len(fewer)) == (4, 2)
    for changed in (more, fewer):
        torch.testing.assert_close(energy(changed), energy(own))


def test_a_beam_of_one_pixel_has_one_mode():
    point = torch.zeros(16, 16, dtype=torch.complex128)
    point[8, 8] = 1
    assert len(light.with_modes(point, 3)) == 1
