"""Patterns find their positions by number, in order, or not at all."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho.data.pairing import pair
from ptycho.data.products import Product
from ptycho.data.scan import DataError, Scan
from tests.runs import scan_at

N = 12
POSITIONS = np.random.default_rng(0).uniform(10, 50, (N, 2))
OBJECT = np.ones((64, 60), np.complex64)


@pytest.fixture
def scan() -> Scan:
    return scan_at(POSITIONS + 100)


def product(positions=POSITIONS, **changes) -> Product:
    return Product(obj=OBJECT, positions=positions, label="theirs", **changes)


def numbered(numbers, **changes) -> Product:
    numbers = np.asarray(numbers)
    return product(POSITIONS[numbers % N], indexes=numbers, **changes)


def test_as_many_as_there_are_patterns_are_in_order(scan):
    found = pair(product(held_out=np.array([2, 5])), scan)
    np.testing.assert_array_equal(found.patterns, np.arange(N))
    np.testing.assert_array_equal(found.positions, POSITIONS)
    assert list(found.held_out) == [2, 5]
    assert found.notes == ()


def test_empty_patterns_may_have_been_left_out(scan):
    dark = scan.amplitude.copy()
    dark[[0, 4]] = 0
    found = pair(product(POSITIONS[2:], held_out=np.array([1])), replace(scan, amplitude=dark))
    np.testing.assert_array_equal(found.patterns, np.delete(np.arange(N), [0, 4]))
    np.testing.assert_array_equal(found.positions, POSITIONS[2:])
    assert list(found.held_out) == [1]
    assert found.notes[0] == "2 empty patterns have no position in FILE and are left out"


def test_the_order_in_the_file_does_not_matter_when_they_are_numbered(scan):
    shuffled = np.random.default_rng(1).permutation(N)
    found = pair(numbered(shuffled, held_out=np.flatnonzero(shuffled == 3)), scan)
    np.testing.assert_array_equal(found.patterns, np.arange(N))
    np.testing.assert_array_equal(found.positions, POSITIONS)
    assert list(found.held_out) == [3]
    assert found.notes == ()


def test_missing_ones_are_left_out_and_it_is_said(scan):
    found = pair(numbered([1, 2, 5, 9]), scan)
    np.testing.assert_array_equal(found.patterns, [1, 2, 5, 9])
    np.testing.assert_array_equal(found.positions, POSITIONS[[1, 2, 5, 9]])
    assert found.notes == ("8 patterns have no position in FILE and are left out",)


def test_several_positions_of_one_pattern_are_averaged_and_it_is_said(scan):
    places = np.concatenate([POSITIONS, POSITIONS[4:5] + np.array([0.0, 0.6])])
    numbers = np.array([*range(N), 4])
    found = pair(product(places, indexes=numbers, held_out=np.array([4, 7])), scan)
    np.testing.assert_allclose(found.positions[4], POSITIONS[4] + [0.0, 0.3])
    assert list(found.held_out) == [7]  # the other position of pattern 4 was trained on
    assert found.notes == ("1 patterns have several positions in FILE, which are averaged",)


def test_numbers_outside_the_scan_are_left_out(scan):
    found = pair(product(np.tile(POSITIONS, (2, 1)), indexes=np.arange(2 * N)), scan)
    np.testing.assert_array_equal(found.patterns, np.arange(N))
    assert found.notes == ("12 positions name no pattern of the scan and are left out",)


def test_trigger_counts_are_taken_in_their_order(scan):
    triggers = 1_000_000 * (np.arange(N) // 4) + np.arange(N) % 4
    shuffled = np.random.default_rng(2).permutation(N)
    theirs = product(
        POSITIONS[shuffled], indexes=triggers[shuffled], held_out=np.flatnonzero(shuffled == 6)
    )
    found = pair(theirs, scan)
    np.testing.assert_array_equal(found.positions, POSITIONS)
    assert list(found.held_out) == [6]
    assert "paired in their order" in found.notes[0]


def test_the_first_patterns_of_a_scan_are_known_by_their_positions(scan):
    found = pair(product(POSITIONS[:8]), scan)
    np.testing.assert_array_equal(found.patterns, np.arange(8))
    assert found.notes == ("the last 4 patterns have no position in FILE and are left out",)


@pytest.mark.parametrize("numbers", [None, np.arange(N)])
def test_positions_that_are_not_those_of_the_scan_are_told(scan, numbers):
    moved = POSITIONS.copy()
    moved[3] += [3, 4]
    found = pair(product(moved, indexes=numbers), scan)
    np.testing.assert_array_equal(found.positions, moved)
    assert found.notes == (
        "FILE's positions differ from the scan's by up to 5.0 px, a common shift aside",
    )


def test_without_positions_the_scans_are_used(scan):
    inside = replace(scan, positions=POSITIONS)
    found = pair(product(None), inside)
    np.testing.assert_array_equal(found.positions, POSITIONS)
    assert "those of the scan are used" in found.notes[0]


@pytest.mark.parametrize(
    ("theirs", "changes", "words"),
    [
        (product(POSITIONS[::2]), {}, r"theirs has 6 positions and .* 12 patterns, and nothing"),
        (product(np.tile(POSITIONS, (2, 1))), {}, "24 positions and .* 12 patterns"),
        (product(POSITIONS[:3], indexes=np.array([20, 30, 31])), {}, "names patterns 20 to 31"),
        (product(None), {}, r"64 x 60 pixels without positions, and those of .* reach from"),
        (
            product(None),
            {"truth": np.ones((9, 7), np.complex64), "positions": POSITIONS},
            "has 9 x 7; save xcoords and ycoords",
        ),
    ],
)
def test_what_belongs_to_nothing_is_told(scan, theirs, changes, words):
    with pytest.raises(DataError, match=words):
        pair(theirs, replace(scan, **changes))
