from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ptycho.data.simulate import simulate
from ptycho.physics.forward import Experiment
from ptycho.physics.fourier import fourier_shift
from ptycho.physics.likelihood import poisson_nll
from ptycho.physics.probe import width
from ptycho.physics.solver import (
    Recipe,
    Solver,
    coarse_solution,
    upsample,
)
from tests.operators import complex_noise


@dataclass
class Problem:
    """A small simulated scan as the solver wants it, with its truth."""

    probe: Tensor
    positions: Tensor
    amplitude: Tensor
    truth: Tensor

    def __post_init__(self):
        self.shape = tuple(self.truth.shape)
        self.flat = torch.ones_like(self.truth)
        self.experiment = Experiment(self.probe, self.positions)

    def solver(self, **recipe):
        cutoff = 1 / width(self.probe)
        return Solver(self.experiment, self.amplitude, self.shape, Recipe(**recipe), cutoff)

    def coarse(self, iterations, **recipe):
        return coarse_solution(
            self.probe, self.positions, self.amplitude, self.shape, iterations, Recipe(**recipe)
        )

    def phase_error(self, obj):
        """Phase minus true phase where the beam went, without its mean and slope."""
        low, high = self.positions.amin(0).ceil().int(), self.positions.amax(0).floor().int()
        middle = slice(low[0], high[0]), slice(low[1], high[1])
        error = obj[middle] * self.truth[middle].conj()
        error = (error * error.sum().conj()).angle()
        y, x = torch.meshgrid(*(torch.arange(float(n)) for n in error.shape), indexing="ij")
        plane = torch.stack([y, x, torch.ones_like(y)], -1).reshape(-1, 3)
        fit = torch.linalg.lstsq(plane, error.reshape(-1, 1)).solution
        return error - (plane @ fit).view(error.shape), self.truth[middle].angle()

    def phase_correlation(self, obj):
        error, phase = self.phase_error(obj)
        return float(
            torch.corrcoef(torch.stack([(phase + error).flatten(), phase.flatten()]))[0, 1]
        )

    def nll(self, obj):
        predicted = self.experiment(obj, torch.arange(len(self.amplitude)))
        return float(poisson_nll(predicted, self.amplitude.square()))


def problem(photons):
    scan = simulate(
        kind="natural",
        n_patterns=256,
        patch_size=32,
        photons=photons,
        step=3.5,
        probe_radius=7.0,
    )
    arrays = scan.probe, scan.positions, scan.amplitude, scan.truth
    return Problem(*(torch.from_numpy(array) for array in arrays))


@pytest.fixture(scope="module")
def bright():
    return problem(1e6)


@pytest.fixture(scope="module")
def clean(bright):
    """The bright scan without photon noise."""
    perfect = bright.experiment(bright.truth, torch.arange(len(bright.amplitude))).sqrt()
    return Problem(bright.probe, bright.positions, perfect, bright.truth)


@pytest.fixture(scope="module")
def dim():
    return problem(1e3)


def test_the_truth_is_reached_and_the_error_falls(bright):
    errors = []
    obj = bright.solver().run(bright.flat, 40, on_iteration=lambda _, e: errors.append(e))
    assert bright.phase_correlation(bright.flat) < 0.9
    assert bright.phase_correlation(obj) > 0.99
    assert len(errors) == 40
    rises = sum(later > 1.001 * sooner for sooner, later in pairwise(errors))
    assert rises <= 2
    # what is left is photon noise: |A - E A| is about 1/2 a pixel
    floor = 0.5 * (bright.amplitude.numel() / bright.amplitude.square().sum()) ** 0.5
    assert errors[-1] < 1.05 * floor < errors[0] / 5


def test_amplitude_is_reached_too(bright):
    obj = bright.solver().run(bright.flat, 40)
    middle = slice(25, -25), slice(25, -25)
    relative = obj[middle].abs() / bright.truth[middle].abs()
    assert relative.mean() == pytest.approx(1, abs=0.01)
    assert relative.std() < 0.03


