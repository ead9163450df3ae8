"""Two plain pictures: which is which, what they show, and that nothing else does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from ptycho.data.reconstruction import Reconstruction, Stage
from ptycho.report.singles import save_singles

pytestmark = pytest.mark.filterwarnings("error")
SIDE, MARGIN = 90, 20


def result(amplitude: np.ndarray, phase: np.ndarray) -> Reconstruction:
    """A result with garbage around the scanned area."""
    obj = np.full((SIDE + 2 * MARGIN,) * 2, 50 + 80j, np.complex64)
    obj[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE] = amplitude * np.exp(1j * phase)
    corners = np.array([[0, 0], [0, SIDE - 1], [SIDE - 1, 0], [SIDE - 1, SIDE - 1]]) + MARGIN
    probe = np.ones((1, 16, 16), np.complex64)
    return Reconstruction((Stage("solver", obj, 0.0),), probe, corners.astype(float))


def drawn(found: Reconstruction, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures, complete pages ``(y, x, 3)``."""
    files = folder / "a.png", folder / "p.png"
    save_singles(found, *files)
    one, other = (np.asarray(Image.open(file).convert("RGB")).astype(float) for file in files)
    return one, other


def image(page: np.ndarray) -> np.ndarray:
    """The image of a square page, scaled to one pixel for each of the object's."""
    grey = page[45:745, 15:715].mean(-1)
    return ndimage.zoom(grey, SIDE / 700, order=1, grid_mode=True, mode="nearest")


@pytest.fixture(scope="module")
def smooth() -> tuple[np.ndarray, np.ndarray]:
    noise = np.random.default_rng(3).normal(size=(2, SIDE, SIDE))
    amplitude, phase = ndimage.gaussian_filter(noise, (0, 4, 4))
    return 1 + amplitude, 8 * phase


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    inner = np.s_[12:-30, 12:-12]  # the scale bar lies over the rest
    return float(np.corrcoef(one[inner].ravel(), other[inner].ravel())[0, 1])


def test_they_are_amplitude_and_phase_of_the_scanned_area(smooth, tmp_path: Path):
    pages = drawn(result(*smooth), tmp_path)
    for page, mine, other in zip(pages, smooth, reversed(smooth), strict=True):
        assert page.shape == (760, 800, 3)
        assert (page == page[..., :1]).all(), "grey"
        # levelling takes the little ramp that any phase has by chance
        assert correlation(image(page), mine) > 0.97
        assert abs(correlation(image(page), other)) < 0.6


def test_a_ramp_does_not_show(smooth, tmp_path: Path):
    amplitude, phase = smooth
    ramp = 0.4 * np.arange(SIDE)
    _, page = drawn(result(amplitude, phase + ramp), tmp_path)
    assert correlation(image(page), phase) > 0.97


def test_where_a_truth_came_with_it_it_is_brought_onto_that(smooth, tmp_path: Path):
    amplitude, phase = smooth
    ramp = 0.05 * np.arange(SIDE)
    found, true = result(amplitude, phase + ramp), result(amplitude, phase)
    pages = drawn(replace(found, truth=true.obj), tmp_path)
    for page, wanted in zip(pages, smooth, strict=True):
        assert correlation(image(page), wanted) > 0.99


def test_a_few_wild_pixels_do_not_set_the_scale(smooth, tmp_path: Path):
    amplitude, phase = smooth[0].copy(), smooth[1]
    amplitude[40:43, 50:53] = 1000
    page, _ = drawn(result(amplitude, phase), tmp_path)
    assert image(page)[12:-30, 12:-12].std() > 30


def test_a_phase_that_takes_all_values_has_colours_in_a_circle(smooth, tmp_path: Path):
    amplitude, phase = smooth
    _, page = drawn(result(amplitude, 12 * phase), tmp_path)
    assert (np.ptp(page, axis=-1) > 30).mean() > 0.1


def test_a_length_is_in_the_picture_in_metres_when_they_are_known(smooth, tmp_path: Path):
    found = result(*smooth)
    unknown, known = (drawn(one, tmp_path) for one in (found, replace(found, pixel_size_m=1.37e-8)))
    for one, other in zip(unknown, known, strict=True):
        differs = (one != other).any(-1)
        assert differs.any()
        rows, columns = np.nonzero(differs)
        assert rows.min() > 600, "below"
        assert columns.max() < 400, "at the left"


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(1, 800, (900, 210)), (800, 1, (250, 860)), (200, 2500, (2100, 220)), (20, 20, (800, 760))],
)
def test_any_shape_has_its_page(height: int, width: int, size: tuple[int, int], tmp_path: Path):
    rng = np.random.default_rng(0)
    obj = np.exp(1j * rng.normal(size=(height + 40, width + 40))).astype(np.complex64)
    ends = np.array([[20.0, 20.0], [19.0 + height, 19.0 + width]])
    found = Reconstruction((Stage("solver", obj, 0.0),), np.ones((1, 2, 2), np.complex64), ends)
    for page in drawn(found, tmp_path):
        assert page.shape[1::-1] == size
