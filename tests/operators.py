"""Laws of operators, written once."""

from collections.abc import Callable

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


def complex_noise(*shape: int) -> Tensor:
    """Complex128 normal noise; laws that hold exactly are tested in double precision."""
    return torch.randn(*shape, dtype=torch.complex128)


def assert_adjoint(forward: Operator, adjoint: Operator, x: Tensor, y: Tensor) -> None:
    """Check <Ax, y> == <x, A*y>, and that both shapes agree."""
    ax, aty = forward(x), adjoint(y)
    assert ax.shape == y.shape
    assert aty.shape == x.shape
    torch.testing.assert_close(
        torch.vdot(ax.flatten(), y.flatten()), torch.vdot(x.flatten(), aty.flatten())
    )


def assert_unitary(forward: Operator, inverse: Operator, x: Tensor) -> None:
    """Check that energy is conserved and that the inverse undoes, from both sides."""
    torch.testing.assert_close(energy(forward(x)), energy(x))
    torch.testing.assert_close(inverse(forward(x)), x)
    torch.testing.assert_close(forward(inverse(x)), x)


def assert_linear(operator: Operator, x: Tensor, y: Tensor) -> None:
    """Check A(ax + y) == aAx + Ay."""
    factor = 0.3 - 0.7j
    torch.testing.assert_close(operator(factor * x + y), factor * operator(x) + operator(y))


def energy(field: Tensor) -> Tensor:
    """Sum of squared magnitudes."""
    return field.abs().square().sum()
