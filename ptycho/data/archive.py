"""Arrays out of files made elsewhere: NPZ and HDF5, one way of reading and one of refusing.

Nothing is unpickled. Whatever fails names the file and the key in one sentence.
"""

import itertools
import json
import logging
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.data.frames import Frames
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.hdf5_opening import UNREADABLE, open_hdf5
from ptycho.data.hdf5_safety import (
    datasets,
    find_dataset,
    has_dataset,
    read_attribute,
    refuse_bulk,
    unreadable,
)
from ptycho.data.scan import DataError

log = logging.getLogger(__name__)

Array = NDArray[Any]
Shape = tuple[int, ...]

PROBES = ("probeModes", "probeGuess")
"""Keys of the probe of a scan: all modes first, where a file also keeps one of them alone."""

_METRES = 1e-2  # no scan in pixels lies so close to the corner
NOT_AN_ARRAY = (*UNREADABLE, SyntaxError, tokenize.TokenError, RecursionError)
"""What numpy raises for a damaged array file."""
_NOT_UNPACKED = (*NOT_AN_ARRAY, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)
_PACKED = 500  # no measurement can be packed so tightly
_BULKY = 2**30  # bytes from which on this is asked
_SHOWN = 20  # names of arrays in a sentence


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

        HDF5 keeps it as an attribute of ``group``, NPZ as the array ``group_name``. Without a
        group it belongs to the file.
        """

    def __contains__(self, key: str) -> bool:
        """Whether the file has an array of this name."""
        return key in self.keys

    def held(self) -> str:
        """Names of the arrays, for sentences."""
        more = ", ..." if len(self.keys) > _SHOWN else ""
        return ", ".join(self.keys[:_SHOWN]) + more or "nothing"

    @abstractmethod
    def text(self, name: str) -> str | None:
        """A text that belongs to the file; None when there is none."""

    @abstractmethod
    def frames(self, key: str) -> Frames:
        """The patterns ``(n, H, W)`` of an array; those of HDF5 stay in the file."""

    def fault(self, key: str, sentence: str) -> DataError:
        """What is wrong with a key, as an error."""
        return DataError(f"{self.path}: {key} {sentence}.")

    def one_of(self, *keys: str) -> str:
        """The first of these keys that the file has."""
        for key in keys:
            if key in self:
                return key
        raise self.fault(" or ".join(keys), f"is missing; the file holds {self.held()}")

    def read(self, key: str, kinds: str, wanted: str) -> Array:
        """An array of finite numbers (or text) of some kinds of dtype."""
        if self.is_pickled(self.one_of(key)):
            raise self.fault(key, "is a pickled object, never opened here; save a plain array")
        kind = self.header(key)[1]
        if kind.kind not in kinds:
            said = "text, references or objects" if kind.hasobject else kind
            raise self.fault(key, f"must hold {wanted}, got {said}")
        array = self._array(key)
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
        if key not in self:
            return False
        if self.is_pickled(key):
            log.warning("%s: %s is a pickled object and was left alone.", self.path, key)
            return False
        return True

    def scalar(self, key: str) -> float | None:
        """The array ``key``, one real number; None when it is missing."""
        if not self.has_optional(key):
            return None
        return _only(self, key, self.read(key, "biuf", "one real number"))

    def _unreadable(self, key: str, error: BaseException) -> DataError:
        return unreadable(self.path, key, error)


class NpzArchive(Archive):
    """The arrays of an NPZ file."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.keys = [name.removesuffix(".npy") for name in file.namelist()]
        if len(set(self.keys)) < len(self.keys):
            twice = next(key for key in self.keys if self.keys.count(key) > 1)
            raise self.fault(twice, "is there twice, and nothing says which is meant")

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype, without reading the array."""
        try:
            with self._file.open(f"{key}.npy") as member:
                first = format_.read_magic(member) == (1, 0)
                parse = (format_.read_array_header_2_0, format_.read_array_header_1_0)[first]
                shape, _, dtype = parse(member)
                place = self._file.getinfo(f"{key}.npy")
                there, begins = place.file_size, member.tell()
        except _NOT_UNPACKED as error:
            raise self._unreadable(key, error) from error
        promised = np.prod(shape, dtype=float) * dtype.itemsize
        if min(shape, default=0) < 0 or not (dtype.hasobject or promised == there - begins):
            sentence = f"shape {shape} of {dtype} in {there - begins} bytes"
            raise self._unreadable(key, ValueError(sentence))
        if there > _BULKY and there > _PACKED * place.compress_size:
            sentence = f"unpacks to {there / 2**30:.3g} GiB from {place.compress_size} bytes"
            raise self.fault(key, f"{sentence}, which is no measurement; leave it out")
        return shape, dtype

    def number(self, group: str, name: str) -> float | None:
        """The array ``group_name``, one number."""
        return self.scalar(f"{group}_{name}" if group else name)

    def text(self, name: str) -> str | None:
        """The array ``name``, one text."""
        if not self.has_optional(name):
            return None
        array = self.read(name, "US", "one text").reshape(-1)
        return str(array[0]) if array.size else None

    def frames(self, key: str) -> Frames:
        """The patterns, in the file where it stores them plainly."""
        from ptycho.data.npz_frames import NpzFrames  # which reads archives itself

        shape, dtype = self.header(key)
        if dtype.kind not in "biuf":
            said = "a pickled object" if dtype.hasobject else dtype
            raise self.fault(key, f"must hold real counts or amplitudes, got {said}")
        if len(shape) != 3 or 0 in shape:
            raise self.fault(key, f"must be patterns (n, H, W), got {shape}")
        return NpzFrames(self.path, key)

    def _array(self, key: str) -> Array:
        try:
            with self._file.open(f"{key}.npy") as member:
                array: Array = format_.read_array(member, allow_pickle=False)
        except _NOT_UNPACKED as error:
            raise self._unreadable(key, error) from error
        return array


class Hdf5Archive(Archive):
    """The datasets of an HDF5 file.

    ``keys`` has what lies at the root; a dataset further down is asked for as ``group/name``.

    Args:
        path: the file.
        file: opened.
        follow: whether links to files in the same folder are followed.
    """

    def __init__(self, path: Path, file: h5py.File, *, follow: bool = False) -> None:
        self.path = path
        self._file, self._follow = file, follow
        try:
            self.keys = [str(key) for key in file]
        except UNREADABLE as error:
            raise DataError(f"{path}: not an HDF5 file, or cut short ({error}).") from error

    def __contains__(self, key: str) -> bool:
        """Whether there is anything of this name at the root, or a dataset further down."""
        if "/" not in key.strip("/"):
            return key.strip("/") in self.keys
        return has_dataset(self._file, self.path, key, follow=self._follow)

    def held(self) -> str:
        """Names of the arrays, wherever they lie, for sentences."""
        names = [name for name, _ in itertools.islice(datasets(self._file), _SHOWN + 1)]
        more = ", ..." if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more or "nothing"

    @property
    def file(self) -> h5py.File:
        """The open file."""
        return self._file

    def unit(self, key: str) -> str | None:
        """The unit of a dataset, where it says one (NeXus and many others)."""
        value = self._attribute(key, "units")
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return value if isinstance(value, str) else None

    def is_pickled(self, key: str) -> bool:
        """Never: HDF5 holds no Python objects."""
        return False

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype, without reading the array."""
        dataset = self._dataset(key)
        try:
            return tuple(dataset.shape or ()), dataset.dtype
        except UNREADABLE as error:
            raise self._unreadable(key, error) from error

    def number(self, group: str, name: str) -> float | None:
        """The attribute ``name`` of the dataset ``group``, one number."""
        value = self._attribute(group, name)
        key = f"{group}.{name}" if group else name
        if isinstance(value, h5py.Empty):
            raise self.fault(key, "is empty")
        return None if value is None else _only(self, key, np.asarray(value))

    def text(self, name: str) -> str | None:
        """The attribute ``name`` of the file."""
        value = self._attribute("", name)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return value if isinstance(value, str) else None

    def frames(self, key: str) -> Frames:
        """The patterns, in the file."""
        return Hdf5Frames(self.path, key, follow=self._follow)

    def _attribute(self, group: str, name: str) -> Any:
        if group and group not in self:
            return None
        return read_attribute(self._dataset(group) if group else self._file, self.path, name)

    def _array(self, key: str) -> Array:
        dataset = self._dataset(key)
        if dataset.shape is None:
            raise self.fault(key, "is empty")
        try:
            refuse_bulk(dataset, self.path, key)
            return np.asarray(dataset[()])
        except DataError:
            raise
        except UNREADABLE as error:
            raise self._unreadable(key, error) from error

    def _dataset(self, key: str) -> Any:
        return find_dataset(self._file, self.path, key, follow=self._follow)


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
    except _NOT_UNPACKED as error:
        raise DataError(f"{path}: not an NPZ file, or cut short ({error}).") from error
    with file:
        yield NpzArchive(path, file)


