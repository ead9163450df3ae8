import pytest
import torch
from torch.autograd import gradcheck

from ptycho.physics.likelihood import (
    absolute_misfit,
    amplitude_misfit,
    photons,
    poisson_misfit,
    poisson_nll,
    typical_amplitude,
    weighted,
)


def amplitude_error(predicted, measured):
    """The definition, of amplitudes."""
    return 2 * (predicted - measured).square().sum() / measured.square().sum()


COUNTS = torch.tensor([0.0, 1, 2, 7, 100], dtype=torch.float64)


def positive(*shape):
    return 0.5 + 5 * torch.rand(*shape, dtype=torch.float64)


def test_a_perfect_prediction_costs_nothing():
    assert poisson_nll(COUNTS, COUNTS) == 0
    assert amplitude_error(COUNTS.sqrt(), COUNTS.sqrt()) == 0


def test_any_other_prediction_costs_something():
    for factor in (0.0, 0.5, 0.99, 1.01, 2, 100):
        assert poisson_nll(factor * COUNTS, COUNTS) > 0
        assert amplitude_error(factor * COUNTS, COUNTS) > 0


def test_it_is_the_poisson_likelihood_up_to_a_constant():
    """Differences between two predictions are those of torch's own log-probability."""
    first, second = positive(5), positive(5)
    mine = poisson_nll(first, COUNTS, eps=0) - poisson_nll(second, COUNTS, eps=0)
    torchs = torch.distributions.Poisson(first), torch.distributions.Poisson(second)
    theirs = (torchs[1].log_prob(COUNTS) - torchs[0].log_prob(COUNTS)).sum() / COUNTS.sum()
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("eps", [0.0, 0.05])
def test_gradient_is_one_minus_measured_over_predicted(eps):
    predicted, counts = positive(4).requires_grad_(), COUNTS[1:]
    poisson_nll(predicted, counts, eps=eps).backward()
    expected = (1 - (counts + eps) / (predicted.detach() + eps)) / (counts + eps).sum()
    torch.testing.assert_close(predicted.grad, expected)


def test_gradients():
    predicted, measured = positive(3, 4).requires_grad_(), positive(3, 4)
    assert gradcheck(lambda p: poisson_nll(p, measured), (predicted,))
    assert gradcheck(lambda p: amplitude_error(p, measured), (predicted,))


def test_dark_predictions_have_a_bounded_gradient():
    predicted = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    poisson_nll(predicted, COUNTS).backward()
    assert torch.isfinite(predicted.grad).all()


def test_amplitude_error_is_the_expansion_for_many_photons():
    expected = 1e6 * positive(1000)
    measured = torch.poisson(expected)
    poisson = poisson_nll(expected, measured)
    gaussian = amplitude_error(expected.sqrt(), measured.sqrt())
    # the next term of the expansion is of the order of 1 / sqrt(photons)
    torch.testing.assert_close(poisson, gaussian, rtol=1e-3, atol=0)


@pytest.mark.parametrize("dose", [1e3, 1e6, 1e9])
def test_loss_of_a_wrong_object_does_not_depend_on_the_dose(dose):
    right, wrong = positive(500), positive(500)
    lowest = poisson_nll(10 * wrong, 10 * right, eps=0)
    torch.testing.assert_close(poisson_nll(dose * wrong, dose * right, eps=0), lowest)
    amplitude = amplitude_error(wrong.sqrt(), right.sqrt())
    scaled = amplitude_error((dose * wrong).sqrt(), (dose * right).sqrt())
    torch.testing.assert_close(scaled, amplitude)


def likelihoods(expected, amplitude):
    """The closed forms and the definitions they must agree with."""
    measured = amplitude.square()
    definitions = (
        poisson_nll(expected, measured) * photons(amplitude),
        amplitude_error((expected + 1e-6).sqrt(), amplitude) * measured.sum(),
    )
    return zip((poisson_misfit, amplitude_misfit), definitions, strict=True)


def test_closed_forms_are_the_definitions_and_minus_their_slopes():
    expected, amplitude = positive(3, 4).requires_grad_(), positive(3, 4)
    for closed, definition in likelihoods(expected, amplitude):
        (slope,) = torch.autograd.grad(definition, expected, retain_graph=True)
        misfit, factor = closed(expected.detach().clone(), amplitude)
        torch.testing.assert_close(misfit, definition.detach())
        torch.testing.assert_close(factor, -slope)


def test_closed_forms_bear_dark_pixels():
    for closed in (poisson_misfit, amplitude_misfit):
        for amplitude in (torch.zeros(1, 4, 4), torch.ones(1, 4, 4)):
            misfit, factor = closed(torch.zeros(1, 4, 4), amplitude)
            assert torch.isfinite(misfit)
            assert torch.isfinite(factor).all()


@pytest.mark.parametrize("dose", [1e3, 1e6])
def test_absolute_error_is_the_r_factor_at_any_dose(dose):
    expected, amplitude = positive(3, 4, 4) * dose, positive(3, 4, 4).mul(dose).sqrt()
    unit = typical_amplitude(amplitude)
    misfit, _ = absolute_misfit(unit, eps=0)(expected.clone(), amplitude)
    r = (expected.sqrt() - amplitude).abs().sum() / amplitude.sum()
    torch.testing.assert_close(misfit / amplitude.square().sum(), r)


def test_the_typical_amplitude_of_even_patterns_is_theirs():
    assert typical_amplitude(torch.full((2, 3, 3), 7.0)) == pytest.approx(7)
    assert typical_amplitude(torch.zeros(2, 3, 3)) == 1


def test_a_sum_of_judges_weighs_misfits_and_factors():
    expected, amplitude = positive(2, 3, 3), positive(2, 3, 3)
    judges = poisson_misfit, absolute_misfit(2.0)
    alone = [judge(expected.clone(), amplitude) for judge in judges]
    misfit, factor = weighted([(0.5, judges[0]), (3.0, judges[1])])(expected.clone(), amplitude)
    torch.testing.assert_close(misfit, 0.5 * alone[0][0] + 3 * alone[1][0])
    torch.testing.assert_close(factor, 0.5 * alone[0][1] + 3 * alone[1][1])
    assert weighted([(1, poisson_misfit)]) is poisson_misfit
