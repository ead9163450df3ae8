"""What a few frames tell of the detector: where the beam meets it, which pixels always shine."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ptycho.data.arrangement import Arrangement, Centre
from ptycho.data.frames import Array, Frames, Indices
from ptycho.data.resampling import Mask, Real
from ptycho.data.scan import DataError

_MOST_FRAMES, _FEWEST_FRAMES = 256, 16
_MOST_BYTES = 256 * 2**20
_OVERLAP = 0.7  # of the light must have a counterpart
_HOT, _COUNTS = 5.0, 10.0  # times its neighbours, and so many counts more
_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)


def sample(frames: Frames) -> Indices:
    """Numbers of frames to look at, evenly spread over the scan: 256, fewer of large ones."""
    each = 4 * frames.shape[1] * frames.shape[2]
    most = max(min(_MOST_FRAMES, _MOST_BYTES // max(each, 1)), _FEWEST_FRAMES)
    if len(frames) <= most:
        return np.arange(len(frames))
    return np.linspace(0, len(frames) - 1, most).round().astype(np.int64)


def counts_of(frames: Frames, rows: Indices, arrangement: Arrangement, counts: bool) -> Array:
    """Counts of some frames, float32 ``(k, H, W)``, rows and columns in their final order."""
    block = arrangement.turned(frames.read(rows)).astype(np.float32)
    return block if counts else np.square(block, out=block)


def hot_pixels(block: Array, bad: Mask) -> Mask:
    """Pixels that shine whatever the pattern.

    A pattern changes from frame to frame and is smooth over the few pixels of a speckle. A pixel
    is hot that holds, in nine frames of ten, more than five times what seven of its eight
    neighbours reach in one frame of ten, and ten counts more. Three of a hot cluster may be
    neighbours of each other: the third brightest of the eight is compared.

    Args:
        block: counts ``(k, H, W)``.
        bad: ``(H, W)``: pixels that are known to be bad.
    """
    always, sometimes = np.quantile(np.where(bad, 0, block), (0.1, 0.9), axis=0)
    around = ndimage.rank_filter(
        sometimes, rank=-3, footprint=_NEIGHBOURS, mode="constant", cval=0.0
    )  # fmt: skip
    hot: Mask = (always > _HOT * around + _COUNTS) & ~bad
    return hot


def find_centre(block: Array, bad: Mask, name: str) -> tuple[Centre, float]:
    """The point about which the mean pattern is most symmetric, and how symmetric it is.

    The correlation of the square root of the mean pattern with itself, turned by 180 degrees
    about every point, over pixels that are good in both; where at least 0.7 of the light has a
    counterpart. Between the half pixels at which it is known, a parabola is laid through it.

    Args:
        block: counts ``(k, H, W)``.
        bad: ``(H, W)``: pixels that are not looked at.
        name: of the file, for sentences.

    Returns:
        Row and column, and the correlation there, 1 being perfect symmetry.

    Raises:
        DataError: the frames are empty.
    """
    good = (~bad).astype(np.float64)
    mean = block.mean(0, dtype=np.float64)
    light = np.sqrt(np.where(bad, 0.0, mean).clip(0))  # what bad pixels hold is not looked at
    if not light.any():
        raise DataError(f"{name}: data.preprocess.find_center finds no counts on good pixels.")
    score = _symmetry(light, good)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    y = _between(score[:, column], int(row)) / 2
    x = _between(score[row], int(column)) / 2
    return (round(y, 2), round(x, 2)), float(score[row, column])


def _symmetry(light: Real, good: Real) -> Real:
    """Correlation about every half pixel ``(2 H - 1, 2 W - 1)``; -1 where too little overlaps."""
    shape = [2 * n - 1 for n in light.shape]
    grid = [fft.next_fast_len(n, real=True) for n in shape]
    inside = tuple(slice(n) for n in shape)

    def turned(one: NDArray[np.complex128], other: NDArray[np.complex128]) -> Real:
        found: Real = fft.irfft2(one * other, s=grid)[inside]
        return found

    mask, once, twice = (fft.rfft2(part, s=grid) for part in (good, light, light**2))
    number = np.maximum(turned(mask, mask), 1e-9)
    total, squares, products = turned(once, mask), turned(twice, mask), turned(once, once)
    spread = squares - total**2 / number
    score = (products - total**2 / number) / np.maximum(spread, 1e-9 * max(squares.max(), 1e-300))
    enough = (squares >= _OVERLAP * (light**2).sum()) & (number > 0.5)
    return np.where(enough, score, -1.0)


def _between(line: Real, peak: int) -> float:
    """The highest point of a parabola through a maximum and its neighbours."""
    if not 0 < peak < len(line) - 1:
        return float(peak)
    before, at, after = line[peak - 1 : peak + 2]
    bend = before - 2 * at + after
    if bend >= 0 or min(before, after) <= -1:
        return float(peak)
    return float(peak + 0.5 * (before - after) / bend)
