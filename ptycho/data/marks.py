"""The largest integers of a dtype: no counts, but what a detector writes where it reads nothing.

Dectris and others fill gaps between modules and dead pixels with the largest number of 32 bits, and
pixels that count too fast with the one below. A counter of 16 bits may really reach its end.
"""

from typing import Any

import numpy as np

from ptycho.config.data_config import PreprocessConfig
from ptycho.data.arrangement import Arrangement
from ptycho.data.frames import Array, Frames
from ptycho.data.resampling import Mask

_LOOKED_AT = 16  # frames in all of which a pixel of 16 bits must be full
_FEWEST = 4


def marked(images: Array) -> Mask | None:
    """Where integers of 32 bits and more are marks; None where there are none.

    Args:
        images: of any shape, as a file holds them.
    """
    if not _may_be_marked(images.dtype, 4) or not images.size:
        return None
    least = int(np.iinfo(images.dtype).max) - 1
    return images >= least if images.max() >= least else None


def refuse_marks(frames: Frames, images: Array, bad: Mask | None, full: float | None) -> None:
    """Refuse marks of 32 bits and more.

    Args:
        frames: where they come from.
        images: ``(b, H, W)``.
        bad: pixels that may hold anything.
        full: numbers of the file from which on a pixel is left out anyhow; None: no such.

    Raises:
        DataError: a pixel that is used holds one.
    """
    wrong = marked(images)
    if wrong is None:
        return
    if full is not None:
        wrong &= images < full
    if bad is not None:
        wrong &= ~bad
    if wrong.any():
        pixels = int(np.any(wrong, axis=0).sum())
        patterns = int(np.any(wrong, axis=(1, 2)).sum())
        _refuse(frames, int(images[wrong].max()), pixels, patterns)


def refuse_always_full(
    frames: Frames,
    arrangement: Arrangement,
    bad: Mask,
    flags: Mask | None,
    how: PreprocessConfig,
    *,
    counts: bool,
) -> None:
    """Refuse pixels of 16 bits that are full in every one of some frames spread over the scan.

    Args:
        frames: the patterns.
        arrangement: which of their pixels are used.
        bad: ``(H, W)``, turned: pixels that may hold anything.
        flags: ``(n, H, W)`` as in the file: the same, of single frames.
        how: what is done to the patterns.
        counts: whether the numbers are counts.

    Raises:
        DataError: there are such pixels.
    """
    if not _may_be_marked(frames.dtype, 2) or frames.dtype.itemsize > 2 or len(frames) < _FEWEST:
        return
    top, full = int(np.iinfo(frames.dtype).max), full_from(how.saturation, how.maximum, counts)
    if full is not None and full <= top:
        return
    rows = np.unique(np.linspace(0, len(frames) - 1, _LOOKED_AT).round().astype(np.int64))
    images = frames.read(rows)
    always = (images == top).all(0)
    if flags is not None:
        hidden = flags[rows]
        always = ((images == top) | hidden).all(0) & ~hidden.all(0)
    always = arrangement.cut(arrangement.turned(always) & ~bad)
    if always.any():
        _refuse(frames, top, int(always.sum()), len(rows))


def full_from(saturation: float | None, maximum: float | None, counts: bool) -> float | None:
    """The least number of a file at which a pixel is left out; None: no number is.

    Args:
        saturation: counts from which on a pixel is left out.
        maximum: counts above which one is.
        counts: whether the file holds counts, not amplitudes.
    """
    limits = [one for one in (saturation, maximum) if one is not None]
    if not limits:
        return None
    return float(min(limits)) if counts else float(np.sqrt(min(limits)))


def _may_be_marked(dtype: np.dtype[Any], size: int) -> bool:
    return dtype.kind in "iu" and dtype.itemsize >= size


def _refuse(frames: Frames, value: int, pixels: int, patterns: int) -> None:
    where = f"{pixels} pixel{'s' if pixels > 1 else ''}"
    raise frames.fault(
        f"holds {value}, a detector's mark for a pixel without a reading, in {where} ({patterns} "
        f"pattern{'s' if patterns > 1 else ''} looked at); name such pixels in "
        "data.preprocess.bad_pixels_file (ptycho doctor with --fix writes one), or type "
        f"data.preprocess.saturation={value} if the detector counts so far and is full there"
    )
