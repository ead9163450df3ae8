"""Scans in the NPZ files of SLAC (Run1084 and its kin, of the PtychoPINN papers); read only.

Frames last, positions ``xcoords_start`` in metres or in pixels, told by their size alone. Rules
and usual lengths as in ptychodus 1.7.0, ``ptychodus.plugins.slac_npz_file``.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ptycho.data.archive import Archive, opened_npz, read_coordinates, read_metadata, read_probe
from ptycho.data.formats.npz import read_estimate, read_frames
from ptycho.data.geometry import Geometry
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError

_LARGEST_METRES = 1e-3
_USUAL: dict[str, tuple[float, tuple[str, ...]]] = {
    "energy_ev": (8000.0, ("photon_energy_eV", "probe_energy_ev")),
    "distance_m": (0.75, ("detector_distance_m",)),
    "detector_pixel_m": (75e-6, ("detector_pixel_size_m",)),
}


def recognises(path: Path) -> bool:
    """Whether a file has patterns, and positions as ``xcoords_start`` alone."""
    try:
        with opened_npz(path) as archive:
            keys = {*archive.keys}
    except (DataError, OSError):
        return False
    wanted = {"diffraction", "xcoords_start", "ycoords_start"}
    return wanted <= keys and "xcoords" not in keys


def measure_slac(path: Path) -> Measurement:
    """What a file holds.

    Lengths that it leaves out are those of the beamline; a note says which.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be used.
    """
    with opened_npz(path) as archive:
        positions = read_coordinates(archive, "ycoords_start", "xcoords_start")
        # frames are last here, whatever the numbers: the file cannot say so
        metadata = {"layout": "yxn"} | read_metadata(archive)
        frames, layout = read_frames(archive, len(positions), metadata)
        probe, obj = read_probe(archive, "probeGuess"), read_estimate(archive)
        geometry, assumed = _geometry(archive)
    notes = {"layout": layout}
    if assumed:
        notes["geometry"] = f"assumed, as the file does not say: {', '.join(assumed)}"
    metres = 0 < np.abs(positions).max(initial=0) <= _LARGEST_METRES
    if metres and obj is not None:
        obj = None
        notes["object"] = "left out: nothing says where it lies among positions in metres"
    elif obj is not None and obj.ndim == 3 and len(obj) == 1:
        obj = obj[0]
    return replace(
        Measurement(frames=frames, positions=positions, probe=probe, obj=obj),
        unit="m" if metres else "px",
        pixel_size_m=geometry.object_pixel_m(frames.shape[-1]),
        geometry=geometry,
        notes=notes,
    )


def _geometry(archive: Archive) -> tuple[Geometry, list[str]]:
    found: dict[str, float] = {}
    assumed = []
    for name, (usual, keys) in _USUAL.items():
        said = [value for key in keys if (value := archive.scalar(key)) is not None]
        if not said:
            assumed.append(f"{name} {usual:g}")
        elif not said[0] > 0:
            raise archive.fault(keys[0], f"must be above 0, got {said[0]:g}")
        found[name] = said[0] if said else usual
    return Geometry(found["energy_ev"], found["distance_m"], found["detector_pixel_m"]), assumed
