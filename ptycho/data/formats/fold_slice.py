"""Scans as fold_slice and PtychoShelves keep them, and as ptycho-fm and pty-chi exchange them.

Patterns are ``dp`` in one file, ``NAME_dp.hdf5``; positions ``ppX`` and ``ppY`` with ``lambda`` and
``dx`` in another, ``NAME_para.hdf5``, or all in one file. The second file may as well be a product
of ptychodus. A reconstruction in a MATLAB file, with ``p``, ``probe``, ``object`` and ``outputs``,
tells positions, probe and object.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho.data.archive import Archive
from ptycho.data.formats.mat import (
    as_in_matlab,
    frames_as_in_matlab,
    is_mat,
    opened_mat,
)
from ptycho.data.formats.parts import (
    energy_of_wavelength,
    modes_of,
    object_of,
    refuse_no_pixels,
    square,
)
from ptycho.data.formats.places import Places, paired
from ptycho.data.geometry import Geometry
from ptycho.data.hdf5_opening import is_hdf5
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError

PATTERNS = "dp"
_WANTED = (PATTERNS, "p", "probe", "object", "outputs", "ppX", "ppY", "lambda", "dx")
_MATLAB = b"MATLAB 7.3"
_HALVES = ("_dp", "_para")
_LARGEST_METRES = 1e-1  # a wider scan is counted in something else


def recognises(path: Path) -> bool:
    """Whether a file has patterns ``dp``, or positions as fold_slice writes them."""
    if not (is_hdf5(path) or is_mat(path)):
        return False
    try:
        with opened_mat(path, ()) as archive:
            return PATTERNS in archive.keys or is_partner(archive)
    except DataError:
        return False


def is_partner(archive: Archive) -> bool:
    """Whether a file has positions as fold_slice writes them."""
    keys = {*archive.keys}
    return {"ppX", "ppY"} <= keys or {"p", "outputs", "probe"} <= keys


def measure_fold_slice(path: Path, places: Places | None, *, follow: bool = False) -> Measurement:
    """What the file of the patterns and its partner hold.

    Args:
        path: the file with ``dp``.
        places: what the partner holds; None: they are in this very file.
        follow: whether links to files in the same folder are followed.

    Raises:
        DataError: there are no patterns or no positions, or something is damaged.
    """
    with opened_mat(path, _WANTED, follow=follow) as archive:
        if PATTERNS not in archive:
            raise DataError(
                f"{path}: holds positions and no patterns (dp); name the file of the patterns as "
                "data.train_data_file and this one as data.positions_file."
            )
        of_matlab = is_mat(path) or _is_version_73(path)
        frames = frames_as_in_matlab(archive, PATTERNS) if of_matlab else archive.frames(PATTERNS)
        if places is None and is_partner(archive):
            places = read_places(archive)
    if places is None:
        beside = partner_of(path)
        where = f", as {beside.name} would be" if beside else ""
        raise DataError(
            f"{path}: holds patterns and no positions; name the file of the positions{where}: "
            "data.positions_file=FILE."
        )
    return paired(Measurement(frames, places.positions, notes={"layout": "nyx"}), places)


def partner_of(path: Path) -> Path | None:
    """``NAME_para.hdf5`` for ``NAME_dp.hdf5``; None where the name says nothing."""
    if not path.stem.endswith(_HALVES[0]):
        return None
    stem = path.stem.removesuffix(_HALVES[0]) + _HALVES[1]
    return path.with_name(stem + path.suffix)


def _is_version_73(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MATLAB)) == _MATLAB


def read_partner(path: Path) -> Places:
    """Positions, and perhaps probe and object, of a file of fold_slice.

    Raises:
        DataError: there are none, or something is damaged.
    """
    with opened_mat(path, _WANTED) as archive:
        return read_places(archive)


def read_places(archive: Archive) -> Places:
    """As :func:`read_partner`, from an open file."""
    return _steps(archive) if "ppX" in archive else _reconstruction(archive)


def _steps(archive: Archive) -> Places:
    """``ppX``, ``ppY``: positions in the unit of ``dx``, metres nearly always."""
    y, x = (archive.read(key, "iuf", "metres").ravel() for key in ("ppY", "ppX"))
    if len(y) != len(x):
        raise archive.fault("ppX and ppY", f"differ in length: {len(x)} and {len(y)}")
    positions = np.stack([y, x], axis=1).astype(np.float64)
    pixel, notes = _pixel(archive, "dx"), []
    wavelength = _first(archive, "lambda")
    metres = np.abs(positions - positions.mean(0)).max(initial=0) < _LARGEST_METRES
    energy = energy_of_wavelength(archive, "lambda", wavelength) if wavelength else None
    if not metres and pixel is None:
        notes.append("ppX and ppY are too large for metres and read as pixels")
    return Places(
        path=archive.path,
        name="ppX, ppY",
        positions=positions,
        unit="m" if metres else "px",
        pixel_size_m=pixel,
        geometry=Geometry(energy_ev=energy),
        notes=tuple(notes),
    )


def _reconstruction(archive: Archive) -> Places:
    """``outputs.probe_positions``: x, y in pixels from the middle of the object.

    The patch of a position begins at the rounded-up half of what the object is larger than it, as
    fold_slice cuts it (``find_reconstruction_ROI``).
    """
    probe, note = _probe(archive)
    key = "outputs/probe_positions"
    if key not in archive:
        raise archive.fault("outputs.probe_positions", "is missing")
    found = as_in_matlab(archive, key, "iuf", "pixels").astype(np.float64)
    if found.ndim != 2 or found.shape[1] != 2:
        raise archive.fault("outputs.probe_positions", f"must be (n, 2), got {found.shape}")
    positions, obj, side = found[:, ::-1].copy(), None, probe.shape[-1]
    if "object" in archive:
        layers = as_in_matlab(archive, "object", "c", "complex numbers")
        obj = object_of(archive, "object", np.moveaxis(layers, (0, 1), (-2, -1)))
        corner = [-(-(length - side) // 2) for length in layers.shape[:2]]
        positions += np.array(corner) + side // 2
    pixel = _pixel(archive, "p/dx_spec")
    wavelength = _first(archive, "p/lambda")
    energy = energy_of_wavelength(archive, "p.lambda", wavelength) if wavelength else None
    return Places(
        path=archive.path,
        name="outputs.probe_positions",
        positions=positions,
        probe=probe,
        obj=obj,
        pixel_size_m=pixel,
        geometry=Geometry(energy_ev=energy),
        notes=(note,) if note else (),
    )


def read_probe_of(archive: Archive) -> NDArray[np.complex64]:
    """``probe`` of a MATLAB file: ``(modes, N, N)``."""
    return _probe(archive)[0]


def _probe(archive: Archive) -> tuple[NDArray[np.complex64], str]:
    probe = as_in_matlab(archive, archive.one_of("probe"), "iufc", "complex numbers")
    if probe.ndim not in (2, 3, 4):
        raise archive.fault("probe", f"must be (H, W, modes), got {probe.shape}")
    return modes_of(archive, "probe", probe.T.swapaxes(-1, -2))


def _pixel(archive: Archive, key: str) -> float | None:
    """Side of an object pixel; one number, or two that are the same."""
    if key not in archive:
        return None
    said = archive.read(key, "iuf", "metres").ravel()
    if not 1 <= len(said) <= 2:
        raise archive.fault(key, f"must be one or two lengths in metres, got {said[:3]}")
    side, odd = square(*(refuse_no_pixels(archive, key, float(one)) for one in said))
    if odd:
        raise archive.fault(key, f"is {odd}")
    return side


def _first(archive: Archive, key: str) -> float | None:
    return archive.scalar(key) if key in archive else None
