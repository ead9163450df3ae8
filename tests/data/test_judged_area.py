"""What part of a scan is judged."""

import numpy as np
import pytest

from ptycho.data.reconstruction import judged_area, scanned_area
from ptycho.data.synthetic.paths import way

RNG = np.random.default_rng(0)


def steps(ny: int, nx: int, jitter: float = 0.0) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(ny), np.arange(nx), indexing="ij"), -1).reshape(-1, 2)
    return 30.0 + 4 * grid + jitter * RNG.uniform(-1, 1, grid.shape)


@pytest.mark.parametrize("jitter", [0.0, 1.0, 2.0])
def test_a_rectangular_scan_is_judged_whole(jitter):
    positions = steps(20, 31, jitter)
    assert judged_area(positions, 32) == scanned_area(positions, 32)
    # where some are lost, too
    assert judged_area(np.delete(positions, [0, 7, 300], 0), 32) == scanned_area(positions, 32)


@pytest.mark.parametrize("path", ["fermat", "concentric"])
def test_a_round_scan_is_judged_where_light_came(path):
    positions, _ = way(path, 900, 4.0, 0.0, np.random.default_rng(0))
    positions = positions + 100
    middle, radius = positions.mean(0), np.ptp(positions, axis=0).min() / 2
    rows, columns = judged_area(positions, 32)
    corners = np.array([[y, x] for y in (rows.start, rows.stop - 1)
                        for x in (columns.start, columns.stop - 1)])  # fmt: skip
    assert np.linalg.norm(corners - middle, axis=1).max() < radius + 3 * 4.0
    # the largest square within a circle has 2 / pi of its area
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    assert area > 2 * radius**2


@pytest.mark.parametrize(
    "positions", [[[40, 40]], [[40, 40], [40, 80], [40, 120]], [[40, 40], [50, 60]]]
)
def test_a_line_has_no_corners(positions):
    positions = np.array(positions, float)
    assert judged_area(positions, 32) == scanned_area(positions, 32)


def test_what_would_be_tiny_is_not_cut_out():
    diamond = np.array([[100, 80], [100, 120], [80, 100], [120, 100.0], [100, 100]])
    assert judged_area(np.tile(diamond, (80, 1)), 64) == scanned_area(diamond, 64)
