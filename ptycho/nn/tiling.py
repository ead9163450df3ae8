"""Run an object network over a canvas of any size, tile by tile, in bounded memory."""

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor, Tensor], Tensor]


def predict_tiled(
    network: Network,
    obj: Tensor,
    pull: Tensor,
    light: Tensor,
    tile: tuple[int, int],
    batch_size: int,
) -> Tensor:
    """Network output on a whole canvas from overlapping tiles, blended smoothly.

    Tiles of the size seen in training give the normalisation layers the statistics they
    were trained with, whatever the size of the canvas.

    Args:
        network: maps ``(b, H, W)`` object, pull and light to the object.
        obj: complex ``(H, W)``.
        pull: complex ``(H, W)``.
        light: real ``(H, W)``.
        tile: height and width of a tile, at most those of the canvas.
        batch_size: tiles at once.

    Returns:
        Complex ``(H, W)``.
    """
    corners = [
        (y, x)
        for y in tile_starts(obj.shape[0], tile[0])
        for x in tile_starts(obj.shape[1], tile[1])
    ]
    window = blending_window(tile).to(light)
    total, weight = torch.zeros_like(obj), torch.zeros_like(light)
    for first in range(0, len(corners), batch_size):
        some = corners[first : first + batch_size]
        cut = [torch.stack([_cut(plane, c, tile) for c in some]) for plane in (obj, pull, light)]
        for corner, out in zip(some, network(cut[0], cut[1], cut[2]), strict=True):
            _cut(total, corner, tile).add_(out * window)
            _cut(weight, corner, tile).add_(window)
    return total / weight


def tile_starts(length: int, tile: int) -> list[int]:
    """First pixels of tiles that cover a length, overlapping by at least a fifth."""
    room = length - tile
    steps = -(-room // max(4 * tile // 5, 1))
    return [round(i * room / steps) for i in range(steps + 1)] if steps else [0]


def blending_window(tile: tuple[int, int]) -> Tensor:
    """Weights ``(H, W)`` that fall towards the edges and never reach zero."""
    sides = [torch.hann_window(n + 2, periodic=False)[1:-1] for n in tile]
    return sides[0][:, None] * sides[1][None, :] + 1e-6


def _cut(plane: Tensor, corner: tuple[int, int], tile: tuple[int, int]) -> Tensor:
    y, x = corner
    return plane[y : y + tile[0], x : x + tile[1]]
