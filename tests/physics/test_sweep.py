import pytest
import torch
from torch.autograd import gradcheck

from ptycho.physics.forward import Experiment
from ptycho.physics.likelihood import (
    absolute_misfit,
    amplitude_misfit,
    poisson_misfit,
    weighted,
)
from ptycho.physics.sweep import misfit, sweep
from tests.operators import complex_noise

SHAPE, SIZE = (21, 26), 8
JUDGES = [
    poisson_misfit, amplitude_misfit, absolute_misfit(1.5),
    weighted([(0.5, poisson_misfit), (2.0, absolute_misfit(1.0))]),
]  # fmt: skip


@pytest.fixture
def experiment():
    positions = 4.5 + torch.rand(11, 2, dtype=torch.float64) * (torch.tensor(SHAPE) - SIZE - 1)
    return Experiment(complex_noise(2, SIZE, SIZE), positions)


@pytest.fixture
def amplitude():
    return 0.5 + torch.rand(11, SIZE, SIZE, dtype=torch.float64)


def plainly(experiment, obj, amplitude, judge):
    """Misfit and gradient by autograd through the forward model."""
    obj = obj.clone().requires_grad_()
    expected = experiment(obj, torch.arange(len(amplitude)))
    total, factor = judge(expected.detach().clone(), amplitude)
    (gradient,) = torch.autograd.grad(expected, obj, -factor)
    return total, gradient


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradient_is_that_of_autograd(experiment, amplitude, judge, threads):
    obj = complex_noise(*SHAPE)
    expected = plainly(experiment, obj, amplitude, judge)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        asked, parts = sweep(experiment, obj, amplitude, judge, batch_size=3)
        assert torch.get_num_threads() == threads, "left as it was"
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(parts.sum(), expected[0])
    torch.testing.assert_close(-2 * asked, expected[1])


@pytest.mark.parametrize("judge", JUDGES)
def test_gradcheck(experiment, amplitude, judge):
    obj = complex_noise(*SHAPE).requires_grad_()
    assert gradcheck(lambda o: misfit(experiment, o, amplitude, judge), (obj,))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_batch_size_changes_memory_only(experiment, amplitude, batch_size):
    obj = complex_noise(*SHAPE)
    whole = sweep(experiment, obj, amplitude, poisson_misfit, batch_size=11)
    parts = sweep(experiment, obj, amplitude, poisson_misfit, batch_size=batch_size)
    torch.testing.assert_close(parts[0], whole[0])
    torch.testing.assert_close(parts[1].sum(), whole[1].sum())


def test_some_patterns_are_those_patterns_alone(experiment, amplitude):
    obj, take = complex_noise(*SHAPE), torch.tensor([1, 4, 5, 10])
    some = experiment.of(take)
    alone = sweep(some, obj, amplitude[take], poisson_misfit)
    chosen = sweep(some, obj, amplitude, poisson_misfit, take=take)
    torch.testing.assert_close(chosen, alone)


def test_a_tile_gives_the_gradient_of_the_canvas(experiment, amplitude):
    obj, which = complex_noise(*SHAPE), torch.tensor([3, 7])
    low = experiment.corners[which].amin(0)
    high = experiment.corners[which].amax(0) + SIZE
    tile = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
    here, _ = sweep(experiment.of(which, low), obj[tile], amplitude[which], amplitude_misfit)
    there, _ = sweep(experiment.of(which), obj, amplitude[which], amplitude_misfit)
    torch.testing.assert_close(here, there[tile])
    outside = there.clone()
    outside[tile] = 0
    assert not outside.any()


def test_what_is_given_is_left_alone(experiment, amplitude):
    obj = complex_noise(*SHAPE)
    before = [t.clone() for t in (obj, amplitude, experiment.table)]
    sweep(experiment, obj, amplitude, poisson_misfit)
    for was, now in zip(before, (obj, amplitude, experiment.table), strict=True):
        assert torch.equal(was, now)


def test_the_layout_of_the_object_in_memory_does_not_matter(experiment, amplitude):
    obj = complex_noise(*SHAPE)
    plain, _ = sweep(experiment, obj, amplitude, poisson_misfit)
    turned, _ = sweep(experiment, obj.t().contiguous().t(), amplitude, poisson_misfit)
    torch.testing.assert_close(turned, plain)
