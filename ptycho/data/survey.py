"""What one look at all patterns of a scan tells, whether they are in memory or not."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.sums import digest_of, energies_of
from ptycho.physics.fourier import crop_centre

Patterns = NDArray[np.float32]


@dataclass(frozen=True)
class Survey:
    """Figures of patterns, each the same whether they are looked at at once or in blocks."""

    norms: Tensor
    """``(n,)``: square root of the sum of squares of each."""
    lights: Tensor
    """``(n,)``: sum of each."""
    central: Tensor
    """``(n,)``: as ``norms``, of the central half of the detector."""
    energies: NDArray[np.float64]
    """``(n,)``: photons of each."""
    bad: Tensor | None
    """int64 ``(N, N)``: in how many a pixel is bad; None: in none."""
    digest: Any
    """Of :mod:`hashlib`: of header and bytes of the patterns."""


def take_survey(
    blocks: Iterable[Patterns], shape: tuple[int, ...], tick: Callable[[], Any] | None = None
) -> Survey:
    """Look at all patterns once; what is read next and the checksum take threads of their own.

    Args:
        blocks: the patterns ``(b, N, N)`` in order.
        shape: ``(n, N, N)`` of all.
        tick: called after each block.
    """
    digest = digest_of(shape, np.dtype(np.float32))
    half = shape[-1] // 2
    # room for all at once: small pieces kept between large ones leave holes in memory
    norms, lights, central = torch.empty(3, shape[0])
    energies, done = np.empty(shape[0]), 0
    bad = torch.zeros(shape[1:], dtype=torch.int64)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        for block in _ahead(iter(blocks), reader):
            hashed = writer.submit(digest.update, block.data)
            patterns, some = torch.from_numpy(block), slice(done, done + len(block))
            norms[some] = torch.linalg.vector_norm(patterns, 2, dim=(-2, -1))
            lights[some] = torch.linalg.vector_norm(patterns, 1, dim=(-2, -1))
            centre = crop_centre(patterns, half).contiguous()
            central[some] = torch.linalg.vector_norm(centre, 2, dim=(-2, -1))
            energies[some] = energies_of(block)
            done = some.stop
            if np.signbit(block).any():
                bad += torch.signbit(patterns).sum(0)
            hashed.result()
            if tick is not None:
                tick()
    return Survey(norms, lights, central, energies, bad if bad.any() else None, digest)


def _ahead(blocks: Iterator[Patterns], pool: ThreadPoolExecutor) -> Iterator[Patterns]:
    """The same blocks, the next of which is on its way meanwhile."""
    coming = pool.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = pool.submit(next, blocks, None)
        yield block
