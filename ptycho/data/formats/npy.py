"""Bare arrays in NPY files: patterns, read where they lie; positions and probes. No pickles."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as format_

from ptycho.data.archive import NOT_AN_ARRAY, Archive, Array, Shape, are_metres
from ptycho.data.formats.places import Places, paired
from ptycho.data.frames import Frames, Indices
from ptycho.data.hdf5_safety import LARGEST_ARRAY
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError


def is_npy(path: Path) -> bool:
    """Whether a file is a bare array."""
    try:
        with path.open("rb") as file:
            return file.read(len(format_.MAGIC_PREFIX)) == format_.MAGIC_PREFIX
    except OSError:
        return False


def mapped(path: Path) -> Array:
    """The array of a file, without reading it.

    Raises:
        DataError: it is none, cut short, or consists of Python objects.
    """
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except NOT_AN_ARRAY as error:
        why = " ".join(str(error).split())
        if "allow_pickle" in why or "object" in why:
            raise DataError(
                f"{path}: is a pickled object, never opened here; save a plain array."
            ) from error
        raise DataError(f"{path}: not an NPY file, or cut short ({why}).") from error
    return array


class NpyFrames(Frames):
    """Patterns of a NPY file, mapped into memory by every process that reads."""

    name = "the array"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mapped: Array | None = None
        found = self._array()
        if found.ndim != 3 or not found.size:
            raise self.fault(f"must be patterns (n, H, W), got {found.shape}")
        if found.dtype.kind not in "biuf":
            raise self.fault(f"must hold real counts or amplitudes, got {found.dtype}")
        self.shape, self.dtype = found.shape, found.dtype

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        return np.array(self._array()[rows])

    def close(self) -> None:
        """Let go of the file; the next read maps it again."""
        self._mapped = None

    def _array(self) -> Array:
        if self._mapped is None:
            self._mapped = mapped(self.path)
        return self._mapped

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}


class NpyArchive(Archive):
    """One array as an archive of it, for what is checked in all formats alike."""

    keys = ["the array"]  # noqa: RUF012

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._mapped = mapped(self.path)
        if self._mapped.nbytes > LARGEST_ARRAY:
            raise self.fault(self.keys[0], f"{self._mapped.shape} is too large for what is wanted")

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype."""
        return self._mapped.shape, self._mapped.dtype

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
        return np.array(self._mapped)


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
