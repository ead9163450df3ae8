"""Spectral blocks look far, residual blocks think, convolutions draw."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho.nn.blocks import pixel_unshuffle
from ptycho.nn.fno import SpectralBlock
from ptycho.nn.unet import Residual, silent

_DEPTH = 6


class HybridResNet(nn.Module):
    """A :class:`ptycho.nn.registry.Generator`: FNO encoder, ResNet bottleneck, CNN decoder.

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
        self.far = nn.Sequential(SpectralBlock(fine), SpectralBlock(fine))
        self.down1 = nn.Conv2d(fine, middle, 2, stride=2)
        self.down2 = nn.Conv2d(middle, deep, 2, stride=2)
        self.bottleneck = nn.Sequential(*(Residual(deep) for _ in range(_DEPTH)))
        self.up2 = nn.ConvTranspose2d(deep, middle, 2, stride=2)
        self.middle = Residual(middle)
        self.up1 = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.fine = Residual(fine)
        self.head = silent(nn.Conv2d(fine, 4 * outputs, 3, padding=1))

    def forward(self, planes: Tensor) -> Tensor:
        """``(b, inputs, y, x)`` to ``(b, outputs, y, x)``."""
        x = pixel_unshuffle(planes, 2)
        x = self.far(self.stem(x.contiguous(memory_format=torch.channels_last)))
        y = self.middle(self.up2(self.bottleneck(self.down2(self.down1(x)))))
        return functional.pixel_shuffle(self.head(self.fine(x + self.up1(y))), 2)
