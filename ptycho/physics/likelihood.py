"""Distance between predicted and measured patterns; zero for a perfect prediction.

Both are divided by the measured photons, so a flat object costs about as much at 1e3 as at
1e9 photons per pattern: learning rates need not know the dose.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ptycho.physics.mask import hidden, seeing
from ptycho.physics.measured import Measured, norms
from ptycho.physics.sweep import Judge


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
    """Photons measured, with ``eps`` of background per good pixel: what a misfit is divided by."""
    bad = hidden(amplitude)
    seen = amplitude.numel() if bad is None else amplitude.numel() - bad.sum()
    return amplitude.square().sum() + eps * seen


@seeing
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


@seeing
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


def absolute_misfit(unit: float, eps: float = 1e-6) -> Judge:
    """Absolute amplitude error, which a few wrong pixels move less than a squared one.

    ``unit sum|sqrt(I) - A|`` and minus its derivative. With :func:`typical_amplitude` of the
    scan as unit, divided by its photons, it is the R factor: of order one at any dose.

    Args:
        unit: what the error is multiplied by, in square roots of photons.
        eps: added to the photons; bounds the gradient in the dark.
    """

    @seeing
    def judge(expected: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        modulus = expected.add_(eps).sqrt_()
        missing = amplitude - modulus
        factor = missing.sign().mul_(unit / 2).div_(modulus)
        return missing.abs_().sum().mul_(unit), factor

    return judge


def typical_amplitude(amplitude: Measured) -> float:
    """``sum A^2 / sum A``: the mean amplitude in which a photon arrives; 1 in the dark."""
    light = float(norms(amplitude, 1).double().sum())
    energy = float(norms(amplitude).double().square().sum())
    return energy / light if light else 1.0


def weighted(judges: Sequence[tuple[float, Judge]]) -> Judge:
    """A weighted sum of judges is a judge.

    Args:
        judges: weights and judges, at least one; a single one of weight 1 is returned itself.
    """
    if len(judges) == 1 and judges[0][0] == 1:
        return judges[0][1]

    def judge(expected: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        said = [(weight, one(expected.clone(), amplitude)) for weight, one in judges]
        misfit = torch.stack([weight * part for weight, (part, _) in said]).sum(0)
        factor = torch.stack([weight * part for weight, (_, part) in said]).sum(0)
        return misfit, factor

    return judge
