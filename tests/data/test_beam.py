from pathlib import Path

import numpy as np
import pytest

from ptycho.config.data_config import PreprocessConfig
from ptycho.data.beam import find_centre, hot_pixels, sample
from ptycho.data.frames import ArrayFrames
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError

rng = np.random.default_rng(1)


def rings(
    centre: tuple[float, float], shape: tuple[int, int] = (60, 70), n: int = 30
) -> np.ndarray:
    """Counts of a bright ring with a stop in its middle, over speckle that changes."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(y - centre[0], x - centre[1])
    light = 40 * np.exp(-((distance - 9) ** 2) / 8) + 4 * np.exp(-distance / 9)
    return rng.poisson(light * rng.gamma(3, 1 / 3, (n, *shape))).astype(np.float32)


@pytest.mark.parametrize("centre", [(30.0, 35.0), (27.3, 41.8), (20.5, 30.0)])
def test_the_beam_is_found(centre):
    block = rings(centre)
    found, symmetry = find_centre(block, np.zeros(block.shape[1:], bool), "star.h5")
    np.testing.assert_allclose(found, centre, atol=0.25)
    assert symmetry > 0.9


def test_it_is_found_behind_bad_pixels():
    """A gap between modules and a beam stop, where the centre of mass would lie elsewhere."""
    block = rings((27.3, 41.8))
    bad = np.zeros(block.shape[1:], bool)
    bad[:, 45:49] = bad[20:28, 36:41] = True
    for held in (1e6, -1, np.nan, np.inf):
        block[:, bad] = held
        found, symmetry = find_centre(block, bad, "star.h5")
        np.testing.assert_allclose(found, (27.3, 41.8), atol=0.25)
        assert symmetry > 0.9


def test_there_must_be_light():
    with pytest.raises(DataError, match=r"^star\.h5: .*find_center finds no counts"):
        find_centre(np.zeros((3, 8, 8), np.float32), np.zeros((8, 8), bool), "star.h5")


def test_hot_pixels_shine_whatever_the_pattern():
    block = rings((27.3, 41.8))
    hot = np.zeros(block.shape[1:], bool)
    hot[5, 6] = hot[40, 12] = hot[40, 13] = hot[30, 50] = True
    block[:, hot] += 3000
    np.testing.assert_array_equal(hot_pixels(block, np.zeros_like(hot)), hot)
    known = hot & (np.arange(70) < 13)
    np.testing.assert_array_equal(hot_pixels(block, known), hot & ~known)


def test_nothing_is_hot_in_patterns_as_they_are():
    """Not even a sharp beam among few photons, nor one bright frame."""
    block = rings((30.0, 35.0), n=12)
    block[:, 30, 35] += 30
    block[3, 10, 10] += 1e5
    assert not hot_pixels(block, np.zeros(block.shape[1:], bool)).any()


def test_hot_pixels_are_left_out_of_a_scan():
    block = rings((30.0, 30.0), (60, 60))
    block[:, 7, 9] += 999
    frames = ArrayFrames(block, Path("star.h5"), "patterns")
    probe = np.ones((1, 60, 60), np.complex64)
    found = Measurement(frames, np.zeros((30, 2)), probe=probe)
    scan = prepare(found, preprocess=PreprocessConfig(mask_hot=True, flip_x=True))
    assert np.argwhere(scan.bad_pixels).tolist() == [[7, 50]]
    assert scan.notes["prepared"].startswith("1 hot pixel left out, 1 bad pixel, columns")


def test_large_scans_are_looked_at_here_and_there():
    frames = ArrayFrames(np.broadcast_to(np.uint8(0), (5000, 4, 4)), Path("a"), "patterns")
    rows = sample(frames)
    assert (len(rows), rows[0], rows[-1]) == (256, 0, 4999)
    assert len(np.unique(rows)) == 256
    huge = ArrayFrames(np.broadcast_to(np.uint8(0), (5000, 4000, 4000)), Path("a"), "patterns")
    assert len(sample(huge)) == 16
