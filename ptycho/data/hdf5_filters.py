"""Compressed datasets whose filter is not a part of HDF5 itself."""

import contextlib
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py

from ptycho.data.scan import DataError

_NAMES = {
    307: "bzip2", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP",
    32015: "Zstandard", 32017: "SZ", 32018: "FCIDECOMP", 32024: "SZ3", 32026: "Blosc2",
}  # fmt: skip


def refuse_missing_filters(dataset: Any, path: Path, key: str) -> None:
    """Refuse what is compressed by filters that are neither here nor in the package hdf5plugin.

    Args:
        dataset: open.
        path: its file, for sentences.
        key: its name, likewise.

    Raises:
        DataError: a filter is missing.
    """
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(number) for number in range(plan.get_nfilters())]
    if all(h5py.h5z.filter_avail(code) for code, *_ in filters):
        return
    with contextlib.suppress(ImportError):
        import_module("hdf5plugin")  # which registers its filters
    for code, _, _, name in filters:
        if not h5py.h5z.filter_avail(code):
            said = _NAMES.get(code) or name.decode(errors="replace").split(";")[0].strip()
            raise DataError(
                f"{path}: {key} is compressed by the HDF5 filter {code}"
                f"{f' ({said})' if said else ''}, which is not installed here; type: pip install "
                "hdf5plugin, or rewrite the file where it can be read (h5repack -f GZIP=4 IN OUT)."
            )
