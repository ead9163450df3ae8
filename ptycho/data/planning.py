"""What is to be done to the patterns of a file, settled before they are gone through."""

import logging
from dataclasses import dataclass, field

import numpy as np

from ptycho.config.data_config import GeometryConfig, PreprocessConfig
from ptycho.data.amplitudes import Preparation
from ptycho.data.arrangement import Arrangement, arrange
from ptycho.data.beam import counts_of, find_centre, hot_pixels, sample
from ptycho.data.frames import Array
from ptycho.data.lengths import Pixel, fresnel_of, object_pixel, refuse_far_only
from ptycho.data.marks import refuse_always_full
from ptycho.data.measurement import Measurement
from ptycho.data.resampling import Mask, Real
from ptycho.data.scan import DataError
from ptycho.data.side_files import read_image

log = logging.getLogger(__name__)

VALUES = ("auto", "counts", "amplitude")
"""What the numbers of a file may be said to be."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, known before the frames are gone through."""

    step: Preparation
    """What makes amplitudes."""
    pixel: Pixel
    """Of the object, for the patterns as their file has them."""
    done: list[str]
    """What is done to all patterns, for the record."""
    notes: dict[str, str] = field(default_factory=dict)
    """What was decided, for the record."""
    fresnel: float | None = None
    """Fresnel number of an object pixel, where the detector is near; None: far."""

    @property
    def pixel_size_m(self) -> float | None:
        """Of the object, for the patterns as they come out."""
        size = self.pixel.size_m
        return None if size is None else size / float(self.step.arrangement.factor)


def plan(
    found: Measurement,
    *,
    values: str = "auto",
    preprocess: PreprocessConfig | None = None,
    geometry: GeometryConfig | None = None,
) -> Plan:
    """What is to be done to a file, from its headers and, where asked for, some of its frames.

    Args:
        found: what the file holds.
        values: as for :func:`prepare`.
        preprocess: what is done to the patterns; nothing when None.
        geometry: what was told of the instrument; nothing when None.

    Raises:
        DataError: the file cannot be used in this way.
    """
    if values not in VALUES:
        raise DataError(f"values must be one of {', '.join(VALUES)}, got {values!r}.")
    how, told = preprocess or PreprocessConfig(), geometry or GeometryConfig()
    refuse_far_only(found, told, how)
    kind, reason = _kind(found, values, how)
    step, done = _step(found, how, kind == "counts")
    pixel = object_pixel(found, told, step.arrangement.base)
    notes = {"values": f"{kind} ({reason})", **found.notes}
    if pixel.doubts:
        notes["pixel_size"] = "; ".join(pixel.doubts)
        log.warning("%s: %s", found.path, notes["pixel_size"])
    return Plan(step, pixel, done, notes, fresnel_of(found, told, pixel))


def _step(found: Measurement, how: PreprocessConfig, counts: bool) -> tuple[Preparation, list[str]]:
    """What makes amplitudes, and what it does in words."""
    path, frames, done = found.path, found.frames, []
    shape = frames.shape[1], frames.shape[2]
    arrangement = arrange(path, shape, how)
    fixed, flags = _bad_of(found, how)
    bad = arrangement.turned(fixed)
    background = _background(how, shape, arrangement)
    if how.mask_hot or how.find_center or background is not None:
        rows = sample(frames)
        block = counts_of(frames, rows, arrangement, counts)
        if flags is not None:
            block[arrangement.turned(flags[rows])] = 0
        if background is not None:
            done.append(_subtracted(block, background, bad))
        if how.mask_hot:
            hot = hot_pixels(block, bad)
            done.append(f"{hot.sum()} hot {_pixels(int(hot.sum()))} left out")
            bad = bad | hot
        if how.find_center:
            centre, symmetry = find_centre(block, bad, str(path))
            arrangement = arrange(path, shape, how, centre)
            done.append(
                f"beam found at ({centre[0]:g}, {centre[1]:g}), symmetric to {symmetry:.3f}"
            )
    window = arrangement.cut(bad, outside=True)
    if window.all():
        raise DataError(
            f"{path}: bad pixels cover all of the pattern; in a mask, true (or 1) means bad."
        )
    refuse_always_full(frames, arrangement, bad, flags, how, counts=counts)
    if how.saturation is not None:
        done.append(f"full from {how.saturation:g} counts on")
    for name, limit in (("below", how.minimum), ("above", how.maximum)):
        if limit is not None:
            done.append(f"counts {name} {limit:g} {'set to 0' if name == 'below' else 'left out'}")
    step = Preparation(
        counts=counts,
        arrangement=arrangement,
        bad=window if window.any() else None,
        flags=flags,
        saturation=how.saturation,
        background=None if background is None else arrangement.cut(background),
        minimum=how.minimum,
        maximum=how.maximum,
    )
    if step.hidden is not None:
        number = int(step.hidden.sum())
        done.append(f"{number} bad {_pixels(number)}")
    return step, [*done, *arrangement.done()]


