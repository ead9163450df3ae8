"""Patterns for a network that reconstructs: every batch once, in the order given."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ptycho.physics.measured import Measured


class Patterns(Dataset[tuple[Tensor, Tensor]]):
    """The item of some numbers is their patterns, and the numbers.

    Args:
        amplitude: measured ``(n, N, N)``.
    """

    def __init__(self, amplitude: Measured) -> None:
        self.amplitude = amplitude

    def __len__(self) -> int:
        return len(self.amplitude)

    def __getitem__(self, which: Tensor) -> tuple[Tensor, Tensor]:
        return self.amplitude[which], which


def in_order(
    amplitude: Measured,
    batches: Sequence[Tensor],
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
    **workers: Any,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of patterns and their numbers, both on the device of the patterns.

    Patterns that lie on a device stay there, unless other processes prepare the batches or
    page-locked memory is asked for: both go by the host.

    Args:
        amplitude: measured ``(n, N, N)``.
        batches: int64 ``(b,)`` each, numbers of patterns.
        num_workers: processes that prepare batches.
        pin_memory: as for :class:`torch.utils.data.DataLoader`.
        **workers: ``persistent_workers`` and ``prefetch_factor``, likewise.
    """
    device = amplitude.device
    by_host = num_workers > 0 or pin_memory
    source = amplitude.cpu() if by_host else amplitude
    loader = DataLoader(
        Patterns(source),
        batch_size=None,
        sampler=[numbers.to(source.device) for numbers in batches],
        num_workers=num_workers,
        pin_memory=pin_memory,
        # one of its own: the loader must not draw from the global one
        generator=torch.Generator().manual_seed(0),
        **workers,
    )
    for some, which in loader:
        yield some.to(device, non_blocking=pin_memory), which.to(device, non_blocking=pin_memory)
