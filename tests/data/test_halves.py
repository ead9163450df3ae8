"""Two halves of a scan: every pattern in one, neighbours parted, both see everything."""

import numpy as np
import pytest

from ptycho.data.halves import split_halves


def grid(rows: int, columns: int) -> np.ndarray:
    return np.stack(np.mgrid[:rows, :columns], axis=-1).reshape(-1, 2) * 6.0


@pytest.mark.parametrize("shape", [(7, 8), (8, 8), (2, 9), (9, 2), (1, 11)])
def test_a_raster_in_any_order_becomes_a_chessboard(shape):
    positions = np.random.default_rng(0).permutation(grid(*shape))
    black, white = split_halves(positions)
    assert sorted([*black, *white]) == list(range(len(positions)))
    colours = [{int(p.sum() / 6) % 2 for p in positions[half]} for half in (black, white)]
    assert sorted(colours, key=sorted) == [{0}, {1}]
    assert abs(len(black) - len(white)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_scattered_positions_are_halved_everywhere(seed):
    rng = np.random.default_rng(seed)
    positions = grid(20, 20) + rng.normal(0, 2.0, (400, 2))
    halves = split_halves(positions)
    # a fair coin would leave 200 +- 10; three times that at the very most
    assert all(abs(len(half) - 200) <= 30 for half in halves)
    for half in halves:
        distance = np.linalg.norm(positions[:, None] - positions[half][None], axis=-1).min(1)
        assert distance.max() < 2.5 * 6.0  # nobody is far from either half


def test_what_was_measured_twice_is_in_both():
    twice = np.repeat(grid(5, 5), 2, axis=0)
    black, white = split_halves(twice)
    assert set(black // 2) == set(white // 2) == set(range(25))


def test_islands_are_halved_one_by_one():
    islands = np.concatenate([grid(3, 4), grid(3, 4) + 1e4])
    black, white = split_halves(islands)
    assert np.count_nonzero(black < 12) == np.count_nonzero(white < 12) == 6


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_patterns(n):
    black, white = split_halves(grid(1, n))
    assert len(black) + len(white) == n
    assert abs(len(black) - len(white)) <= 1
