"""Which patterns are learnt from, and which belong together: random choices, nearest neighbours.

All is done for many patterns at once; besides the groups, memory grows with their number alone.
"""

import math
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.data.scan import DataError

Indices = NDArray[np.int64]

_BLOCK = 2**16  # groups made at once
_CHOICES = 4096  # of neighbours, from which the groups around one pattern are taken


def subsample(n: int, wanted: int | None, seed: int, sequential: bool) -> Indices:
    """Numbers of the patterns that are kept, in scan order.

    Args:
        n: patterns of the scan.
        wanted: how many to keep; all when None or more than there are.
        seed: of the random choice.
        sequential: keep the first ones instead.
    """
    if wanted is None or wanted >= n:
        return np.arange(n)
    if sequential:
        return np.arange(wanted)
    return np.sort(np.random.default_rng(seed).choice(n, wanted, replace=False))


def make_groups(
    positions: NDArray[np.float64],
    *,
    members: int,
    neighbours: int | None = None,
    n_groups: int | None = None,
    seed: int = 0,
    sequential: bool = False,
    oversample: bool = False,
) -> Indices:
    """Groups of patterns that lie close together.

    Each group is a pattern and others among its nearest. As long as there are no more groups
    than patterns, each leads at most one; oversampling lets them lead further ones, each with
    another choice of neighbours.

    Args:
        positions: patch centres ``(n, 2)``.
        members: patterns in a group.
        neighbours: nearest patterns, itself among them, to choose from; ``members`` when None.
        n_groups: how many; one for each pattern when None.
        seed: of what is chosen by chance.
        sequential: let the first patterns lead, not random ones.
        oversample: allow more groups than patterns.

    Returns:
        ``(g, members)``; the first of each group leads it.

    Raises:
        DataError: so many groups, or such large ones, cannot be made.
    """
    n, nearest = len(positions), neighbours or members
    wanted = n if n_groups is None else n_groups
    if n < nearest:
        raise DataError(
            f"groups are chosen from {nearest} neighbouring patterns, and there are {n} to learn "
            "from; set a smaller data.neighbor_count or model.gridsize."
        )
    rng = np.random.default_rng((seed, 1))
    choices = _choices(nearest - 1, members - 1, rng)
    if wanted > n and not oversample:
        raise DataError(
            f"data.n_groups={wanted} is more than the {n} patterns to learn from; ask for fewer, "
            "or set data.enable_oversampling=true to choose several groups around a pattern."
        )
    if wanted > n * len(choices):
        raise DataError(
            f"data.n_groups={wanted} is more than the {n * len(choices)} groups of {members} that "
            f"can be chosen from the {nearest} nearest of {n} patterns; ask for fewer, or set a "
            "larger data.neighbor_count."
        )
    # everyone leads equally often, and whoever leads once more is chosen
    rounds, rest = divmod(wanted, n)
    extra = np.arange(rest) if sequential else np.sort(rng.choice(n, rest, replace=False))
    leaders = np.concatenate([np.tile(np.arange(n), rounds), extra]).astype(np.int64)
    turn = np.concatenate([np.repeat(np.arange(rounds), n), np.full(rest, rounds)])
    if members == 1:
        return leaders[:, None]
    tree, first = cKDTree(positions), rng.integers(len(choices), size=n)
    groups = np.empty((wanted, members), np.int64)
    groups[:, 0] = leaders
    # neighbours one after another: those of one lie in the cache for the next
    rank = np.empty(n, np.int64)
    rank[tree.indices] = np.arange(n)
    for some in _blocks(np.argsort(rank[leaders], kind="stable")):
        led = leaders[some]
        _, near = tree.query(positions[led], nearest, workers=_threads())
        chosen = choices[(first[led] + turn[some]) % len(choices)]
        others = _without_itself(near.astype(np.int64), led)
        groups[some, 1:] = np.take_along_axis(others, chosen, 1)
    return groups


def _blocks(numbers: Indices) -> list[Indices]:
    return [numbers[start : start + _BLOCK] for start in range(0, len(numbers), _BLOCK)]


def _threads() -> int:
    """As many as torch was given, by the settings or the environment."""
    return torch.get_num_threads()


def _choices(among: int, wanted: int, rng: np.random.Generator) -> Indices:
    """Distinct ways ``(c, wanted)`` to choose, in random order; not all where there are many."""
    if math.comb(among, wanted) <= _CHOICES:
        every = np.array(list(combinations(range(among), wanted)), dtype=np.int64)
        return rng.permutation(every.reshape(math.comb(among, wanted), wanted))
    some = rng.random((2 * _CHOICES, among)).argsort(1)[:, :wanted]
    distinct = np.unique(np.sort(some, 1), axis=0)
    return rng.permutation(distinct)[:_CHOICES].astype(np.int64)


def _without_itself(near: Indices, leaders: Indices) -> Indices:
    """Neighbours without the pattern itself, which need not be first where positions repeat."""
    itself = near == leaders[:, None]
    itself[~itself.any(1), -1] = True  # crowded out by patterns at the same place
    others: Indices = near[~itself].reshape(len(near), -1)
    return others
