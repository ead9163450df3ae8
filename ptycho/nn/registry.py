"""Generators by name: the built-in ones, and those that other packages bring along.

A package adds its own by an entry point of the group ``ptycho.generators``::

    [project.entry-points."ptycho.generators"]
    my_net = "my_package.my_module:MyNet"
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho.config.choices import GENERATORS
from ptycho.config.config import ConfigError
from ptycho.nn.blocks import pixel_unshuffle
from ptycho.nn.cnn import CNN
from ptycho.nn.fno import FNO
from ptycho.nn.hybrid_resnet import HybridResNet
from ptycho.nn.unet import UNet

GROUP = "ptycho.generators"
"""Entry points of generators in other packages."""


class Generator(Protocol):
    """An ``nn.Module`` that turns planes into planes of the same size; both layouts use any.

    It should answer zero until it has learnt something: zero leaves what was known as it is.
    """

    stride: int
    """Sides ``y`` and ``x`` are divisible by it."""

    def __call__(self, planes: Tensor) -> Tensor:
        """Real ``(b, inputs, y, x)`` to real ``(b, outputs, y, x)``."""
        ...


Maker = Callable[[int, int, int], nn.Module]
"""Makes a generator of (inputs, outputs, scale); scale is ``model.n_filters_scale``."""

BUILT_IN: dict[str, Maker] = dict(zip(GENERATORS, (UNet, CNN, FNO, HybridResNet), strict=True))


def make_generator(name: str, inputs: int, outputs: int, scale: int) -> nn.Module:
    """An untrained generator.

    Raises:
        ConfigError: there is none of this name, or a foreign one does not keep to the protocol.
    """
    if name in BUILT_IN:
        return BUILT_IN[name](inputs, outputs, scale)
    entry = _entry(name)
    try:
        made = entry.load()(inputs, outputs, scale)
    except Exception as error:  # whatever foreign code raises, its name helps to mend it
        raise _broken(entry, f"{type(error).__name__}: {error}") from error
    fault = _fault(made, inputs, outputs)
    if fault:
        raise _broken(entry, fault)
    assert isinstance(made, nn.Module)
    return made


def on_any_size(generator: nn.Module, planes: Tensor, block: int = 1) -> Tensor:
    """Run a generator on planes whose sides its stride need not divide.

    Args:
        generator: turns planes into planes.
        planes: real ``(b, inputs, y, x)``.
        block: pixels go in and out as ``block x block`` channels, which the generator must
            expect.
    """
    height, width = planes.shape[-2:]
    stride = block * int(generator.stride)  # type: ignore[arg-type]
    below, right = -height % stride, -width % stride
    if below or right:
        planes = functional.pad(planes, (0, right, 0, below))
    if block > 1:
        planes = pixel_unshuffle(planes, block)
    out: Tensor = generator(planes)
    if block > 1:
        out = functional.pixel_shuffle(out, block)
    return out[..., :height, :width]


def _entry(name: str) -> EntryPoint:
    found = entry_points(group=GROUP)
    for entry in found:
        if entry.name == name:
            return entry
    names = ", ".join(dict.fromkeys([*BUILT_IN, *sorted(found.names)]))
    raise ConfigError(f"model.generator={name} does not exist; there are {names}.")


def _broken(entry: EntryPoint, why: str) -> ConfigError:
    return ConfigError(
        f"model.generator={entry.name} ({entry.value}) cannot be used: {why}. "
        f"Mend it, or use one of {', '.join(BUILT_IN)}."
    )


def _fault(made: object, inputs: int, outputs: int) -> str | None:
    """What a foreign generator does against the protocol, tried on zeros."""
    if not isinstance(made, nn.Module):
        return f"it must be made as a torch.nn.Module, got {type(made).__name__}"
    stride = getattr(made, "stride", None)
    if not isinstance(stride, int) or not 1 <= stride <= 64:
        return f"its attribute stride must be a whole number from 1 to 64, got {stride}"
    side = max(stride, 32 // stride * stride)
    try:
        with torch.no_grad():
            out = made(torch.zeros(1, inputs, side, side))
    except Exception as error:  # as above
        return f"{type(error).__name__}: {error}"
    wanted = (1, outputs, side, side)
    if not isinstance(out, Tensor) or tuple(out.shape) != wanted or out.is_complex():
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        return f"(1, {inputs}, {side}, {side}) must become real {wanted}, got {got}"
    return None
