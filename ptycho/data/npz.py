"""Scans in NPZ files, the exchange format of PtychoPINN and ptychodus: read and written.

A file made elsewhere does not say what its numbers are. What the reader decides (counts or
amplitude, order of the axes) is logged and kept in :attr:`Scan.notes`. Nothing is unpickled.
"""

import json
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.data.scan import DataError, Scan

log = logging.getLogger(__name__)

Array = NDArray[Any]

_PATTERNS = ("diffraction", "diff3d")
_PROBES = ("probeModes", "probeGuess")  # all modes, where a file also keeps the first alone
_VALUES = ("auto", "counts", "amplitude")
_METRES = 1e-2  # no scan in pixels lies so close to the corner
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError)


def read_npz(
    path: str | os.PathLike[str], *, values: str = "auto", label: str | None = None
) -> Scan:
    """Read a scan.

    Args:
        path: file with ``diffraction`` or ``diff3d``, ``xcoords``, ``ycoords`` (patch centres
            in object pixels, x = column) and ``probeGuess`` or ``probeModes``.
        values: ``counts`` or ``amplitude``; ``auto`` asks the file's ``_metadata``, then takes
            integers (of whatever dtype) for counts.
        label: name of the scan; from ``_metadata`` or the file's name when None.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be used, with the reason in one sentence.
    """
    if values not in _VALUES:
        raise DataError(f"values must be one of {', '.join(_VALUES)}, got {values!r}.")
    with _opened(path) as archive:
        metadata = _metadata(archive)
        _refuse_bad_pixels(archive)
        positions = _positions(archive)
        amplitude, notes = _amplitude(archive, len(positions), values, metadata)
        probe, truth = _probe(archive), _truth(archive)
    log.info("%s: %d patterns, %s, axes %s", path, len(amplitude), *notes.values())
    try:
        return Scan(
            amplitude=amplitude,
            positions=positions,
            probe=probe,
            truth=truth,
            truth_is_known=truth is not None and metadata.get("object_is_truth") is True,
            pixel_size_m=metadata.get("pixel_size_m"),
            label=label or str(metadata.get("label") or archive.path.stem),
            notes=notes,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def pattern_size(path: str | os.PathLike[str]) -> int:
    """Side N of a pattern, from the header of the probe alone.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: there is no probe in it, or its shape tells no N.
    """
    with _opened(path) as archive:
        key = archive.one_of(*reversed(_PROBES))
        return _modes_shape(archive, key, archive.header(key)[0])[-1]


def write_npz(path: str | os.PathLike[str], scan: Scan) -> None:
    """Write a scan so that :func:`read_npz` returns the same numbers, whatever they are.

    The file appears complete or not at all.
    """
    path = Path(path)
    metadata = {
        "label": scan.label,
        "pixel_size_m": scan.pixel_size_m,
        "values": "amplitude",
        "layout": "nyx",
        "object_is_truth": scan.truth_is_known,
        "written_by": "ptycho",
    }
    arrays: dict[str, Array] = {
        "diffraction": scan.amplitude,
        "ycoords": scan.positions[:, 0],
        "xcoords": scan.positions[:, 1],
        "probeGuess": scan.probe[0] if len(scan.probe) == 1 else scan.probe,
        "_metadata": np.array(json.dumps(metadata)),
    }
    if scan.truth is not None:
        arrays["objectGuess"] = scan.truth
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its allow_pickle is no array
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class _Archive:
    """Arrays of one file, read when asked for; whatever fails names the file and the key."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.keys = [name.removesuffix(".npy") for name in file.namelist()]

    def fault(self, key: str, sentence: str) -> DataError:
        return DataError(f"{self.path}: {key} {sentence}.")

    def one_of(self, *keys: str) -> str:
        """The first of these keys that the file has."""
        for key in keys:
            if key in self.keys:
                return key
        raise self.fault(" or ".join(keys), f"is missing; the file holds {', '.join(self.keys)}")

    def header(self, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype, without reading the array."""
        try:
            with self._file.open(f"{key}.npy") as member:
                first = format_.read_magic(member) == (1, 0)
                parse = (format_.read_array_header_2_0, format_.read_array_header_1_0)[first]
                shape, _, dtype = parse(member)
                return shape, dtype
        except (*_UNREADABLE, KeyError) as error:
            raise self._unreadable(key, error) from error

    def read(self, key: str, kinds: str, wanted: str) -> Array:
        """An array of finite numbers (or text) of some kinds of dtype."""
        if self.is_pickled(self.one_of(key)):
            raise self.fault(key, "is a pickled object, never opened here; save a plain array")
        try:
            with self._file.open(f"{key}.npy") as member:
                array: Array = format_.read_array(member, allow_pickle=False)
        except (*_UNREADABLE, MemoryError) as error:
            raise self._unreadable(key, error) from error
        if array.dtype.kind not in kinds:
            raise self.fault(key, f"must hold {wanted}, got {array.dtype}")
        if array.dtype.kind in "fc" and not (finite := np.isfinite(array)).all():
            raise self.fault(key, f"holds NaN or infinity ({(~finite).sum()} values); drop them")
        return array

    def is_pickled(self, key: str) -> bool:
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


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[_Archive]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path of the scan.")
    try:
        file = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        raise DataError(f"{path}: not an NPZ file, or cut short ({error}).") from error
    with file:
        yield _Archive(path, file)


def _metadata(archive: _Archive) -> dict[str, Any]:
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


def _refuse_bad_pixels(archive: _Archive) -> None:
    if not archive.has_optional("bad_pixels"):
        return
    bad = archive.read("bad_pixels", "biu", "true or false")
    if count := np.count_nonzero(bad):
        sentence = f"marks {count} pixels, and masks are not supported yet; crop them away"
        raise archive.fault("bad_pixels", sentence)


def _positions(archive: _Archive) -> NDArray[np.float64]:
    """Patch centres ``(n, 2)`` as (y, x)."""
    y, x = (archive.read(key, "iuf", "real numbers") for key in ("ycoords", "xcoords"))
    both = "xcoords and ycoords"
    if y.ndim != 1 or y.shape != x.shape:
        raise archive.fault(both, f"must be (n,) of one length, got {x.shape} and {y.shape}")
    positions = np.stack([y, x], axis=1).astype(np.float64)
    if 0 < (largest := np.abs(positions).max(initial=0)) < _METRES:
        sentence = f"reach {largest:.2g}, which must be metres; divide them by the pixel size"
        raise archive.fault(both, sentence)
    return positions


def _amplitude(
    archive: _Archive, n: int, values: str, metadata: dict[str, Any]
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Amplitudes ``(n, N, N)`` and what was decided on the way."""
    key = archive.one_of(*_PATTERNS)
    patterns = archive.read(key, "biuf", "real counts or amplitudes")
    if patterns.size and (low := patterns.min()) < 0:
        raise archive.fault(key, f"must not be negative, the smallest value is {low:g}")
    layout = _layout(archive, key, patterns.shape, n, metadata)
    kind, reason = _kind(patterns, values, metadata)
    if layout == "yxn":
        patterns = np.moveaxis(patterns, -1, 0)
    if kind == "counts":
        amplitude = np.sqrt(patterns, dtype=np.float32, order="C")
    else:
        amplitude = np.ascontiguousarray(patterns, dtype=np.float32)
    return amplitude, {"values": f"{kind} ({reason})", "layout": layout}


def _layout(
    archive: _Archive, key: str, shape: tuple[int, ...], n: int, metadata: dict[str, Any]
) -> str:
    """``nyx`` (frames first) or ``yxn`` (the older files' order)."""
    first, last = shape == (n, *2 * shape[-1:]), shape == (*2 * shape[:1], n)
    if not first and not last:
        sentence = f"has the shape {shape}; {n} positions need square patterns ({n}, N, N)"
        raise archive.fault(key, sentence)
    if first != last:
        return "nyx" if first else "yxn"
    if (said := metadata.get("layout")) not in ("nyx", "yxn"):
        remedy = 'leave one pattern out or put {"layout": "nyx"} into _metadata'
        raise archive.fault(key, f"{shape} is ambiguous, frames may be first or last; {remedy}")
    return str(said)


def _kind(patterns: Array, values: str, metadata: dict[str, Any]) -> tuple[str, str]:
    """``counts`` or ``amplitude``, and why."""
    if values != "auto":
        return values, "as told"
    if metadata.get("values") in _VALUES[1:]:
        return str(metadata["values"]), "as its _metadata says"
    if patterns.dtype.kind != "f":
        return "counts", f"integer dtype {patterns.dtype}"
    # plane by plane: fractions show in the first one, and a whole copy is never made
    if all((plane == np.floor(plane)).all() for plane in patterns):
        return "counts", f"whole numbers in {patterns.dtype}"
    return "amplitude", "fractions"


def _probe(archive: _Archive) -> NDArray[np.complex64]:
    key = archive.one_of(*_PROBES)
    probe = archive.read(key, "iufc", "complex numbers")
    return probe.reshape(_modes_shape(archive, key, probe.shape)).astype(np.complex64)


def _modes_shape(archive: _Archive, key: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """``(modes, N, N)`` of a probe written as that, as ``(N, N)`` or as ``(N, N, 1)``."""
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    *modes, height, width = shape if len(shape) > 2 else (1, *shape)
    if len(modes) != 1 or height != width:
        raise archive.fault(key, f"must be (N, N) or (modes, N, N), got {shape}")
    return modes[0], height, width


def _truth(archive: _Archive) -> NDArray[np.complex64] | None:
    """The object shipped with the scan; None for the featureless ones ptychodus ships."""
    if not archive.has_optional("objectGuess"):
        return None
    obj = archive.read("objectGuess", "iufc", "complex numbers")
    return None if (obj == obj.flat[:1]).all() else obj.astype(np.complex64)