def test_noise_free_truth_stays_put(clean):
    for poisson in (False, True):
        pull, error = clean.solver().back_projection(clean.truth, poisson=poisson)
        assert error < 1e-5
        # 1e-3 in amplitude and 0.05 counts keep the dark pixels finite
        assert pull.abs().max() < 5e-3


@pytest.mark.parametrize("poisson", [False, True])
def test_the_pull_is_downhill(poisson):
    """Back-projected residuals are the gradient of the likelihood, with every mode in it."""
    probe, positions = 1e3 * complex_noise(2, 8, 8), 5 + 12 * torch.rand(9, 2).double()
    experiment, which = Experiment(probe, positions), torch.arange(9)
    obj = complex_noise(24, 24).requires_grad_()
    predicted = experiment(obj, which)
    counts = predicted.detach() * (0.5 + 1.5 * torch.rand(predicted.shape, dtype=torch.float64))
    if poisson:
        distance = (predicted - counts * (predicted + 0.05).log()).sum() / 2
    else:
        distance = (predicted.sqrt() - counts.sqrt()).square().sum()
    distance.backward()
    solver = Solver(experiment, counts.sqrt(), (24, 24), Recipe(probe_floor=1.0), 0.1)
    pull, _ = solver.back_projection(obj.detach(), poisson=poisson)
    # a floor of 1 leaves one common step; torch's complex gradient is twice the Wirtinger one
    asked = pull * experiment.illumination((24, 24)).max()
    torch.testing.assert_close(asked, -obj.grad / 2, rtol=1e-4, atol=1e-6 * asked.abs().max())


def test_momentum_beats_single_steps(clean):
    solver = clean.solver()
    plain = clean.flat
    for _ in range(15):
        plain = solver.run(plain, 1)
    fast = solver.run(clean.flat, 15)
    assert solver.back_projection(fast)[1] < 0.6 * solver.back_projection(plain)[1]


def test_alternating_subsets_get_there_sooner(clean):
    one, two = (
        clean.solver().back_projection(clean.solver(subsets=subsets).run(clean.flat, 4))[1]
        for subsets in (1, 2)
    )
    assert two < 0.6 * one


def test_subsets_do_not_run_in_circles(bright):
    """Noise pulls every subset elsewhere: in the end they have to step together."""
    whole = bright.solver(subsets=1)
    alone, alternating = (
        whole.back_projection(bright.solver(subsets=subsets).run(bright.flat, 40))[1]
        for subsets in (1, 4)
    )
    assert alternating < 1.001 * alone


@pytest.mark.parametrize("take", [None, torch.arange(0, 256, 3)])
def test_subsets_ask_together_for_what_all_ask(bright, take):
    some = bright.experiment if take is None else bright.experiment.of(take)
    cutoff, obj = 1 / width(bright.probe), bright.truth * bright.truth.abs()

    def solver(subsets):
        recipe = Recipe(probe_floor=1.0, subsets=subsets)
        return Solver(some, bright.amplitude, bright.shape, recipe, cutoff, take)

    one, three = solver(1), solver(3)
    torch.testing.assert_close(three.illumination, one.illumination)
    together, error = one.back_projection(obj)
    # a floor of 1 leaves one common step, which undoes the average
    asked = [
        three._pull(subset, obj, poisson=False)[0] * subset.damped for subset in three._subsets
    ]
    torch.testing.assert_close(
        sum(asked) / one.illumination.max(), together, atol=1e-4 * together.abs().max(), rtol=0
    )
    assert three.back_projection(obj)[1] == pytest.approx(error)


def test_more_subsets_than_patterns(bright):
    few = torch.arange(3)
    recipe, cutoff = Recipe(subsets=8), 1 / width(bright.probe)
    solver = Solver(bright.experiment.of(few), bright.amplitude[:3], bright.shape, recipe, cutoff)
    assert solver.back_projection(solver.run(bright.flat, 30))[1] < 0.1


