"""Scans in CXI files, version 1.6, as CXIDB defines them and ptychodus and PyNX write them.

The file format of the Coherent X-ray Imaging Data Bank, F. R. N. C. Maia, doi:10.1038/nmeth.2110
and cxidb.org/cxi.html. Lengths are metres and energies joules. Its ``translation`` is
``(n, 3)``: x, y, z. The standard has y upwards and moves the sample; ptychodus and most files have
x to the right and y downwards and move the beam, and so do we. ``data.positions`` turns them round.
What has no place in the standard lies in ``/entry_1/ptychodus``, under the names of ptychodus.
"""

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.data.appearing import appearing
from ptycho.data.archive import Archive, opened_hdf5, read_metadata
from ptycho.data.formats.parts import (
    energy_of,
    read_bad_pixels,
    read_length,
    read_modes,
    read_object,
    read_pixel,
    square,
)
from ptycho.data.formats.places import Places, paired
from ptycho.data.formats.writing import (
    as_text,
    counts_dtype,
    counts_of,
    lengths_of,
    metadata_of,
    row_blocks,
)
from ptycho.data.geometry import Geometry
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.hdf5_opening import is_hdf5, open_hdf5
from ptycho.data.hdf5_safety import has_dataset
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import VALUES
from ptycho.data.products import to_our_pixels
from ptycho.data.scan import DataError, Scan

log = logging.getLogger(__name__)

JOULE = 1.602176634e-19
"""Of an electronvolt (SI, exact)."""

_ENTRY = "entry_1"
_DETECTOR = f"{_ENTRY}/instrument_1/detector_1"
_SOURCE = f"{_ENTRY}/instrument_1/source_1"
_EXTRAS = f"{_ENTRY}/ptychodus"
_PATTERNS = (f"{_ENTRY}/data_1/data", f"{_DETECTOR}/data")
_POSITIONS = tuple(
    f"{_ENTRY}/{place}/translation"
    for place in ("sample_1/geometry_1", "data_1", "instrument_1/detector_1")
)
_PROBES = (f"{_ENTRY}/image_1/data", f"{_SOURCE}/illumination", f"{_DETECTOR}/probe")
_OBJECT = f"{_ENTRY}/image_2/data"
_VERSION = 160  # 1.6
_BAD = 1  # pixel is invalid (table 7)
_LEAST = 1.0  # joules: whoever writes more means electronvolts


def recognises(path: Path) -> bool:
    """Whether a file has patterns, or positions, where CXI has them."""
    if not is_hdf5(path):
        return False
    try:
        with open_hdf5(path) as file:
            return any(has_dataset(file, path, key) for key in (*_PATTERNS, *_POSITIONS[:1]))
    except DataError:
        return False


def has_positions(archive: Archive) -> bool:
    """Whether a file has positions where CXI has them."""
    return any(key in archive for key in _POSITIONS)


def measure_cxi(path: Path, *, places: Places | None = None, follow: bool = False) -> Measurement:
    """What a CXI file holds.

    Args:
        path: the file.
        places: positions and probe from a partner file; those of the file itself when None.
        follow: whether links to files in the same folder are followed.

    Raises:
        DataError: the file cannot be used, with the reason in one sentence.
    """
    with opened_hdf5(path, follow=follow) as archive:
        frames = Hdf5Frames(path, archive.one_of(*_PATTERNS), follow=follow)
        bad = read_bad_pixels(archive, f"{_DETECTOR}/mask")
        metadata = read_metadata(archive)
        geometry, said = _geometry(archive, metadata.get("nominal", []))
        if places is None:
            places = read_places(archive, frames.shape[-1])
    said_values = metadata.get("values")
    return paired(
        Measurement(
            frames=frames,
            positions=places.positions,
            bad_pixels=bad,
            values=str(said_values) if said_values in VALUES[1:] else "auto",
            why="as its _metadata says",
            geometry=geometry,
            label=metadata.get("label"),
            obj_is_truth=metadata.get("object_is_truth") is True,
            notes={"cxi": said} if said else {},
        ),
        places,
    )


