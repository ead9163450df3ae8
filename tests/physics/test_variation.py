import cmath
import math

import pytest
import torch
from torch.autograd import gradcheck

from ptycho.physics.variation import total_variation
from tests.operators import complex_noise

LIT = torch.ones(12, 10, dtype=torch.float64)


def step(modulus=1.0, phase=0.0):
    """An empty object whose right half, from column 4 on, differs."""
    obj = torch.ones(12, 10, dtype=torch.complex128)
    obj[:, 4:] *= modulus * complex(math.cos(phase), math.sin(phase))
    return obj


@pytest.mark.parametrize("phase", [0.0, 1.0, 3.1])
def test_an_even_object_has_none(phase):
    even = step()[:, :4] * complex(math.cos(phase), math.sin(phase))
    assert total_variation(even, LIT[:, :4]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "height"),
    [
        ({"modulus": 1.5}, 0.5),
        ({"phase": 0.7}, 2 * math.sin(0.35)),
        ({"modulus": 0.4, "phase": -1}, abs(0.4 * cmath.exp(-1j) - 1)),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_step_costs_its_height_times_its_length(changes, height, turned):
    obj, lit = step(**changes), LIT
    if turned:
        obj, lit = obj.t(), lit.t()
    expected = height * 11 / 120  # the last line has no neighbour beyond it
    # differences are smoothed by 1e-3
    assert float(total_variation(obj, lit)) == pytest.approx(expected, abs=3e-4)


def test_a_corner_costs_its_diagonal():
    obj = torch.ones(12, 10, dtype=torch.complex128)
    obj[-1, :-1] = obj[:, -1] = 1.5
    # 8 pixels above the row, 10 beside the column, and the one that has both as neighbours
    expected = 0.5 * (8 + 10 + math.sqrt(2)) / 120
    assert float(total_variation(obj, LIT)) == pytest.approx(expected, abs=3e-4)


def test_neither_a_phase_offset_nor_a_wrapped_phase_counts():
    obj = complex_noise(12, 10)
    turned = obj * complex(math.cos(2), math.sin(2))
    torch.testing.assert_close(total_variation(turned, LIT), total_variation(obj, LIT))
    # 0.2 across the border at pi
    there, here = step(phase=0.2), complex(math.cos(math.pi - 0.1), math.sin(math.pi - 0.1))
    torch.testing.assert_close(total_variation(there * here, LIT), total_variation(there, LIT))


def test_what_is_dark_does_not_count():
    obj, light = step(), LIT.clone()
    obj[:, 6:] = complex_noise(12, 4)
    light[:, 6:] = 0.05
    assert total_variation(obj, light) == pytest.approx(0, abs=1e-12)
    assert total_variation(obj, LIT) > 0.1


def test_gradients():
    obj = (2 + 0.3 * complex_noise(6, 5)).requires_grad_()
    light = LIT[:6, :5].clone()
    light[4:, :2] = 0.05
    assert gradcheck(lambda o: 3 * total_variation(o, light), (obj,))
