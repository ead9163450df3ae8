"""A U-Net in half the pixels: fine structure through skips, surroundings from below."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho.nn.blocks import pixel_unshuffle


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


class UNet(nn.Module):
    """A :class:`ptycho.nn.registry.Generator` (Ronneberger et al. 2015, arXiv:1505.04597).

    Pixels go in and out as 2 x 2 blocks of channels, which quarters the work.

    Args:
        inputs: planes that go in.
        outputs: planes that come out; zero at first.
        scale: multiplies the channels of every layer.
    """

    stride = 8

    def __init__(self, inputs: int, outputs: int, scale: int = 1) -> None:
        super().__init__()
        fine, middle, deep = 16 * scale, 32 * scale, 48 * scale
        self.stem = nn.Conv2d(4 * inputs, fine, 3, padding=1)
        self.fine = Residual(fine)
        self.down1 = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle = Residual(middle)
        self.down2 = nn.Conv2d(middle, deep, 2, stride=2)
        self.deep = nn.Sequential(Residual(deep), Residual(deep))
        self.up2 = nn.ConvTranspose2d(deep, middle, 2, stride=2)
        self.middle_out = Residual(middle)
        self.up1 = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.fine_out = Residual(fine)
        self.head = silent(nn.Conv2d(fine, 4 * outputs, 3, padding=1))

    def forward(self, planes: Tensor) -> Tensor:
        """``(b, inputs, y, x)`` to ``(b, outputs, y, x)``."""
        x = pixel_unshuffle(planes, 2)
        x = self.fine(self.stem(x.contiguous(memory_format=torch.channels_last)))
        y = self.middle(self.down1(x))
        z = self.deep(self.down2(y))
        y = self.middle_out(y + self.up2(z))
        x = self.fine_out(x + self.up1(y))
        return functional.pixel_shuffle(self.head(x), 2)


def silent(head: nn.Conv2d) -> nn.Conv2d:
    """A last layer that answers zero until it has learnt something."""
    nn.init.zeros_(head.weight)
    assert head.bias is not None
    nn.init.zeros_(head.bias)
    return head
