import math

import pytest
import torch
from torch import Tensor

from ptycho.training.likeness import object_errors


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


LIGHT = torch.rand(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_an_object_is_like_itself() -> None:
    obj = noise(7, 5)
    for error in object_errors(obj, obj, LIGHT):
        assert float(error) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("angle", [0.3, math.pi, -2.0])
def test_global_phase_changes_nothing(angle: float) -> None:
    obj, label = noise(7, 5), noise(7, 5, seed=2)
    turned = obj * complex(math.cos(angle), math.sin(angle))
    torch.testing.assert_close(
        object_errors(turned, label, LIGHT), object_errors(obj, label, LIGHT)
    )


def test_no_other_phase_is_nearer() -> None:
    obj, label = noise(7, 5), noise(7, 5, seed=2)
    nearest, _ = object_errors(obj, label, LIGHT)
    lit = LIGHT > 0.1
    for angle in torch.linspace(0, 2 * math.pi, 50, dtype=torch.float64):
        turned = obj * torch.polar(torch.ones_like(angle), angle)
        assert (turned - label)[lit].abs().square().mean() >= nearest - 1e-12


def test_closed_forms() -> None:
    obj, light = torch.full((4, 4), 3 + 0j), torch.ones(4, 4)
    squared, absolute = object_errors(obj, torch.full((4, 4), 2j), light)
    assert float(squared) == pytest.approx(1)
    assert float(absolute) == pytest.approx(1, abs=2e-3)  # eps


def test_a_phase_ramp_is_an_error() -> None:
    ramp = torch.exp(0.1j * torch.arange(16.0)).expand(16, 16)
    squared, _ = object_errors(ramp, torch.ones_like(ramp), torch.ones(16, 16))
    assert float(squared) > 0.1


def test_the_dark_is_not_looked_at() -> None:
    obj, label, light = noise(7, 5), noise(7, 5, seed=2), LIGHT.clone()
    light[2:4] = 0.05
    before = object_errors(obj, label, light)
    label[2:4] = 100
    torch.testing.assert_close(object_errors(obj, label, light), before)


@pytest.mark.parametrize("which", [0, 1])
def test_gradient(which: int) -> None:
    obj, label = noise(4, 3).requires_grad_(), noise(4, 3, seed=2)
    light = torch.ones(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda o: object_errors(o, label, light)[which], (obj,))
