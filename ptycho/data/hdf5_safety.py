"""HDF5 files made elsewhere: nothing outside the file is opened, nothing absurd is read.

A link, external storage or a virtual dataset can make HDF5 open any file of the reader's; a few
bytes can promise any number of terabytes. Both are refused by name before anything is read. What
cannot be helped from here: HDF5 itself may crash on a file whose inner tables are damaged.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho.data.hdf5_filters import refuse_missing_filters
from ptycho.data.hdf5_opening import UNREADABLE, brief, open_hdf5
from ptycho.data.scan import DataError

LARGEST_SCAN = 2**43
"""Bytes of the patterns of a scan (8 TiB); a header may promise anything."""
LARGEST_ARRAY = 2**32
"""Bytes of an array that is read at once (4 GiB): probe, object, positions."""

_LARGEST_CHUNK = 2**30  # bytes: a chunk is read and unpacked as a whole
_MOST_CHUNKS = 100_000  # whose sizes are looked at one by one
_SMALL = 2**26  # bytes that may be promised by nothing but a header
_TIGHTEST = 1100  # deflate, the tightest packer in use, reaches 1032 on zeros
_SPARSE = 100_000  # how much more patterns may promise than is there: they are read in blocks
_DEEPEST = 16  # links after links, sources of sources
_MOST_NODES = 10_000  # of a file that are looked at to say what it holds
_LOOKED_AT = 2**26  # bytes at either end of a file, where its tables are
_HEAP = b"GCOL\x01\0\0\0"


def find_dataset(file: h5py.File, path: Path, key: str, *, follow: bool = False) -> Any:
    """A dataset of an open file.

    Args:
        file: open.
        path: its name, for sentences.
        key: ``group/name``.
        follow: whether links and sources in files of the same folder are followed.

    Returns:
        The dataset; its numbers are in this very file, or in allowed ones.

    Raises:
        DataError: it is missing, damaged, no dataset, or its numbers are somewhere else.
    """
    try:
        node = _find(file, path, key, key, follow)
        if node is None:
            raise DataError(f"{path}: {key} is missing.")
        if not isinstance(node, h5py.Dataset):
            raise DataError(f"{path}: {key} must be an array, got a group.")
        _refuse_elsewhere(node, path, key, follow)
        _refuse_promises(node, path, key)
    except DataError:
        raise
    except (*UNREADABLE, RecursionError) as error:
        raise unreadable(path, key, error) from error
    return node


def has_dataset(file: h5py.File, path: Path, key: str, *, follow: bool = False) -> bool:
    """Whether there is such a dataset, whatever it holds.

    Raises:
        DataError: its name leads to another file, or nowhere.
    """
    try:
        return isinstance(_find(file, path, key, key, follow), h5py.Dataset)
    except DataError:
        raise
    except (*UNREADABLE, RecursionError) as error:
        raise unreadable(path, key, error) from error


def refuse_bulk(dataset: Any, path: Path, key: str) -> None:
    """Refuse an array that is too large to be read at once, or promised by a header alone.

    Raises:
        DataError: it is.
    """
    size = _promised(dataset)
    if size > LARGEST_ARRAY:
        raise DataError(
            f"{path}: {key} of the shape {dataset.shape} is {size / 2**30:.3g} GiB, too large to "
            "be read at once; is the file damaged, or the key that of the patterns?"
        )
    if size > _SMALL and size > _TIGHTEST * _stored(dataset, path):
        raise DataError(
            f"{path}: {key} promises {size / 2**20:.3g} MiB in the shape {dataset.shape}, and next "
            "to nothing of it was ever written; write the numbers, not only their header."
        )


def read_attribute(node: Any, path: Path, name: str) -> Any:
    """What an attribute says; None where there is none.

    Raises:
        DataError: it is damaged.
    """
    try:
        if name not in node.attrs:
            return None
        kind = node.attrs.get_id(name).get_type()
        if kind.get_class() == h5py.h5t.VLEN or (
            kind.get_class() == h5py.h5t.STRING and kind.is_variable_str()
        ):
            _refuse_heap(path, name)
        return node.attrs[name]
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, name, error) from error


def datasets(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Names and datasets of a file in order, those behind links left out; at most 10,000 nodes."""
    seen: set[Any] = set()
    waiting: list[tuple[str, Any]] = [("", file)]
    while waiting and len(seen) < _MOST_NODES:
        name, node = waiting.pop()
        if isinstance(node, h5py.Dataset):
            yield name, node
        elif isinstance(node, h5py.Group) and name.count("/") < _DEEPEST:
            waiting += _children(name, node, seen)


