import pytest
import torch
from torch.autograd import gradcheck

from ptycho.physics.forward import Experiment, matched_scale
from ptycho.physics.likelihood import (
    absolute_misfit,
    amplitude_misfit,
    photons,
    poisson_misfit,
    weighted,
)
from ptycho.physics.mask import hidden, hide, seen_share
from ptycho.physics.solver import amplitude_step, poisson_step
from ptycho.physics.sweep import misfit, sweep
from tests.operators import complex_noise

JUDGES = [
    poisson_misfit, amplitude_misfit, absolute_misfit(1.5), amplitude_step, poisson_step,
    weighted([(0.3, poisson_misfit), (2.0, absolute_misfit(0.7))]),
]  # fmt: skip
N, SIZE, SHAPE = 5, 8, (17, 19)


def bad_of_each():
    return torch.rand(N, SIZE, SIZE) < 0.2


@pytest.fixture
def amplitude():
    return 0.5 + torch.rand(N, SIZE, SIZE, dtype=torch.float64)


@pytest.fixture
def experiment():
    positions = 4.5 + torch.rand(N, 2, dtype=torch.float64) * (torch.tensor(SHAPE) - SIZE - 1)
    return Experiment(complex_noise(2, SIZE, SIZE), positions)


def test_what_is_hidden_is_found_again(amplitude):
    bad = bad_of_each()
    assert torch.equal(hidden(hide(amplitude, bad)), bad)
    assert torch.equal(hidden(hide(amplitude.float(), bad[0])), bad[0].expand_as(bad))


def test_a_dark_pixel_is_not_a_bad_one():
    dark = torch.zeros(2, 4, 4)
    assert hidden(dark) is None
    assert hidden(hide(-dark, torch.zeros(4, 4, dtype=torch.bool))) is None


def test_marks_survive_cutting_scaling_and_copying(amplitude):
    bad = bad_of_each()
    there = hide(amplitude, bad)[1:4, 2:7].contiguous().float().mul(3)
    assert torch.equal(hidden(there), bad[1:4, 2:7])


@pytest.mark.parametrize("judge", JUDGES)
def test_what_a_bad_pixel_holds_or_should_hold_does_not_matter(judge, amplitude):
    bad = bad_of_each()
    expected = 0.1 + torch.rand_like(amplitude)
    said = [
        judge((expected + junk * bad).clone(), hide(amplitude + other * bad, bad))
        for junk, other in ((0.0, 0.0), (50.0, 3.0))
    ]
    torch.testing.assert_close(said[0], said[1])
    assert not said[0][1][bad].any()
    assert said[0][1][~bad].any()


@pytest.mark.parametrize("judge", JUDGES)
def test_good_pixels_are_judged_as_ever(judge, amplitude):
    bad = bad_of_each()
    expected = 0.1 + torch.rand_like(amplitude)
    _, factor = judge(expected.clone(), hide(amplitude, bad))
    _, whole = judge(expected.clone(), amplitude)
    assert torch.equal(factor[~bad], whole[~bad])


@pytest.mark.parametrize("judge", [*JUDGES[:3], JUDGES[-1]])
def test_gradcheck_with_bad_pixels(judge, experiment, amplitude):
    obj = complex_noise(*SHAPE).requires_grad_()
    seen = hide(amplitude, bad_of_each())
    assert gradcheck(lambda o: misfit(experiment, o, seen, judge), (obj,))


def test_a_blind_detector_asks_for_nothing(experiment, amplitude):
    blind = hide(amplitude, torch.ones(SIZE, SIZE, dtype=torch.bool))
    asked, _ = sweep(experiment, complex_noise(*SHAPE), blind, poisson_misfit)
    assert not asked.any()


def test_photons_are_those_of_good_pixels(amplitude):
    bad = bad_of_each()
    expected = amplitude[~bad].square().sum() + 0.05 * (~bad).sum()
    torch.testing.assert_close(photons(hide(amplitude, bad)), expected)


@pytest.mark.parametrize("take", [None, torch.tensor([0, 3])])
def test_the_scale_of_an_empty_object_does_not_depend_on_the_mask(experiment, take):
    probe = complex_noise(2, SIZE, SIZE)
    empty = Experiment(probe, torch.full((N, 2), 8.0, dtype=torch.float64))
    amplitude = empty(torch.ones(SHAPE, dtype=probe.dtype), torch.arange(N)).sqrt()
    seen = hide(amplitude, bad_of_each())
    scale = matched_scale(3 * probe, seen, take) / seen_share(3 * probe, seen, take) ** 0.5
    assert scale == pytest.approx(1 / 3)
    assert matched_scale(3 * probe, seen, take) < 0.99 / 3
