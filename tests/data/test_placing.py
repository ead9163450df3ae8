"""One object on the other: by positions, by shape, or with a sentence why not."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ptycho.data.placing import place, with_margin
from ptycho.data.products import Product
from ptycho.data.scan import DataError

RNG = np.random.default_rng(0)
SAMPLE = (RNG.normal(size=(120, 130, 2)) @ [1, 1j]).astype(np.complex64)
POSITIONS = RNG.uniform([30, 30], [90, 100], (40, 2))
PROBE = np.ones((1, 16, 16), np.complex64)


def cut(top: int, left: int, height: int, width: int, **changes) -> Product:
    """A reconstruction on a canvas of its own, cut out of the sample."""
    window = SAMPLE[top : top + height, left : left + width]
    whole = Product(
        obj=window, probe=PROBE, positions=POSITIONS - [top, left], label=f"cut at {top}"
    )
    return replace(whole, **changes)


def test_positions_place_one_on_the_other():
    placed = place(cut(10, 20, 100, 105), cut(3, 0, 115, 128))
    np.testing.assert_array_equal(placed.obj, placed.truth)
    assert placed.moved == (7, 20)
    low, high = np.ceil(POSITIONS.min(0)), np.floor(POSITIONS.max(0)) + 1
    np.testing.assert_array_equal(placed.truth.shape, high - low)
    np.testing.assert_array_equal(placed.corner, low - [3, 0])
    assert "placed by their positions, 7 and 20 pixels" in placed.notes[0]


def test_a_fraction_is_left_to_the_alignment():
    moved = cut(0, 0, 120, 130, positions=POSITIONS + np.array([0.3, -0.4]))
    assert place(moved, cut(0, 0, 120, 130)).moved == (0, 0)


def test_a_few_bad_positions_do_no_harm():
    wrong = POSITIONS - [10, 20]
    wrong[:3] += 30.0
    assert place(cut(10, 20, 110, 110, positions=wrong), cut(0, 0, 120, 130)).moved == (10, 20)


def test_numbers_say_which_positions_belong_together():
    some = RNG.permutation(40)[:25]
    placed = place(
        cut(10, 20, 100, 105, positions=(POSITIONS - [10, 20])[some], indexes=some),
        cut(0, 0, 120, 130),
    )
    np.testing.assert_array_equal(placed.obj, placed.truth)


def test_the_same_shape_is_the_same_grid():
    alone = Product(obj=SAMPLE, label="a")
    placed = place(alone, replace(alone, label="b"))
    np.testing.assert_array_equal(placed.obj, SAMPLE)
    assert placed.notes == (
        "both objects have the same shape: the same grid is meant",
        "nothing says which area was scanned: the whole image is judged",
    )


def test_positions_that_disagree_are_told_when_the_shape_decides():
    wrong = POSITIONS[::-1].copy()
    placed = place(cut(0, 0, 120, 130, positions=wrong), cut(0, 0, 120, 130))
    assert placed.moved == (0, 0)
    (note,) = placed.notes
    assert re.fullmatch(
        r"the positions of both differ by more than a common shift \(\d+\.\d pixels\), but both "
        "objects have the same shape: the same grid is meant",
        note,
    )


def test_wrong_positions_still_say_where_one_lies_on_the_other():
    wrong = POSITIONS - [10, 20] + np.random.default_rng(1).normal(0, 2, POSITIONS.shape)
    placed = place(cut(10, 20, 100, 105, positions=wrong), cut(3, 0, 115, 128))
    assert np.abs(np.subtract(placed.moved, (7, 20))).max() <= 1
    (note,) = placed.notes
    assert re.match(r"the positions of both differ by \d\.\d pixels beyond a common shift", note)


def test_positions_of_one_are_enough_to_know_the_area():
    placed = place(Product(obj=SAMPLE), cut(0, 0, 120, 130))
    np.testing.assert_array_equal(
        placed.truth.shape, np.floor(POSITIONS.max(0)) + 1 - np.ceil(POSITIONS.min(0))
    )
    assert len(placed.notes) == 1


@pytest.mark.parametrize(
    ("mine", "others", "words"),
    [
        (
            cut(0, 0, 100, 110, positions=None), cut(0, 0, 120, 130),
            "cut at 0 is 100 x 110 pixels and cut at 0 120 x 130 pixels, and cut at 0 has no pos",
        ),
        (
            Product(obj=SAMPLE[1:]), Product(obj=SAMPLE),
            "and neither has positions, so that nothing says where one lies on the other; save",
        ),
        (
            cut(0, 0, 110, 110, positions=POSITIONS * 0.5), cut(0, 0, 120, 130),
            r"differ by more than a common shift \(\d+\.\d pixels\)",
        ),
        (
            cut(0, 0, 120, 130, pixel_size_m=8e-9), cut(0, 0, 120, 130, pixel_size_m=9e-9),
            "has pixels of 8 nm and cut at 0 of 9 nm; bring both to pixels of one size",
        ),
        (
            cut(0, 0, 120, 130, positions=POSITIONS * 0.1), cut(0, 0, 120, 130),
            "pixels of the scanned area, at least 8 x 8 are needed",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_placed_is_told(mine, others, words):
    with pytest.raises(DataError, match=words):
        place(mine, others)


@pytest.mark.parametrize("size", [16, 15])
def test_a_margin_gives_every_patch_room_and_adds_nothing_else(size):
    obj = SAMPLE[:40, :50]
    positions = np.array([[2.0, 3.4], [39.6, 30.0], [20.0, 20.0]])
    canvas, there, beyond = with_margin(obj, positions, size)
    before = np.rint(there[0] - positions[0]).astype(int)
    np.testing.assert_array_equal(there - positions, np.tile(before, (3, 1)))
    top, left = before
    np.testing.assert_array_equal(canvas[top : top + 40, left : left + 50], obj)
    outside = np.ones(canvas.shape, bool)
    outside[top : top + 40, left : left + 50] = False
    assert (canvas[outside] == 1).all()
    corners = np.floor(there + 0.5) - size // 2
    assert (corners.min(0) == 0).all()  # just enough
    assert (corners + size <= canvas.shape).all()
    assert beyond == 2


def test_no_margin_where_none_is_needed():
    canvas, there, beyond = with_margin(SAMPLE, POSITIONS, 16)
    assert canvas.shape == SAMPLE.shape
    assert beyond == 0
    np.testing.assert_array_equal(there, POSITIONS)
