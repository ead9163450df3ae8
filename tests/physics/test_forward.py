import pytest
import torch
from torch.autograd import gradcheck

from ptycho.physics.forward import Experiment, matched_scale
from ptycho.physics.fourier import fourier_shift, to_detector
from ptycho.physics.patches import split_positions
from ptycho.physics.probe import photons
from tests.operators import complex_noise


def positions_in(shape, size, n=7, steps=16):
    """Random centres on the grid of the tabulated shifts, the first one twice."""
    room = torch.tensor(shape) - size - 1
    centres = size // 2 + 0.5 + torch.rand(n, 2, dtype=torch.float64) * room
    centres[1] = centres[0]
    return (centres * steps).round() / steps


def expected_photons(obj, probe, positions):
    """|F(shifted probe * patch)|^2, written out pattern by pattern."""
    size = probe.shape[-1]
    corners, rest = split_positions(positions, size)
    patterns = []
    for (y, x), shift in zip(corners.tolist(), rest, strict=True):
        patch = obj[y : y + size, x : x + size]
        waves = to_detector(fourier_shift(probe, shift) * patch)
        patterns.append(waves.abs().square().sum(0))
    return torch.stack(patterns)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("modes", [1, 3])
def test_experiment_is_the_formula(size, modes):
    shape = (25, 31)
    obj, probe = complex_noise(*shape), complex_noise(modes, size, size)
    positions = positions_in(shape, size)
    predicted = Experiment(probe, positions)(obj, torch.arange(len(positions)))
    assert predicted.dtype == torch.float64
    torch.testing.assert_close(predicted, expected_photons(obj, probe, positions))


def test_single_precision_agrees():
    shape, size = (20, 22), 8
    obj, probe, positions = complex_noise(*shape), complex_noise(2, size, size), None
    positions = positions_in(shape, size)
    which = torch.arange(len(positions))
    exact = Experiment(probe, positions)(obj, which)
    single = Experiment(probe.to(torch.complex64), positions)(obj.to(torch.complex64), which)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-4)


def test_a_probe_without_mode_axis_is_one_mode():
    probe, obj, positions = complex_noise(8, 8), complex_noise(20, 20), positions_in((20, 20), 8)
    which = torch.arange(3)
    torch.testing.assert_close(
        Experiment(probe, positions)(obj, which), Experiment(probe[None], positions)(obj, which)
    )


def test_modes_add_in_intensity():
    probe, obj, positions = complex_noise(2, 8, 8), complex_noise(20, 20), positions_in((20, 20), 8)
    which = torch.arange(len(positions))
    both = Experiment(probe, positions)(obj, which)
    apart = [Experiment(mode, positions)(obj, which) for mode in probe]
    torch.testing.assert_close(both, apart[0] + apart[1])


def test_transparent_object_passes_every_photon():
    probe, positions = complex_noise(2, 8, 8), positions_in((20, 20), 8)
    flat = torch.ones(20, 20, dtype=torch.complex128)
    per_pattern = Experiment(probe, positions)(flat, torch.arange(len(positions))).sum((-2, -1))
    torch.testing.assert_close(per_pattern, photons(probe).expand(len(positions)))


def test_patterns_are_chosen_by_index():
    probe, obj, positions = complex_noise(8, 8), complex_noise(20, 20), positions_in((20, 20), 8)
    experiment = Experiment(probe, positions)
    every = experiment(obj, torch.arange(len(positions)))
    which = torch.tensor([4, 0, 4])
    torch.testing.assert_close(experiment(obj, which), every[which])
    assert experiment.size == 8


def test_a_tile_of_the_object_is_enough():
    probe, obj, positions = complex_noise(8, 8), complex_noise(30, 30), positions_in((30, 30), 8)
    experiment = Experiment(probe, positions)
    which = torch.tensor([0, 3])
    first, last = experiment.corners[which].amin(0), experiment.corners[which].amax(0) + 8
    tile = obj[first[0] : last[0], first[1] : last[1]]
    torch.testing.assert_close(experiment(tile, which, first), experiment(obj, which))


def test_phase_gradient_moves_the_pattern():
    """Refraction: a wedge of k/N cycles per pixel moves the pattern by k pixels."""
    size, centre = 8, torch.tensor([[8.0, 8.0]])
    probe = complex_noise(size, size)
    wedge = torch.exp(2j * torch.pi * 2 * torch.arange(16, dtype=torch.float64) / size)
    experiment = Experiment(probe, centre)
    flat = torch.ones(16, 16, dtype=torch.complex128)
    straight, bent = (experiment(o, torch.tensor([0]))[0] for o in (flat, flat * wedge))
    torch.testing.assert_close(bent, straight.roll(2, -1))


def test_gradient_reaches_the_object():
    obj, probe = complex_noise(9, 9).requires_grad_(), complex_noise(2, 5, 5)
    experiment = Experiment(probe, positions_in((9, 9), 5, n=3))
    assert gradcheck(lambda o: experiment(o, torch.arange(3)), (obj,))


def test_illumination_is_the_probe_at_every_position():
    size, shape = 7, (18, 21)
    probe, positions = complex_noise(2, size, size), positions_in(shape, size)
    corners, rest = split_positions(positions, size)
    expected = torch.zeros(shape, dtype=torch.float64)
    for (y, x), shift in zip(corners.tolist(), rest, strict=True):
        light = fourier_shift(probe, shift).abs().square().sum(0)
        expected[y : y + size, x : x + size] += light
    illumination = Experiment(probe, positions).illumination(shape, batch=3)
    torch.testing.assert_close(illumination, expected)
    torch.testing.assert_close(illumination.sum(), len(positions) * photons(probe))


def test_illumination_is_the_same_to_the_last_digit_every_time():
    """Threads that added to one canvas would add in any order."""
    positions = 40 + 30 * torch.rand(500, 2, dtype=torch.float64)
    experiment = Experiment(complex_noise(1, 32, 32).to(torch.complex64), positions)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, *others = (experiment.illumination((96, 96)) for _ in range(5))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(first, other) for other in others)


def test_scale_is_inverse_to_the_probe_and_proportional_to_the_amplitude():
    probe, amplitude = complex_noise(2, 8, 8), torch.rand(5, 8, 8).double()
    scale = matched_scale(probe, amplitude)
    assert matched_scale(2 * probe, amplitude) == pytest.approx(scale / 2)
    assert matched_scale(probe, 3 * amplitude) == pytest.approx(scale * 3)


def test_scaled_probe_predicts_the_mean_photons():
    probe, amplitude = complex_noise(2, 8, 8), 9 * torch.rand(5, 8, 8).double()
    scaled = probe * matched_scale(probe, amplitude)
    flat = torch.ones(20, 20, dtype=torch.complex128)
    predicted = Experiment(scaled, positions_in((20, 20), 8))(flat, torch.arange(7))
    measured = amplitude.square().sum((-2, -1)).mean()
    torch.testing.assert_close(predicted.sum((-2, -1)).mean(), measured)
