"""The one transform that is asked for."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class GaussianBlur(nn.Module):
    """Blurs images ``(..., H, W)`` with a normalised Gaussian, mirrored at the border.

    Args:
        kernel_size: odd side of the kernel, or both sides as (x, y).
        sigma: standard deviation in pixels; of a range (low, high) one is drawn every time.
    """

    def __init__(
        self, kernel_size: int | Sequence[int], sigma: float | Sequence[float] = (0.1, 2.0)
    ) -> None:
        super().__init__()
        sides = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if any(side <= 0 or side % 2 == 0 for side in sides):
            raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}.")
        self.kernel_size = sides
        self.sigma = (sigma, sigma) if isinstance(sigma, (int, float)) else tuple(sigma)

    def forward(self, image: Tensor) -> Tensor:
        """Blur rows, then columns."""
        low, high = self.sigma
        sigma = low + (high - low) * torch.rand(()).item()
        planes = image.reshape(-1, 1, *image.shape[-2:])
        for dim, side in zip((3, 2), self.kernel_size, strict=True):
            shape = [1, 1, 1, 1]
            shape[dim] = side
            kernel = _gaussian(side, sigma).to(planes).reshape(shape)
            edge = side // 2
            border = (edge, edge, 0, 0) if dim == 3 else (0, 0, edge, edge)
            planes = functional.conv2d(functional.pad(planes, border, mode="reflect"), kernel)
        return planes.reshape(image.shape)


def _gaussian(side: int, sigma: float) -> Tensor:
    distance = torch.arange(side) - side // 2
    weight = torch.exp(-0.5 * (distance / max(sigma, math.ulp(1.0))) ** 2)
    return weight / weight.sum()
