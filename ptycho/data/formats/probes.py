"""A probe in a file of its own, or in somebody's scan or product."""

from pathlib import Path

import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.data.archive import PROBES, opened
from ptycho.data.formats.npy import mapped
from ptycho.data.products import read_lit_probe
from ptycho.data.scan import DataError

_LARGEST = 2**32  # bytes


def read_probe_file(path: Path, size: int) -> NDArray[np.complex64]:
    """Modes ``(modes, N, N)`` of a probe.

    Args:
        path: a NPY file of ``(N, N)`` or ``(modes, N, N)`` complex numbers, or an HDF5 or NPZ
            file with ``probe``, ``probeModes`` or ``probeGuess``: a product, a result, a scan.
        size: N of the patterns.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it holds no probe, or one of another size.
    """
    if not path.is_file():
        raise FileNotFoundError(f"data.probe_file: {path}: no such file; check the path.")
    if _begins(path) == format_.MAGIC_PREFIX:
        probe = _bare(path)
    else:
        with opened(path) as archive:
            probe, _ = read_lit_probe(archive, archive.one_of("probe", *PROBES))
    if probe.shape[1:] != (size, size):
        height, width = probe.shape[1:]
        raise DataError(
            f"data.probe_file: {path} holds a probe of {height} x {width} pixels, and the patterns "
            f"have {size} x {size}; name one of that size."
        )
    return probe


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(format_.MAGIC_PREFIX))


def _bare(path: Path) -> NDArray[np.complex64]:
    array = mapped(path)
    if array.dtype.kind not in "iufc" or array.ndim not in (2, 3) or array.nbytes > _LARGEST:
        raise DataError(
            f"{path}: a probe must be complex numbers (N, N) or (modes, N, N), got {array.dtype} "
            f"{array.shape}."
        )
    probe = np.array(array, np.complex64).reshape(-1, *array.shape[-2:])
    if not np.isfinite(probe).all() or not probe.any():
        raise DataError(f"{path}: this probe is zero everywhere, or holds NaN or infinity.")
    return probe