@contextmanager
def opened_hdf5(path: str | os.PathLike[str], *, follow: bool = False) -> Iterator[Hdf5Archive]:
    """Open an HDF5 file for reading.

    Args:
        path: the file.
        follow: whether links to files in the same folder are followed.

    Raises:
        DataError: it is no HDF5 file.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        yield Hdf5Archive(path, file, follow=follow)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Archive]:
    """Open a file of either kind, whatever its name.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is of neither kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path of the scan.")
    with opened_hdf5(path) if h5py.is_hdf5(path) else opened_npz(path) as archive:
        yield archive


def read_metadata(archive: Archive) -> dict[str, Any]:
    """The JSON text ``_metadata``; empty when there is none."""
    only = archive.text("_metadata")
    if only is None:
        return {}
    try:
        metadata = json.loads(only)
    except (ValueError, RecursionError) as error:
        raise archive.fault("_metadata", f"is not one JSON text ({error})") from error
    if not isinstance(metadata, dict):
        raise archive.fault("_metadata", f"must be a JSON object, got {only[:40]!r}")
    for name, (fits, wanted) in _METADATA.items():
        if (value := metadata.get(name)) is not None and not fits(value):
            raise archive.fault("_metadata", f"{name} must be {wanted}, got {repr(value)[:40]}")
    return {name: value for name, value in metadata.items() if value is not None}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


