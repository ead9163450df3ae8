"""Distance between predicted and measured patterns; zero for a perfect prediction.

Both are divided by the measured photons, so a flat object costs about as much at 1e3 as at
1e9 photons per pattern: learning rates need not know the dose.
"""

import torch
from torch import Tensor


def poisson_nll(predicted: Tensor, measured: Tensor, eps: float = 0.05) -> Tensor:
    """Poisson negative log-likelihood above that of the measured counts themselves.

    ``sum(I - n - n log(I / n)) / sum(n)`` with ``eps`` counts of background on both sides.

    Args:
        predicted: expected counts, real, any shape.
        measured: counts, same shape.
        eps: background in counts; bounds the gradient where the prediction is dark.
    """
    expected, counted = predicted + eps, measured + eps
    excess = expected - counted - torch.xlogy(counted, expected / counted)
    return excess.sum() / counted.sum()


def photons(amplitude: Tensor, eps: float = 0.05) -> Tensor:
    """Photons measured, with ``eps`` of background per pixel: what a misfit is divided by."""
    return amplitude.square().sum() + eps * amplitude.numel()


def poisson_misfit(expected: Tensor, amplitude: Tensor, eps: float = 0.05) -> tuple[Tensor, Tensor]:
    """Numerator of :func:`poisson_nll` and minus its derivative, ``n / I - 1``.

    A :data:`ptycho.physics.sweep.Judge`: the gradient comes in closed form.

    Args:
        expected: photons ``(b, y, x)``; overwritten.
        amplitude: measured ``(b, y, x)``.
        eps: background in counts.
    """
    counted = amplitude.square().add_(eps)
    ratio = counted / expected.add_(eps)
    excess = expected.sub_(counted).add_(ratio.log().mul_(counted))
    return excess.sum(), ratio.sub_(1)


def amplitude_misfit(
    expected: Tensor, amplitude: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """Squared amplitude error, the Gaussian approximation of the Poisson likelihood.

    ``2 sum((sqrt(I) - A)^2)``, the Taylor expansion of :func:`poisson_misfit` for many photons,
    and minus its derivative, ``2 (A / sqrt(I) - 1)``.

    Args:
        expected: photons ``(b, y, x)``; overwritten.
        amplitude: measured ``(b, y, x)``.
        eps: added to the photons; bounds the gradient in the dark.
    """
    modulus = expected.add_(eps).sqrt_()
    missing = amplitude - modulus
    factor = (missing / modulus).mul_(2)
    return missing.square_().sum().mul_(2), factor
