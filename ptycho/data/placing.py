"""Two reconstructions of one sample brought onto one grid of pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.data.products import Product
from ptycho.data.reconstruction import judged_area
from ptycho.data.scan import DataError

Complex = NDArray[np.complex64]
Positions = NDArray[np.float64]
Box = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First and last-but-one pixel (y, x)."""

_SAME = 1.0  # pixels by which most positions may differ after a common shift
_MOST = 90  # per cent of them
_FOUND = 8.0  # pixels by which positions of one scan may be wrong, or have been corrected
_PIXEL = 0.01  # relative difference of two pixel sizes up to which they are the same
_SMALLEST = 8  # pixels a side that two objects must share


@dataclass(frozen=True)
class Placed:
    """The same area of two objects, pixel on pixel but for a fraction."""

    obj: Complex
    """``(h, w)``."""
    truth: Complex
    """``(h, w)``."""
    corner: tuple[int, int]
    """First pixel (y, x) of the area in ``truth``."""
    moved: tuple[int, int]
    """Whole pixels (y, x) by which the object was moved to lie on the truth."""
    notes: tuple[str, ...]
    """What was decided, in sentences."""


def place(product: Product, truth: Product) -> Placed:
    """Cut the scanned area out of both objects.

    Where both have positions that agree up to a common shift, they say how the grids lie to
    each other: the whole pixels of the median difference are used, the fraction is left to the
    alignment. Else two objects of the same shape are taken to lie on the same grid.

    Raises:
        DataError: nothing says where one lies on the other, or they share no area.
    """
    _refuse_other_pixels(product, truth)
    moved, notes = _displacement(product, truth)
    low = np.maximum(moved, 0)
    high = np.minimum(np.array(product.obj.shape) + moved, truth.obj.shape)
    low, high, said = _within_the_scan(product, truth, moved, (low, high))
    if (high - low < _SMALLEST).any():
        shared = " x ".join(str(max(side, 0)) for side in high - low)
        raise DataError(
            f"{product.label} and {truth.label} share {shared} pixels of the scanned area, at "
            f"least {_SMALLEST} x {_SMALLEST} are needed; do they belong together?"
        )
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    mine = tuple(slice(a, b) for a, b in zip(low - moved, high - moved, strict=True))
    return Placed(
        obj=product.obj[mine],
        truth=truth.obj[inside],
        corner=(int(low[0]), int(low[1])),
        moved=(int(moved[0]), int(moved[1])),
        notes=(*notes, *said),
    )


def with_margin(obj: Complex, positions: Positions, size: int) -> tuple[Complex, Positions, int]:
    """An object with enough room for all patches; what is added is empty, which is 1.

    Args:
        obj: complex ``(H, W)``.
        positions: patch centres ``(n, 2)`` in its pixels.
        size: side N of a patch.

    Returns:
        The object, the positions on it, and how many patches reach into the margin.
    """
    first = np.floor(positions + 0.5).astype(np.int64) - size // 2
    last = first + size
    beyond = (first < 0).any(1) | (last > obj.shape).any(1)
    before = np.maximum(-first.min(0), 0)
    after = np.maximum(last.max(0) - obj.shape, 0)
    widths = tuple(zip(before.tolist(), after.tolist(), strict=True))
    return np.pad(obj, widths, constant_values=1), positions + before, int(beyond.sum())


def _displacement(product: Product, truth: Product) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Whole pixels (y, x) from the object's grid to the truth's."""
    same = product.obj.shape == truth.obj.shape
    pairs, unlike = _common_positions(product, truth), ""
    if pairs is not None:
        difference = pairs[1] - pairs[0]
        median = np.median(difference, axis=0)
        rest = np.percentile(np.abs(difference - median), _MOST)
        if rest <= _SAME:
            moved = np.rint(median).astype(np.int64)
            by = "" if not moved.any() else f", {moved[0]} and {moved[1]} pixels (y, x) apart"
            return moved, (f"the two objects were placed by their positions{by}",)
        if rest <= _FOUND and not same:
            moved = np.rint(median).astype(np.int64)
            note = (
                f"the positions of both differ by {rest:.1f} pixels beyond a common shift (wrong "
                "in one, or found anew): the two objects were placed by that shift"
            )
            return moved, (note,)
        if not same:
            raise DataError(
                f"the positions of {product.label} and {truth.label} differ by more than a common "
                f"shift ({rest:.1f} pixels), so that they do not say where one object lies on the "
                "other; are both of the same scan, and in pixels of the same size?"
            )
        unlike = (
            f"the positions of both differ by more than a common shift ({rest:.1f} pixels), but "
        )
    if same:
        same_grid = "both objects have the same shape: the same grid is meant"
        return np.zeros(2, np.int64), (unlike + same_grid,)
    raise DataError(
        f"{product.label} is {_size(product)} and {truth.label} {_size(truth)}, and "
        f"{_without_positions(product, truth)}, so that nothing says where one lies on the other; "
        "save xcoords and ycoords (patch centres in pixels of that object) with both, or crop them "
        "to the same area."
    )


def _common_positions(product: Product, truth: Product) -> tuple[Positions, Positions] | None:
    """Positions of the same patterns in both, as many as there are."""
    a, b = product.positions, truth.positions
    if a is None or b is None:
        return None
    first, second = (
        np.arange(len(one.positions if one.positions is not None else ()))
        if one.indexes is None
        else one.indexes
        for one in (product, truth)
    )
    _, mine, others = np.intersect1d(first, second, return_indices=True)
    if len(mine) == 0 and len(a) == len(b):
        return a, b
    return (a[mine], b[others]) if len(mine) else None


def _within_the_scan(
    product: Product, truth: Product, moved: NDArray[np.int64], shared: Box
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """The shared area between the outermost patch centres of either, in pixels of the truth."""
    low, high = shared
    known = False
    for one, offset in ((product, moved), (truth, 0)):
        if one.positions is None:
            continue
        known = True
        size = one.probe.shape[-1] if one.probe is not None else 2 * _SMALLEST
        area = judged_area(one.positions, size)
        low = np.maximum(low, np.array([side.start for side in area]) + offset)
        high = np.minimum(high, np.array([side.stop for side in area]) + offset)
    if known:
        return low, high, ()
    return low, high, ("nothing says which area was scanned: the whole image is judged",)


def _refuse_other_pixels(product: Product, truth: Product) -> None:
    a, b = product.pixel_size_m, truth.pixel_size_m
    if a is not None and b is not None and abs(a - b) > _PIXEL * max(a, b):
        raise DataError(
            f"{product.label} has pixels of {a * 1e9:.4g} nm and {truth.label} of "
            f"{b * 1e9:.4g} nm; bring both to pixels of one size first."
        )


def _size(product: Product) -> str:
    return f"{product.obj.shape[0]} x {product.obj.shape[1]} pixels"


def _without_positions(product: Product, truth: Product) -> str:
    lacking = [one.label for one in (product, truth) if one.positions is None]
    if len(lacking) == 1:
        return f"{lacking[0]} has no positions"
    return "neither has positions" if lacking else "they have no position in common"
