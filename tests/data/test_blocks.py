import itertools

import numpy as np
import pytest

from ptycho.data.blocks import blocks_of

WINDOW = 16


def grid(rows: int, columns: int, step: int = 4) -> np.ndarray:
    return np.stack(np.mgrid[:rows, :columns], axis=-1).reshape(-1, 2) * step


def ring() -> np.ndarray:
    """Two arms that meet at both ends only."""
    corners = grid(40, 40)
    radius = np.hypot(*(corners - 78).T)
    return corners[(radius > 55) & (radius < 78)]


def overlaps(some: np.ndarray, others: np.ndarray) -> bool:
    away = np.abs(some[:, None] - others[None]).max(-1)
    return bool((away < WINDOW).any())


def test_few_patterns_stay_as_they_are():
    (block,) = blocks_of(grid(4, 4), WINDOW, 16)
    assert block.tolist() == list(range(16))


@pytest.mark.parametrize("at_most", [1, 7, 100])
def test_every_pattern_is_in_one_block_of_bounded_size(at_most: int):
    corners = grid(20, 30)[np.random.default_rng(0).permutation(600)]
    blocks = blocks_of(corners, WINDOW, at_most)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(600))
    assert max(map(len, blocks)) <= at_most + 1


@pytest.mark.parametrize("corners", [grid(20, 30), grid(1, 300), grid(300, 2), ring()])
def test_each_block_overlaps_those_before_it(corners: np.ndarray):
    corners = corners + np.random.default_rng(0).integers(0, 3, corners.shape)
    blocks = blocks_of(corners, WINDOW, 20)
    assert len(blocks) > 5
    for number, block in enumerate(blocks[1:], 1):
        assert overlaps(corners[block], corners[np.concatenate(blocks[:number])])


def test_islands_come_one_after_the_other():
    corners = np.concatenate([grid(10, 10), grid(10, 10) + 1000])
    blocks = blocks_of(corners, WINDOW, 20)
    here = [bool((corners[block] >= 1000).all()) for block in blocks]
    assert sum(one != other for one, other in itertools.pairwise(here)) == 1
