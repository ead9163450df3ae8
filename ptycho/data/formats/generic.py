"""Scans in any HDF5 file, with the datasets named by whoever knows them: ``data.keys``."""

import contextlib
import itertools
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.data.archive import Hdf5Archive, are_metres, opened_hdf5
from ptycho.data.formats.cxi import JOULE
from ptycho.data.formats.parts import (
    energy_of,
    read_bad_pixels,
    read_modes,
    read_object,
)
from ptycho.data.formats.places import Places, paired
from ptycho.data.geometry import Geometry
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.hdf5_opening import UNREADABLE
from ptycho.data.hdf5_safety import datasets
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError

Keys = dict[str, str]

_LENGTHS = {
    "m": 1.0, "meter": 1.0, "metre": 1.0, "meters": 1.0, "metres": 1.0, "mm": 1e-3, "um": 1e-6,
    "µm": 1e-6, "μm": 1e-6, "micron": 1e-6, "microns": 1e-6, "nm": 1e-9, "a": 1e-10,
    "angstrom": 1e-10, "pm": 1e-12,
}  # fmt: skip
_ENERGIES = {"ev": 1.0, "kev": 1e3, "mev": 1e6, "j": 1 / JOULE, "joule": 1 / JOULE}
_PIXELS = {"px", "pixel", "pixels", "pix"}
_NAMED = 12  # datasets in a sentence
_LOOKED_AT = 1000  # datasets of which a proposal is made


def measure_hdf5(
    path: Path, keys: Keys, *, places: Places | None = None, follow: bool = False
) -> Measurement:
    """What the named datasets of a file hold.

    Args:
        path: the file.
        keys: what is wanted -> name of the dataset; see
            :class:`ptycho.config.data_config.KeysConfig`.
        places: positions from a partner file; None: ``keys`` names them here.
        follow: whether links to files in the same folder are followed.

    Raises:
        DataError: a dataset is missing or not what it should be.
    """
    with opened_hdf5(path, follow=follow) as archive:
        if "patterns" not in keys:
            raise DataError(
                f"{path}: an HDF5 file of no known layout; name its patterns, data.keys.patterns="
                f"GROUP/NAME, and its positions. It holds {_inventory(archive)}.{_likely(archive)}"
            )
        for name, key in keys.items():
            apart = places is not None and name.startswith("positions")
            if key not in archive and not apart:
                raise DataError(
                    f"{path}: data.keys.{name}={key} is not in it; it holds {_inventory(archive)}."
                )
        frames = Hdf5Frames(path, keys["patterns"], follow=follow)
        if places is None:
            places = read_places(archive, keys)
        probe, notes = None, dict[str, str]()
        if "probe" in keys:
            probe, said = read_modes(archive, keys["probe"])
            notes |= {"probe": said} if said else {}
        bad = read_bad_pixels(archive, keys["bad_pixels"]) if "bad_pixels" in keys else None
        obj = read_object(archive, keys["object"]) if "object" in keys else None
        if obj is not None and places.unit != "px":
            notes["object"] = "left out: nothing says where it lies among positions in metres"
            obj = None
        found = Measurement(
            frames=frames,
            positions=places.positions,
            probe=probe,
            bad_pixels=bad,
            obj=obj,
            pixel_size_m=_length(archive, keys, "pixel_size"),
            geometry=_geometry(archive, keys),
            notes=notes,
        )
    return paired(found, places)


def names_positions(keys: Keys) -> bool:
    """Whether positions are named."""
    return "positions" in keys or {"positions_y", "positions_x"} <= keys.keys()


def read_places(archive: Hdf5Archive, keys: Keys) -> Places:
    """Positions from the datasets that ``keys`` names.

    Raises:
        DataError: none are named, or they are no positions.
    """
    if "positions" in keys:
        name = keys["positions"]
        positions, factor = _columns(archive, name), _unit(archive, name)
    elif {"positions_y", "positions_x"} <= keys.keys():
        name = f"{keys['positions_y']} and {keys['positions_x']}"
        positions, factor = _two(archive, keys)
    else:
        raise DataError(
            f"{archive.path}: nothing says where its positions are; type data.keys.positions=GROUP/"
            "NAME for one array of y, x, or data.keys.positions_y and data.keys.positions_x, or "
            f"data.positions_file=FILE. It holds {_inventory(archive)}."
        )
    unit = "px" if factor is None else "m"
    said = "as the file says"
    if factor is None and not _is_pixels(archive, keys):
        said = "by their size"
        unit = "m" if are_metres(positions) else "px"
    return Places(
        path=archive.path,
        name=name,
        positions=positions * (factor or 1.0),
        unit=unit,
        notes=(f"positions in {'metres' if unit == 'm' else 'pixels'} {said}",),
    )


def _columns(archive: Hdf5Archive, key: str) -> NDArray[np.float64]:
    """``(n, 2)``: (y, x), from that, from ``(2, n)``, or from a list of three coordinates."""
    found = archive.read(key, "iuf", "positions").astype(np.float64)
    if found.ndim == 2 and found.shape[0] == 2 and found.shape[1] != 2:
        found = found.T
    if found.ndim != 2 or found.shape[1] != 2:
        raise archive.fault(key, f"must be positions (n, 2) as y, x, got {found.shape}")
    return np.ascontiguousarray(found)


