"""What the readers of all formats share: probes, lengths and masks, checked as they are read."""

import logging
import math

import numpy as np
from numpy.typing import NDArray

from ptycho.data.archive import Archive, Array
from ptycho.data.geometry import PLANCK_TIMES_LIGHT

log = logging.getLogger(__name__)

Positions = NDArray[np.float64]

_ENERGIES = (1e-1, 1e8)  # electronvolts: from far infrared to beyond electron microscopes
_SQUARE = 1e-3  # relative difference of the sides up to which a pixel is square
_PIXELS = (1e-13, 1e-2)  # metres: sides that an object pixel may have


def read_modes(archive: Archive, key: str) -> tuple[NDArray[np.complex64], str]:
    """Probe modes ``(modes, N, N)`` from ``(N, N)``, ``(modes, N, N)`` or ``(OPR, modes, N, N)``.

    Args:
        archive: the file.
        key: the probe's.

    Returns:
        The modes, and what was left out, in words; empty when nothing was.

    Raises:
        DataError: it is no probe, or dark.
    """
    return modes_of(archive, key, archive.read(key, "iufc", "complex numbers"))


def modes_of(archive: Archive, key: str, probe: Array) -> tuple[NDArray[np.complex64], str]:
    """As :func:`read_modes`, from an array of it."""
    note = ""
    if probe.ndim == 4:
        if len(probe) > 1:
            note = f"the probe varies over the scan in {len(probe)} modes (OPR); the first is used"
        probe = probe[:1].reshape(-1, *probe.shape[2:])
    if probe.ndim == 2:
        probe = probe[None]
    if probe.ndim != 3 or probe.shape[1] != probe.shape[2] or not probe.size:
        raise archive.fault(key, f"must be a probe (N, N) or (modes, N, N), got {probe.shape}")
    with np.errstate(over="ignore", under="ignore"):
        modes = probe.astype(np.complex64)
        lit = np.isfinite(modes).all() and modes.any()
    if not lit:
        raise archive.fault(key, "is zero everywhere, or too large for single precision")
    return modes, note


def read_object(archive: Archive, key: str) -> NDArray[np.complex64] | None:
    """An object ``(H, W)``; None where it has no structure, or several layers."""
    return object_of(archive, key, archive.read(key, "c", "complex numbers"))


def object_of(archive: Archive, key: str, layers: Array) -> NDArray[np.complex64] | None:
    """As :func:`read_object`, from an array of it, layers first."""
    if layers.ndim not in (2, 3) or not layers.size:
        raise archive.fault(key, f"must be an object (H, W) or (layers, H, W), got {layers.shape}")
    if layers.ndim == 3 and len(layers) > 1:
        log.warning("%s: %s has %d layers and is left out", archive.path, key, len(layers))
        return None
    with np.errstate(over="ignore", under="ignore"):
        obj = layers.reshape(layers.shape[-2:]).astype(np.complex64)
    if not np.isfinite(obj).all():
        raise archive.fault(key, "reaches values too large for single precision; rescale it")
    return None if (obj == obj.flat[0]).all() else obj


def read_bad_pixels(archive: Archive, key: str) -> NDArray[np.bool_] | None:
    """Bad pixels ``(H, W)`` or ``(n, H, W)``; nonzero means bad. None when there are none."""
    if key not in archive:
        return None
    return archive.read(key, "biu", "whole numbers, 0 where a pixel is good").astype(bool)


def read_length(archive: Archive, key: str, limits: tuple[float, float] = (0, 1e4)) -> float | None:
    """A length in metres; None when it is missing, or 0 as some programs write it then."""
    length = archive.scalar(key)
    if not length:
        return None
    if not limits[0] < length < limits[1]:
        low, high = limits
        raise archive.fault(key, f"must be metres between {low:g} and {high:g}, got {length:g}")
    return length


def read_pixel(archive: Archive, *keys: str) -> tuple[float | None, str]:
    """Side of a square pixel in metres, from its height and width.

    Returns:
        The side, None where it is unknown; and why it is not used, empty when it is.
    """
    sides = [read_length(archive, key, (0, 1)) for key in keys]
    return square(*(side for side in sides if side is not None))


def square(*sides: float) -> tuple[float | None, str]:
    """One side for all, None when there are none or they differ; and in words how they do."""
    if not sides:
        return None, ""
    if max(sides) - min(sides) > _SQUARE * max(sides):
        said = " x ".join(f"{side:.4g}" for side in sides)
        return None, f"pixels are not square ({said} m): no lengths are taken from them"
    return sides[-1], ""


def energy_of(archive: Archive, key: str, energy_ev: float) -> float:
    """A photon energy (or an electron's wavelength as one) that can be."""
    if not (math.isfinite(energy_ev) and _ENERGIES[0] < energy_ev < _ENERGIES[1]):
        raise archive.fault(key, f"says an energy of {energy_ev:.4g} eV, which cannot be")
    return energy_ev


def energy_of_wavelength(archive: Archive, key: str, wavelength_m: float) -> float:
    """The energy of a photon of this wavelength."""
    if not wavelength_m > 0:
        raise archive.fault(key, f"must be a wavelength in metres, got {wavelength_m:g}")
    return energy_of(archive, key, PLANCK_TIMES_LIGHT / wavelength_m)


def refuse_same(archive: Archive, key: str, positions: Positions) -> None:
    """Refuse positions that do not differ."""
    if len(positions) > 1 and not np.ptp(positions, axis=0).any():
        raise archive.fault(key, "says the same position for every pattern")


def refuse_no_pixels(archive: Archive, key: str, pixel_m: float) -> float:
    """The side of an object pixel in metres, when it can be one."""
    if not _PIXELS[0] < pixel_m < _PIXELS[1]:
        raise archive.fault(key, f"must be the side of an object pixel in metres, got {pixel_m:g}")
    return pixel_m
