"""Scans as ptychodus keeps them: a product and its diffraction patterns, in two files.

The product holds probe, object and positions in metres, the other file counts. Both number their
rows, and a pattern belongs to the position of the same number. Either file may be HDF5 or NPZ.
Layout: ptychodus 1.7.0, ``ptychodus.api.io``. Nothing is unpickled.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.data.appearing import appearing
from ptycho.data.archive import Archive, opened, read_metadata
from ptycho.data.formats.writing import (
    as_text,
    counts_dtype,
    counts_of,
    lengths_of,
    metadata_of,
    one_mask,
    row_blocks,
)
from ptycho.data.frames import ChosenFrames, Frames, Indices
from ptycho.data.geometry import PLANCK_TIMES_LIGHT, Geometry
from ptycho.data.measurement import Measurement
from ptycho.data.products import Product, product_in
from ptycho.data.scan import DataError, Scan
from ptycho.physics.propagation import fresnel_number, magnification

PRODUCT, DIFFRACTION = "product.h5", "diffraction.h5"
"""What ptychodus calls the two files in a folder of its own."""
TITLE = "ptychodus product with its diffraction data"

_CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class _Patterns:
    """What a file of patterns holds."""

    frames: Frames
    indexes: Indices
    bad_pixels: NDArray[np.bool_] | None
    detector_pixel_m: float | None
    notes: dict[str, str]


@dataclass(frozen=True)
class _Place:
    """What a product says about a scan."""

    product: Product
    geometry: Geometry
    fresnel: float | None
    metadata: dict[str, Any]


def recognises(path: Path) -> bool:
    """Whether it is one of the two files, or a folder with both under their usual names."""
    if path.is_dir():
        return all((path / name).is_file() for name in (PRODUCT, DIFFRACTION))
    try:
        with opened(path) as archive:
            return bool(_kinds(archive))
    except (DataError, OSError):
        return False


def measure_pair(path: Path, partner: Path | None) -> Measurement:
    """What the two files of a scan hold.

    Args:
        path: one of them, or a folder with ``product.h5`` and ``diffraction.h5``.
        partner: the other one; None where ``path`` is a folder, or holds everything.

    Raises:
        FileNotFoundError: a file is missing.
        DataError: a file cannot be used, or the two do not belong together.
    """
    patterns_file, product_file = _both(path, partner)
    with opened(product_file) as archive:
        place = _read_place(archive)
    with opened(patterns_file) as archive:
        found = _read_patterns(archive)
    product, metadata = place.product, place.metadata
    if product.positions is None or product.probe is None:
        raise DataError(f"{product_file}: holds no positions.")
    chosen, positions, pairing = _paired(found, product, patterns_file, product_file)
    nominal = metadata.get("nominal", [])
    geometry = replace(
        place.geometry,
        detector_pixel_m=None if "detector_pixel_m" in nominal else found.detector_pixel_m,
    )
    flat = bool((product.obj == product.obj.flat[0]).all())
    notes = {**found.notes, "pairing": pairing}
    notes |= {f"product_{number}": text for number, text in enumerate(product.notes, 1)}
    return Measurement(
        frames=chosen,
        positions=positions,
        probe=product.probe,
        bad_pixels=found.bad_pixels,
        obj=None if flat else product.obj,
        obj_is_truth=metadata.get("object_is_truth") is True and not flat,
        values="counts",
        why="as ptychodus keeps them",
        pixel_size_m=None if "pixel_m" in nominal else product.pixel_size_m,
        fresnel=place.fresnel,
        geometry=geometry,
        label=product.label,
        notes=notes,
    )


def write_pair(folder: Path, scan: Scan) -> None:
    """Write ``product.h5`` and ``diffraction.h5`` into a new folder, for ptychodus and for us.

    Lengths that nobody knows are made up, and the comment of the product says so. The folder
    appears complete or not at all.

    Raises:
        DataError: patterns have different bad pixels, or positions lie off the object.
    """
    mask, dtype, lengths = one_mask(scan, TITLE), counts_dtype(scan), lengths_of(scan)
    obj, origin = object_of(scan, TITLE)
    with appearing(folder) as temporary:
        temporary.mkdir()
        with h5py.File(temporary / DIFFRACTION, "w") as file:
            write_patterns(file, scan, mask, dtype)
            file.create_dataset("indexes", data=np.arange(len(scan)))
            for side in ("width", "height"):
                file["patterns"].attrs[f"detector_pixel_{side}_m"] = lengths.detector_pixel_m
        with h5py.File(temporary / PRODUCT, "w") as file:
            metadata = metadata_of(scan, nominal=lengths.nominal, origin_px=origin)
            file.attrs.update(
                {
                    "name": scan.label.replace("\0", ""),  # which HDF5 cannot store
                    "comments": lengths.comment,
                    "detector_object_distance_m": lengths.distance_m,
                    "photon_energy_eV": lengths.energy_ev,
                    "probe_photon_count": float(np.square(np.abs(scan.probe)).sum(dtype=float)),
                    "exposure_time_s": 0.0,
                    "mass_attenuation_m2_per_kg": 0.0,
                    "tomography_angle_deg": 0.0,
                    "focus_object_distance_m": lengths.focus_m,
                    "tilt_angle_deg": 0.0,
                    "far_field": scan.fresnel is None,
                    "_metadata": as_text(metadata),
                }
            )
            file.create_dataset("probe_position_indexes", data=np.arange(len(scan)))
            for axis, name in enumerate("yx"):
                pixels = to_their_pixels(scan.positions[:, axis] - origin[axis], scan.patch_size)
                metres = lengths.pixel_m * (pixels - (obj.shape[axis] - 1) / 2)
                file.create_dataset(f"probe_position_{name}_m", data=metres)
            file.create_dataset("probe", data=scan.probe[None])
            file.create_dataset("object", data=obj)
            file["object"].attrs.update({"center_x_m": 0.0, "center_y_m": 0.0})
            for key in ("probe", "object"):
                for side in ("width", "height"):
                    file[key].attrs[f"pixel_{side}_m"] = lengths.pixel_m
            for name in ("object_layer_spacing_m", "loss_epochs", "loss_values"):
                file.create_dataset(name, data=np.zeros(0))


def write_patterns(
    file: h5py.File, scan: Scan, mask: NDArray[np.bool_], dtype: np.dtype[Any]
) -> None:
    """Write counts ``patterns`` and ``bad_pixels``, block by block."""
    size = scan.patch_size
    each = size * size * dtype.itemsize
    chunk = (min(max(_CHUNK_BYTES // each, 1), len(scan)), size, size)
    patterns = file.create_dataset(
        "patterns", (len(scan), size, size), dtype, chunks=chunk, compression="lzf"
    )
    for rows in row_blocks(scan):
        patterns[rows] = counts_of(scan, rows, dtype)
    file.create_dataset("bad_pixels", data=mask)


def to_their_pixels(positions: NDArray[np.float64], patch: int) -> NDArray[np.float64]:
    """Our patch centres as those of ptychodus; see :func:`ptycho.data.products.to_our_pixels`."""
    return np.asarray(positions - (patch // 2 - (patch - 1) / 2))


def object_of(scan: Scan, title: str) -> tuple[NDArray[np.complex64], tuple[int, int]]:
    """The object, or flat ones where it would be; and the pixel (y, x) at its first place.

    Args:
        scan: with positions in pixels.
        title: of the format, for sentences.

    Raises:
        DataError: positions lie off the object, or absurdly far apart.
    """
    half, positions = scan.patch_size // 2, scan.positions
    low, high = positions.min(0), positions.max(0)
    if scan.truth is not None:
        if (low < -1).any() or (high > scan.truth.shape).any():
            raise DataError(
                f"{scan.label}: positions lie off its object of {scan.truth.shape[0]} x "
                f"{scan.truth.shape[1]} pixels, and {title} has one grid for both; write another "
                "format (to=npz)."
            )
        return scan.truth, (0, 0)
    first = [min(int(np.floor(one)) - half - 1, 0) for one in low]
    last = [int(np.ceil(one)) + half + 1 for one in high]
    shape = [end - start for start, end in zip(first, last, strict=True)]
    if float(shape[0]) * shape[1] > 2**28:
        raise DataError(
            f"{scan.label}: positions span {shape[0]} x {shape[1]} pixels, too many for the object "
            f"that {title} has to have; are they in pixels?"
        )
    return np.ones(shape, np.complex64), (first[0], first[1])


def _kinds(archive: Archive) -> frozenset[str]:
    """``patterns``, ``product``, both or none."""
    keys = archive.keys
    found = set()
    if "patterns" in keys and "probe_position_x_px" not in keys:
        found.add("patterns")
    if "probe_position_x_m" in keys:
        found.add("product")
    return frozenset(found)


def _both(path: Path, partner: Path | None) -> tuple[Path, Path]:
    """The files of the patterns and of the product."""
    if path.is_dir():
        return path / DIFFRACTION, path / PRODUCT
    kinds = _kinds_of(path)
    if len(kinds) == 2 and partner is None:
        return path, path
    is_product = "product" in kinds
    if partner is None:
        what, lacks, usual = (
            ("product", "patterns", DIFFRACTION)
            if is_product
            else ("file of patterns", "positions and probe", PRODUCT)
        )
        beside = path.parent / usual
        there = f"{beside} is there" if beside.is_file() else f"ptychodus calls it {usual}"
        raise DataError(
            f"{path}: a ptychodus {what}, without {lacks}; name the other file, too: "
            f"data.positions_file=FILE ({there})."
        )
    wanted = "patterns" if is_product else "product"
    if wanted not in _kinds_of(partner):
        key = "patterns" if is_product else "probe_position_x_m"
        raise DataError(
            f"data.positions_file: {partner} is no ptychodus {wanted} (it has no {key}), and "
            f"{path} needs one."
        )
    return (partner, path) if is_product else (path, partner)


def _kinds_of(path: Path) -> frozenset[str]:
    with opened(path) as archive:
        kinds = _kinds(archive)
        if not kinds:
            held = ", ".join(archive.keys) or "nothing"
            raise DataError(
                f"{path}: neither a ptychodus product nor its patterns; it holds {held}."
            )
    return kinds


def _read_place(archive: Archive) -> _Place:
    metadata = read_metadata(archive)
    nominal = metadata.get("nominal", [])
    product = product_in(archive, judged=False)
    origin = metadata.get("origin_px", [0, 0])
    label = metadata.get("label") or archive.text("name") or archive.path.stem
    positions = product.positions
    if positions is not None and any(origin):
        positions = positions + np.asarray(origin, float)
    energy = archive.number("", "photon_energy_eV") or archive.number("", "probe_energy_eV")
    distance = archive.number("", "detector_object_distance_m")
    far = archive.number("", "far_field") != 0
    focus = None if far else archive.number("", "focus_object_distance_m") or None
    geometry = Geometry(
        energy_ev=None if "energy_ev" in nominal else energy or None,
        distance_m=None if "distance_m" in nominal else distance or None,
        far_field=far,
        focus_distance_m=None if focus == -(distance or 0) else focus,  # which magnifies by 0
    )
    product = replace(product, positions=positions, label=str(label))
    fresnel = metadata.get("fresnel_number") or _fresnel(product, geometry)
    return _Place(product, geometry, fresnel, metadata)


def _fresnel(product: Product, geometry: Geometry) -> float | None:
    """Fresnel number of an object pixel, where the detector is near and all lengths are known.

    A beam from a focus at a distance ``f`` before the sample is as good as a parallel one over
    the distance ``f z / (f + z)`` (D. Paganin, Coherent X-Ray Optics, section 1.5).
    """
    pixel, energy, distance = product.pixel_size_m, geometry.energy_ev, geometry.distance_m
    if geometry.far_field or not (pixel and energy and distance):
        return None
    effective = distance / magnification(geometry.focus_distance_m, distance)
    number = fresnel_number(pixel, PLANCK_TIMES_LIGHT / energy, effective)
    return number if 0 < number < np.inf else None


def _read_patterns(archive: Archive) -> _Patterns:
    frames = archive.frames(archive.one_of("patterns"))
    notes = {}
    if "indexes" in archive.keys:
        indexes = archive.read("indexes", "iu", "whole numbers").ravel().astype(np.int64)
        if len(indexes) != len(frames):
            raise archive.fault(
                "indexes", f"must be one for each of {len(frames)} patterns, got {len(indexes)}"
            )
    else:
        indexes = np.arange(len(frames))
        notes["indexes"] = "the patterns have no numbers and are numbered from 0"
    bad = None
    if archive.has_optional("bad_pixels"):
        bad = archive.read("bad_pixels", "biu", "true or false").astype(bool)
        if bad.shape != frames.shape[1:]:
            raise archive.fault("bad_pixels", f"must be {frames.shape[1:]}, got {bad.shape}")
    pixel = archive.number("patterns", "detector_pixel_width_m")
    return _Patterns(frames, indexes, bad, pixel or None, notes)


def _paired(
    found: _Patterns, product: Product, patterns_file: Path, product_file: Path
) -> tuple[Frames, NDArray[np.float64], str]:
    """The patterns that have a position, their positions, and what was left out."""
    positions = product.positions
    assert positions is not None
    numbers = np.arange(len(positions)) if product.indexes is None else product.indexes
    unique, row, times = np.unique(numbers, return_inverse=True, return_counts=True)
    mean = np.zeros((len(unique), 2))
    np.add.at(mean, row.reshape(-1), positions)
    mean /= times[:, None]
    place = np.searchsorted(unique, found.indexes).clip(max=len(unique) - 1)
    has_place = (unique[place] == found.indexes) & (found.indexes >= 0)
    kept = np.flatnonzero(has_place)
    if not len(kept):
        theirs = f"{unique[0]} to {unique[-1]}"
        ours = f"{found.indexes.min()} to {found.indexes.max()}"
        raise DataError(
            f"{patterns_file}: its patterns are numbered {ours} and the positions of "
            f"{product_file} {theirs}, not one is in both; name files of one scan."
        )
    told = {
        "{} patterns have several positions, which are averaged": int((times > 1).sum()),
        "{} patterns have no position and are left out": len(found.frames) - len(kept),
        "{} positions have no pattern and are left out": int(
            (~np.isin(unique, found.indexes[kept])).sum()
        ),
    }
    words = [f"{len(kept)} patterns by their numbers"]
    words += [text.format(number) for text, number in told.items() if number]
    whole = len(kept) == len(found.frames)
    chosen = found.frames if whole else ChosenFrames(found.frames, kept)
    return chosen, mean[place[kept]], "; ".join(words)


def is_patterns_alone(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds patterns of ptychodus, without positions."""
    try:
        with opened(path) as archive:
            return _kinds(archive) == {"patterns"}
    except (DataError, OSError):
        return False