_METADATA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "pixel_size_m": (lambda one: isinstance(one, float) and 0 < one < 1, "metres above 0"),
    "fresnel_number": (lambda one: _is_number(one) and one > 0, "above 0"),
    "label": (lambda one: isinstance(one, str), "a text"),
    "nominal": (
        lambda one: isinstance(one, list) and all(isinstance(name, str) for name in one),
        "a list of names",
    ),
    "origin_px": (
        lambda one: isinstance(one, list) and len(one) == 2 and all(map(_is_number, one)),
        "two numbers",
    ),
}
"""What must be true of what metadata say, and how that is called."""


def read_positions(archive: Archive) -> NDArray[np.float64]:
    """Patch centres ``(n, 2)`` as (y, x) in pixels, from ``ycoords`` and ``xcoords``."""
    positions = read_coordinates(archive)
    if are_metres(positions):
        sentence = (
            f"reach {np.abs(positions).max():.2g}, which must be metres; divide them by the "
            "pixel size"
        )
        raise archive.fault("xcoords and ycoords", sentence)
    return positions


def read_coordinates(
    archive: Archive, y_key: str = "ycoords", x_key: str = "xcoords"
) -> NDArray[np.float64]:
    """Two arrays ``(n,)`` of one length as ``(n, 2)``, (y, x), in whatever unit."""
    y, x = (archive.read(key, "iuf", "real numbers") for key in (y_key, x_key))
    if y.ndim != 1 or y.shape != x.shape:
        sentence = f"must be (n,) of one length, got {x.shape} and {y.shape}"
        raise archive.fault(f"{x_key} and {y_key}", sentence)
    return np.stack([y, x], axis=1).astype(np.float64)


def are_metres(positions: NDArray[np.float64]) -> bool:
    """Whether positions are so close to zero that they can be no pixels."""
    return bool(0 < np.abs(positions).max(initial=0) < _METRES)


def read_probe(archive: Archive, *keys: str) -> NDArray[np.complex64]:
    """Illumination ``(modes, N, N)`` from the first of these keys that is there."""
    key = archive.one_of(*(keys or PROBES))
    probe = archive.read(key, "iufc", "complex numbers")
    return probe.reshape(modes_shape(archive, key, probe.shape)).astype(np.complex64)


def modes_shape(archive: Archive, key: str, shape: Shape) -> tuple[int, int, int]:
    """``(modes, N, N)`` of a probe written as that, as ``(N, N)`` or as ``(N, N, 1)``."""
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    if len(shape) not in (2, 3) or shape[-1] != shape[-2]:
        raise archive.fault(key, f"must be (N, N) or (modes, N, N), got {shape}")
    *modes, height, width = shape if len(shape) > 2 else (1, *shape)
    return modes[0], height, width


def _only(archive: Archive, key: str, array: Array) -> float:
    if array.size != 1 or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise archive.fault(key, f"must be one real number, got {array.reshape(-1)[:3]}")
    return float(array.reshape(-1)[0])
