"""Scans as ptychodus hands them to networks: its training data in one HDF5 file.

Counts, probe, object and positions in pixels, with the lengths that belong to them. Layout:
ptychodus 1.7.0, ``ptychodus.api.io.save_training_data``.
"""

from pathlib import Path

import h5py
import numpy as np

from ptycho.data.appearing import appearing
from ptycho.data.archive import Archive, opened, read_coordinates, read_metadata
from ptycho.data.formats.ptychodus import object_of, to_their_pixels, write_patterns
from ptycho.data.formats.writing import (
    as_text,
    counts_dtype,
    lengths_of,
    metadata_of,
    one_mask,
)
from ptycho.data.geometry import Geometry
from ptycho.data.measurement import Measurement
from ptycho.data.products import read_lit_probe, read_object, square_side
from ptycho.data.scan import DataError, Scan

TITLE = "ptychodus training data"

_POSITIONS = ("probe_position_y_px", "probe_position_x_px")


def recognises(path: Path) -> bool:
    """Whether a file has patterns, and positions in pixels under the names of ptychodus."""
    try:
        with opened(path) as archive:
            return {"patterns", *_POSITIONS} <= {*archive.keys}
    except (DataError, OSError):
        return False


def measure_training(path: Path) -> Measurement:
    """What a file holds.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be used.
    """
    with opened(path) as archive:
        metadata = read_metadata(archive)
        frames = archive.frames(archive.one_of("patterns"))
        positions = read_coordinates(archive, *_POSITIONS)
        if len(positions) != len(frames):
            raise archive.fault(
                "probe_position_x_px", f"holds {len(positions)} for {len(frames)} patterns"
            )
        probe, notes = read_lit_probe(archive, "probe")
        obj = read_object(archive, "object") if archive.has_optional("object") else None
        bad = None
        if archive.has_optional("bad_pixels"):
            bad = archive.read("bad_pixels", "biu", "true or false").astype(bool)
        height, width = (archive.scalar(f"object_pixel_{one}_m") for one in ("height", "width"))
        square = square_side(height, width)
        geometry = _geometry(archive, metadata.get("nominal", []))
    origin = np.asarray(metadata.get("origin_px", [0, 0]), float)
    size = probe.shape[-1]
    flat = obj is None or bool((obj == obj.flat[0]).all())
    return Measurement(
        frames=frames,
        positions=positions + (size // 2 - (size - 1) / 2) + origin,
        probe=probe,
        bad_pixels=bad,
        obj=None if flat else obj,
        obj_is_truth=metadata.get("object_is_truth") is True and not flat,
        values="counts",
        why="as ptychodus keeps them",
        pixel_size_m=None if "pixel_m" in metadata.get("nominal", []) else square,
        geometry=geometry,
        label=metadata.get("label"),
        notes={f"probe_{number}": text for number, text in enumerate(notes, 1)},
    )


def write_training(path: Path, scan: Scan) -> None:
    """Write a scan for ptychodus and for us; it appears complete or not at all.

    Lengths that nobody knows are made up, as :func:`ptycho.data.formats.writing.lengths_of` says.

    Raises:
        DataError: patterns have different bad pixels, or positions lie off the object.
    """
    if scan.fresnel is not None:
        raise DataError(
            f"{scan.label}: its detector is near the sample, and {TITLE} is for the far field; "
            "write another format (to=ptychodus)."
        )
    mask, dtype, lengths = one_mask(scan, TITLE), counts_dtype(scan), lengths_of(scan)
    obj, origin = object_of(scan, TITLE)
    metadata = metadata_of(scan, nominal=lengths.nominal, origin_px=origin)
    with appearing(path) as temporary, h5py.File(temporary, "w") as file:
        write_patterns(file, scan, mask, dtype)
        for axis, key in enumerate(_POSITIONS):
            pixels = scan.positions[:, axis] - origin[axis]
            file.create_dataset(key, data=to_their_pixels(pixels, scan.patch_size))
        file.create_dataset("probe", data=scan.probe)
        file.create_dataset("object", data=obj)
        for side in ("width", "height"):
            file.create_dataset(f"object_pixel_{side}_m", data=lengths.pixel_m)
        file.create_dataset("detector_object_distance_m", data=lengths.distance_m)
        file.create_dataset("photon_energy_eV", data=lengths.energy_ev)
        file.attrs.update({"comments": lengths.comment, "_metadata": as_text(metadata)})


def _geometry(archive: Archive, nominal: list[str]) -> Geometry:
    energy = archive.scalar("photon_energy_eV")
    distance = archive.scalar("detector_object_distance_m")
    return Geometry(
        energy_ev=None if "energy_ev" in nominal else energy or None,
        distance_m=None if "distance_m" in nominal else distance or None,
    )
