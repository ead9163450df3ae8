"""Phases of patches: each may be turned as a whole, neighbours should agree.

A pattern does not tell the phase of its object patch, so that patches predicted one by one
carry phases of their own. Those that make overlapping patches agree best are the leading
eigenvector of the matrix of their inner products (Marchesini et al. 2016,
doi:10.1007/s11075-015-0024-9). It is found by power iterations with momentum (De Sa et al. 2018,
arXiv:1707.02670), each of which stitches all patches and cuts them again: no pair of patches is
ever looked at, and memory is that of the canvas.
"""

import torch
from torch import Tensor

from ptycho.physics.patches import add_patches_, extract_patches

_SHIFT = 0.3  # of all eigenvalues: the leading one must be the largest in size, too
_ENOUGH = 1e-3  # radians by which phases may still turn in an iteration, root mean square


def synchronised_phases(
    windows: Tensor,
    weights: Tensor,
    corners: Tensor,
    shape: tuple[int, int],
    *,
    iterations: int = 100,
    momentum: float = 0.15,
    batch: int = 256,
) -> Tensor:
    """Factors of modulus one that make overlapping windows agree.

    Args:
        windows: complex ``(n, size, size)``.
        weights: real ``(size, size)``, what a pixel of a window counts.
        corners: int64 ``(n, 2)``, first row and column of each window on the canvas.
        shape: ``(H, W)`` of the canvas.
        iterations: at most.
        momentum: of the power iterations; below a quarter of the leading eigenvalue squared.
        batch: windows at once.

    Returns:
        Complex ``(n,)``; their mean phase is zero.
    """
    parts = [slice(first, first + batch) for first in range(0, len(windows), batch)]
    light = torch.zeros(shape, dtype=weights.dtype, device=windows.device)
    for some in parts:
        add_patches_(light, weights.expand(windows[some].shape).contiguous(), corners[some])
    inverse = light.clamp_min(1e-6 * float(light.max())).reciprocal()
    energy = torch.cat([(weights * windows[some].abs().square()).sum((-2, -1)) for some in parts])
    damped = energy.clamp_min(1e-6 * float(energy.max()))
    size = windows.shape[-1]
    # a patch agrees with itself, and one that hardly overlaps would with nobody else
    shares = [
        (
            weights.square()
            * windows[some].abs().square()
            * extract_patches(inverse, corners[some], size)
        ).sum((-2, -1))
        for some in parts
    ]
    own = torch.cat(shares) / damped

    def average(phases: Tensor) -> Tensor:
        canvas = torch.zeros(shape, dtype=windows.dtype, device=windows.device)
        for some in parts:
            turned = windows[some] * (phases[some, None, None] * weights)
            add_patches_(canvas, turned, corners[some])
        canvas *= inverse
        agreed = [
            (weights * windows[some].conj() * extract_patches(canvas, corners[some], size)).sum(
                (-2, -1)
            )
            for some in parts
        ]
        return torch.cat(agreed) / damped + (_SHIFT - own) * phases

    before = torch.zeros(len(windows), dtype=windows.dtype, device=windows.device)
    now = torch.ones_like(before)
    for _ in range(iterations):
        after = average(now) - momentum * before
        # only the direction counts: both are scaled alike
        scale = float(after.abs().square().mean().sqrt())
        turn = (_unit(after) * _unit(now).conj()).angle()
        before, now = now / scale, after / scale
        if float(turn.square().mean().sqrt()) < _ENOUGH:
            break
    phases = _unit(now)
    mean: Tensor = phases.sum()
    return phases * _unit(mean).conj()


def turn_onto(
    windows: Tensor,
    weights: Tensor,
    corners: Tensor,
    canvas: Tensor,
    light: Tensor,
    *,
    batch: int = 256,
) -> Tensor:
    """The factor of modulus one, for all windows alike, that makes them agree with a canvas.

    Args:
        windows: complex ``(n, size, size)``.
        weights: real ``(size, size)``, what a pixel of a window counts.
        corners: int64 ``(n, 2)``, first row and column of each window on the canvas.
        canvas: complex ``(H, W)``, sum of weighted windows that lie there already.
        light: real ``(H, W)``, sum of their weights.
        batch: windows at once.

    Returns:
        Complex scalar; one where nothing of the canvas is known yet.
    """
    known = canvas / light.clamp_min(torch.finfo(light.dtype).tiny)
    agreed = torch.zeros((), dtype=windows.dtype, device=windows.device)
    for first in range(0, len(windows), batch):
        some = slice(first, first + batch)
        there = extract_patches(known, corners[some], windows.shape[-1])
        agreed += (weights * windows[some].conj() * there).sum()
    return _unit(agreed)


def _unit(numbers: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(numbers.real), numbers.angle())
