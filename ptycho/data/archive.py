"""Arrays out of files made elsewhere: NPZ and HDF5, one way of reading and one of refusing.

Nothing is unpickled. Whatever fails names the file and the key in one sentence.
"""

import json
import logging
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.data.scan import DataError

log = logging.getLogger(__name__)

Array = NDArray[Any]
Shape = tuple[int, ...]

PROBES = ("probeModes", "probeGuess")
"""Keys of the probe of a scan: all modes first, where a file also keeps one of them alone."""

_METRES = 1e-2  # no scan in pixels lies so close to the corner
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError)
_NO_DATASET = (*_UNREADABLE, KeyError, TypeError, MemoryError)


class Archive(ABC):
    """Named arrays of one file, read when asked for.

    Attributes:
        path: the file.
        keys: names of its arrays.
    """

    path: Path
    keys: list[str]

    @abstractmethod
    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype, without reading the array."""

    @abstractmethod
    def _array(self, key: str) -> Array:
        """The array as it is."""

    @abstractmethod
    def number(self, group: str, name: str) -> float | None:
        """A number that belongs to an array; None when the file does not say.

        HDF5 keeps it as an attribute of ``group``, NPZ as the array ``group_name``.
        """

    def fault(self, key: str, sentence: str) -> DataError:
        """What is wrong with a key, as an error."""
        return DataError(f"{self.path}: {key} {sentence}.")

    def one_of(self, *keys: str) -> str:
        """The first of these keys that the file has."""
        for key in keys:
            if key in self.keys:
                return key
        raise self.fault(" or ".join(keys), f"is missing; the file holds {', '.join(self.keys)}")

    def read(self, key: str, kinds: str, wanted: str) -> Array:
        """An array of finite numbers (or text) of some kinds of dtype."""
        if self.is_pickled(self.one_of(key)):
            raise self.fault(key, "is a pickled object, never opened here; save a plain array")
        array = self._array(key)
        if array.dtype.kind not in kinds:
            raise self.fault(key, f"must hold {wanted}, got {array.dtype}")
        if array.dtype.kind in "fc" and not (finite := np.isfinite(array)).all():
            raise self.fault(key, f"holds NaN or infinity ({(~finite).sum()} values); drop them")
        return array

    def as_it_is(self, key: str) -> Array:
        """An array with whatever it holds, for those who look for what is wrong with it."""
        if self.is_pickled(key):
            raise self.fault(key, "is a pickled object, never opened here; save a plain array")
        return self._array(key)

    def is_pickled(self, key: str) -> bool:
        """Whether an array consists of Python objects."""
        return self.header(key)[1].hasobject

    def has_optional(self, key: str) -> bool:
        """Whether an optional array is there; older files keep a pickled None instead."""
        if key not in self.keys:
            return False
        if self.is_pickled(key):
            log.warning("%s: %s is a pickled object and was left alone.", self.path, key)
            return False
        return True

    def _unreadable(self, key: str, error: BaseException) -> DataError:
        return self.fault(key, f"cannot be read, the file is damaged or cut short ({error})")


class NpzArchive(Archive):
    """The arrays of an NPZ file."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.keys = [name.removesuffix(".npy") for name in file.namelist()]

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype, without reading the array."""
        try:
            with self._file.open(f"{key}.npy") as member:
                first = format_.read_magic(member) == (1, 0)
                parse = (format_.read_array_header_2_0, format_.read_array_header_1_0)[first]
                shape, _, dtype = parse(member)
                return shape, dtype
        except (*_UNREADABLE, KeyError) as error:
            raise self._unreadable(key, error) from error

    def number(self, group: str, name: str) -> float | None:
        """The array ``group_name``, one number."""
        key = f"{group}_{name}"
        if not self.has_optional(key):
            return None
        return _only(self, key, self.read(key, "iuf", "one real number"))

    def _array(self, key: str) -> Array:
        try:
            with self._file.open(f"{key}.npy") as member:
                array: Array = format_.read_array(member, allow_pickle=False)
        except (*_UNREADABLE, MemoryError) as error:
            raise self._unreadable(key, error) from error
        return array


class Hdf5Archive(Archive):
    """The datasets at the root of an HDF5 file."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        try:
            self.keys = [str(key) for key in file]
        except _NO_DATASET as error:
            raise DataError(f"{path}: not an HDF5 file, or cut short ({error}).") from error

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype, without reading the array."""
        dataset = self._dataset(key)
        try:
            return tuple(dataset.shape or ()), dataset.dtype
        except _NO_DATASET as error:
            raise self._unreadable(key, error) from error

    def number(self, group: str, name: str) -> float | None:
        """The attribute ``name`` of the dataset ``group``, one number."""
        if group not in self.keys:
            return None
        try:
            value = self._dataset(group).attrs.get(name)
        except _NO_DATASET as error:
            raise self._unreadable(group, error) from error
        return None if value is None else _only(self, f"{group}.{name}", np.asarray(value))

    def _array(self, key: str) -> Array:
        try:
            return np.asarray(self._dataset(key)[()])
        except _NO_DATASET as error:
            raise self._unreadable(key, error) from error

    def _dataset(self, key: str) -> Any:
        try:
            dataset = self._file[key]
        except _NO_DATASET as error:
            raise self._unreadable(key, error) from error
        if not isinstance(dataset, h5py.Dataset):
            raise self.fault(key, "must be an array, got a group")
        return dataset


@contextmanager
def opened_npz(path: str | os.PathLike[str]) -> Iterator[NpzArchive]:
    """Open an NPZ file.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no NPZ file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path of the scan.")
    try:
        file = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        raise DataError(f"{path}: not an NPZ file, or cut short ({error}).") from error
    with file:
        yield NpzArchive(path, file)


