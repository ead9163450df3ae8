"""Measured amplitudes, in memory or in a file: what is asked of all patterns at once.

Most of what works on a scan takes a few patterns at a time and need not know where they are:
a tensor and :class:`Deferred` are indexed alike. What looks at all of them asks here.
"""

from abc import ABC, abstractmethod
from typing import TypeAlias

import torch
from torch import Tensor

from ptycho.physics.fourier import crop_centre

COARSE_BYTES = 2**28
"""Up to so many bytes, the central halves of patterns that lie in a file are kept in memory."""


class Deferred(ABC):
    """Amplitudes ``(n, N, N)`` that are read whenever they are indexed.

    Attributes:
        shape: ``(n, N, N)``.
        device: where what is read is put.
        dtype: of what is read.
    """

    shape: tuple[int, int, int]
    device: torch.device
    dtype: torch.dtype = torch.float32

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, which: slice | Tensor) -> Tensor:
        """Some patterns ``(b, N, N)`` on the device, in the order asked for."""

    @abstractmethod
    def only(self, which: Tensor) -> "Deferred":
        """Some of the patterns ``(b,)``, not read yet."""

    @abstractmethod
    def norms(self, order: int = 2, size: int | None = None) -> Tensor:
        """See :func:`norms`."""

    @abstractmethod
    def bad(self, which: Tensor) -> Tensor | None:
        """Bad pixels ``(b, N, N)`` of some patterns; None when all are good."""

    @abstractmethod
    def bad_count(self, take: Tensor | None) -> Tensor | None:
        """See :func:`ptycho.physics.mask.seen_share`: patterns in which a pixel is bad."""

    @abstractmethod
    def to(self, device: torch.device) -> "Deferred":
        """The same patterns, to be put on a device."""

    def cpu(self) -> "Deferred":
        """The same patterns, to be left on the CPU."""
        return self.to(torch.device("cpu"))


Measured: TypeAlias = Tensor | Deferred
"""Amplitudes ``(n, N, N)``."""


def norms(amplitude: Measured, order: int = 2) -> Tensor:
    """Norm of every pattern, real ``(n,)``.

    Args:
        amplitude: ``(n, N, N)``.
        order: 2: square root of the sum of squares; 1: sum.
    """
    if isinstance(amplitude, Tensor):
        found: Tensor = torch.linalg.vector_norm(amplitude, order, dim=(-2, -1))
        return found
    return amplitude.norms(order)


def only(amplitude: Measured, which: Tensor) -> Measured:
    """Some of the patterns ``(b,)``; those in a file are not read yet."""
    return amplitude[which] if isinstance(amplitude, Tensor) else amplitude.only(which)


def central(amplitude: Measured, size: int, take: Tensor | None = None) -> Measured:
    """The centres ``(m, size, size)`` of the patterns.

    Patterns in a file are read once and their centres kept in memory if they take no more than
    :data:`COARSE_BYTES`; else they are read whenever they are needed.

    Args:
        amplitude: ``(n, N, N)``.
        size: side of the centres.
        take: numbers ``(m,)`` of the patterns wanted; all when None.
    """
    if isinstance(amplitude, Tensor):
        cropped = crop_centre(amplitude, size)
        return cropped.contiguous() if take is None else cropped[take]
    some = amplitude if take is None else amplitude.only(take)
    seen = _Central(some, size)
    if len(some) * size**2 * some.dtype.itemsize > COARSE_BYTES:
        return seen
    kept = torch.empty(seen.shape, dtype=some.dtype, device=some.device)
    at_once = max(2**22 // amplitude.shape[-1] ** 2, 1)
    for start in range(0, len(some), at_once):
        kept[start : start + at_once] = seen[slice(start, min(start + at_once, len(some)))]
    return kept


class _Central(Deferred):
    """Centres of patterns that are read when they are needed."""

    def __init__(self, whole: Deferred, size: int) -> None:
        self._whole, self._size = whole, size
        self.shape, self.device, self.dtype = (len(whole), size, size), whole.device, whole.dtype

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        return crop_centre(self._whole[which], self._size).contiguous()

    def only(self, which: Tensor) -> "_Central":
        return _Central(self._whole.only(which), self._size)

    def norms(self, order: int = 2, size: int | None = None) -> Tensor:
        return self._whole.norms(order, size or self._size)

    def bad(self, which: Tensor) -> Tensor | None:
        bad = self._whole.bad(which)
        return None if bad is None else crop_centre(bad, self._size)

    def bad_count(self, take: Tensor | None) -> Tensor | None:
        count = self._whole.bad_count(take)
        return None if count is None else crop_centre(count, self._size)

    def to(self, device: torch.device) -> "_Central":
        return _Central(self._whole.to(device), self._size)
