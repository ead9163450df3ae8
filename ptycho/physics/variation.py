"""Total variation of an object: small where it is made of even areas with sharp borders."""

import torch
from torch import Tensor

_EDGE = 0.1  # share of the brightest illumination below which nothing is known of an object


def total_variation(obj: Tensor, light: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean difference of neighbouring pixels where an object is lit (Rudin, Osher & Fatemi 1992).

    doi:10.1016/0167-2789(92)90242-F. The amplitude's difference and the phase's, which is the
    angle between neighbours: neither a phase offset of the object nor a wrapped phase changes it.

    Args:
        obj: complex ``(H, W)``.
        light: real ``(H, W)``, illumination relative to the brightest pixel.
        eps: differences below it count quadratically, so that the gradient of an even area
            is zero.

    Returns:
        Real scalar: the sum over both axes of ``|d amplitude| + |d phase|``, per lit pixel.
    """
    lit = (light > _EDGE).to(light.dtype)
    modulus = obj.abs()
    total = modulus.new_zeros(())
    for axis in (0, 1):
        n = obj.shape[axis] - 1
        here, there = (obj.narrow(axis, first, n) for first in (0, 1))
        weight = lit.narrow(axis, 0, n) * lit.narrow(axis, 1, n)
        turn = there * here.conj()
        steps = (modulus.diff(dim=axis), torch.atan2(turn.imag, turn.real + 1e-12))
        for step in steps:
            total = total + (weight * (step.square() + eps**2).sqrt()).sum() - eps * weight.sum()
    return total / lit.sum().clamp_min(1)