def _bad_of(found: Measurement, how: PreprocessConfig) -> tuple[Mask, Mask | None]:
    """:func:`_mask`, and the pixels that ``bad_pixels_file`` names."""
    fixed, flags = _mask(found)
    if how.bad_pixels_file is None:
        return fixed, flags
    name, shape = "data.preprocess.bad_pixels_file", (fixed.shape[0], fixed.shape[1])
    return fixed | (read_image(name, how.bad_pixels_file, shape, "biuf", "numbers") != 0), flags


def _mask(found: Measurement) -> tuple[Mask, Mask | None]:
    """Pixels ``(H, W)`` that the file says are bad, and those ``(n, H, W)`` of single frames."""
    bad, shape = found.bad_pixels, found.frames.shape
    none = np.zeros(shape[1:], bool)
    if bad is None:
        return none, None
    if bad.shape not in (shape, shape[1:]):
        n, height, width = shape
        raise DataError(
            f"{found.path}: bad_pixels must be ({height}, {width}) or ({n}, {height}, {width}), "
            f"got {bad.shape}."
        )
    if bad.all():
        raise DataError(f"{found.path}: bad_pixels marks every pixel; true means bad.")
    if bad.ndim == 2:
        return bad, None
    return none, bad if bad.any() else None


def _background(
    how: PreprocessConfig, shape: tuple[int, int], arrangement: Arrangement
) -> Real | None:
    """Counts ``(H, W)`` that are subtracted, turned like the frames."""
    if how.background is not None:
        return np.full(arrangement.turned_shape, how.background)
    if how.background_file is None:
        return None
    name = "data.preprocess.background_file"
    image = read_image(name, how.background_file, shape, "iuf", "real numbers").astype(np.float64)
    if image.min() < 0:
        raise DataError(f"{name}={how.background_file} must not be negative, got {image.min():g}.")
    return arrangement.turned(image)


def _subtracted(block: Array, background: Real, bad: Mask) -> str:
    """Subtract a background in place; how much that was, and how much fell below 0."""
    good = ~bad
    before = float(block[:, good].sum(dtype=np.float64))
    block -= background.astype(np.float32)
    below = float((block[:, good] < 0).mean()) if good.any() else 0.0
    np.maximum(block, 0, out=block)
    after = float(block[:, good].sum(dtype=np.float64))
    share = 1 - after / before if before else 0.0
    return f"background subtracted ({share:.1%} of the counts; {below:.1%} of pixels were below it)"


def _pixels(number: int) -> str:
    return "pixel" if number == 1 else "pixels"


def _kind(found: Measurement, values: str, how: PreprocessConfig) -> tuple[str, str]:
    """``counts`` or ``amplitude``, and why; what bad pixels hold is not looked at."""
    if values != "auto":
        return values, "as told"
    if found.values != "auto":
        return found.values, found.why
    frames = found.frames
    if frames.dtype.kind != "f":
        return "counts", f"integer dtype {frames.dtype}"
    fixed, flags = _bad_of(found, how)
    for rows in frames.blocks():
        # plane by plane: fractions show in the first one, and a whole copy is never made
        for number, plane in enumerate(frames.read(rows), rows.start):
            bad = fixed if flags is None else fixed | flags[number]
            if not ((plane == np.floor(plane)) | bad).all():
                return "amplitude", "fractions"
    return "counts", f"whole numbers in {frames.dtype}"
