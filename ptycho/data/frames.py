"""Diffraction patterns that lie in a file, or in memory, and are read some at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.data.scan import DataError

Array = NDArray[Any]
Indices = NDArray[np.int64]

BLOCK_BYTES = 64 * 2**20
"""What is read at once where all frames are looked at."""


class Frames(ABC):
    """The patterns of a scan as its file holds them, frames first.

    Attributes:
        path: the file.
        name: what the file calls them, for sentences.
        shape: ``(n, H, W)``.
        dtype: of the numbers in the file.
        whole: why the file can only be read all at once; None: some frames at a time will do.
    """

    path: Path
    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    whole: str | None = None

    @abstractmethod
    def read(self, rows: slice | Indices) -> Array:
        """Frames ``(b, H, W)`` of some rows, in the order of the rows; repeated ones are allowed.

        Raises:
            DataError: the file is damaged, or not the one that was opened.
        """

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self, at_least: int = 1) -> Iterator[slice]:
        """Rows of all frames in order, about :data:`BLOCK_BYTES` at a time."""
        each = max(int(np.prod(self.shape[1:])) * self.dtype.itemsize, 1)
        rows = max(BLOCK_BYTES // each, at_least)
        for start in range(0, len(self), rows):
            yield slice(start, min(start + rows, len(self)))

    def close(self) -> None:
        """Let go of the file, if one is open; the next read opens it again."""
        return

    def fault(self, sentence: str) -> DataError:
        """What is wrong with the patterns, as an error."""
        return DataError(f"{self.path}: {self.name} {sentence}.")


class ArrayFrames(Frames):
    """Patterns that are in memory.

    Args:
        array: ``(n, H, W)``.
        path: where they came from.
        name: what the file calls them.
    """

    whole = "is read all at once in this format"

    def __init__(self, array: Array, path: Path, name: str) -> None:
        self._array, self.path, self.name = array, path, name
        self.shape, self.dtype = array.shape, array.dtype

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        found: Array = self._array[rows]
        return found


class ChosenFrames(Frames):
    """Some of the patterns of a scan, in an order of their own.

    Args:
        frames: all of them.
        rows: ``(n,)``: which.
    """

    def __init__(self, frames: Frames, rows: Indices) -> None:
        self._frames, self._rows = frames, rows
        self.path, self.name, self.dtype = frames.path, frames.name, frames.dtype
        self.shape, self.whole = (len(rows), *frames.shape[1:]), frames.whole

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        wanted = self._rows[rows]
        if len(wanted) and (np.diff(wanted) == 1).all():
            return self._frames.read(slice(int(wanted[0]), int(wanted[-1]) + 1))
        return self._frames.read(wanted)

    def close(self) -> None:
        """Let go of the file."""
        self._frames.close()


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from one that took its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
