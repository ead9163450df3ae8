"""What training makes small: distances between expected photons and measured amplitudes."""

from collections.abc import Callable

from torch import Tensor

from ptycho.physics.likelihood import amplitude_error, poisson_nll

Loss = Callable[[Tensor, Tensor], Tensor]


def poisson_loss(expected: Tensor, amplitude: Tensor) -> Tensor:
    """Poisson likelihood of expected photons, given measured amplitudes."""
    return poisson_nll(expected, amplitude.square())


def amplitude_loss(expected: Tensor, amplitude: Tensor) -> Tensor:
    """Squared amplitude error of expected photons, given measured amplitudes."""
    return amplitude_error((expected + 1e-6).sqrt(), amplitude)
