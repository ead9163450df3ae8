"""Cutting patches out of an object and adding them back: each the other's adjoint."""

from typing import Any

import torch
from torch import Tensor

from ptycho.physics.fourier import fourier_shift


def split_positions(positions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Split patch centres into whole-pixel corners and a sub-pixel rest.

    Args:
        positions: patch centres ``(n, 2)`` as (y, x) in object pixels.
        size: side of a patch; its centre pixel is ``size // 2``.

    Returns:
        Corners ``(n, 2)`` int64 and remainders ``(n, 2)`` in [-0.5, 0.5), of the dtype given.
    """
    whole = torch.floor(positions + 0.5)
    return whole.long() - size // 2, positions - whole


def window_index(corners: Tensor, size: int, width: int) -> Tensor:
    """Flat canvas index ``(n, size, size)`` int32 of every pixel of every patch.

    Args:
        corners: ``(n, 2)`` int64, first row and column of each patch.
        size: side of a patch.
        width: columns of the canvas.
    """
    steps = torch.arange(size, device=corners.device, dtype=torch.int32)
    inside = steps[:, None] * width + steps[None, :]
    first = (corners[:, 0] * width + corners[:, 1]).int()
    return first[:, None, None] + inside


class _Extract(torch.autograd.Function):
    """Windows of an object; the backward pass is one scatter-add (indexing's own is slower)."""

    @staticmethod
    def forward(ctx: Any, obj: Tensor, corners: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(corners)
        ctx.shape = obj.shape
        return _cut(obj, corners, size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (corners,) = ctx.saved_tensors
        return add_patches(grads[0], corners, ctx.shape), None, None


def extract_patches(obj: Tensor, corners: Tensor, size: int) -> Tensor:
    """Cut ``n`` square patches at whole pixels.

    Args:
        obj: ``(H, W)``.
        corners: ``(n, 2)`` int64; every patch must lie inside the object.
        size: side of a patch.

    Returns:
        ``(n, size, size)``; gradients flow back by :func:`add_patches`.
    """
    if not (obj.requires_grad and torch.is_grad_enabled()):
        return _cut(obj, corners, size)
    patches: Tensor = _Extract.apply(obj, corners, size)  # type: ignore[no-untyped-call]
    return patches


def _cut(obj: Tensor, corners: Tensor, size: int) -> Tensor:
    return _windows(obj, size)[corners[:, 0], corners[:, 1]]


def _windows(canvas: Tensor, size: int) -> Tensor:
    """All patches of a canvas as a view; its first axes are their corners."""
    return canvas.unfold(0, size, 1).unfold(1, size, 1)


class _Add(torch.autograd.Function):
    """Patches added on a canvas; the backward pass cuts them out again."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, corners: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(corners)
        ctx.size = patches.shape[-1]
        return add_patches(patches, corners, shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (corners,) = ctx.saved_tensors
        return extract_patches(grads[0], corners, ctx.size), None, None


def add_patches(patches: Tensor, corners: Tensor, shape: tuple[int, int]) -> Tensor:
    """Add patches where they were cut; the adjoint of :func:`extract_patches`.

    Memory is the canvas and the patches, never ``n`` canvases.

    Args:
        patches: ``(n, size, size)``.
        corners: ``(n, 2)`` int64.
        shape: ``(H, W)`` of the canvas.

    Returns:
        Sum of the patches on the canvas, ``(H, W)``; gradients flow back by cutting.
    """
    if patches.requires_grad and torch.is_grad_enabled():
        added: Tensor = _Add.apply(patches, corners, shape)  # type: ignore[no-untyped-call]
        return added
    canvas = patches.new_zeros(shape)
    add_patches_(canvas, patches, corners)
    return canvas


def add_patches_(canvas: Tensor, patches: Tensor, corners: Tensor) -> None:
    """:func:`add_patches` onto a contiguous canvas ``(H, W)`` that already holds something."""
    # several threads would add single precision in any order, and never the same digits twice
    alone = torch.get_num_threads() == 1 or patches.dtype != torch.float32
    if canvas.device.type == "cpu" and alone:
        # one after the other, whole rows at once, in a single operation
        windows = _windows(canvas, patches.shape[-1])
        windows.index_put_((corners[:, 0], corners[:, 1]), patches, accumulate=True)
    else:
        add_by_index_(canvas, patches, corners)


def add_by_index_(canvas: Tensor, patches: Tensor, corners: Tensor) -> None:
    """The same, pixel by pixel through one list of indices: for devices of many threads."""
    index = window_index(corners, patches.shape[-1], canvas.shape[-1])
    canvas.view(-1).index_add_(0, index.reshape(-1), patches.reshape(-1))


def extract_at(obj: Tensor, positions: Tensor, size: int) -> Tensor:
    """Cut patches whose centres lie between pixels (Fourier interpolation inside the patch).

    Args:
        obj: complex ``(H, W)``.
        positions: patch centres ``(n, 2)`` as (y, x) in object pixels.
        size: side of a patch.

    Returns:
        Complex ``(n, size, size)``.
    """
    corners, rest = split_positions(positions, size)
    return fourier_shift(extract_patches(obj, corners, size), -rest)


def add_at(patches: Tensor, positions: Tensor, shape: tuple[int, int]) -> Tensor:
    """Add patches centred between pixels; the exact adjoint of :func:`extract_at`."""
    corners, rest = split_positions(positions, patches.shape[-1])
    return add_patches(fourier_shift(patches, rest), corners, shape)


def stitch(patches: Tensor, weights: Tensor, corners: Tensor, shape: tuple[int, int]) -> Tensor:
    """Average overlapping patches, each pixel weighted (by the probe's intensity, say).

    Args:
        patches: complex ``(n, size, size)``.
        weights: real ``(size, size)`` or ``(n, size, size)``, not negative.
        corners: ``(n, 2)`` int64.
        shape: ``(H, W)`` of the canvas.

    Returns:
        Complex ``(H, W)``; 1 where no patch has weight.
    """
    weights = weights.expand(patches.shape)
    total = add_patches(weights, corners, shape)
    mean = add_patches(patches * weights, corners, shape) / total.clamp_min(1e-12)
    return torch.where(total > 1e-12, mean, torch.ones_like(mean))
