"""Arrays and numbers out of MATLAB files: version 5 to 7 by scipy, 7.3 (which is HDF5) by h5py.

Whatever the version, arrays come as MATLAB shows them: ``(y, x, n)``. A field of a structure is
``structure/field``.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.data.archive import Archive, Array, Hdf5Archive, Shape, opened_hdf5
from ptycho.data.frames import ArrayFrames, Frames
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.hdf5_opening import UNREADABLE, is_hdf5
from ptycho.data.hdf5_safety import LARGEST_ARRAY
from ptycho.data.scan import DataError

_BEGINNING = b"MATLAB 5.0 MAT-file"
_UNREADABLE = (*UNREADABLE, zlib.error, RecursionError, ZeroDivisionError)
_LARGEST = 2**35  # bytes of one variable: version 5 cannot hold more than 2 GiB anyway


def is_mat(path: Path) -> bool:
    """Whether a file is one that MATLAB wrote before version 7.3."""
    try:
        with path.open("rb") as file:
            return file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return False


class Mat5Archive(Archive):
    """The variables of a MATLAB file, and the fields of its structures."""

    def __init__(self, path: Path, wanted: tuple[str, ...]) -> None:
        import scipy.io  # a quarter of a second, which those who read other formats need not wait
        from scipy.io.matlab import MatReadError

        self.path = path
        try:
            there = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
            for name, shape in there.items():
                if min(shape, default=0) < 0 or np.prod(shape, dtype=float) * 16 > _LARGEST:
                    raise self.fault(name, f"has the impossible shape {shape}; the file is damaged")
            names = [name for name in wanted if name in there]
            found = scipy.io.loadmat(path, variable_names=names, chars_as_strings=False)
        except DataError:
            raise
        except (*_UNREADABLE, MatReadError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{path}: not a MATLAB file, or cut short ({why}).") from error
        self._arrays: dict[str, Array] = {}
        for name in names:
            self._add(name, found.get(name))
        self.keys = [*self._arrays, *(name for name in there if name not in self._arrays)]

    def _add(self, name: str, value: Any) -> None:
        """Keep an array, or the fields of a structure."""
        if not isinstance(value, np.ndarray):
            return
        if value.dtype.names is None:
            self._arrays[name] = value
        elif value.size == 1 and name.count("/") == 0:
            for field in value.dtype.names:
                self._add(f"{name}/{field}", value[field].flat[0])

    def header(self, key: str) -> tuple[Shape, np.dtype[Any]]:
        """Shape and dtype."""
        if key not in self._arrays:
            raise self.fault(key, "is nothing that can be read here")
        return self._arrays[key].shape, self._arrays[key].dtype

    def number(self, group: str, name: str) -> float | None:
        """The field ``name`` of the structure ``group``."""
        return self.scalar(f"{group}/{name}" if group else name)

    def text(self, name: str) -> str | None:
        """None: what MATLAB writes has no such texts."""
        return None

    def frames(self, key: str) -> Frames:
        """Patterns ``(n, H, W)``, in memory."""
        patterns = self.read(key, "biuf", "real counts or amplitudes")
        if patterns.ndim != 3 or not patterns.size:
            raise self.fault(key, f"must be patterns (H, W, n), got {patterns.shape}")
        return ArrayFrames(np.moveaxis(patterns, -1, 0), self.path, key)

    def is_pickled(self, key: str) -> bool:
        """Never: MATLAB knows no Python objects."""
        return False

    def _array(self, key: str) -> Array:
        return self._arrays[key]


@contextmanager
def opened_mat(path: Path, wanted: tuple[str, ...], *, follow: bool = False) -> Iterator[Archive]:
    """Open a MATLAB file of any version, or an HDF5 file laid out like one.

    Args:
        path: the file.
        wanted: variables that may be asked for; no others are read.
        follow: whether links to files in the same folder are followed.

    Raises:
        DataError: it is none.
    """
    if is_hdf5(path):
        with opened_hdf5(path, follow=follow) as archive:
            yield archive
    elif is_mat(path):
        yield Mat5Archive(path, wanted)
    else:
        raise DataError(f"{path}: not a MATLAB file.")


def as_in_matlab(archive: Archive, key: str, kinds: str, wanted: str) -> Array:
    """An array with its axes as MATLAB shows them; HDF5 has them the other way round."""
    if not isinstance(archive, Hdf5Archive):
        return archive.read(key, kinds, wanted)
    shape, dtype = archive.header(key)
    if dtype.names != ("real", "imag") or "c" not in kinds:
        return archive.read(key, kinds, wanted).T
    if np.prod(shape, dtype=float) * dtype.itemsize > LARGEST_ARRAY:
        raise archive.fault(key, f"of the shape {shape} is too large to be read at once")
    parts = archive.read(key, "V", wanted)
    number = parts["real"] + 1j * parts["imag"]
    if number.dtype.kind != "c" or not np.isfinite(number).all():
        raise archive.fault(key, f"must hold finite {wanted}")
    return np.asarray(number.T)


def frames_as_in_matlab(archive: Archive, key: str) -> Frames:
    """Patterns ``(n, H, W)`` of a variable ``(H, W, n)``; those of version 7.3 stay in the file."""
    if isinstance(archive, Hdf5Archive):
        return Hdf5Frames(archive.path, key, axes=(0, 2, 1))
    return archive.frames(key)
