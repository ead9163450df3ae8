"""From what a file holds to a scan in the one convention used inside."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.config.choices import ZeroFrequency
from ptycho.config.data_config import GeometryConfig, PositionsConfig, PreprocessConfig
from ptycho.data.arrangement import Arrangement
from ptycho.data.frames import Array, Frames, Indices
from ptycho.data.lengths import in_pixels, object_pixel, refuse_near_field
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError, Scan

log = logging.getLogger(__name__)

VALUES = ("auto", "counts", "amplitude")
"""What the numbers of a file may be said to be."""


@dataclass(frozen=True)
class Preparation:
    """What makes amplitudes of a block of frames."""

    counts: bool
    """Whether the numbers are counts, not amplitudes."""
    arrangement: Arrangement
    """Which pixels they are."""
    bad: NDArray[np.bool_] | None = None
    """``(H, W)`` or ``(n, H, W)``: pixels that the detector could not read, as in the file."""
    rows: Indices | None = None
    """Frames of the file that are used; None: all."""

    @property
    def size(self) -> int:
        """Side N of a pattern that comes out."""
        return self.arrangement.size

    def __call__(self, frames: Frames, rows: slice | Indices) -> NDArray[np.float32]:
        """Amplitudes ``(b, N, N)`` of some rows; negative zero where a pixel is bad.

        Args:
            frames: of the file.
            rows: of the file, whether they are among those used or not.

        Raises:
            DataError: the frames hold what no detector counts.
        """
        block = self.arrangement.turned(frames.read(rows))
        _refuse_values(frames, block)
        if self.counts:
            amplitude = np.sqrt(block, dtype=np.float32, order="C")
        else:
            amplitude = np.array(block, dtype=np.float32, order="C")
        amplitude += np.float32(0)  # negative zeros of a file are no bad pixels
        if self.bad is not None:
            bad = self.bad if self.bad.ndim == 2 else self.bad[rows]
            amplitude[np.broadcast_to(self.arrangement.turned(bad), amplitude.shape)] = -0.0
        return amplitude


def prepare(
    found: Measurement,
    *,
    values: str = "auto",
    label: str | None = None,
    patches: bool = False,
    positions: PositionsConfig | None = None,
    preprocess: PreprocessConfig | None = None,
    geometry: GeometryConfig | None = None,
) -> Scan:
    """A scan from what a reader found.

    Args:
        found: what the file holds.
        values: ``counts`` or ``amplitude``; ``auto`` asks the file, then takes integers (of
            whatever dtype) for counts.
        label: name of the scan; the file's own, or its name, when None.
        patches: whether to keep the object patches of the file.
        positions: how positions are read; as the file says when None.
        preprocess: what is done to the patterns; nothing when None.
        geometry: what was told of the instrument; nothing when None.

    Raises:
        DataError: the file cannot be used, with the reason in one sentence.
    """
    if values not in VALUES:
        raise DataError(f"values must be one of {', '.join(VALUES)}, got {values!r}.")
    refuse_near_field(found, geometry or GeometryConfig())
    kind, reason = _kind(found, values)
    notes = {"values": f"{kind} ({reason})", **found.notes}
    arrangement = arrange(found, preprocess or PreprocessConfig())
    step = Preparation(kind == "counts", arrangement, bad=_mask(found))
    if step.bad is not None:
        notes["bad_pixels"] = f"{step.bad.mean():.2%} of the detector"
    pixel = object_pixel(found, geometry or GeometryConfig(), found.frames.shape[1])
    factor = float(arrangement.factor)
    where, moved = in_pixels(found, positions or PositionsConfig(), pixel, factor)
    if done := [*arrangement.done(), *moved]:
        notes["prepared"] = ", ".join(done)
    for doubt in pixel.doubts:
        log.warning("%s: %s", found.path, doubt)
        notes["pixel_size"] = "; ".join(pixel.doubts)
    amplitude = np.empty((len(found), step.size, step.size), np.float32)
    for rows in found.frames.blocks():
        amplitude[rows] = step(found.frames, rows)
    log.info("%s: %d patterns, %s", found.path, len(found), ", ".join(notes.values()))
    if found.probe is None:
        raise DataError(
            f"{found.path}: holds no probe; type data.probe.kind=average or data.probe_file=FILE."
        )
    try:
        return Scan(
            amplitude=amplitude,
            positions=where,
            probe=found.probe,
            truth=found.obj,
            patches=found.patches if patches else None,
            truth_is_known=found.obj is not None and found.obj_is_truth,
            pixel_size_m=None if pixel.size_m is None else pixel.size_m / factor,
            label=label or found.label or found.path.stem,
            notes=notes,
        )
    except DataError as error:
        raise DataError(f"{found.path}: {error}") from error


def arrange(found: Measurement, how: PreprocessConfig) -> Arrangement:
    """Which pixels of the detector make a pattern."""
    return Arrangement(
        shape=found.frames.shape[1:],
        transpose=how.transpose,
        flip_y=how.flip_y,
        flip_x=how.flip_x,
        corner=how.zero_frequency == ZeroFrequency.corner,
    )


def _mask(found: Measurement) -> NDArray[np.bool_] | None:
    """The bad pixels, unless there are none."""
    bad = found.bad_pixels
    if bad is None:
        return None
    shape = found.frames.shape
    if bad.shape not in (shape, shape[1:]):
        n, height, width = shape
        raise DataError(
            f"{found.path}: bad_pixels must be ({height}, {width}) or ({n}, {height}, {width}), "
            f"got {bad.shape}."
        )
    if bad.all():
        raise DataError(f"{found.path}: bad_pixels marks every pixel; true means bad.")
    return bad if bad.any() else None


def _refuse_values(frames: Frames, block: Array) -> None:
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        bad = int((~np.isfinite(block)).sum())
        raise frames.fault(f"holds NaN or infinity ({bad} values); drop them")
    if block.size and block.dtype.kind in "if" and (low := block.min()) < 0:
        raise frames.fault(f"must not be negative, the smallest value is {low:g}")


def _kind(found: Measurement, values: str) -> tuple[str, str]:
    """``counts`` or ``amplitude``, and why."""
    if values != "auto":
        return values, "as told"
    if found.values != "auto":
        return found.values, found.why
    frames = found.frames
    if frames.dtype.kind != "f":
        return "counts", f"integer dtype {frames.dtype}"
    for rows in frames.blocks():
        block = frames.read(rows)
        # plane by plane: fractions show in the first one, and a whole copy is never made
        if not all((plane == np.floor(plane)).all() for plane in block):
            return "amplitude", "fractions"
    return "counts", f"whole numbers in {frames.dtype}"