def test_subsets_that_leave_holes_are_not_used(bright):
    """In the holes low frequencies would be made up: there, two steps are as one."""
    sparse = torch.arange(0, 256, 4)  # every 14 pixels in a row; the beam is as wide
    experiment, amplitude = bright.experiment.of(sparse), bright.amplitude[sparse]
    one, two = (
        Solver(
            experiment, amplitude, bright.shape, Recipe(subsets=subsets), 1 / width(bright.probe)
        ).run(bright.flat, 4)
        for subsets in (1, 2)
    )
    torch.testing.assert_close(one, two)


def test_no_iterations_change_nothing(bright):
    assert bright.solver().run(bright.truth, 0) is bright.truth


def test_patterns_per_batch_are_a_matter_of_memory_only(bright):
    one, other = (bright.solver(batch_size=size).run(bright.flat, 8) for size in (7, 256))
    # sums in another order, single precision, eight iterations
    torch.testing.assert_close(one, other, atol=2e-4, rtol=0)


def test_low_frequencies_arrive_sooner_when_preconditioned(bright):
    def low_frequency_error(precondition):
        obj = bright.solver(precondition=precondition).run(bright.flat, 8)
        spectrum = torch.fft.rfft2(bright.phase_error(obj)[0]).abs()
        return float(spectrum[:3, :3].square().sum().sqrt())

    assert low_frequency_error(True) < 0.5 * low_frequency_error(False)


def test_coarse_start_beats_a_flat_one(bright):
    coarse = bright.coarse(30)
    assert bright.phase_correlation(coarse) > 0.95
    for iterations in (1, 3):
        warm = bright.solver().run(coarse, iterations)
        cold = bright.solver().run(bright.flat, iterations)
        assert bright.solver().back_projection(warm)[1] < bright.solver().back_projection(cold)[1]
        assert bright.phase_correlation(warm) > bright.phase_correlation(cold)


def test_no_coarse_iterations_give_a_flat_object(bright):
    torch.testing.assert_close(bright.coarse(0), bright.flat)


def test_poisson_finish_explains_few_photons_better(dim):
    start = dim.solver().run(dim.flat, 30)
    finished = dim.solver().run(start, 10, poisson=True)
    longer = dim.solver().run(start, 10)
    assert dim.nll(finished) < 0.99 * dim.nll(longer)
    assert dim.phase_correlation(finished) > dim.phase_correlation(longer) > 0.9


def test_several_modes_are_solved_together(bright):
    shift = torch.tensor([2.0, -3.0])
    axis = torch.arange(32.0)
    tilted = fourier_shift(bright.probe, shift) * torch.exp(2j * torch.pi * 3 * axis / 32)
    probe = torch.cat([bright.probe, 0.6 * tilted])
    both = Experiment(probe, bright.positions)
    counts = torch.poisson(both(bright.truth, torch.arange(len(bright.positions))))
    modes = Problem(probe, bright.positions, counts.sqrt(), bright.truth)
    alone = Problem(bright.probe, bright.positions, counts.sqrt(), bright.truth)
    solved = modes.phase_correlation(modes.solver().run(modes.coarse(20), 30))
    assert solved > 0.99
    assert solved > alone.phase_correlation(alone.solver().run(alone.flat, 50))


def test_upsampling_is_exact_for_linear_objects():
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    fine_y, fine_x = torch.meshgrid(torch.arange(10.0), torch.arange(14.0), indexing="ij")
    fine = upsample(torch.complex(1 + 2 * y - x, 3 * x - 1))
    expected = torch.complex(1 + fine_y - fine_x / 2, 1.5 * fine_x - 1)
    assert fine.shape == (10, 14)
    # four samples a side are needed; beyond the last one nothing is known: it is repeated
    torch.testing.assert_close(fine[2:7, 2:11], expected[2:7, 2:11])
    torch.testing.assert_close(fine[-1], fine[-2])


def test_upsampling_puts_pixel_i_on_pixel_2i():
    obj = torch.randn(4, 6, dtype=torch.complex64)
    torch.testing.assert_close(upsample(obj)[::2, ::2], obj)
