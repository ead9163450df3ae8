"""What a pixel of the object is long, and where on it patterns were taken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.config.choices import PositionUnit
from ptycho.config.data_config import GeometryConfig, PositionsConfig, PreprocessConfig
from ptycho.data.archive import are_metres
from ptycho.data.geometry import PLANCK_TIMES_LIGHT, Geometry
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError
from ptycho.physics.propagation import fresnel_number, magnification

Positions = NDArray[np.float64]

_FAR = 1e7  # pixels; an object of ten million would be a metre of nanometres
_SAME = 0.01  # of each other: lengths that agree
_LENGTHS = ("energy_ev", "distance_m", "detector_pixel_m")
_NEAR = ("pixel_size_m", "focus_distance_m")
_FAR_ONLY = (
    "zero_frequency", "center_y", "center_x", "find_center", "crop", "bin", "pad", "resample",
)  # fmt: skip


@dataclass(frozen=True)
class Pixel:
    """Side of an object pixel, for the patterns as their file has them."""

    size_m: float | None
    """In metres; None where nothing says it."""
    typed: bool = False
    """Whether a setting says it."""
    missing: tuple[str, ...] = ()
    """Settings of which it would follow, were they known."""
    doubts: tuple[str, ...] = ()
    """Who says something else."""


def pixel_from(energy_ev: float, distance_m: float, side_m: float) -> float:
    """Side of an object pixel in metres, in the far field.

    The spacing of samples whose Fourier transform covers a detector of this width: wavelength
    times distance over width (Goodman, Introduction to Fourier Optics, eq. 4-25).

    Args:
        energy_ev: of the photons.
        distance_m: from the sample to the detector.
        side_m: width of the detector, all pixels together.
    """
    return PLANCK_TIMES_LIGHT / energy_ev * distance_m / side_m


def is_near(found: Measurement, geometry: GeometryConfig) -> bool:
    """Whether the detector is near: as typed, else as the file says."""
    if geometry.near_field is not None:
        return geometry.near_field
    return not found.geometry.far_field or found.fresnel is not None


def fresnel_of(found: Measurement, geometry: GeometryConfig, pixel: "Pixel") -> float | None:
    """Fresnel number of an object pixel; None in the far field.

    Args:
        found: what the file says.
        geometry: what was typed; it wins.
        pixel: of the object.

    Raises:
        DataError: the detector is near, and the number does not follow from what is known.
    """
    if not is_near(found, geometry):
        if geometry.focus_distance_m is not None:
            raise DataError(
                f"{found.path}: data.geometry.focus_distance_m={geometry.focus_distance_m:g} is "
                "for the near field; leave it out, or type data.geometry.near_field=true."
            )
        return None
    typed = any(getattr(geometry, name) is not None for name in (*_LENGTHS, *_NEAR))
    if found.fresnel is not None and not typed:
        return found.fresnel
    known = _known_lengths(found, geometry)
    energy, distance, size = known["energy_ev"], known["distance_m"], pixel.size_m
    focus = _focus(found, geometry)
    if not (energy and distance and size):
        lacking = [f"data.geometry.{name}" for name in _LENGTHS[:2] if not known[name]]
        lacking += [] if size else ["data.geometry.detector_pixel_m"]
        raise DataError(
            f"{found.path}: holds patterns of the near field, and nothing says how near; type "
            f"{' and '.join(lacking)}. If they are of the far field, type "
            "data.geometry.near_field=false."
        )
    effective = distance / magnification(focus, distance)
    number = fresnel_number(size, PLANCK_TIMES_LIGHT / energy, effective)
    if not 0 < number < np.inf:
        raise DataError(
            f"{found.path}: the lengths of data.geometry and of the file go far beyond any "
            "instrument; all are in metres, the energy in electronvolts."
        )
    return number


def refuse_far_only(found: Measurement, geometry: GeometryConfig, how: PreprocessConfig) -> None:
    """Refuse to do to patterns of the near field what only those of the far field can bear."""
    if not is_near(found, geometry):
        return
    usual = PreprocessConfig()
    for name in _FAR_ONLY:
        if (value := getattr(how, name)) != getattr(usual, name):
            raise DataError(
                f"{found.path}: data.preprocess.{name}={value} changes spatial frequencies into "
                "others, and a pattern of the near field is no spectrum; leave it out."
            )


def _known_lengths(found: Measurement, geometry: GeometryConfig) -> dict[str, float | None]:
    return {name: getattr(geometry, name) or getattr(found.geometry, name) for name in _LENGTHS}


def _focus(found: Measurement, geometry: GeometryConfig) -> float | None:
    return geometry.focus_distance_m or found.geometry.focus_distance_m


def instrument(found: Measurement, geometry: GeometryConfig, pixels: float = 1.0) -> Geometry:
    """The instrument as the file tells it, less what was typed otherwise.

    Args:
        found: what the file says.
        geometry: what was typed; it wins.
        pixels: of the detector along one of a pattern as it comes out.
    """
    known = _known_lengths(found, geometry)
    if known["detector_pixel_m"] is not None:
        known["detector_pixel_m"] *= pixels
    near = is_near(found, geometry)
    focus = _focus(found, geometry) if near else None
    return Geometry(**known, far_field=not near, focus_distance_m=focus)


def object_pixel(found: Measurement, geometry: GeometryConfig, side: int) -> Pixel:
    """The object's pixel: as typed, from typed lengths, as the file says, from its lengths.

    In the near field it is the detector's own, divided by the magnification.

    Args:
        found: what the file says.
        geometry: what was typed; it wins.
        side: pixels along the detector that those of the object belong to.

    Raises:
        DataError: what was typed leads to no length.
    """
    typed = [name for name in _LENGTHS if getattr(geometry, name) is not None]
    known, near = _known_lengths(found, geometry), is_near(found, geometry)
    missing = tuple(f"data.geometry.{name}" for name, value in known.items() if value is None)
    if (
        typed
        and missing
        and not near
        and geometry.pixel_size_m is None
        and found.pixel_size_m is None
    ):
        raise DataError(
            f"{found.path}: data.geometry.{typed[0]} alone says no length of an object pixel; "
            f"neither the settings nor the file know {' and '.join(missing)}. Type "
            f"{'it' if len(missing) == 1 else 'them'} as well, or data.geometry.pixel_size_m."
        )
    from_lengths = None
    energy, distance, detector = (known[name] for name in _LENGTHS)
    focus = _focus(found, geometry)
    if near and detector and (distance or focus is None):
        from_lengths = detector / magnification(focus, distance or 0.0)
    elif energy and distance and detector and not near:
        from_lengths = pixel_from(energy, distance, side * detector)
    whose = "data.geometry" if typed else "the file's geometry"
    said = [("data.geometry.pixel_size_m", geometry.pixel_size_m)]
    said += [("the file", found.pixel_size_m)]
    said.insert(1 if typed else 2, (whose, from_lengths))
    sizes = [(who, size) for who, size in said if size is not None]
    if not sizes:
        return Pixel(None, missing=missing)
    chosen, size = sizes[0]
    doubts = tuple(
        f"an object pixel is {size * 1e9:.4g} nm as {chosen} says, {other * 1e9:.4g} nm as {who} "
        "says"
        for who, other in sizes[1:]
        if abs(other - size) > _SAME * size
    )
    return Pixel(size, chosen.startswith("data."), missing, doubts)


def in_pixels(
    found: Measurement, how: PositionsConfig, pixel: Pixel, factor: float = 1.0
) -> tuple[Positions, list[str]]:
    """Positions ``(n, 2)`` as (y, x) in object pixels, and what was done to them.

    Args:
        found: positions as in the file.
        how: what was typed.
        pixel: of the object, for the patterns as their file has them.
        factor: pixels of the object, as it will be, for each of those.

    Raises:
        DataError: they cannot be in the unit that was told.
    """
    unit = PositionUnit(found.unit if how.unit == PositionUnit.auto else how.unit)
    positions, done = np.array(found.positions, dtype=np.float64), []
    if not np.isfinite(positions).all():
        raise DataError(f"{found.path}: positions hold NaN or infinity.")
    if unit.metres is None:
        _refuse_lengths(found, positions, pixel)
    else:
        size = _known(found, how.unit, unit, pixel)
        done.append(f"positions in {unit}, an object pixel is {size / factor * 1e9:.4g} nm")
        positions *= unit.metres / size
    if how.swap:
        positions = positions[:, ::-1].copy()
        done.append("y and x of positions exchanged")
    middle = (positions.min(0, initial=np.inf) + positions.max(0, initial=-np.inf)) / 2
    for axis, (name, flip) in enumerate((("y", how.flip_y), ("x", how.flip_x))):
        if flip:
            positions[:, axis] = 2 * middle[axis] - positions[:, axis]
            done.append(f"positions turned round along {name}")
    if how.scale != 1:
        positions = middle + how.scale * (positions - middle)
        done.append(f"positions spread by {how.scale:g}")
    if factor != 1:
        positions *= factor
    if unit.metres is not None or how.scale != 1:
        _refuse_extent(found, positions, unit)
    return positions, done


def _known(found: Measurement, typed: PositionUnit, unit: PositionUnit, pixel: Pixel) -> float:
    """The object's pixel in metres."""
    if pixel.size_m is not None:
        return pixel.size_m
    are = f"positions are in {unit}"
    if typed == PositionUnit.auto and unit == PositionUnit.m:
        are = f"positions reach {np.abs(found.positions).max(initial=0):.2g}, which must be metres"
    raise DataError(
        f"{found.path}: {are}, and nothing says what a pixel of the object is "
        "long; type data.geometry.pixel_size_m=METRES, or what it follows from and is not known: "
        f"{', '.join(pixel.missing)}."
    )


