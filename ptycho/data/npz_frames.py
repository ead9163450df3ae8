"""Patterns in NPZ files: read at their place where the file stores them plainly, else whole."""

import os
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as format_

from ptycho.data.archive import opened_npz
from ptycho.data.frames import Array, Frames, Indices, stamp

_LOCAL = 30  # bytes of a ZIP's header of a member, before its name
_UNREADABLE = (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, RuntimeError)


class NpzFrames(Frames):
    """Patterns in an array of an NPZ file.

    Where the array is stored as it is, with frames first, reading asks the file for just the
    bytes of the rows: memory that a map of the file would count as this process's stays free.
    Its checksum is compared when all rows were read in order. Else it is read once, whole.

    Args:
        path: the file.
        name: of the array.
        layout: ``nyx``, or ``yxn`` where frames are last.

    Raises:
        DataError: the array cannot be read.
    """

    _array: Array | None
    _file: Any
    _summed: tuple[int, int]
    _first: int

    def __init__(self, path: Path, name: str, layout: str = "nyx") -> None:
        self.path, self.name, self._layout = path, name, layout
        try:
            with zipfile.ZipFile(path) as file, path.open("rb") as raw:
                member = file.getinfo(f"{name}.npy")
                with file.open(member) as content:
                    first = format_.read_magic(content) == (1, 0)
                    parse = (format_.read_array_header_2_0, format_.read_array_header_1_0)[first]
                    shape, fortran, self.dtype = parse(content)
                    header = content.tell()
                raw.seek(member.header_offset)
                local = raw.read(_LOCAL)
        except _UNREADABLE as error:
            raise self._damaged(error) from error
        lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        self._start, self._header = member.header_offset + _LOCAL + lengths, header
        self._crc, self._size = member.CRC, member.file_size
        n, height, width = shape if layout == "nyx" else (shape[2], *shape[:2])
        self.shape = (n, height, width)
        if member.compress_type != zipfile.ZIP_STORED:
            self.whole = "is compressed"
        elif fortran != (layout == "yxn"):
            self.whole = "has its frames last"
        if self.whole is None and header + n * self._each != self._size:
            raise self._damaged("its length is not what its header says")
        self._array = None
        self._stamp = stamp(path)
        self._begin()

    @property
    def _each(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        if self.whole is not None:
            if self._array is None:
                self._array = self._everything()
            found: Array = self._array[rows]
            return found
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
        """Let go of the file, and of what was read whole."""
        if self._file is not None:
            self._file.close()
        self._array = self._file = None

    def _slab(self, start: int, stop: int) -> Array:
        if start == stop:
            return np.empty((0, *self.shape[1:]), self.dtype)
        if stamp(self.path) != self._stamp:
            raise self.fault("was changed, moved or removed since this run opened it")
        sides = self.shape[1:] if self._layout == "nyx" else self.shape[:0:-1]
        found = np.empty((stop - start, *sides), self.dtype)
        left = found.data.cast("B")
        place = self._start + self._header + start * self._each
        try:
            file = self._opened()
            while left:
                count = os.preadv(file.fileno(), [left], place)
                if count == 0:
                    raise EOFError("it ends too early")
                left, place = left[count:], place + count
        except _UNREADABLE as error:
            raise self._damaged(error) from error
        self._check(found, start, stop)
        return found.transpose(0, 2, 1) if self._layout == "yxn" else found

    def _opened(self) -> Any:
        with self._lock:
            if self._file is None:
                self._file = self.path.open("rb", buffering=0)
            return self._file

    def _check(self, found: Array, start: int, stop: int) -> None:
        """Go on with the checksum while rows come in order; they need not."""
        if start != 0 and start != self._summed[0]:
            return
        with self._lock:
            done, crc = self._summed if start else (0, self._first)
            if start != done:
                return
            crc = zlib.crc32(found.data, crc)
            self._summed = stop, crc
        if stop == len(self) and crc != self._crc:
            raise self._damaged("its checksum is wrong")

    def _everything(self) -> Array:
        with opened_npz(self.path) as archive:
            array = archive.read(self.name, "biuf", "real counts or amplitudes")
        return np.moveaxis(array, -1, 0) if self._layout == "yxn" else array

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._file = None  # one read at given places may be shared, even after a fork
        self._summed = (0, 0)
        if self.whole is None:
            with self.path.open("rb") as raw:
                raw.seek(self._start)
                self._first = zlib.crc32(raw.read(self._header))

    def _damaged(self, why: object) -> Exception:
        return self.fault(f"cannot be read, the file is damaged or cut short ({why})")

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_lock", "_file", "_summed", "_first", "_array")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._array = None
        self._begin()
