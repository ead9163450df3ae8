"""Patterns in HDF5 files, read some at a time; nothing outside the file is ever opened."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho.data.frames import Array, Frames, Indices
from ptycho.data.scan import DataError

UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, MemoryError, OverflowError,
)  # fmt: skip
"""What HDF5 raises for damaged files."""

_CACHE_BYTES = (
    32 * 2**20
)  # of chunks: the usual 1 MiB may hold none, which is then read for each row
_LINKS = 20  # one after another
_LARGEST = 2**43  # bytes of all patterns: 8 TiB; a header may promise anything


def open_hdf5(path: str | os.PathLike[str]) -> h5py.File:
    """Open a file for reading.

    Without a lock, which many network folders refuse; HDF5 wants the same for every reader.

    Raises:
        DataError: it is no HDF5 file.
    """
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES)
    except UNREADABLE as error:
        raise DataError(f"{path}: not an HDF5 file, or cut short ({error}).") from error


def find_dataset(file: h5py.File, path: Path, key: str) -> Any:
    """A dataset of an open file.

    Args:
        file: open.
        path: its name, for sentences.
        key: ``group/name``.

    Returns:
        The dataset; its numbers are in this very file.

    Raises:
        DataError: it is missing, damaged, no dataset, or its numbers are in another file.
    """
    try:
        node = _follow(file, path, key, key)
        if not isinstance(node, h5py.Dataset):
            raise DataError(f"{path}: {key} must be an array, got a group.")
        _refuse_elsewhere(path, key, node)
    except UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise unreadable(path, key, error) from error
    return node


def _follow(group: h5py.Group, path: Path, key: str, way: str, links: int = 0) -> Any:
    """What lies at the end of a way, step by step: a link may point anywhere."""
    node: Any = group.file if way.startswith("/") else group
    parts = [part for part in way.split("/") if part and part != "."]
    for step, part in enumerate(parts):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise DataError(f"{path}: {key} is missing.")
        if isinstance(link, h5py.ExternalLink):
            raise DataError(
                f"{path}: {key} is a link to another file, {link.filename}, which is not followed; "
                "name that file itself, or copy its numbers into this one (h5repack, h5copy)."
            )
        if isinstance(link, h5py.SoftLink):
            if links == _LINKS:
                raise DataError(f"{path}: {key} is a link that leads in a circle.")
            rest = "/".join([link.path, *parts[step + 1 :]])
            return _follow(node, path, key, rest, links + 1)
        node = node[part]
    return node


def unreadable(path: Path, key: str, error: BaseException) -> DataError:
    """A damaged dataset, as an error."""
    why = " ".join(str(error).split())
    return DataError(f"{path}: {key} cannot be read, the file is damaged or cut short ({why}).")


class Hdf5Frames(Frames):
    """Patterns in a dataset of an HDF5 file.

    The file is opened at the first read and again in every process that reads; it may be
    pickled. Reads of several threads wait for each other, as HDF5 makes them.

    Args:
        path: the file.
        name: of the dataset, ``group/name``.
        axes: which axes of the dataset are frames, y and x.

    Raises:
        DataError: there is no such dataset, or it holds no frames of real numbers.
    """

    def __init__(
        self, path: str | os.PathLike[str], name: str, axes: tuple[int, int, int] = (0, 1, 2)
    ) -> None:
        self.path, self.name, self._axes = Path(path), name, axes
        self._opened: tuple[int, h5py.File, Any] | None = None
        self._stamp = _stamp(self.path)
        dataset = self._dataset()
        try:
            shape, self.dtype = dataset.shape, dataset.dtype
        except UNREADABLE as error:
            raise unreadable(self.path, name, error) from error
        if shape is None or len(shape) != 3 or 0 in shape:
            raise self.fault(f"must be patterns (n, H, W), got {shape}")
        if self.dtype.kind not in "biuf":
            raise self.fault(f"must hold real counts or amplitudes, got {self.dtype}")
        if np.prod(shape, dtype=float) * self.dtype.itemsize > _LARGEST:
            raise self.fault(f"of the shape {shape} is larger than any scan; is the file damaged?")
        self.shape = (shape[axes[0]], shape[axes[1]], shape[axes[2]])

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows: repeated and unsorted ones, and negative ones, as in numpy.

        Raises:
            DataError: the file is damaged, or another one now.
            IndexError: there are no such rows.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._slab(start, max(start, stop))
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows, dtype=np.int64).reshape(-1)
        if len(rows) and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        wanted, back = np.unique(rows % len(self), return_inverse=True)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        ends = [*(np.flatnonzero(np.diff(wanted) > 1) + 1).tolist(), len(wanted)]
        start = 0
        for end in ends if len(wanted) else []:
            found[start:end] = self._slab(int(wanted[start]), int(wanted[end - 1]) + 1)
            start = end
        return found[back.reshape(-1)]

    def close(self) -> None:
        """Let go of the file; the next read opens it again."""
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()
        self._opened = None

    def _slab(self, start: int, stop: int) -> Array:
        dataset = self._dataset()
        where: list[slice] = [slice(None)] * 3
        where[self._axes[0]] = slice(start, stop)
        try:
            return np.asarray(dataset[tuple(where)]).transpose(self._axes)
        except UNREADABLE as error:
            raise unreadable(self.path, self.name, error) from error

    def _dataset(self) -> Any:
        """The dataset, opened by this very process: one opened before a fork is its parent's."""
        if self._opened is None or self._opened[0] != os.getpid():
            if _stamp(self.path) != self._stamp:
                raise self.fault("was changed, moved or removed since this run opened it")
            file = open_hdf5(self.path)
            self._opened = os.getpid(), file, find_dataset(file, self.path, self.name)
        return self._opened[2]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from one that took its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _refuse_elsewhere(path: Path, key: str, dataset: Any) -> None:
    """Refuse numbers that are kept outside the file."""
    names = [name for name, *_ in dataset.external or ()]
    if dataset.is_virtual:
        names += [one.file_name for one in dataset.virtual_sources() if one.file_name != "."]
    if names:
        raise DataError(
            f"{path}: {key} keeps its numbers in another file, {names[0]}, which is not opened; "
            "name that file itself, or copy its numbers into this one (h5repack)."
        )
