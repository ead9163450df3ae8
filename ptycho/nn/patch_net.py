"""Object patches from single diffraction patterns: the layout of PtychoPINN.

A generator sees the pattern and, when asked for, what a first object looks like in its place.
It says what to multiply that object (or free space) by, or what to add to it: a network that
says nothing leaves it as it is.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho.nn.object_net import planes
from ptycho.nn.registry import on_any_size
from ptycho.physics.fourier import crop_centre

_SWISH_ONE = 1.2784645427610738  # where x / (1 + exp(-x)) is 1


BLOCK = 2
"""Pixels a side that the generator sees, and answers, as channels: a quarter of the work."""


class First(NamedTuple):
    """Patches of the lifted object, cut where the patterns were taken."""

    obj: Tensor
    """Complex ``(b, N, N)``."""
    pull: Tensor
    """Complex ``(b, N, N)``: what the patterns still ask of it."""
    light: Tensor
    """Real ``(b, N, N)``: illumination relative to the brightest pixel."""


def inputs(*, lifted: bool, probe_scale: float) -> int:
    """Planes that the generator sees."""
    return 1 + (5 if lifted else 0) + (1 if probe_scale else 0)


def activate(name: str, x: Tensor) -> Tensor:
    """An amplitude, not negative (``swish``: hardly); 1 for zero.

    Args:
        name: ``exponential`` (between exp(-2) and exp(1)), ``sigmoid`` (at most 2), ``swish``,
            ``softplus`` or ``relu``.
        x: real, any shape.
    """
    if name == "exponential":
        return x.clamp(-2, 1).exp()
    if name == "sigmoid":
        return 2 * torch.sigmoid(x)
    if name == "swish":
        return functional.silu(x + _SWISH_ONE)
    if name == "softplus":
        return functional.softplus(x + math.log(math.e - 1))
    return functional.relu(x + 1)


class PatchNet(nn.Module):
    """Predicts a window of the object from a pattern.

    Args:
        generator: turns :func:`inputs` planes into two.
        probe: real ``(N, N)``, amplitude of the probe, to be shown to the generator with its
            root mean square brought to ``probe_scale``.
        probe_scale: 0: the probe is not shown.
        window: side of what is predicted, the centre of a patch.
        lifted: whether a first object is shown.
        real_imag: predict real and imaginary part instead of amplitude and phase.
        activation: what makes the amplitude, see :func:`activate`.
        smoothing: standard deviation in pixels by which amplitudes are smoothed.
    """

    shown: Tensor
    blur: Tensor

    def __init__(
        self,
        generator: nn.Module,
        probe: Tensor,
        *,
        window: int,
        lifted: bool = True,
        real_imag: bool = False,
        activation: str = "exponential",
        probe_scale: float = 1.0,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.window, self.lifted, self.real_imag = window, lifted, real_imag
        self.activation, self.probe_scale, self.smoothing = activation, probe_scale, smoothing
        shown = probe * (probe_scale / probe.square().mean().sqrt())
        self.register_buffer("shown", shown, persistent=False)
        self.register_buffer("blur", smoothing_matrix(window, smoothing), persistent=False)

    def forward(self, amplitude: Tensor, first: First | None) -> Tensor:
        """Predict windows.

        Args:
            amplitude: real ``(b, N, N)``, root mean square about 1.
            first: patches of the lifted object; None where none is shown.

        Returns:
            Complex ``(b, window, window)``.
        """
        layers = [amplitude[:, None]]
        if first is not None:
            layers.append(planes(*first))
        if self.probe_scale:
            layers.append(self.shown.expand(len(amplitude), 1, -1, -1))
        said = on_any_size(self.generator, torch.cat(layers, 1), BLOCK).float()
        left, right = crop_centre(said, self.window).unbind(1)
        base = None if first is None else crop_centre(first.obj, self.window)
        if self.real_imag:
            change = torch.complex(left, right)
            return 1 + change if base is None else base + change
        modulus = activate(self.activation, left)
        if self.smoothing:
            modulus = (self.blur @ modulus @ self.blur.T).float()
        phase = math.pi * torch.tanh(right / math.pi)
        # as torch.polar, whose gradient takes longer
        factor = torch.complex(modulus * phase.cos(), modulus * phase.sin())
        return factor if base is None else base * factor


def smoothing_matrix(size: int, sigma: float) -> Tensor:
    """Gaussian average along an axis ``(size, size)``; even amplitudes stay, at borders, too."""
    if sigma == 0:
        return torch.eye(size)
    steps = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((steps[:, None] - steps[None]) / sigma).square())
    return (weights / weights.sum(1, keepdim=True)).float()
