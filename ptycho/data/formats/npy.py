"""Bare arrays in NPY files: patterns, read where they lie; positions and probes. No pickles."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as format_

from ptycho.data.archive import NOT_AN_ARRAY, Archive, Array, Shape, are_metres
from ptycho.data.formats.places import Places, paired
from ptycho.data.frames import Frames, Indices, stamp
from ptycho.data.hdf5_safety import LARGEST_ARRAY
from ptycho.data.measurement import Measurement
from ptycho.data.plain_frames import PlainFrames
from ptycho.data.scan import DataError


def is_npy(path: Path) -> bool:
    """Whether a file is a bare array."""
    try:
        with path.open("rb") as file:
            return file.read(len(format_.MAGIC_PREFIX)) == format_.MAGIC_PREFIX
    except OSError:
        return False


@dataclass(frozen=True)
class _Header:
    """What a file says of its array."""

    shape: Shape
    fortran: bool
    dtype: np.dtype[Any]
    length: int
    """Bytes before the first number."""

    @property
    def nbytes(self) -> int:
        """Of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def _header_of(path: Path) -> _Header:
    """The header of a file that holds as many numbers as it says.

    Raises:
        DataError: it is none, cut short, or consists of Python objects.
    """
    try:
        with path.open("rb") as file:
            first = format_.read_magic(file) == (1, 0)
            parse = (format_.read_array_header_2_0, format_.read_array_header_1_0)[first]
            shape, fortran, dtype = parse(file)
            found = _Header(shape, fortran, dtype, file.tell())
            there = os.fstat(file.fileno()).st_size
    except NOT_AN_ARRAY as error:
        raise _no_array(path, " ".join(str(error).split())) from error
    if dtype.hasobject:
        raise DataError(f"{path}: is a pickled object, never opened here; save a plain array.")
    if min(shape, default=0) < 0 or found.nbytes > there - found.length:
        raise _no_array(path, f"the shape {shape} of {dtype} in {there - found.length} bytes")
    return found


def _no_array(path: Path, why: str) -> DataError:
    return DataError(f"{path}: not an NPY file, or cut short ({why}).")


def _whole(path: Path) -> Array:
    """The array of a file whose header is sound."""
    try:
        array: Array = np.load(path, allow_pickle=False)
    except NOT_AN_ARRAY as error:
        raise _no_array(path, " ".join(str(error).split())) from error
    return array


class NpyFrames(PlainFrames):
    """Patterns of a NPY file.

    Args:
        path: the file.

    Raises:
        DataError: it holds no frames of real numbers.
    """

    name = "the array"

    def __init__(self, path: Path) -> None:
        self.path, self._stamp = path, stamp(path)
        header = _header_of(path)
        shape, self.dtype, self._first_byte = header.shape, header.dtype, header.length
        if len(shape) != 3 or 0 in shape:
            raise self.fault(f"must be patterns (n, H, W), got {shape}")
        if self.dtype.kind not in "biuf":
            raise self.fault(f"must hold real counts or amplitudes, got {self.dtype}")
        self.shape = (shape[0], shape[1], shape[2])
        if header.fortran:
            self.whole = "has its frames last (Fortran order)"
        self._array: Array | None = None
        self._begin()

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        if self.whole is None:
            return super().read(rows)
        if self._array is None:
            self._array = _whole(self.path)
        found: Array = self._array[rows]
        return found

    def close(self) -> None:
        """Let go of the file, and of what was read whole."""
        super().close()
        self._array = None

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_array": None}


class NpyArchive(Archive):
    """One array as an archive of it, for what is checked in all formats alike."""

    keys = ["the array"]  # noqa: RUF012

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._header = _header_of(self.path)
        if self._header.nbytes > LARGEST_ARRAY:
            raise self.fault(self.keys[0], f"{self._header.shape} is too large for what is wanted")

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype."""
        return self._header.shape, self._header.dtype

    def number(self, group: str, name: str) -> float | None:
        """None: there is one array and nothing else."""
        return None

    def text(self, name: str) -> str | None:
        """None, too."""
        return None

    def frames(self, key: str) -> Frames:
        """The patterns."""
        return NpyFrames(self.path)

    def _array(self, key: str) -> Array:
        return _whole(self.path)


def measure_npy(path: Path, places: Places | None) -> Measurement:
    """Patterns of a NPY file, with the positions of another one.

    Raises:
        DataError: there are no positions, or a file cannot be used.
    """
    frames = NpyFrames(path)
    if places is None:
        raise DataError(
            f"{path}: holds patterns and nothing else; name the file of the positions, "
            "data.positions_file=FILE, and that of the probe, data.probe_file=FILE."
        )
    return paired(Measurement(frames, places.positions), places)


def read_positions(path: Path) -> Places:
    """Positions ``(n, 2)`` as (y, x), in metres where they are so small, else in pixels."""
    archive = NpyArchive(path)
    positions = archive.read("the array", "iuf", "positions").astype(np.float64)
    near = are_metres(positions)
    return Places(
        path=path,
        name="the array",
        positions=positions,
        unit="m" if near else "px",
        notes=(f"positions read as y, x in {'metres' if near else 'pixels'}",),
    )
