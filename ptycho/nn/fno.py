"""A Fourier neural operator: every layer sees the whole plane, through its low frequencies."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho.nn.blocks import pixel_unshuffle
from ptycho.nn.unet import silent

_MODES = 12
_LAYERS = 4


class SpectralConvolution(nn.Module):
    """Mixes channels frequency by frequency, low ones only (Li et al. 2021, arXiv:2010.08895).

    Commutes with periodic shifts, and works on planes of any size.

    Args:
        channels: in and out.
        modes: frequencies kept along each axis, at most; higher ones are zero.
    """

    def __init__(self, channels: int, modes: int = _MODES) -> None:
        super().__init__()
        self.modes, self.channels = modes, channels
        # real and imaginary parts in turn: optimisers and bundles need know no complex numbers;
        # three axes: those with four or five are taken for convolutions and reordered
        start = torch.rand(2 * modes * modes, channels, 2 * channels) - 0.5
        self.weight = nn.Parameter(start / channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, channels, y, x)`` in and out, in single precision."""
        height, width = x.shape[-2:]
        rows, columns = min(self.modes, height // 2), min(self.modes, width // 2 + 1)
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
            grid = (2 * self.modes, self.modes, self.channels, self.channels, 2)
            weight = torch.view_as_complex(self.weight.float().view(grid))[:, :columns]
            low = torch.cat([spectrum[..., :rows, :columns], spectrum[..., -rows:, :columns]], -2)
            kept = torch.cat([weight[:rows], weight[-rows:]])
            mixed = torch.einsum("biyx,yxio->boyx", low, kept)
            out = functional.pad(mixed[..., :rows, :], (0, width // 2 + 1 - columns))
            end = functional.pad(mixed[..., rows:, :], (0, width // 2 + 1 - columns))
            middle = out.new_zeros(*out.shape[:-2], height - 2 * rows, out.shape[-1])
            spectrum = torch.cat([out, middle, end], -2)
            mixed_planes: Tensor = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
            return mixed_planes


class SpectralBlock(nn.Module):
    """A spectral convolution beside a local one, with the identity around both.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.far = SpectralConvolution(channels)
        self.near = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, channels, y, x)`` in and out."""
        inner = self.norm(x)
        out: Tensor = x + functional.silu(self.far(inner) + self.near(inner))
        return out


class FNO(nn.Module):
    """A :class:`ptycho.nn.registry.Generator` of spectral blocks at half the pixels.

    Args:
        inputs: planes that go in.
        outputs: planes that come out; zero at first.
        scale: multiplies the channels of every layer.
    """

    stride = 2

    def __init__(self, inputs: int, outputs: int, scale: int = 1) -> None:
        super().__init__()
        channels = 16 * scale
        self.stem = nn.Conv2d(4 * inputs, channels, 1)
        self.blocks = nn.Sequential(*(SpectralBlock(channels) for _ in range(_LAYERS)))
        self.head = silent(nn.Conv2d(channels, 4 * outputs, 3, padding=1))

    def forward(self, planes: Tensor) -> Tensor:
        """``(b, inputs, y, x)`` to ``(b, outputs, y, x)``."""
        x = pixel_unshuffle(planes, 2)
        return functional.pixel_shuffle(self.head(self.blocks(self.stem(x))), 2)