def read_places(archive: Archive, patch: int | None = None) -> Places:
    """Positions, probe and object of a CXI file.

    Args:
        archive: the file.
        patch: side N of a patch; that of the probe when None.

    Raises:
        DataError: there are no positions, or something is damaged.
    """
    key = archive.one_of(*_POSITIONS)
    positions = _translation(archive, key)
    probe, notes = None, []
    for name in _PROBES:
        if name in archive and archive.header(name)[1].kind == "c":
            probe, note = read_modes(archive, name)
            notes += [note] if note else []
            patch = patch or probe.shape[-1]
            break
    obj = read_object(archive, _OBJECT) if _has_complex(archive, _OBJECT) else None
    pixel, odd = _object_pixel(archive)
    nominal = read_metadata(archive).get("nominal", [])
    shape = archive.header(_OBJECT)[0][-2:] if _has_complex(archive, _OBJECT) else None
    unit = "m"
    if shape is not None and pixel is not None and patch is not None:
        centres = [archive.scalar(f"{_EXTRAS}/object_center_{axis}_m") or 0.0 for axis in "yx"]
        positions = np.stack(
            [
                to_our_pixels(positions[:, axis], centres[axis], pixel, shape[axis], patch)
                for axis in (0, 1)
            ],
            axis=1,
        )
        unit = "px"
    elif obj is not None:
        notes.append("its object is left out: nothing says how long a pixel of it is")
        obj = None
    numbers = f"{_EXTRAS}/probe_position_indexes"
    return Places(
        path=archive.path,
        name=key,
        positions=positions,
        unit=unit,
        numbers=archive.read(numbers, "iu", "whole numbers").ravel().astype(np.int64)
        if numbers in archive
        else None,
        probe=probe,
        obj=obj,
        pixel_size_m=None if "pixel_m" in nominal else pixel,
        notes=tuple([*notes, odd] if odd else notes),
    )


def _has_complex(archive: Archive, key: str) -> bool:
    return key in archive and archive.header(key)[1].kind == "c"


def _translation(archive: Archive, key: str) -> NDArray[np.float64]:
    """``(n, 2)`` as (y, x) from ``(n, 3)`` or ``(n, 2)`` as x, y(, z); older PyNX has (3, n)."""
    found = archive.read(key, "iuf", "metres").astype(np.float64)
    if found.ndim == 2 and found.shape[0] in (2, 3) and found.shape[1] not in (2, 3):
        found = found.T
    if found.ndim != 2 or found.shape[1] not in (2, 3):
        raise archive.fault(key, f"must be (n, 3): x, y, z in metres, got {found.shape}")
    return np.ascontiguousarray(found[:, 1::-1])


def _geometry(archive: Archive, nominal: list[Any]) -> tuple[Geometry, str]:
    """Lengths and energy but for those that were made up, and what is odd about them."""
    pixel, odd, energy, distance = None, "", None, None
    if "detector_pixel_m" not in nominal:
        pixel, odd = read_pixel(archive, f"{_DETECTOR}/y_pixel_size", f"{_DETECTOR}/x_pixel_size")
    said = [odd] if odd else []
    key = f"{_SOURCE}/energy"
    if "energy_ev" not in nominal and (energy := archive.scalar(key) or None):
        if energy < _LEAST:
            energy /= JOULE
        else:
            said.append(f"its energy of {energy:g} is read as electronvolts, CXI wants joules")
            log.warning("%s: %s", archive.path, said[-1])
        energy = energy_of(archive, key, energy)
    if "distance_m" not in nominal:
        distance = read_length(archive, f"{_DETECTOR}/distance", (-1e4, 1e4))
    return Geometry(energy, abs(distance) if distance else None, pixel), "; ".join(said)


def _object_pixel(archive: Archive) -> tuple[float | None, str]:
    keys = [f"{_EXTRAS}/object_pixel_{side}_m" for side in ("height", "width")]
    if any(key in archive for key in keys) or not _has_complex(archive, _OBJECT):
        return read_pixel(archive, *keys)
    size = f"{_ENTRY}/image_2/image_size"
    if size not in archive:
        return None, ""
    found = archive.read(size, "iuf", "metres").ravel()
    height, width = archive.header(_OBJECT)[0][-2:]
    if len(found) < 2 or not (found[:2] > 0).all() or not height * width:
        return None, ""
    return square(found[1] / height, found[0] / width)


