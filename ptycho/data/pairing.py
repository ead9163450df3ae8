"""Which pattern of a scan belongs to which position of a reconstruction."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho.data.products import Indices, Product
from ptycho.data.scan import DataError, Scan

Positions = NDArray[np.float64]

_SAME = 0.5  # pixels up to which two lists of positions are the same but for a shift


@dataclass(frozen=True)
class Pairing:
    """Patterns of a scan, each with the place on the object where it was taken."""

    patterns: Indices
    """``(m,)``: numbers of the patterns in the scan, ascending."""
    positions: Positions
    """``(m, 2)``: their patch centres (y, x) in pixels of the object."""
    held_out: Indices
    """Rows of the two above that the reconstruction never saw."""
    notes: tuple[str, ...] = ()
    """What was decided, in sentences."""


def pair(product: Product, scan: Scan) -> Pairing:
    """Pair the patterns of a scan with the positions of a reconstruction.

    By number where the reconstruction keeps numbers (as ptychodus does: several positions of
    one pattern are averaged, patterns without a position are left out), else in order. An
    object without positions is taken to lie on the scan's own grid. Positions that are not
    those of the scan are used all the same, and it is said by how much they differ.

    Raises:
        DataError: nothing says which belongs to which.
    """
    if product.positions is None:
        return _on_the_scans_grid(product, scan)
    found = _paired(product, product.positions, scan)
    theirs = scan.positions[found.patterns]
    if _agree(found.positions, theirs):
        return found
    apart = np.hypot(*_beyond_a_shift(found.positions, theirs).T).max()
    note = f"FILE's positions differ from the scan's by up to {apart:.1f} px, a common shift aside"
    return replace(found, notes=(*found.notes, note))


def _paired(product: Product, positions: Positions, scan: Scan) -> Pairing:
    if product.indexes is not None:
        return _by_number(product, positions, product.indexes, scan)
    n = len(positions)
    if n == len(scan) or (n < len(scan) and _agree(positions, scan.positions[:n])):
        left = len(scan) - n
        notes = (f"the last {left} patterns have no position in FILE and are left out",) * bool(
            left
        )
        return Pairing(np.arange(n), positions, product.held_out, notes)
    lit = np.flatnonzero(np.asarray(scan.amplitude).any((1, 2)))
    if n == len(lit):
        note = f"{len(scan) - n} empty patterns have no position in FILE and are left out"
        return Pairing(lit, positions, product.held_out, (note,))
    raise DataError(
        f"{product.label} has {n} positions and {scan.label} {len(scan)} patterns, and nothing "
        "says which belong together; give the scan that was reconstructed, or keep the numbers "
        "of the patterns (probe_position_indexes) with the positions."
    )


def _on_the_scans_grid(product: Product, scan: Scan) -> Pairing:
    shape = product.obj.shape
    if scan.truth is not None and scan.truth.shape != shape:
        raise DataError(
            f"{product.label} holds an object of {shape[0]} x {shape[1]} pixels without positions, "
            f"and the one in {scan.label} has {scan.truth.shape[0]} x {scan.truth.shape[1]}; save "
            "xcoords and ycoords (patch centres in pixels of that object) with it."
        )
    low, high = scan.positions.min(0), scan.positions.max(0)
    if (low < 0).any() or (high > shape).any():
        raise DataError(
            f"{product.label} holds an object of {shape[0]} x {shape[1]} pixels without positions, "
            f"and those of {scan.label} reach from (y, x) = ({low[0]:.0f}, {low[1]:.0f}) to "
            f"({high[0]:.0f}, {high[1]:.0f}); save xcoords and ycoords (patch centres in pixels "
            "of that object) with it."
        )
    note = "FILE has no positions: those of the scan are used, on the same pixels"
    return Pairing(np.arange(len(scan)), scan.positions, np.zeros(0, np.int64), (note,))


def _by_number(product: Product, positions: Positions, numbers: Indices, scan: Scan) -> Pairing:
    inside = (numbers >= 0) & (numbers < len(scan))
    if len(numbers) == len(scan) and not inside.all():
        # a trigger count: the patterns were stored in its order
        order = np.argsort(numbers, kind="stable")
        held = np.flatnonzero(np.isin(order, product.held_out))
        note = "the indexes in FILE are no row numbers: patterns are paired in their order"
        return Pairing(np.arange(len(scan)), positions[order], held, (note,))
    if not inside.any():
        raise DataError(
            f"{product.label} names patterns {numbers.min()} to {numbers.max()}, and "
            f"{scan.label} has {len(scan)}; give the scan that was reconstructed."
        )
    patterns, row, count = np.unique(numbers[inside], return_inverse=True, return_counts=True)
    mean = np.zeros((len(patterns), 2))
    np.add.at(mean, row, positions[inside])
    seen = ~np.isin(np.flatnonzero(inside), product.held_out)
    trained = np.bincount(row, seen, minlength=len(patterns)) > 0
    told = {
        "{} positions name no pattern of the scan and are left out": int((~inside).sum()),
        "{} patterns have several positions in FILE, which are averaged": int((count > 1).sum()),
        "{} patterns have no position in FILE and are left out": len(scan) - len(patterns),
    }
    notes = tuple(words.format(number) for words, number in told.items() if number)
    return Pairing(patterns, mean / count[:, None], np.flatnonzero(~trained), notes)


def _agree(a: Positions, b: Positions) -> bool:
    return bool((np.abs(_beyond_a_shift(a, b)) <= _SAME).all())


def _beyond_a_shift(a: Positions, b: Positions) -> Positions:
    """Differences of two lists of positions, less the usual one."""
    difference = a - b
    return np.asarray(difference - np.median(difference, axis=0))