def unreadable(path: Path, key: str, error: BaseException) -> DataError:
    """A damaged dataset, as an error."""
    return DataError(
        f"{path}: {key} cannot be read, the file is damaged or cut short ({brief(error)})."
    )


def _children(name: str, group: Any, seen: set[Any]) -> list[tuple[str, Any]]:
    """What lies in a group and was not seen yet, the last first; nothing where it is damaged."""
    found = []
    try:
        for child in group:
            if len(seen) >= _MOST_NODES:
                break
            if isinstance(group.get(child, getlink=True), h5py.HardLink):
                node = group[child]
                place = h5py.h5o.get_info(node.id)
                if (address := (place.fileno, place.addr)) not in seen:
                    seen.add(address)
                    found.append((f"{name}/{child}".strip("/"), node))
    except UNREADABLE:
        return found[::-1]
    return found[::-1]


# ---- links ------------------------------------------------------------------------------


def _find(file: Any, path: Path, key: str, place: str, follow: bool, depth: int = 0) -> Any:
    """The node at a place, ``key`` in sentences; None when it is missing."""
    if depth > _DEEPEST:
        raise DataError(f"{path}: {key} is a link that leads in a circle.")
    node: Any = file
    parts = [part for part in place.split("/") if part not in ("", ".")]
    for number, part in enumerate(parts):
        if not isinstance(node, h5py.Group):
            return None
        link = node.get(part, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py.HardLink):
            node = node[part]
            continue
        rest = "/".join(parts[number + 1 :])
        if isinstance(link, h5py.SoftLink):
            beside = "" if link.path.startswith("/") else f"{node.name}/"
            found = _find(node.file, path, key, f"{beside}{link.path}/{rest}", follow, depth + 1)
            goal = link.path
        else:
            other = _allowed(path, key, link.filename, follow, "is a link to another file")
            goal = f"{link.path} in {link.filename}"
            found = _find(open_hdf5(other), other, key, f"{link.path}/{rest}", follow, depth + 1)
        if found is None:
            raise DataError(f"{path}: {key} is a link that leads nowhere (to {goal}).")
        return found
    return node


def _allowed(path: Path, key: str, name: str, follow: bool, what: str) -> Path:
    """Another file that may be opened."""
    if not follow:
        raise DataError(
            f"{path}: {key} {what}, {name}, which is not followed; name that file itself, copy "
            "its numbers into this one (h5repack), or type data.keys.follow_links=true if it lies "
            "in the same folder and you trust both."
        )
    folder = path.resolve().parent
    other = (folder / name).resolve()
    if other.parent != folder:
        raise DataError(f"{path}: {key} {what}, {name}, which is not in the same folder.")
    if not other.is_file():
        raise DataError(f"{path}: {key} {what}, {name}, which is missing.")
    return other


def _refuse_elsewhere(dataset: Any, path: Path, key: str, follow: bool, depth: int = 0) -> None:
    """Refuse numbers that cannot be unpacked, or lie elsewhere where that is not allowed."""
    refuse_missing_filters(dataset, path, key)
    stored = "keeps its numbers in another file"
    for name, *_ in dataset.external or ():
        # raw bytes, of any file: never needed, never followed
        raise DataError(
            f"{path}: {key} {stored}, {name}, which is not opened; copy them into this one "
            "(h5repack)."
        )
    if not dataset.is_virtual:
        return
    if depth > _DEEPEST:
        raise DataError(f"{path}: {key} is virtual, and so are its sources, without an end.")
    _refuse_heap(path, key)  # that is where the list of sources lies
    for name, source in sorted({(one.file_name, one.dset_name) for one in _sources(dataset)}):
        if "%" in name + source:
            raise DataError(f"{path}: {key} names its sources by a pattern, {name}; h5repack it.")
        file, at = dataset.file, path
        if name != "." and (path.parent / name).resolve() != path.resolve():
            at = _allowed(path, key, name, follow, stored)
            file = open_hdf5(at)
        found = _find(file, at, key, source, follow, depth + 1)
        if not isinstance(found, h5py.Dataset):
            raise DataError(f"{path}: {key} is virtual and its source {source} is missing.")
        _refuse_elsewhere(found, at, key, follow, depth + 1)