def _two(archive: Hdf5Archive, keys: Keys) -> tuple[NDArray[np.float64], float | None]:
    y_key, x_key = keys["positions_y"], keys["positions_x"]
    y, x = (archive.read(key, "iuf", "positions").astype(np.float64) for key in (y_key, x_key))
    if y.shape != x.shape:
        if y.ndim != 1 or x.ndim != 1:
            raise archive.fault(f"{y_key} and {x_key}", f"differ: {y.shape} and {x.shape}")
        raise archive.fault(
            f"{y_key} and {x_key}",
            f"have {len(y)} and {len(x)} numbers; a raster by its axes must be written out, one "
            "pair for each pattern",
        )
    factors = _unit(archive, y_key), _unit(archive, x_key)
    if factors[0] != factors[1]:
        raise archive.fault(f"{y_key} and {x_key}", "are in different units")
    return np.stack([y.ravel(), x.ravel()], axis=1), factors[0]


def _is_pixels(archive: Hdf5Archive, keys: Keys) -> bool:
    key = keys.get("positions") or keys["positions_y"]
    return (archive.unit(key) or "").lower() in _PIXELS


def _unit(archive: Hdf5Archive, key: str) -> float | None:
    """Metres of the unit that a dataset says; None where it says none, or pixels."""
    said = (archive.unit(key) or "").strip().lower()
    if not said or said in _PIXELS:
        return None
    if said not in _LENGTHS:
        raise archive.fault(key, f"is in units of {said!r}, which is no length")
    return _LENGTHS[said]


def _length(archive: Hdf5Archive, keys: Keys, name: str) -> float | None:
    if name not in keys:
        return None
    key = keys[name]
    values = archive.read(key, "iuf", "metres").ravel()
    if not len(values) or (values != values[0]).any():
        raise archive.fault(key, f"must be one length in metres, got {values[:3]}")
    length = float(values[0]) * (_unit(archive, key) or 1.0)
    limit = 1e4 if name == "distance" else 1.0
    if not 0 < length < limit:
        raise archive.fault(key, f"must be metres between 0 and {limit:g}, got {length:g}")
    return length


def _geometry(archive: Hdf5Archive, keys: Keys) -> Geometry:
    energy = None
    if "energy" in keys:
        key = keys["energy"]
        values = archive.read(key, "iuf", "electronvolts").ravel()
        if not len(values):
            raise archive.fault(key, "is empty")
        said = (archive.unit(key) or "ev").strip().lower()
        if said not in _ENERGIES:
            raise archive.fault(key, f"is in units of {said!r}, which is no energy")
        energy = energy_of(archive, key, float(values.mean()) * _ENERGIES[said])
    return Geometry(
        energy_ev=energy,
        distance_m=_length(archive, keys, "distance"),
        detector_pixel_m=_length(archive, keys, "detector_pixel"),
    )


def _inventory(archive: Hdf5Archive) -> str:
    """Datasets with their shapes, for a sentence."""
    first = itertools.islice(datasets(archive.file), _NAMED + 1)
    found = [_described(name, node) for name, node in first]
    return "; ".join(found[:_NAMED]) + ("; ..." if len(found) > _NAMED else "") or "nothing"


def _likely(archive: Hdf5Archive) -> str:
    """What to type, as far as shapes and names suggest it; empty where they suggest nothing."""
    shapes: dict[str, tuple[int, ...]] = {}
    kinds: dict[str, str] = {}
    for name, node in itertools.islice(datasets(archive.file), _LOOKED_AT):
        with contextlib.suppress(*UNREADABLE):
            shapes[name], kinds[name] = node.shape, node.dtype.kind
    stacks = {
        name: shape
        for name, shape in shapes.items()
        if len(shape) == 3 and kinds[name] in "iuf" and min(shape) > 1
    }
    if not stacks:
        return ""
    patterns = max(stacks, key=lambda name: math.prod(stacks[name]))
    n, *_, side = stacks[patterns]
    typed = {"patterns": patterns}
    real = {name: shape for name, shape in shapes.items() if kinds[name] in "iuf"}
    pairs = [name for name, shape in real.items() if shape in ((n, 2), (2, n))]
    columns = {name for name, shape in real.items() if shape == (n,)}
    axes = [(y, x) for y in sorted(columns) for x in _other_axis(y) if x in columns]
    if pairs:
        typed["positions"] = pairs[0]
    elif axes:
        typed["positions_y"], typed["positions_x"] = axes[0]
    waves = [name for name, shape in shapes.items() if kinds[name] == "c" and shape[-1:] == (side,)]
    if waves:
        typed["probe"] = waves[0]
    single = [name for name, shape in real.items() if math.prod(shape) == 1]
    for wanted in ("energy", "distance"):
        if named := [name for name in single if wanted in name.rsplit("/", 1)[-1].lower()]:
            typed[wanted] = named[0]
    words = (f"data.keys.{wanted}={shlex.quote(name)}" for wanted, name in typed.items())
    return f" Perhaps: {' '.join(words)}"


def _other_axis(name: str) -> Iterator[str]:
    """What a dataset of y would be called for x: a y of its last part exchanged."""
    start = name.rfind("/") + 1
    for at, letter in enumerate(name[start:], start):
        if letter in "yY":
            yield name[:at] + ("x" if letter == "y" else "X") + name[at + 1 :]


def _described(name: str, node: Any) -> str:
    try:
        return f"{name} {node.shape} {node.dtype}"
    except UNREADABLE:
        return f"{name} (damaged)"
