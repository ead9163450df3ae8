"""One look at many patterns: what every pixel and every pattern says, read some at a time."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho.data.frames import Array, Frames
from ptycho.data.marks import marked

Image = NDArray[np.float64]
Vector = NDArray[np.float64]

_AT_MOST = 96 * 2**20
"""Bytes of patterns to read; of larger scans, patterns spread over all of it."""
_AT_ONCE = 32
_WHOLE = 0.95
"""Of the pixels of a pattern that must be numbers for the others to be worth something."""
_BETWEEN_GAPS = 0.5
"""The same where a detector of several modules marks what lies between them."""
_KEPT = 48
"""Patterns that are kept as they are."""


@dataclass(frozen=True)
class Survey:
    """Sums over patterns in the file's own numbers; what is no number counts as zero."""

    total: int
    """Patterns in the file."""
    numbers: NDArray[np.int64]
    """``(k,)``: those that were looked at."""
    kept: Array
    """``(j, H, W)``: some of them, as they are but for NaN, infinity and marks, which are zero."""
    kept_numbers: NDArray[np.int64]
    """``(j,)``: which."""
    sums: Vector
    """``(k,)``: sum of every pattern."""
    squares: Vector
    """``(k,)``: sum of the squares."""
    mean: Image
    """``(H, W)``: of all patterns."""
    mean_square: Image
    """``(H, W)``: of their squares."""
    lowest: Image
    """``(H, W)``."""
    highest: Image
    """``(H, W)``."""
    broken: NDArray[np.int64]
    """``(H, W)``: how often a pixel held NaN, infinity or a mark, lost patterns left out."""
    lost: NDArray[np.int64]
    """Numbers of patterns that hold no number in more than a twentieth of their pixels, or a mark
    in more than half of them."""
    copies: NDArray[np.int64]
    """Numbers of patterns that equal an earlier one to the bit."""

    @property
    def all_seen(self) -> bool:
        """Whether every pattern was looked at."""
        return len(self.numbers) == self.total

    @property
    def top(self) -> float:
        """The largest value."""
        return float(self.highest.max())


def without(seen: Survey, stuck: NDArray[np.bool_]) -> Survey:
    """The same, pixels ``(H, W)`` that always hold the same value being taken for zero."""
    if not stuck.any():
        return seen
    held = seen.highest[stuck]
    mean, mean_square, lowest, highest = (
        np.where(stuck, 0, one) for one in (seen.mean, seen.mean_square, seen.lowest, seen.highest)
    )
    return replace(
        seen,
        sums=seen.sums - held.sum(),
        squares=seen.squares - np.square(held).sum(),
        mean=mean,
        mean_square=mean_square,
        lowest=lowest,
        highest=highest,
    )


def survey(
    frames: Frames, known: NDArray[np.bool_] | None = None, at_most: int = _AT_MOST
) -> Survey:
    """Look at the patterns of a scan.

    Args:
        frames: where they are.
        known: ``(H, W)`` pixels known to be bad, which are taken for zero; None: none.
        at_most: bytes to read.
    """
    each = max(int(np.prod(frames.shape[1:])) * frames.dtype.itemsize, 1)
    count = int(np.clip(at_most // each, min(64, len(frames)), len(frames)))
    numbers = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(np.int64))
    shape = frames.shape[1:]
    mean, mean_square = np.zeros(shape), np.zeros(shape)
    lowest, highest = np.full(shape, np.inf), np.full(shape, -np.inf)
    broken = np.zeros(shape, np.int64)
    sums, squares = np.empty(len(numbers)), np.empty(len(numbers))
    seen: dict[bytes, int] = {}
    copies, lost, kept = [], [], []
    wanted = set(numbers[np.linspace(0, len(numbers) - 1, _KEPT).round().astype(int)].tolist())
    for start in range(0, len(numbers), _AT_ONCE):
        rows = numbers[start : start + _AT_ONCE]
        block = np.asarray(frames.read(rows))
        good = _numbers(block)
        if not good.all():
            least = _WHOLE if block.dtype.kind == "f" else _BETWEEN_GAPS
            gone = good.mean((1, 2)) < least
            lost += rows[gone].tolist()
            broken += (~good[~gone]).sum(0)
            block = np.where(good, block, 0)
        if known is not None:
            block = np.where(known, 0, block)
        plain = block.astype(np.float64)
        mean += plain.sum(0)
        square = plain * plain
        mean_square += square.sum(0)
        sums[start : start + len(rows)] = plain.sum((1, 2))
        squares[start : start + len(rows)] = square.sum((1, 2))
        np.minimum(lowest, plain.min(0), out=lowest)
        np.maximum(highest, plain.max(0), out=highest)
        for number, frame in zip(rows.tolist(), block, strict=True):
            digest = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).digest()
            if digest in seen:
                copies.append(number)
            seen.setdefault(digest, number)
            if number in wanted:
                kept.append((number, frame.copy()))
    return Survey(
        total=len(frames),
        numbers=numbers,
        kept=np.stack([frame for _, frame in kept]),
        kept_numbers=np.array([number for number, _ in kept], np.int64),
        sums=sums,
        squares=squares,
        mean=mean / len(numbers),
        mean_square=mean_square / len(numbers),
        lowest=lowest,
        highest=highest,
        broken=broken,
        lost=np.array(lost, np.int64),
        copies=np.array(copies, np.int64),
    )


def _numbers(block: Array) -> NDArray[np.bool_]:
    """Where patterns hold numbers, neither NaN nor infinity nor a detector's mark."""
    if block.dtype.kind == "f":
        return np.asarray(np.isfinite(block))
    marks = marked(block)
    return np.ones(block.shape, bool) if marks is None else ~marks
