"""A probe alone, out of any file that holds one. Nothing is unpickled."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.data.archive import PROBES, Archive, opened_hdf5, opened_npz
from ptycho.data.scan import DataError

_KEYS = ("probe", *PROBES)
_LARGEST = 2**28  # numbers in a probe: 2 GiB of complex64
_READABLE = "NPY, or a scan, a reconstruction.npz or a product with a probe in it (NPZ, HDF5)"


def read_probe_file(path: str | os.PathLike[str]) -> NDArray[np.complex64]:
    """Modes ``(mode, N, N)`` of a NPY file, or of the ``probe`` of any archive.

    Of several sets of modes (OPR) the first is taken.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be used, with the reason in one sentence.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"data.probe_file: no such file: {path.absolute()}")
    with path.open("rb") as file:
        begins = file.read(len(format_.MAGIC_PREFIX))
    if begins == format_.MAGIC_PREFIX:
        try:
            array = np.load(path, allow_pickle=False, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not an array that can be read ({error}).") from error
        return _modes(path, "the array", array)
    if begins.startswith(b"PK"):
        with opened_npz(path) as archive:
            return _of_archive(archive)
    if h5py.is_hdf5(path):
        with opened_hdf5(path) as archive:
            return _of_archive(archive)
    raise DataError(f"{path}: not a file with a probe; data.probe_file may be {_READABLE}.")


def _of_archive(archive: Archive) -> NDArray[np.complex64]:
    keys = [key for key in _KEYS if archive.has_optional(key)]
    if not keys:
        held = ", ".join(archive.keys) or "nothing"
        raise DataError(
            f"{archive.path}: holds {held}, and no probe; data.probe_file may be {_READABLE}."
        )
    shape = archive.header(keys[0])[0]
    _refuse_shape(archive.path, keys[0], shape)
    return _modes(archive.path, keys[0], archive.read(keys[0], "iufc", "complex numbers"))


def _refuse_shape(path: Path, name: str, shape: tuple[int, ...]) -> None:
    flat = shape[:2] if len(shape) == 3 and shape[2] == 1 else shape
    if not 2 <= len(flat) <= 4 or flat[-1] != flat[-2] or 0 in shape:
        raise DataError(f"{path}: {name} must be (N, N) or (modes, N, N), got {shape}.")
    if np.prod(shape, dtype=float) > _LARGEST:
        raise DataError(f"{path}: {name} of the shape {shape} is too large for a probe.")


def _modes(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.complex64]:
    _refuse_shape(path, name, array.shape)
    if array.dtype.kind not in "iufc":
        raise DataError(f"{path}: {name} must hold complex numbers, got {array.dtype}.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 4:
        array = array[0]
    size = array.shape[-1]
    with np.errstate(over="ignore"):
        probe = np.array(array, np.complex64).reshape(-1, size, size)
    if not np.isfinite(probe).all() or not probe.any():
        raise DataError(f"{path}: {name} is zero everywhere, or holds NaN or infinity.")
    return probe
