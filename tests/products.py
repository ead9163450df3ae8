"""Reconstructions as other packages write them, by hand and from their layout alone."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.data.scan import Scan

PIXEL = 8e-9
CENTRE = (3.1e-6, -1.7e-6)  # (y, x) of the middle of the object in metres


def middle_of_patches(
    positions: NDArray[np.float64], size: int, side: int, centre: float, pixel: float
) -> NDArray[np.float64]:
    """World coordinate of the middle of each patch along one axis.

    A patch is the pixels ``y - size // 2 ... y - size // 2 + size - 1`` of the object; pixel
    ``r`` lies at ``centre + pixel * (r - (side - 1) / 2)``.
    """
    rows = np.floor(positions)[:, None] - size // 2 + np.arange(size)
    world = centre + pixel * (rows - (side - 1) / 2)
    return world.mean(1) + pixel * (positions - np.floor(positions))


def ptychodus_arrays(
    obj: NDArray[Any],
    probe: NDArray[Any],
    positions: NDArray[np.float64],
    pixel: float = PIXEL,
    centre: tuple[float, float] = CENTRE,
) -> dict[str, NDArray[Any]]:
    """The datasets of a ptychodus product."""
    size = probe.shape[-1]
    y, x = (
        middle_of_patches(positions[:, i], size, obj.shape[-2 + i], centre[i], pixel)
        for i in (0, 1)
    )
    return {
        "probe_position_indexes": np.arange(len(positions)),
        "probe_position_x_m": x,
        "probe_position_y_m": y,
        "probe": probe.reshape(-1, *probe.shape[-3:]) if probe.ndim > 2 else probe,
        "object": obj,
        "object_layer_spacing_m": np.zeros(0),
        "loss_epochs": np.arange(3),
        "loss_values": np.ones(3),
    }


def write_product_h5(
    path: Path,
    arrays: dict[str, NDArray[Any]],
    pixel: float = PIXEL,
    centre: tuple[float, float] = CENTRE,
    **attributes: float,
) -> Path:
    """A ptychodus product HDF5."""
    about_object = {
        "pixel_width_m": pixel, "pixel_height_m": pixel, "center_x_m": centre[1],
        "center_y_m": centre[0],
    } | attributes  # fmt: skip
    with h5py.File(path, "w") as file:
        file.attrs.update({"name": "by hand", "comments": "", "photon_energy_eV": 8000.0})
        file.attrs["detector_object_distance_m"] = 1.0
        for key, array in arrays.items():
            file.create_dataset(key, data=array)
        if "object" in file:
            file["object"].attrs.update({k: v for k, v in about_object.items() if v is not None})
        if "probe" in file:
            file["probe"].attrs.update({"pixel_width_m": pixel, "pixel_height_m": pixel})
    return path


def write_product_npz(
    path: Path,
    arrays: dict[str, NDArray[Any]],
    pixel: float = PIXEL,
    centre: tuple[float, float] = CENTRE,
) -> Path:
    """A ptychodus product NPZ."""
    flat = {
        "name": np.array("by hand"), "far_field": np.array(True),
        "object_pixel_width_m": np.array(pixel),
        "object_pixel_height_m": np.array(pixel), "object_center_x_m": np.array(centre[1]),
        "object_center_y_m": np.array(centre[0]), "probe_pixel_width_m": np.array(pixel),
    }  # fmt: skip
    np.savez(path, **arrays, **flat)
    return path


def write_result(path: Path, scan: Scan, **changes: Any) -> Path:
    """The true object of a scan in the layout of a run's ``reconstruction.npz``."""
    arrays: dict[str, Any] = {
        "object": scan.truth,
        "probe": scan.probe,
        "ycoords": scan.positions[:, 0],
        "xcoords": scan.positions[:, 1],
    } | changes
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    return path