def _sources(dataset: Any) -> Any:
    return dataset.virtual_sources()


# ---- promises ---------------------------------------------------------------------------


def _promised(dataset: Any) -> float:
    return float(np.prod(dataset.shape or (1,), dtype=float) * dataset.dtype.itemsize)


def _stored(dataset: Any, path: Path) -> int:
    """Bytes in the file, about."""
    stored = dataset.id.get_storage_size() or (0 if dataset.chunks else path.stat().st_size)
    return int(stored) + 2**16


def _refuse_promises(dataset: Any, path: Path, key: str) -> None:
    """Refuse what no file of this size can hold, and chunks that unpack to more than memory."""
    size, shape = _promised(dataset), dataset.shape
    if size > LARGEST_SCAN:
        raise DataError(
            f"{path}: {key} of the shape {shape} is larger than any scan "
            f"({size / 2**40:.3g} TiB); is the file damaged?"
        )
    if size > 2**34 and size > _SPARSE * _stored(dataset, path):
        raise DataError(
            f"{path}: {key} promises {size / 2**30:.3g} GiB in the shape {shape}, and next to "
            "nothing of it was ever written; is the file damaged?"
        )
    if not dataset.chunks:
        return
    chunk = float(np.prod(dataset.chunks, dtype=float)) * dataset.dtype.itemsize
    if chunk > _LARGEST_CHUNK:
        raise DataError(
            f"{path}: {key} comes in chunks of {chunk / 2**30:.3g} GiB, each of which must be read "
            f"as a whole; rewrite it in smaller ones (h5repack -l CHUNK={_frames_of(shape)})."
        )
    if dataset.id.get_create_plist().get_nfilters():
        _refuse_bombs(dataset, path, key, chunk)


def _frames_of(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in (1, *shape[1:]))


def _refuse_bombs(dataset: Any, path: Path, key: str, chunk: float) -> None:
    """Refuse packed chunks that are larger than what they hold: they unpack to something else."""
    most = 1.1 * chunk + 2**16
    if dataset.id.get_num_chunks() > _MOST_CHUNKS:
        largest = dataset.id.get_storage_size() / dataset.id.get_num_chunks()
    else:
        sizes = [0]
        dataset.id.chunk_iter(lambda one: sizes.append(one.size))
        largest = max(sizes)
    if largest > most:
        raise DataError(
            f"{path}: {key} has a packed chunk of {largest:.3g} bytes for numbers of {chunk:.3g}; "
            "the file is damaged."
        )


# ---- bytes --------------------------------------------------------------------------------


def _refuse_heap(path: Path, key: str) -> None:
    """Refuse to read texts where a list of them is damaged: HDF5 may walk it without an end.

    HDF5 file format specification, section III.E: a global heap is a list of objects, each with
    its size, and a size of nothing leads to itself.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start, end in ((0, _LOOKED_AT), (max(len(content) - _LOOKED_AT, 0), len(content))):
            place = content.find(_HEAP, start, end)
            while place >= 0:
                if not _is_sound(content, place):
                    raise DataError(
                        f"{path}: {key} cannot be read, the file is damaged (its global heap)."
                    )
                place = content.find(_HEAP, place + len(_HEAP), end)


def _is_sound(content: mmap.mmap, place: int) -> bool:
    """Whether one steps from object to object to the end of a heap."""
    (size,) = struct.unpack_from("<Q", content, place + 8) if place + 16 <= len(content) else (0,)
    end, at = place + size, place + 16
    if end > len(content):
        return False
    while at + 16 <= end:
        number, _, _, length = struct.unpack_from("<HHIQ", content, at)
        step = length if number == 0 else 16 + -(-length // 8) * 8
        if step < 16 or at + step > end:
            return False
        at += step
    return True