@contextmanager
def opened_hdf5(path: str | os.PathLike[str]) -> Iterator[Hdf5Archive]:
    """Open an HDF5 file for reading.

    Raises:
        DataError: it is no HDF5 file.
    """
    path = Path(path)
    try:
        file = h5py.File(path, "r")
    except _NO_DATASET as error:
        raise DataError(f"{path}: not an HDF5 file, or cut short ({error}).") from error
    with file:
        yield Hdf5Archive(path, file)


def read_metadata(archive: Archive) -> dict[str, Any]:
    """The JSON text ``_metadata``; empty when there is none."""
    if not archive.has_optional("_metadata"):
        return {}
    text = archive.read("_metadata", "US", "one JSON text")
    try:
        (only,) = text.reshape(-1).tolist()
        metadata = json.loads(only)
    except ValueError as error:
        raise archive.fault("_metadata", f"is not one JSON text ({error})") from error
    if not isinstance(metadata, dict):
        raise archive.fault("_metadata", f"must be a JSON object, got {only!r}")
    size = metadata.get("pixel_size_m")
    if size is not None and not (isinstance(size, float) and 0 < size < 1):
        raise archive.fault("_metadata", f"pixel_size_m must be metres above 0, got {size!r}")
    return metadata


def read_positions(archive: Archive, *, lengths: bool = False) -> NDArray[np.float64]:
    """Patch centres ``(n, 2)`` as (y, x) in pixels, from ``ycoords`` and ``xcoords``.

    Args:
        archive: the file.
        lengths: whether they may as well be metres: whoever reads them will look.
    """
    y, x = (archive.read(key, "iuf", "real numbers") for key in ("ycoords", "xcoords"))
    both = "xcoords and ycoords"
    if y.ndim != 1 or y.shape != x.shape:
        raise archive.fault(both, f"must be (n,) of one length, got {x.shape} and {y.shape}")
    positions = np.stack([y, x], axis=1).astype(np.float64)
    if not lengths and 0 < (largest := np.abs(positions).max(initial=0)) < _METRES:
        sentence = f"reach {largest:.2g}, which must be metres; divide them by the pixel size"
        raise archive.fault(both, sentence)
    return positions


def read_probe(archive: Archive, *keys: str) -> NDArray[np.complex64]:
    """Illumination ``(modes, N, N)`` from the first of these keys that is there."""
    key = archive.one_of(*(keys or PROBES))
    probe = archive.read(key, "iufc", "complex numbers")
    return probe.reshape(modes_shape(archive, key, probe.shape)).astype(np.complex64)


def modes_shape(archive: Archive, key: str, shape: Shape) -> tuple[int, int, int]:
    """``(modes, N, N)`` of a probe written as that, as ``(N, N)`` or as ``(N, N, 1)``."""
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    *modes, height, width = shape if len(shape) > 2 else (1, *shape)
    if len(modes) != 1 or height != width:
        raise archive.fault(key, f"must be (N, N) or (modes, N, N), got {shape}")
    return modes[0], height, width


def _only(archive: Archive, key: str, array: Array) -> float:
    if array.size != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise archive.fault(key, f"must be one real number, got {array.reshape(-1)[:3]}")
    return float(array.reshape(-1)[0])
