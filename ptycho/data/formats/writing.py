"""What the writers of all formats share: whole numbers, masks, lengths, files that appear whole."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.data.geometry import PLANCK_TIMES_LIGHT
from ptycho.data.scan import DataError, Scan
from ptycho.physics.propagation import fresnel_number, magnification

NOMINAL_PIXEL = 1e-8
"""Metres: side of an object pixel where nobody knows it and a format must have one."""
NOMINAL_ENERGY = 8000.0
"""Electronvolts, where nobody knows it."""
NOMINAL_DETECTOR_PIXEL = 75e-6
"""Metres, where nobody knows it."""

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Lengths:
    """Lengths that a format must have; those that nobody knows are made up, and said to be."""

    pixel_m: float
    """Side of an object pixel."""
    detector_pixel_m: float
    """Side of a detector pixel."""
    distance_m: float
    """Sample to detector."""
    energy_ev: float
    """Of a photon."""
    nominal: tuple[str, ...]
    """Which of them were made up: names of the fields above."""
    focus_m: float = 0.0
    """Focus to sample where the detector is near; 0: the beam is parallel."""

    @property
    def comment(self) -> str:
        """What a person should know who opens the file elsewhere; empty when all is known."""
        if not self.nominal:
            return ""
        return (
            f"Nominal, made up where nothing was known: {', '.join(self.nominal)}. Do not read "
            "lengths off this file."
        )


def row_blocks(scan: Scan) -> Iterator[slice]:
    """Rows of all patterns in order, some dozens of megabytes at a time."""
    rows = max(_BLOCK_BYTES // (4 * scan.patch_size**2), 1)
    for start in range(0, len(scan), rows):
        yield slice(start, min(start + rows, len(scan)))


def counts_dtype(scan: Scan) -> np.dtype[Any]:
    """The smallest type that holds the counts of a scan: unsigned integers where all are whole.

    Whole are those whose square roots are the very amplitudes of the scan; a scan of normalised
    amplitudes has others, and ``float32`` holds them: the root of a square is the number itself
    (S. Boldo, HAL hal-01148409).
    """
    largest = 0.0
    for rows in row_blocks(scan):
        amplitude = np.abs(scan.amplitude[rows])
        counts = np.rint(np.square(amplitude, dtype=np.float64))
        largest = max(largest, float(counts.max(initial=0)))
        if largest >= 2**24 or not (np.sqrt(counts.astype(np.float32)) == amplitude).all():
            return np.dtype(np.float32)
    return np.min_scalar_type(int(largest))


def counts_of(scan: Scan, rows: slice, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Counts ``(b, N, N)`` of some patterns; zero where a pixel is bad.

    Args:
        scan: amplitudes.
        rows: which patterns.
        dtype: as :func:`counts_dtype` says.
    """
    counts = np.square(scan.amplitude[rows], dtype=np.float64)
    return (np.rint(counts) if dtype.kind == "u" else counts).astype(dtype)


def one_mask(scan: Scan, title: str) -> NDArray[np.bool_]:
    """``(N, N)``: the bad pixels of all patterns.

    Args:
        scan: amplitudes.
        title: of the format, for the sentence.

    Raises:
        DataError: patterns have different ones.
    """
    bad = scan.bad_pixels
    if bad is None:
        return np.zeros(scan.amplitude.shape[1:], bool)
    if bad.ndim == 3:
        raise DataError(
            f"{scan.label}: its patterns have different bad pixels, and {title} has room for one "
            "mask for all; write another format (to=npz keeps them)."
        )
    return bad


def lengths_of(scan: Scan) -> Lengths:
    """The lengths of a scan, made up where they are unknown, so that all go together.

    The detector's pixel follows from the others where it can: an object pixel is
    ``wavelength * distance / (N * pixel)`` in the far field.
    """
    known, size = scan.geometry, scan.patch_size
    if scan.fresnel is not None:
        return _lengths_near(scan, scan.fresnel)
    energy, distance, detector = known.energy_ev, known.distance_m, known.detector_pixel_m
    pixel = scan.pixel_size_m or known.object_pixel_m(size)
    if pixel and distance and detector and not energy and known.far_field:
        energy = PLANCK_TIMES_LIGHT * distance / (size * detector * pixel)
    nominal = [] if energy else ["energy_ev"]
    energy = energy or NOMINAL_ENERGY
    if not pixel:
        nominal.append("pixel_m")
        pixel = replace(known, energy_ev=energy).object_pixel_m(size) or NOMINAL_PIXEL
    if not distance:
        nominal += ["distance_m"] if detector else ["distance_m", "detector_pixel_m"]
        detector = detector or NOMINAL_DETECTOR_PIXEL
        distance = pixel * size * detector * energy / PLANCK_TIMES_LIGHT
    computed = PLANCK_TIMES_LIGHT / energy * distance / (size * pixel) if known.far_field else pixel
    if not detector or (known.far_field and abs(computed - detector) > 1e-6 * detector):
        nominal += ["detector_pixel_m"] if nominal else []
        detector = computed  # as after cropping or binning
    return Lengths(pixel, detector, distance, energy, tuple(nominal))


def _lengths_near(scan: Scan, fresnel: float) -> Lengths:
    """Lengths of which the Fresnel number of a pixel, ``pixel**2 / (wavelength * z)``, is that.

    The instrument's own where all are known and say so, else those of a parallel beam that shows
    the same.
    """
    known, pixel = scan.geometry, scan.pixel_size_m or NOMINAL_PIXEL
    energy = known.energy_ev or NOMINAL_ENERGY
    distance, detector, focus = known.distance_m, known.detector_pixel_m, known.focus_distance_m
    if scan.pixel_size_m and known.energy_ev and distance and detector:
        effective = distance / magnification(focus, distance)
        number = fresnel_number(pixel, PLANCK_TIMES_LIGHT / energy, effective)
        if math.isclose(number, fresnel, rel_tol=1e-6):
            return Lengths(pixel, detector, distance, energy, (), focus or 0.0)
    nominal = [] if scan.pixel_size_m else ["pixel_m"]
    nominal += [] if known.energy_ev else ["energy_ev"]
    distance = pixel**2 * energy / (PLANCK_TIMES_LIGHT * fresnel)
    return Lengths(pixel, pixel, distance, energy, (*nominal, "distance_m", "detector_pixel_m"))


def metadata_of(scan: Scan, **more: Any) -> dict[str, Any]:
    """What other formats have no place for, for our own readers; see :func:`as_text`."""
    return {
        "label": scan.label,
        "pixel_size_m": scan.pixel_size_m,
        **({} if scan.fresnel is None else {"fresnel_number": scan.fresnel}),
        "object_is_truth": scan.truth_is_known,
        "written_by": "ptycho",
        **more,
    }


def as_text(metadata: dict[str, Any]) -> np.bytes_:
    """Metadata as JSON, for the attribute ``_metadata`` of the root of an HDF5 file.

    Of a fixed length: texts of any length lie in a heap, and HDF5 may search a damaged one for
    ever.
    """
    return np.bytes_(json.dumps(metadata))
