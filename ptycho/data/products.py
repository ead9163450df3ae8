"""Reconstructions in files, ours or anybody's, brought into the one convention used inside.

What a file is, its content says: our ``reconstruction.npz``, a scan with an estimate in it,
a product of ptychodus (HDF5 or NPZ), or an object alone. Nothing is unpickled.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.data.archive import (
    NOT_AN_ARRAY,
    PROBES,
    Archive,
    Array,
    modes_shape,
    opened_hdf5,
    opened_npz,
    read_metadata,
    read_positions,
    read_probe,
)
from ptycho.data.formats.npz import PATTERNS, read_estimate
from ptycho.data.scan import DataError

Indices = NDArray[np.int64]

_RESULTS = ("object", "obj")
_OBJECTS = (*_RESULTS, "objectGuess")
_LARGEST = 2**28  # pixels of an object or a probe: 2 GiB of complex64
_FAINTEST = 1e-30  # amplitude below which single precision runs out of digits
_SQUARE = 1e-3  # relative difference of the sides up to which a pixel is square
_READABLE = (
    "a reconstruction.npz of a run, a scan NPZ with objectGuess, a ptychodus product "
    "(HDF5, NPZ or CXI), or a complex array object (H, W) in NPZ, HDF5 or NPY"
)


@dataclass(frozen=True)
class Product:
    """A reconstructed object, with whatever else its file tells."""

    obj: NDArray[np.complex64]
    """``(H, W)``."""
    probe: NDArray[np.complex64] | None = None
    """``(modes, N, N)`` in any scale."""
    positions: NDArray[np.float64] | None = None
    """``(n, 2)``: patch centres (y, x) in pixels of the object: a pattern saw
    ``object[y - N/2 : y + N/2, x - N/2 : x + N/2]``."""
    indexes: Indices | None = None
    """``(n,)``: which pattern of the scan each position belongs to; None: in order."""
    pixel_size_m: float | None = None
    """Side of an object pixel in metres, when known."""
    held_out: Indices = field(default_factory=lambda: np.zeros(0, np.int64))
    """Patterns, as rows of the positions, that the reconstruction never saw."""
    fresnel: float | None = None
    """Fresnel number of a pixel, where the detector was near; None: far, or nobody says."""
    flux: NDArray[np.float32] | None = None
    """``(n,)``: brightness of the beam at each position; None: the same for all."""
    background: NDArray[np.float32] | None = None
    """``(N, N)``: what every pattern holds besides, in the unit of the probe squared."""
    label: str = "object"
    """Name for people."""
    is_estimate: bool = False
    """Whether the object is what somebody shipped with a scan as a first guess."""
    notes: tuple[str, ...] = ()
    """What was decided while reading, in sentences."""


def read_product(path: str | os.PathLike[str]) -> Product:
    """Read a reconstruction in any of the layouts named above.

    Args:
        path: the file; its ending does not matter.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be used, with the reason in one sentence.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file in it (reconstruction.npz in a run).")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path of the reconstruction.")
    if _begins(path) == format_.MAGIC_PREFIX:
        return Product(obj=_bare(path), label=path.stem)
    with _opened(path) as archive:
        if "probe_position_x_m" in archive.keys:
            return product_in(archive)
        if "entry_1" in archive.keys:
            return _cxi(archive)
        if any(key in archive.keys for key in PATTERNS) and not {*_RESULTS} & {*archive.keys}:
            return _estimate_of_scan(archive)
        return _plain(archive)


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(format_.MAGIC_PREFIX))


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    if h5py.is_hdf5(path):
        with opened_hdf5(path) as archive:
            yield archive
    elif _begins(path).startswith(b"PK"):
        with opened_npz(path) as archive:
            yield archive
    else:
        raise DataError(f"{path}: not a file that can be judged; it must be {_READABLE}.")


def _bare(path: Path) -> NDArray[np.complex64]:
    """The object of a NPY file."""
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except NOT_AN_ARRAY as error:
        raise DataError(f"{path}: not an array that can be read ({error}).") from error
    _refuse_size(path, "the array", array.shape)
    if array.dtype.kind == "c" and not np.isfinite(array).all():
        raise DataError(f"{path}: the array holds NaN or infinity; replace them.")
    return _object(path, "the array", array.shape, np.asarray(array))


