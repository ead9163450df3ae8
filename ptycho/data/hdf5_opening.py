"""Opening HDF5 files made elsewhere, or saying why not."""

import os
import struct
from pathlib import Path
from typing import Any

import h5py

from ptycho.data.scan import DataError

UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, MemoryError, OverflowError,
    AttributeError, IndexError, NotImplementedError, AssertionError,
)  # fmt: skip
"""What h5py raises for damaged files."""

_CACHE_BYTES = 32 * 2**20  # of chunks: the usual 1 MiB may hold none, and each row reads it again
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do, or has their signature where MATLAB puts it."""
    try:
        with path.open("rb") as file:
            return _find_superblock(file, path.stat().st_size) is not None
    except OSError:
        return False


def open_hdf5(path: str | os.PathLike[str]) -> h5py.File:
    """Open a file for reading.

    Without a lock, which many network folders refuse; HDF5 wants the same for every reader.

    Raises:
        DataError: it is no HDF5 file, shorter than it says, or open for writing.
    """
    path = Path(path)
    try:
        _refuse_cut(path)
        return h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES)
    except DataError:
        raise
    except UNREADABLE as error:
        why = brief(error)
        # HDF5 advises to clear the mark of a writer, which spoils the file if that is still there
        raise _unfinished(path, "" if "h5clear" in why else f" ({why})") from error


def brief(error: BaseException) -> str:
    """What HDF5 says of a failure, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _find_superblock(file: Any, size: int) -> int | None:
    """Where the file's own description begins: at 0, or at 512, 1024, 2048, ... bytes."""
    place = 0
    while place + len(_SIGNATURE) <= size:
        file.seek(place)
        if file.read(len(_SIGNATURE)) == _SIGNATURE:
            return place
        place = place * 2 or 512
    return None


def _refuse_cut(path: Path) -> None:
    """Refuse a file that is shorter than it says (HDF5 file format specification, section II.A)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        place = _find_superblock(file, size)
        if place is None:
            raise DataError(f"{path}: not an HDF5 file.")
        file.seek(place)
        block = file.read(128)
    try:
        version = block[8]
        if version <= 1:
            width, first = block[13], 24 + 4 * version
            end_at = first + 2 * width
        elif version <= 3:
            width, first = block[9], 12
            end_at = first + 2 * width
        else:
            raise DataError(f"{path}: its HDF5 superblock has the unknown version {version}.")
        if width not in (2, 4, 8):
            raise DataError(f"{path}: its HDF5 superblock is damaged (addresses of {width} bytes).")
        letter = {2: "H", 4: "I", 8: "Q"}[width]
        (end,) = struct.unpack_from(f"<{letter}", block, end_at)
    except (IndexError, struct.error) as error:
        raise _unfinished(path, f" ({size} bytes)") from error
    if end > size:
        raise _unfinished(path, f" (it says {end} bytes and has {size})")


def _unfinished(path: Path, why: str) -> DataError:
    return DataError(
        f"{path}: an HDF5 file that is still being written, was not closed properly, or was cut "
        f"short{why}; wait until its writer has closed it, or copy it again."
    )