def _refuse_lengths(found: Measurement, positions: Positions, pixel: Pixel) -> None:
    """Positions that are said to be pixels and cannot be."""
    largest = np.abs(positions).max(initial=0)
    if are_metres(positions):
        way_out = "data.positions.unit=m"
        if pixel.size_m is None:
            way_out += " and data.geometry.pixel_size_m=METRES"
        raise DataError(
            f"{found.path}: xcoords and ycoords reach {largest:.2g}, which must be metres; "
            f"type {way_out}."
        )
    if largest > _FAR:
        raise DataError(
            f"{found.path}: xcoords and ycoords reach {largest:.2g} object pixels, which cannot "
            "be; if they are lengths, type data.positions.unit=nm (or um, m)."
        )


def _refuse_extent(found: Measurement, positions: Positions, unit: PositionUnit) -> None:
    """Lengths that make no scan when they are counted in pixels."""
    extent = float(np.ptp(positions, axis=0).max(initial=0)) if len(positions) else 0.0
    if np.ptp(found.positions, axis=0).any() and extent < 1:
        wrong = f"the whole scan is {extent:.2g} object pixels wide"
    elif np.abs(positions).max(initial=0) > _FAR:
        wrong = f"positions reach {np.abs(positions).max():.2g} object pixels"
    else:
        return
    raise DataError(
        f"{found.path}: with positions in {unit}, {wrong}; is data.positions.unit right, and the "
        "object's pixel (data.geometry)?"
    )