def _plain(archive: Archive) -> Product:
    """An object, perhaps with probe and positions in our convention."""
    if not any(key in archive.keys for key in _OBJECTS):
        held = ", ".join(archive.keys) or "nothing"
        raise DataError(f"{archive.path}: holds {held}; it must be {_READABLE}.")
    key = archive.one_of(*_OBJECTS)
    obj = read_object(archive, key)
    keys = [name for name in ("probe", *PROBES) if archive.has_optional(name)]
    probe, notes = read_lit_probe(archive, keys[0]) if keys else (None, ())
    positions = None
    if archive.has_optional("xcoords") or archive.has_optional("ycoords"):
        positions = _within(archive, read_positions(archive), obj)
    metadata = read_metadata(archive)
    return Product(
        obj=obj,
        probe=probe,
        positions=positions,
        pixel_size_m=_pixel_size(archive, key, metadata),
        held_out=_held_out(archive, positions),
        fresnel=archive.scalar("fresnel_number"),
        flux=None if positions is None else _brightness(archive, "flux", (len(positions),)),
        background=None
        if probe is None
        else _brightness(archive, "background", (probe.shape[1], probe.shape[2])),
        label=_label(archive.path, metadata),
        notes=notes,
    )


def _cxi(archive: Archive) -> Product:
    """A product of ptychodus in a CXI file, or a scan in one with an estimate of its object."""
    from ptycho.data.formats.cxi import read_places  # which places them as ptychodus, see below

    found = read_places(archive)
    if found.obj is None:
        raise archive.fault("entry_1/image_2/data", "is missing or flat: there is no object in it")
    obj = _seen_through(archive.path, "its object", found.obj, float(np.abs(found.obj).max()))
    return Product(
        obj=obj,
        probe=found.probe,
        positions=_within(archive, found.positions, obj),
        indexes=found.numbers,
        pixel_size_m=found.pixel_size_m,
        label=_label(archive.path, read_metadata(archive)),
        notes=found.notes,
    )


def _estimate_of_scan(archive: Archive) -> Product:
    """The estimate that was shipped with a scan."""
    path, metadata = archive.path, read_metadata(archive)
    if "objectGuess" not in archive.keys:
        raise archive.fault(
            "objectGuess", "is missing: this is a scan without any estimate of the object in it"
        )
    _refuse_size(path, "objectGuess", archive.header("objectGuess")[0])
    obj = read_estimate(archive)
    if obj is None:
        raise archive.fault("objectGuess", "has no structure: this scan holds no estimate")
    if obj.ndim != 2:
        raise archive.fault("objectGuess", f"must be (H, W), got {obj.shape}")
    obj = _seen_through(path, "objectGuess", obj, float(np.abs(obj).max()))
    kind = "true one" if metadata.get("object_is_truth") is True else "estimate"
    return Product(
        obj=obj,
        probe=_lit(archive, "the probe", read_probe(archive)),
        positions=_within(archive, read_positions(archive), obj),
        pixel_size_m=metadata.get("pixel_size_m"),
        label=_label(path, metadata),
        is_estimate=kind == "estimate",
        notes=(f"the object is the {kind} shipped with a scan",),
    )


def product_in(archive: Archive, *, judged: bool = True) -> Product:
    """A product of ptychodus: positions in metres around the centre of the object.

    Args:
        archive: the file, open.
        judged: whether the object is what it is read for; else one of several layers, which
            nothing here can use, is taken as flat.

    Raises:
        DataError: the file cannot be used.
    """
    probe, notes = read_lit_probe(archive, "probe")
    shape = archive.header(archive.one_of("object"))[0]
    if not judged and len(shape) == 3 and shape[0] > 1:
        _refuse_size(archive.path, "object", shape)
        obj = np.ones(shape[1:], np.complex64)
        notes += (f"the object has {shape[0]} layers and is left out",)
    else:
        obj = read_object(archive, "object")
    height, width = (_length(archive, f"pixel_{side}_m") for side in ("height", "width"))
    made_up = "pixel_m" in read_metadata(archive).get("nominal", [])
    side = square_side(height, width)
    if side is None:
        notes += (f"pixels are not square ({height:.4g} x {width:.4g} m): no lengths in nm",)
    axes = []
    for axis, pixel, span in (("y", height, obj.shape[0]), ("x", width, obj.shape[1])):
        metres = archive.read(f"probe_position_{axis}_m", "iuf", "metres")
        centre = archive.number("object", f"center_{axis}_m") or 0.0
        axes.append(to_our_pixels(metres.ravel(), centre, pixel, span, probe.shape[-1]))
    if len(axes[0]) != len(axes[1]):
        lengths = f"{len(axes[1])} and {len(axes[0])}"
        raise archive.fault("probe_position_x_m and _y_m", f"differ in length: {lengths}")
    positions = np.stack(axes, axis=1)
    return Product(
        obj=obj,
        probe=probe,
        positions=_within(archive, positions, obj),
        indexes=_indexes(archive, len(positions)),
        pixel_size_m=None if judged and made_up else side,
        held_out=_held_out(archive, positions),
        label=_label(archive.path, {}),
        notes=notes,
    )


