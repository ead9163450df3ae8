"""Distance of predicted object patches to known ones; diffraction does not tell their phase."""

import torch
from torch import Tensor

_PLANE = (-2, -1)


def in_phase(patches: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Patches turned by the phase, one for each, that brings them closest to their labels.

    Args:
        patches: complex ``(b, y, x)``.
        labels: complex ``(b, y, x)``.
        weights: real ``(y, x)``, what a pixel counts.
    """
    overlap = (weights * labels * patches.conj()).sum(_PLANE, keepdim=True)
    return patches * torch.polar(torch.ones_like(overlap.real), overlap.detach().angle())


def squared_difference(patches: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """``sum w |p - l|^2 / sum w |l|^2``, patches being in phase with their labels (scalar)."""
    away = (in_phase(patches, labels, weights) - labels).abs().square()
    return (weights * away).sum() / (weights * labels.abs().square()).sum()


def absolute_difference(patches: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """``sum w |p - l| / sum w |l|``, patches being in phase with their labels (scalar)."""
    away = in_phase(patches, labels, weights) - labels
    # differences below a thousandth count quadratically: the gradient stays bounded
    size = (away.real.square() + away.imag.square() + 1e-6).sqrt() - 1e-3
    return (weights * size).sum() / (weights * labels.abs()).sum()
