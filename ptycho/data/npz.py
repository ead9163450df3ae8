"""Scans in NPZ files, the exchange format of PtychoPINN and ptychodus: read and written.

A file made elsewhere does not say what its numbers are. What the reader decides (counts or
amplitude, order of the axes) is logged and kept in :attr:`Scan.notes`. Nothing is unpickled.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.data.archive import (
    PROBES,
    Archive,
    Array,
    Shape,
    modes_shape,
    opened_npz,
    read_metadata,
    read_positions,
    read_probe,
)
from ptycho.data.scan import DataError, Scan

log = logging.getLogger(__name__)

PATTERNS = ("diffraction", "diff3d")
"""Keys of the patterns of a scan."""
_VALUES = ("auto", "counts", "amplitude")


def read_npz(
    path: str | os.PathLike[str],
    *,
    values: str = "auto",
    label: str | None = None,
    patches: bool = False,
) -> Scan:
    """Read a scan.

    Args:
        path: file with ``diffraction`` or ``diff3d``, ``xcoords``, ``ycoords`` (patch centres
            in object pixels, x = column) and ``probeGuess`` or ``probeModes``.
        values: ``counts`` or ``amplitude``; ``auto`` asks the file's ``_metadata``, then takes
            integers (of whatever dtype) for counts.
        label: name of the scan; from ``_metadata`` or the file's name when None.
        patches: whether to read the object patches ``Y``, if there are any.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be used, with the reason in one sentence.
    """
    if values not in _VALUES:
        raise DataError(f"values must be one of {', '.join(_VALUES)}, got {values!r}.")
    with opened_npz(path) as archive:
        metadata = read_metadata(archive)
        positions = read_positions(archive)
        amplitude, notes = _amplitude(archive, len(positions), values, metadata)
        notes |= _hide_bad_pixels(archive, amplitude)
        probe, truth = read_probe(archive), read_estimate(archive)
        known = _object_patches(archive, amplitude.shape) if patches else None
    log.info("%s: %d patterns, %s, axes %s", path, len(amplitude), notes["values"], notes["layout"])
    try:
        return Scan(
            amplitude=amplitude,
            positions=positions,
            probe=probe,
            truth=truth,
            patches=known,
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
    with opened_npz(path) as archive:
        key = archive.one_of(*reversed(PROBES))
        return modes_shape(archive, key, archive.header(key)[0])[-1]


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
        **({} if (bad := scan.bad_pixels) is None else {"bad_pixels": bad}),
        "_metadata": np.array(json.dumps(metadata)),
    }
    if scan.truth is not None:
        arrays["objectGuess"] = scan.truth
    if scan.patches is not None:
        arrays["Y"] = scan.patches
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its allow_pickle is no array
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _hide_bad_pixels(archive: Archive, amplitude: NDArray[np.float32]) -> dict[str, str]:
    """Mark in the amplitudes what the mask marks, in place; says how much that is."""
    if not archive.has_optional("bad_pixels"):
        return {}
    bad = archive.read("bad_pixels", "biu", "true or false").astype(bool)
    if bad.shape not in (amplitude.shape, amplitude.shape[1:]):
        n, size, _ = amplitude.shape
        sentence = f"must be ({size}, {size}) or ({n}, {size}, {size}), got {bad.shape}"
        raise archive.fault("bad_pixels", sentence)
    if bad.all():
        raise archive.fault("bad_pixels", "marks every pixel; true means bad")
    if not bad.any():
        return {}
    amplitude[np.broadcast_to(bad, amplitude.shape)] = -0.0
    return {"bad_pixels": f"{bad.mean():.2%} of the detector"}


def _object_patches(archive: Archive, shape: Shape) -> NDArray[np.complex64] | None:
    """``Y``, one object patch for every pattern; None where it is missing or something else."""
    if not archive.has_optional("Y"):
        return None
    found, dtype = archive.header("Y")
    if found != shape or dtype.kind != "c":
        log.warning("%s: Y %s of %s is no complex %s, ignored", archive.path, found, dtype, shape)
        return None
    return archive.read("Y", "c", "complex numbers").astype(np.complex64)


def _amplitude(
    archive: Archive, n: int, values: str, metadata: dict[str, Any]
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Amplitudes ``(n, N, N)`` and what was decided on the way."""
    patterns, kind, notes = read_patterns(archive, n, values, metadata)
    if kind == "counts":
        amplitude = np.sqrt(patterns, dtype=np.float32, order="C")
    else:
        amplitude = np.ascontiguousarray(patterns, dtype=np.float32)
    amplitude += np.float32(0)  # negative zeros, with which bad pixels are marked, become zeros
    return amplitude, notes


def read_patterns(
    archive: Archive, n: int, values: str, metadata: dict[str, Any]
) -> tuple[Array, str, dict[str, str]]:
    """The patterns as the file has them, frames first.

    Args:
        archive: the file.
        n: how many positions it has.
        values: ``counts``, ``amplitude`` or ``auto``, as for :func:`read_npz`.
        metadata: the file's ``_metadata``.

    Returns:
        ``(n, N, N)`` of the file's dtype, whether they are ``counts`` or ``amplitude``, and both
        decisions in words.

    Raises:
        DataError: they are missing, negative, or fit the positions in no order.
    """
    key = archive.one_of(*PATTERNS)
    patterns = archive.read(key, "biuf", "real counts or amplitudes")
    if patterns.size and (low := patterns.min()) < 0:
        raise archive.fault(key, f"must not be negative, the smallest value is {low:g}")
    layout = _layout(archive, key, patterns.shape, n, metadata)
    kind, reason = _kind(patterns, values, metadata)
    if layout == "yxn":
        patterns = np.moveaxis(patterns, -1, 0)
    return patterns, kind, {"values": f"{kind} ({reason})", "layout": layout}


def _layout(
    archive: Archive, key: str, shape: tuple[int, ...], n: int, metadata: dict[str, Any]
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


def read_estimate(archive: Archive) -> NDArray[np.complex64] | None:
    """The object shipped with the scan; None for the featureless ones ptychodus ships."""
    if not archive.has_optional("objectGuess"):
        return None
    obj = archive.read("objectGuess", "iufc", "complex numbers")
    return None if (obj == obj.flat[:1]).all() else obj.astype(np.complex64)
