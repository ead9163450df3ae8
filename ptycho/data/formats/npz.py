"""Scans in NPZ files, the exchange format of PtychoPINN and ptychodus: read and written.

A file made elsewhere does not say what its numbers are. What the reader decides (counts or
amplitude, order of the axes) is logged and kept in :attr:`Scan.notes`. Nothing is unpickled.
"""

import json
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.data.appearing import appearing
from ptycho.data.archive import (
    PROBES,
    Archive,
    Array,
    Shape,
    are_metres,
    opened_npz,
    read_coordinates,
    read_metadata,
    read_probe,
)
from ptycho.data.formats.writing import row_blocks
from ptycho.data.frames import Frames
from ptycho.data.geometry import Geometry
from ptycho.data.measurement import Measurement
from ptycho.data.npz_frames import NpzFrames
from ptycho.data.preparation import VALUES, prepare
from ptycho.data.scan import Scan

log = logging.getLogger(__name__)

PATTERNS = ("diffraction", "diff3d")
"""Keys of the patterns of a scan."""


def recognises(path: Path) -> bool:
    """Whether a file is a ZIP archive, as every NPZ is."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def measure_npz(path: str | os.PathLike[str], *, patches: bool = False) -> Measurement:
    """What an NPZ file holds.

    Args:
        path: file with ``diffraction`` or ``diff3d``, ``xcoords``, ``ycoords`` (patch centres
            in object pixels, x = column) and perhaps ``probeGuess`` or ``probeModes``.
        patches: whether to read the object patches ``Y``, if there are any.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be used, with the reason in one sentence.
    """
    with opened_npz(path) as archive:
        metadata = read_metadata(archive)
        positions = read_coordinates(archive)
        frames, layout = read_frames(archive, len(positions), metadata)
        bad = _bad_pixels(archive)
        probe = read_probe(archive) if any(key in archive.keys for key in PROBES) else None
        obj = read_estimate(archive)
        known = _object_patches(archive, frames.shape) if patches else None
    said, fresnel = metadata.get("values"), metadata.get("fresnel_number")
    return Measurement(
        frames=frames,
        positions=positions,
        unit="m" if are_metres(positions) else "px",
        probe=probe,
        bad_pixels=bad,
        obj=obj,
        obj_is_truth=metadata.get("object_is_truth") is True,
        patches=known,
        values=str(said) if said in VALUES[1:] else "auto",
        why="as its _metadata says",
        pixel_size_m=metadata.get("pixel_size_m"),
        fresnel=None if fresnel is None else float(fresnel),
        geometry=Geometry.of(metadata),
        label=str(metadata["label"]) if metadata.get("label") else None,
        notes={"layout": layout},
    )


def read_npz(
    path: str | os.PathLike[str],
    *,
    values: str = "auto",
    label: str | None = None,
    patches: bool = False,
) -> Scan:
    """Read a scan.

    Args:
        path: as for :func:`measure_npz`.
        values: ``counts``, ``amplitude`` or ``auto``, as for
            :func:`ptycho.data.preparation.prepare`.
        label: name of the scan; from ``_metadata`` or the file's name when None.
        patches: whether to read the object patches ``Y``, if there are any.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be used, with the reason in one sentence.
    """
    found = measure_npz(path, patches=patches)
    return prepare(found, values=values, label=label, patches=patches)


def frame_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """``(H, W)`` of a pattern, from headers alone.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: there are no patterns in it, or not as many as positions.
    """
    with opened_npz(path) as archive:
        key, coordinates = archive.one_of(*PATTERNS), archive.one_of("ycoords")
        (shape, dtype), (positions, _) = archive.header(key), archive.header(coordinates)
        if dtype.hasobject:
            raise archive.fault(key, "is a pickled object, never opened here; save a plain array")
        n = positions[0] if len(positions) == 1 else -1
        layout = _layout(archive, key, shape, n, read_metadata(archive))
    return (shape[1], shape[2]) if layout == "nyx" else (shape[0], shape[1])


def write_npz(path: str | os.PathLike[str], scan: Scan) -> None:
    """Write a scan so that :func:`read_npz` returns the same numbers, whatever they are.

    The file appears complete or not at all.
    """
    path = Path(path)
    metadata = {
        "label": scan.label,
        "pixel_size_m": scan.pixel_size_m,
        **({} if scan.fresnel is None else {"fresnel_number": scan.fresnel}),
        **scan.geometry.known(),
        "values": "amplitude",
        "layout": "nyx",
        "object_is_truth": scan.truth_is_known,
        "written_by": "ptycho",
    }
    arrays: dict[str, Array] = {
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
    with appearing(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as file:
        with file.open("diffraction.npy", "w", force_zip64=True) as member:
            header = {"shape": scan.amplitude.shape, "fortran_order": False, "descr": "<f4"}
            format_.write_array_header_1_0(member, header)
            for rows in row_blocks(scan):
                member.write(np.ascontiguousarray(scan.amplitude[rows], "<f4").data)
        for key, array in arrays.items():
            with file.open(f"{key}.npy", "w", force_zip64=True) as member:
                format_.write_array(member, np.asanyarray(array), allow_pickle=False)


def _bad_pixels(archive: Archive) -> NDArray[np.bool_] | None:
    if not archive.has_optional("bad_pixels"):
        return None
    return archive.read("bad_pixels", "biu", "true or false").astype(bool)


def _object_patches(archive: Archive, shape: Shape) -> NDArray[np.complex64] | None:
    """``Y``, one object patch for every pattern; None where it is missing or something else."""
    if not archive.has_optional("Y"):
        return None
    found, dtype = archive.header("Y")
    if found != shape or dtype.kind != "c":
        log.warning("%s: Y %s of %s is no complex %s, ignored", archive.path, found, dtype, shape)
        return None
    return archive.read("Y", "c", "complex numbers").astype(np.complex64)


def read_frames(archive: Archive, n: int, metadata: dict[str, Any]) -> tuple[Frames, str]:
    """The patterns as the file has them, frames first.

    Args:
        archive: the file.
        n: how many positions it has.
        metadata: the file's ``_metadata``.

    Returns:
        The frames, and ``nyx`` or ``yxn``: the order of the axes in the file.

    Raises:
        DataError: they are missing, or fit the positions in no order.
    """
    key = archive.one_of(*PATTERNS)
    shape, dtype = archive.header(key)
    if dtype.hasobject:
        raise archive.fault(key, "is a pickled object, never opened here; save a plain array")
    if dtype.kind not in "biuf":
        raise archive.fault(key, f"must hold real counts or amplitudes, got {dtype}")
    layout = _layout(archive, key, shape, n, metadata)
    return NpzFrames(archive.path, key, layout), layout


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


def read_estimate(archive: Archive) -> NDArray[np.complex64] | None:
    """The object shipped with the scan; None for the featureless ones ptychodus ships."""
    if not archive.has_optional("objectGuess"):
        return None
    obj = archive.read("objectGuess", "iufc", "complex numbers")
    return None if not obj.size or (obj == obj.flat[0]).all() else obj.astype(np.complex64)
