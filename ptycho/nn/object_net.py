"""A generator on the object itself: it sees a first solution and says what to change.

All patterns are lifted onto one canvas first, so the network computes once per object
pixel instead of once per overlapping pattern pixel.
"""

import torch
from torch import Tensor, nn

from ptycho.nn.registry import on_any_size
from ptycho.nn.unet import UNet

CHANNELS = 5
"""Input planes: Re(o) - 1, Im(o), 3 Re(u), 3 Im(u), square root of the illumination."""

OUTPUTS = 2
"""Output planes: logarithm of the amplitude's factor, and a phase."""

STRIDE = 8
"""Sides of tiles are divisible by this, as those of most generators must be."""


class ObjectNet(nn.Module):
    """Multiplies a first object by ``exp(a + i phi)``; starts as the identity.

    Args:
        generator: turns :data:`CHANNELS` planes into two; a U-Net when None.
    """

    def __init__(self, generator: nn.Module | None = None) -> None:
        super().__init__()
        self.generator = generator or UNet(CHANNELS, OUTPUTS)

    def forward(self, obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
        """Correct an object.

        Args:
            obj: complex ``(b, H, W)``, the lifted object.
            pull: complex ``(b, H, W)``, what the patterns still ask of it.
            light: real ``(b, H, W)``, illumination relative to the brightest pixel.

        Returns:
            Complex ``(b, H, W)``.
        """
        said = on_any_size(self.generator, planes(obj, pull, light)).float()
        log_amplitude, phase = said.unbind(1)
        return obj * torch.polar(log_amplitude.clamp(-2, 1).exp(), phase)


def planes(obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
    """The network's real input ``(b, 5, H, W)``."""
    return torch.stack([obj.real - 1, obj.imag, 3 * pull.real, 3 * pull.imag, light.sqrt()], dim=1)
