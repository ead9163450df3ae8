"""Patterns in NPZ files: read at their place where the file stores them plainly, else whole."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as format_

from ptycho.data.archive import opened_npz
from ptycho.data.frames import Array, Indices, stamp
from ptycho.data.plain_frames import PlainFrames

_LOCAL = 30  # bytes of a ZIP's header of a member, before its name
_UNREADABLE = (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, RuntimeError)


class NpzFrames(PlainFrames):
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
    _summed: tuple[int, int]
    _first: int

    def __init__(self, path: Path, name: str, layout: str = "nyx") -> None:
        self.path, self.name, self._turned = path, name, layout == "yxn"
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
        self._first_byte, self._header = member.header_offset + _LOCAL + lengths + header, header
        self._crc, self._size = member.CRC, member.file_size
        n, height, width = shape if layout == "nyx" else (shape[2], *shape[:2])
        self.shape = (n, height, width)
        if member.compress_type != zipfile.ZIP_STORED:
            self.whole = "is compressed"
        elif fortran != self._turned:
            self.whole = "has its frames last"
        if self.whole is None and header + n * self._each != self._size:
            raise self._damaged("its length is not what its header says")
        self._array = None
        self._stamp = stamp(path)
        self._begin()

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        if self.whole is not None:
            if self._array is None:
                self._array = self._everything()
            found: Array = self._array[rows]
            return found
        return super().read(rows)

    def close(self) -> None:
        """Let go of the file, and of what was read whole."""
        super().close()
        self._array = None

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
        return np.moveaxis(array, -1, 0) if self._turned else array

    def _begin(self) -> None:
        super()._begin()
        self._summed = (0, 0)
        if self.whole is None:
            with self.path.open("rb") as raw:
                raw.seek(self._first_byte - self._header)
                self._first = zlib.crc32(raw.read(self._header))

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_summed", "_first", "_array")
        return {name: one for name, one in super().__getstate__().items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._array = None
        super().__setstate__(state)
