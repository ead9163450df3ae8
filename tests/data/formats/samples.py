"""A small valid scan in every format that can be read, and what its reader has to be told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from ptycho.data.formats.registry import FORMATS, Reading
from ptycho.data.geometry import Geometry
from ptycho.data.scan import Scan

N, SIDE, HEIGHT, WIDTH = 6, 8, 40, 36
rng = np.random.default_rng(0)
COUNTS = rng.integers(0, 50, (N, SIDE, SIDE))
BAD = np.zeros((SIDE, SIDE), bool)
BAD[2, 3] = True
POSITIONS = 12 + 10 * rng.random((N, 2))
PROBE = (rng.normal(size=(2, SIDE, SIDE)) + 1j * rng.normal(size=(2, SIDE, SIDE))).astype(
    np.complex64
)
OBJECT = np.exp(1j * rng.random((HEIGHT, WIDTH))).astype(np.complex64)
PIXEL = 8e-9
GEOMETRY = Geometry(energy_ev=8000.0, distance_m=0.5, detector_pixel_m=75e-6)


@dataclass(frozen=True)
class Sample:
    """Files of a scan."""

    path: Path
    """The one to name."""
    files: tuple[Path, ...]
    """All of them."""
    how: Reading = field(default_factory=Reading)
    """What the reader is told."""


def a_scan(*, masked: bool = True) -> Scan:
    """What all samples hold."""
    amplitude = np.sqrt(COUNTS).astype(np.float32)
    if masked:
        amplitude[:, BAD] = -0.0
    return Scan(amplitude, POSITIONS, PROBE, truth=OBJECT, pixel_size_m=PIXEL, geometry=GEOMETRY)


def sample(name: str, folder: Path) -> Sample:
    """A sample of a format in an empty folder."""
    if name in MAKERS:
        return MAKERS[name](folder)
    write, ending = FORMATS[name].write, FORMATS[name].ending
    assert write is not None, f"tell MAKERS how to make a sample of {name}"
    path = folder / f"scan{ending}"
    write(path, a_scan())
    files = tuple(sorted(path.iterdir())) if path.is_dir() else (path,)
    return Sample(path, files)


def _slac(folder: Path) -> Sample:
    path = folder / "slac.npz"
    metres = POSITIONS * PIXEL
    np.savez(
        path, diffraction=np.moveaxis(COUNTS, 0, -1), xcoords_start=metres[:, 1],
        ycoords_start=metres[:, 0], probeGuess=PROBE[0], objectGuess=OBJECT,
    )  # fmt: skip
    return Sample(path, (path,))


def _npy(folder: Path) -> Sample:
    path, rows = folder / "scan.npy", folder / "places.csv"
    np.save(path, COUNTS.astype(np.uint16))
    lines = [f"{y!r},{x!r}" for y, x in (POSITIONS * PIXEL).tolist()]
    rows.write_text("\n".join(lines) + "\n")
    return Sample(path, (path, rows), Reading(positions_file=rows))


def _fold_slice(folder: Path) -> Sample:
    """Patterns in HDF5, and a reconstruction in a MATLAB file."""
    path, partner = folder / "scan_dp.hdf5", folder / "recon.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("dp", data=COUNTS.astype(np.uint16), chunks=(1, SIDE, SIDE))
    corner = np.array([(HEIGHT - SIDE) / 2, (WIDTH - SIDE) / 2])
    scipy.io.savemat(
        partner,
        {
            "p": {"lambda": 1.55e-10, "dx_spec": [PIXEL, PIXEL], "name": "x"},
            "outputs": {"probe_positions": (POSITIONS - corner - SIDE // 2)[:, ::-1]},
            "probe": np.moveaxis(PROBE, 0, -1),
            "object": OBJECT[..., None],
        },
        do_compression=True,
    )
    return Sample(path, (path, partner), Reading(positions_file=partner))


def _para(folder: Path) -> Sample:
    """The pair of files that find each other by their names."""
    path, partner = folder / "scan_dp.hdf5", folder / "scan_para.hdf5"
    with h5py.File(path, "w") as file:
        file["dp"] = COUNTS.astype(np.float32)
    with h5py.File(partner, "w") as file:
        file["ppY"], file["ppX"] = (POSITIONS * PIXEL).T
        file["lambda"], file["dx"], file["angle"] = 1.55e-10, PIXEL, 0.0
    return Sample(path, (path, partner))


def _hdf5(folder: Path) -> Sample:
    path = folder / "scan.h5"
    keys = {
        "patterns": "entry/data/data", "positions": "points", "probe": "probe", "object": "obj",
        "bad_pixels": "entry/mask", "energy": "entry/energy", "distance": "entry/z",
        "detector_pixel": "entry/pixel",
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "entry/data/data", data=COUNTS.astype(np.uint32), chunks=(2, SIDE, SIDE),
            compression="gzip", shuffle=True,
        )  # fmt: skip
        file["points"], file["probe"], file["obj"] = POSITIONS, PROBE, OBJECT
        file["entry/mask"] = BAD.astype(np.uint8)
        file["entry/energy"], file["entry/z"], file["entry/pixel"] = 8.0, 0.5, 75.0
        file["entry/energy"].attrs["units"] = "keV"
        file["entry/pixel"].attrs["units"] = "um"
    return Sample(path, (path,), Reading(keys=keys))


MAKERS: dict[str, Callable[[Path], Sample]] = {
    "slac": _slac,
    "npy": _npy,
    "fold_slice": _fold_slice,
    "hdf5": _hdf5,
    "para": _para,
}
"""Samples of formats that we do not write; and one more way of keeping a scan."""
NAMES = sorted({*MAKERS, *(name for name, one in FORMATS.items() if one.measure)})