# ---- writing ----------------------------------------------------------------------------


def write_cxi(path: Path, scan: Scan) -> None:
    """Write a scan so that :func:`measure_cxi`, and ptychodus, find the same numbers.

    The file appears complete or not at all.

    Raises:
        DataError: it was taken in the near field, which the format does not know.
    """
    if scan.fresnel is not None:
        raise DataError(
            f"{scan.label}: was taken in the near field, which CXI cannot say; write another "
            "format (to=npz or to=ptychodus)."
        )
    known = lengths_of(scan)
    dtype = counts_dtype(scan)
    metadata = metadata_of(scan, values="counts", nominal=list(known.nominal))
    side = scan.patch_size
    with appearing(Path(path)) as partial, h5py.File(partial, "w") as file:
        file.attrs["_metadata"] = as_text(metadata)
        file["cxi_version"] = _VERSION
        file[f"{_ENTRY}/title"] = scan.label.replace("\0", "")  # which HDF5 cannot store
        if known.comment:
            file[f"{_ENTRY}/experiment_description"] = known.comment
        file[f"{_SOURCE}/energy"] = known.energy_ev * JOULE
        for name, value in (
            ("distance", known.distance_m),
            ("x_pixel_size", known.detector_pixel_m),
            ("y_pixel_size", known.detector_pixel_m),
        ):
            file[f"{_DETECTOR}/{name}"] = value
        patterns = file.create_dataset(
            _PATTERNS[1], scan.amplitude.shape, dtype, chunks=(1, side, side), compression="lzf"
        )
        patterns.attrs["axes"] = "translation:y:x"
        for rows in row_blocks(scan):
            patterns[rows] = counts_of(scan, rows, dtype)
        if (bad := scan.bad_pixels) is not None:
            file.create_dataset(
                f"{_DETECTOR}/mask", data=bad.astype(np.uint32) * _BAD, compression="lzf"
            )
        _write_product(file, scan, known.pixel_m)
        for place in (f"{_ENTRY}/data_1", _DETECTOR):
            file[f"{place}/translation"] = h5py.SoftLink(f"/{_POSITIONS[0]}")
        file[_PATTERNS[0]] = h5py.SoftLink(f"/{_PATTERNS[1]}")


def _write_product(file: Any, scan: Scan, pixel: float) -> None:
    """Positions, probe and object, as ptychodus looks for them."""
    n, side = len(scan), scan.patch_size
    obj = scan.truth
    if obj is None:  # ptychodus wants one: free space over the scan
        low, high = scan.positions.min(0), scan.positions.max(0)
        height, width = (int(max(reach, 0)) + side // 2 + 2 for reach in high - np.minimum(low, 0))
        obj = np.ones((height, width), np.complex64)
    metres = np.zeros((n, 3))
    for axis, column in ((0, 1), (1, 0)):  # y, x
        # as far from the middle of the object as ptychodus counts, see to_our_pixels
        start = to_our_pixels(np.zeros(1), 0.0, 1.0, obj.shape[axis], side)
        metres[:, column] = (scan.positions[:, axis] - start) * pixel
    file[_POSITIONS[0]] = metres
    for name, array, axes, kind in (
        ("image_1", scan.probe[None], "coherent:incoherent:y:x", "amplitude"),
        ("image_2", obj[None], "layer:y:x", "electron density"),
    ):
        image = file.create_group(f"{_ENTRY}/{name}")
        image["data"] = array
        image["data"].attrs["axes"] = axes
        image["data_type"], image["data_space"] = kind, "real"
        height, width = array.shape[-2:]
        image["image_size"] = np.array([width * pixel, height * pixel, 0.0])
    file[f"{_SOURCE}/illumination"] = h5py.SoftLink(f"/{_ENTRY}/image_1/data")
    extras = file.create_group(_EXTRAS)
    extras["probe_position_indexes"] = np.arange(n)
    for name in ("probe", "object"):
        extras[f"{name}_pixel_width_m"] = extras[f"{name}_pixel_height_m"] = pixel
    extras["object_center_x_m"] = extras["object_center_y_m"] = 0.0
