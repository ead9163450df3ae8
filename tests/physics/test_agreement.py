import pytest
import torch
from torch.autograd import gradcheck

from ptycho.physics.agreement import absolute_difference, in_phase, squared_difference
from tests.operators import complex_noise

WEIGHTS = torch.rand(5, 4, dtype=torch.float64)
DISTANCES = [squared_difference, absolute_difference]


def turned(patches):
    angles = 6 * torch.rand(len(patches), 1, 1, dtype=torch.float64)
    return patches * torch.polar(torch.ones_like(angles), angles)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_label_itself_costs_nothing_whatever_its_phase(distance):
    labels = complex_noise(3, 5, 4)
    assert float(distance(turned(labels), labels, WEIGHTS)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_phases_do_not_count_but_shapes_do(distance):
    patches, labels = complex_noise(3, 5, 4), complex_noise(3, 5, 4)
    here = distance(patches, labels, WEIGHTS)
    torch.testing.assert_close(distance(turned(patches), labels, WEIGHTS), here)
    assert here > 0.1


def test_no_phase_is_better():
    patches, labels = complex_noise(3, 5, 4), complex_noise(3, 5, 4)
    best = (in_phase(patches, labels, WEIGHTS) - labels).abs().square()
    best = (WEIGHTS * best).sum((1, 2))
    for _ in range(20):
        tried = (WEIGHTS * (turned(patches) - labels).abs().square()).sum((1, 2))
        assert (tried >= best).all()


def test_twice_the_label_costs_its_size():
    labels = complex_noise(3, 5, 4)
    torch.testing.assert_close(
        squared_difference(2 * labels, labels, WEIGHTS), torch.tensor(1.0, dtype=torch.float64)
    )
    assert float(absolute_difference(2 * labels, labels, WEIGHTS)) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("distance", DISTANCES)
def test_pixels_without_weight_do_not_count(distance):
    patches, labels, weights = complex_noise(3, 5, 4), complex_noise(3, 5, 4), WEIGHTS.clone()
    weights[2] = 0
    other = patches.clone()
    other[:, 2] = complex_noise(3, 4)
    torch.testing.assert_close(distance(other, labels, weights), distance(patches, labels, weights))


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients(distance):
    """The best phase is where the squared error is level: it needs no gradient of its own."""
    patches, labels = complex_noise(2, 3, 3).requires_grad_(), complex_noise(2, 3, 3)
    weights = torch.rand(3, 3, dtype=torch.float64)
    if distance is squared_difference:
        assert gradcheck(lambda p: distance(p, labels, weights), (patches,))
        return
    # that of the absolute error is not level there: the phase is held for a step
    held = in_phase(patches.detach(), labels, weights) / patches.detach()
    loss = distance(patches, labels, weights)
    (found,) = torch.autograd.grad(loss, patches)
    away = patches * held - labels
    size = (away.abs().square() + 1e-6).sqrt() - 1e-3
    wanted = (weights * size).sum() / (weights * labels.abs()).sum()
    (expected,) = torch.autograd.grad(wanted, patches)
    torch.testing.assert_close(found, expected)
