"""The ancestor's layout: an encoder, and a decoder without skips for every output."""

import torch
from torch import Tensor, nn

from ptycho.nn.unet import silent


class CNN(nn.Module):
    """A :class:`ptycho.nn.registry.Generator`: 64, 128, 256 channels, halved three times.

    Amplitude and phase have decoders of their own, and all they know went through the
    bottleneck. Ten times the work of the U-Net.

    Args:
        inputs: planes that go in.
        outputs: planes that come out; zero at first.
        scale: multiplies the channels of every layer.
    """

    stride = 8

    def __init__(self, inputs: int, outputs: int, scale: int = 1) -> None:
        super().__init__()
        fine, middle, deep = 64 * scale, 128 * scale, 256 * scale
        self.encoder = nn.Sequential(
            *_level(inputs, fine), *_level(fine, middle), *_level(middle, deep)
        )
        self.decoders = nn.ModuleList(_decoder(fine, middle, deep) for _ in range(outputs))

    def forward(self, planes: Tensor) -> Tensor:
        """``(b, inputs, y, x)`` to ``(b, outputs, y, x)``."""
        latent = self.encoder(planes.contiguous(memory_format=torch.channels_last))
        return torch.cat([decoder(latent) for decoder in self.decoders], dim=1)


def _level(incoming: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(incoming, channels, 3, padding=1), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2),
    ]  # fmt: skip


def _decoder(fine: int, middle: int, deep: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(deep, middle, 2, stride=2), nn.ReLU(),
        nn.Conv2d(middle, middle, 3, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(middle, fine, 2, stride=2), nn.ReLU(),
        nn.ConvTranspose2d(fine, fine // 2, 2, stride=2), nn.ReLU(),
        silent(nn.Conv2d(fine // 2, 1, 3, padding=1)),
    )  # fmt: skip
