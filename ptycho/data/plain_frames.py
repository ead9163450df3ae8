"""Patterns that lie in a file one after the other, as numpy writes arrays, read at their place."""

import os
import threading
from typing import Any

import numpy as np

from ptycho.data.frames import Array, Frames, Indices, stamp


class PlainFrames(Frames):
    """Patterns whose bytes are asked of the file when they are read, and no others.

    A map of the file would count as this process's memory, and a file that is cut short while it
    is mapped ends the process. May be pickled, and read by several threads at once.
    """

    _first_byte: int
    _turned = False  # whether each lies there with its columns first
    _stamp: tuple[int, int, int] | None
    _lock: Any
    _file: Any

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._slab(start, max(start, stop))
            rows = np.arange(start, stop, step)
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        begin = 0
        for end in ends if len(rows) else []:
            found[begin:end] = self._slab(int(rows[begin]), int(rows[end - 1]) + 1)
            begin = end
        return found

    def close(self) -> None:
        """Let go of the file; the next read opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

    @property
    def _each(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def _slab(self, start: int, stop: int) -> Array:
        if start == stop:
            return np.empty((0, *self.shape[1:]), self.dtype)
        if stamp(self.path) != self._stamp:
            raise self.fault("was changed, moved or removed since this run opened it")
        sides = self.shape[:0:-1] if self._turned else self.shape[1:]
        found = np.empty((stop - start, *sides), self.dtype)
        left = found.data.cast("B")
        place = self._first_byte + start * self._each
        try:
            file = self._opened()
            while left:
                count = os.preadv(file.fileno(), [left], place)
                if count == 0:
                    raise EOFError("it ends too early")
                left, place = left[count:], place + count
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(error) from error
        self._check(found, start, stop)
        return found.transpose(0, 2, 1) if self._turned else found

    def _check(self, found: Array, start: int, stop: int) -> None:
        """Look at what was read, as it lies in the file."""

    def _opened(self) -> Any:
        with self._lock:
            if self._file is None:
                self._file = self.path.open("rb", buffering=0)
            return self._file

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._file = None  # one read at given places may be shared, even after a fork

    def _damaged(self, why: object) -> Exception:
        return self.fault(f"cannot be read, the file is damaged or cut short ({why})")

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_lock", "_file")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()
