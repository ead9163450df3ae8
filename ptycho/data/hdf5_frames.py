"""Patterns in HDF5 files, read some at a time; nothing outside the file is ever opened."""

import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho.data.frames import Array, Frames, Indices, stamp
from ptycho.data.hdf5_opening import UNREADABLE, open_hdf5
from ptycho.data.hdf5_safety import find_dataset, unreadable


class Hdf5Frames(Frames):
    """Patterns in a dataset of an HDF5 file.

    The file is opened at the first read and again in every process that reads; it may be
    pickled. Reads of several threads wait for each other, as HDF5 makes them.

    Args:
        path: the file.
        name: of the dataset, ``group/name``.
        axes: which axes of the dataset are frames, y and x.
        follow: whether links to files in the same folder are followed.

    Raises:
        DataError: there is no such dataset, or it holds no frames of real numbers.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        axes: tuple[int, int, int] = (0, 1, 2),
        *,
        follow: bool = False,
    ) -> None:
        self.path, self.name, self._axes, self._follow = Path(path), name, axes, follow
        self._opened: tuple[int, h5py.File, Any] | None = None
        self._stamp = stamp(self.path)
        dataset = self._dataset()
        try:
            shape, self.dtype = dataset.shape, dataset.dtype
            made_up = _made_up(dataset)
        except UNREADABLE as error:
            raise unreadable(self.path, name, error) from error
        if shape is None or len(shape) != 3 or 0 in shape:
            raise self.fault(f"must be patterns (n, H, W), got {shape}")
        if self.dtype.kind not in "biuf":
            raise self.fault(f"must hold real counts or amplitudes, got {self.dtype}")
        if made_up is not None:
            raise self.fault(
                f"was not written to its end: what is missing would be read as {made_up:g}; copy "
                "the frames that there are into another file, or let the writer finish"
            )
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
        if stamp(self.path) != self._stamp:
            raise self.fault("was changed, moved or removed since this run opened it")
        if self._opened is None or self._opened[0] != os.getpid():
            file = open_hdf5(self.path)
            dataset = find_dataset(file, self.path, self.name, follow=self._follow)
            self._opened = os.getpid(), file, dataset
        return self._opened[2]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


def _made_up(dataset: Any) -> float | None:
    """What HDF5 puts in the place of numbers that nobody wrote; None where none are missing.

    Zeros are none: frames of them are empty, and counted as such.
    """
    fill = float(dataset.fillvalue) if dataset.dtype.kind in "biuf" else 0.0
    if fill == 0 or dataset.is_virtual or not dataset.size:
        return None
    if dataset.chunks is None:
        whole = dataset.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
        return fill if whole and dataset.id.get_offset() is None and not dataset.external else None
    sides = zip(dataset.shape, dataset.chunks, strict=True)
    wanted = math.prod(-(-side // chunk) for side, chunk in sides)
    return fill if dataset.id.get_num_chunks() < wanted else None