def to_our_pixels(
    metres: Array, centre: float, pixel: float, side: int, patch: int
) -> NDArray[np.float64]:
    """Positions of ptychodus along one axis as our patch centres in pixels.

    In ptychodus, metre 0 of an object ``side`` pixels long lies at the middle of the array,
    at the pixel coordinate ``(side - 1) / 2`` plus what ``centre`` says, and a position is the
    *geometric* middle of a patch: between two pixels when the patch has an even number of them,
    ``(patch - 1) / 2`` after its first. We name a patch by its pixel ``patch // 2``, the one
    at which the transform has its zero. The two differ by half a pixel for even patches and
    agree for odd ones.

    Args:
        metres: positions.
        centre: world coordinate of the middle of the object in metres.
        pixel: side of an object pixel in metres.
        side: pixels of the object along this axis.
        patch: pixels N of a patch.
    """
    middle = (np.asarray(metres, np.float64) - centre) / pixel + (side - 1) / 2
    return np.asarray(middle + (patch // 2 - (patch - 1) / 2))


def square_side(height: float | None, width: float | None) -> float | None:
    """Side of a pixel in metres; None where it is unknown or the pixel is no square."""
    if not height or not width or abs(height - width) > _SQUARE * max(height, width):
        return None
    return float(width)


def read_object(archive: Archive, key: str) -> NDArray[np.complex64]:
    """An object ``(H, W)``.

    Raises:
        DataError: it has several layers, is empty, or no complex numbers.
    """
    _refuse_size(archive.path, key, archive.header(archive.one_of(key))[0])
    array = archive.read(key, "biufc", "complex numbers")
    return _object(archive.path, key, array.shape, array)


def _object(
    path: Path, key: str, shape: tuple[int, ...], array: NDArray[Any]
) -> NDArray[np.complex64]:
    if array.dtype.kind != "c":
        raise DataError(
            f"{path}: {key} must hold complex numbers, got {array.dtype}; save the complex "
            "object, not its amplitude or phase."
        )
    layers = shape[0] if len(shape) == 3 else 1
    if layers > 1:
        raise DataError(
            f"{path}: {key} has {layers} layers, and only one can be judged; save each layer in a "
            "file of its own, or their product if the object is thin."
        )
    if len(shape) not in (2, 3) or not array.size:
        raise DataError(f"{path}: {key} must be (H, W), got {shape}.")
    with np.errstate(over="ignore"):
        obj = array.reshape(shape[-2:]).astype(np.complex64)
    if not np.isfinite(obj).all():
        raise DataError(f"{path}: {key} reaches values too large for single precision; rescale it.")
    return _seen_through(path, key, obj, float(np.abs(array).max()))


def _seen_through(
    path: Path, key: str, obj: NDArray[np.complex64], peak: float
) -> NDArray[np.complex64]:
    """The object, unless its largest amplitude ``peak`` is nothing or next to nothing."""
    if peak == 0:
        raise DataError(f"{path}: {key}: no light comes through this object; is it empty?")
    if peak < _FAINTEST:
        raise DataError(
            f"{path}: {key} reaches no more than {peak:.3g}, too little for single precision; "
            "rescale it."
        )
    return obj


def _refuse_size(path: Path, key: str, shape: tuple[int, ...]) -> None:
    if np.prod(shape, dtype=float) > _LARGEST:
        raise DataError(f"{path}: {key} of the shape {shape} is too large to be judged.")


def read_lit_probe(archive: Archive, key: str) -> tuple[NDArray[np.complex64], tuple[str, ...]]:
    """Modes ``(modes, N, N)``; of several sets of modes (OPR) the first."""
    shape = archive.header(archive.one_of(key))[0]
    _refuse_size(archive.path, key, shape)
    if len(shape) != 4:
        return _lit(archive, key, read_probe(archive, key)), ()
    probe = archive.read(key, "iufc", "complex numbers")[:1].reshape(-1, *shape[2:])
    probe = probe.reshape(modes_shape(archive, key, probe.shape)).astype(np.complex64)
    probe = _lit(archive, key, probe)
    if shape[0] == 1:
        return probe, ()
    return probe, (f"the probe varies over the scan in {shape[0]} modes (OPR); the first is used",)


def _lit(archive: Archive, key: str, probe: NDArray[np.complex64]) -> NDArray[np.complex64]:
    if not np.isfinite(probe).all() or not probe.any():
        raise archive.fault(key, "is zero everywhere, or too large for single precision")
    return probe


def _length(archive: Archive, name: str) -> float:
    """Side of an object pixel in metres."""
    length = archive.number("object", name)
    if length is None or not 0 < length < 1:
        was = "is missing" if length is None else f"is {length:g}"
        sentence = f"{was}; the side of a pixel in metres is needed to place the positions"
        raise archive.fault(f"object {name}", sentence)
    return length


def _pixel_size(archive: Archive, key: str, metadata: dict[str, Any]) -> float | None:
    """Side of a pixel as our runs write it, as ``_metadata`` says it, or as ptychodus does."""
    size = metadata.get("pixel_size_m")
    if archive.has_optional("pixel_size_m"):
        size = archive.read("pixel_size_m", "iuf", "metres").reshape(-1)[:1].sum()
    elif size is None:
        size = archive.number(key, "pixel_width_m")
    if size is not None and not 0 < size < 1:
        raise archive.fault("pixel_size_m", f"must be metres above 0, got {size:g}")
    return None if size is None else float(size)


def _indexes(archive: Archive, n: int) -> Indices | None:
    key = "probe_position_indexes"
    if key not in archive.keys:
        return None
    indexes = archive.read(key, "iu", "whole numbers").ravel()
    if len(indexes) != n:
        raise archive.fault(key, f"must be one for each of {n} positions, got {len(indexes)}")
    return indexes.astype(np.int64)


def _held_out(archive: Archive, positions: NDArray[np.float64] | None) -> Indices:
    # whatever the dtype: an empty list is saved as float64
    if not archive.has_optional("held_out") or 0 in archive.header("held_out")[0]:
        return np.zeros(0, np.int64)
    rows = archive.read("held_out", "iu", "numbers of patterns").ravel().astype(np.int64)
    n = 0 if positions is None else len(positions)
    if len(rows) and not 0 <= rows.min() <= rows.max() < n:
        found = f"{rows.min()} to {rows.max()}"
        raise archive.fault("held_out", f"must number the {n} positions from 0, got {found}")
    return np.unique(rows)


def _brightness(archive: Archive, key: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """What a run found of the beam or the background, where it looked for it."""
    if not archive.has_optional(key):
        return None
    found = archive.read(key, "iuf", "real numbers").astype(np.float32)
    if found.shape != shape:
        raise archive.fault(key, f"must be {shape} to go with the rest, got {found.shape}")
    if not np.isfinite(found).all() or found.min() < 0:
        raise archive.fault(key, "must be finite and nowhere negative")
    return found


def _within(
    archive: Archive, positions: NDArray[np.float64], obj: NDArray[np.complex64]
) -> NDArray[np.float64]:
    """The positions, when all are inside the object (give or take a pixel)."""
    if not len(positions):
        raise DataError(f"{archive.path}: holds not a single position; leave the arrays out.")
    low, high = positions.min(0), positions.max(0)
    if (low < -1).any() or (high > obj.shape).any():
        raise DataError(
            f"{archive.path}: positions reach from (y, x) = ({low[0]:.1f}, {low[1]:.1f}) to "
            f"({high[0]:.1f}, {high[1]:.1f}), outside the object of {obj.shape[0]} x "
            f"{obj.shape[1]} pixels; they must count in pixels from the object's first one."
        )
    return positions


def _label(path: Path, metadata: dict[str, Any]) -> str:
    # every run calls its result the same; its folder has the name
    usual = path.parent.absolute().name if path.stem == "reconstruction" else path.stem
    return str(metadata.get("label") or usual)
