"""A U-Net on the object itself: it sees a first solution and says what to change.

All patterns are lifted onto one canvas first, so the network computes once per object
pixel instead of once per overlapping pattern pixel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 5
"""Input planes: Re(o) - 1, Im(o), 3 Re(u), 3 Im(u), square root of the illumination."""

STRIDE = 8
"""Sides of the object must be divisible by this."""


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, channels, y, x)`` in and out."""
        inner = functional.silu(self.first(self.norm(x)))
        out: Tensor = x + self.second(inner)
        return out


class ObjectNet(nn.Module):
    """Multiplies a first object by ``exp(a + i phi)``; starts as the identity.

    Args:
        scale: multiplies the channels of every layer.
    """

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        fine, middle, deep = 16 * scale, 32 * scale, 48 * scale
        self.stem = nn.Conv2d(4 * CHANNELS, fine, 3, padding=1)
        self.fine = Residual(fine)
        self.down1 = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle = Residual(middle)
        self.down2 = nn.Conv2d(middle, deep, 2, stride=2)
        self.deep = nn.Sequential(Residual(deep), Residual(deep))
        self.up2 = nn.ConvTranspose2d(deep, middle, 2, stride=2)
        self.middle_out = Residual(middle)
        self.up1 = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.fine_out = Residual(fine)
        self.head = nn.Conv2d(fine, 8, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
        """Correct an object.

        Args:
            obj: complex ``(b, H, W)``, the lifted object; sides divisible by 8.
            pull: complex ``(b, H, W)``, what the patterns still ask of it.
            light: real ``(b, H, W)``, illumination relative to the brightest pixel.

        Returns:
            Complex ``(b, H, W)``.
        """
        x = functional.pixel_unshuffle(planes(obj, pull, light), 2)
        x = self.fine(self.stem(x.contiguous(memory_format=torch.channels_last)))
        y = self.middle(self.down1(x))
        z = self.deep(self.down2(y))
        y = self.middle_out(y + self.up2(z))
        x = self.fine_out(x + self.up1(y))
        log_amplitude, phase = functional.pixel_shuffle(self.head(x), 2).float().unbind(1)
        return obj * torch.polar(log_amplitude.clamp(-2, 1).exp(), phase)


def planes(obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
    """The network's real input ``(b, 5, H, W)``."""
    return torch.stack([obj.real - 1, obj.imag, 3 * pull.real, 3 * pull.imag, light.sqrt()], dim=1)
