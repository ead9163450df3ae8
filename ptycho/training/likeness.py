"""How far an object is from a label; their global phases are nobody's business."""

import torch
from torch import Tensor

_EDGE = 0.1  # share of the brightest illumination below which nothing is known of an object


def object_errors(
    obj: Tensor, label: Tensor, light: Tensor, eps: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Squared and absolute difference of two objects where they are lit.

    Diffraction patterns do not know the global phase of an object: it is turned by the one
    angle for which the squared difference is smallest, in closed form. A phase ramp would
    shift the patterns, so with a known probe it is told by them and is not taken away.

    Args:
        obj: complex ``(H, W)``.
        label: complex ``(H, W)``, what it should be.
        light: real ``(H, W)``, illumination relative to the brightest pixel.
        eps: absolute differences below it count quadratically.

    Returns:
        Means of ``|obj e^(i angle) - label|^2`` and of its square root over the lit pixels.
    """
    lit = (light > _EDGE).to(light.dtype)
    turn = torch.sgn((lit * label * obj.conj()).sum())
    rest = obj * turn - label
    square = rest.real.square() + rest.imag.square()
    count = lit.sum().clamp_min(1)
    absolute = (square + eps**2).sqrt() - eps
    return (lit * square).sum() / count, (lit * absolute).sum() / count
