from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from ptycho.data.scan import DataError, Scan
from tests.runs import tiny_scan


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    return Scan(
        amplitude=rng.random((5, 8, 8), dtype=np.float32),
        positions=10 * rng.random((5, 2)),
        probe=np.ones((2, 8, 8), np.complex64),
        label="star",
    )


def test_it_knows_its_sizes(scan):
    assert len(scan) == 5
    assert scan.patch_size == 8


def test_photons_are_counts_per_pattern(scan):
    amplitude = np.full((3, 8, 8), 2, np.float32)
    twos = replace(scan, amplitude=amplitude, positions=np.zeros((3, 2)))
    assert twos.photons == 4 * 64


def test_photons_do_not_overflow_or_round(scan):
    amplitude = np.full((5, 8, 8), 1e20, np.float32)
    assert replace(scan, amplitude=amplitude).photons == pytest.approx(64e40)


def test_first_patterns_keep_their_positions(scan):
    some = scan.first(3)
    assert len(some) == 3
    np.testing.assert_array_equal(some.amplitude, scan.amplitude[:3])
    np.testing.assert_array_equal(some.positions, scan.positions[:3])
    np.testing.assert_array_equal(some.probe, scan.probe)


@pytest.mark.parametrize("n", [None, 5, 99])
def test_first_of_too_few_is_all(scan, n):
    assert scan.first(n) is scan


def test_it_cannot_be_changed(scan):
    with pytest.raises(FrozenInstanceError):
        scan.label = "other"


def with_nan(shape, dtype=np.float32):
    array = np.ones(shape, dtype)
    array.flat[3] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amplitude": np.ones((8, 8))}, r"shape \(n, N, N\), got \(8, 8\)"),
        ({"amplitude": np.ones((5, 8, 6))}, r"shape \(n, N, N\), got \(5, 8, 6\)"),
        ({"amplitude": np.ones((0, 8, 8)), "positions": np.ones((0, 2))}, "no patterns"),
        ({"amplitude": with_nan((5, 8, 8))}, "patterns hold NaN or infinity; mask or drop"),
        ({"amplitude": np.full((5, 8, 8), np.inf)}, "patterns hold NaN or infinity"),
        ({"amplitude": np.full((5, 8, 8), -2)}, "not be negative, the smallest is -2"),
        ({"amplitude": np.zeros((5, 8, 8))}, "every pattern is empty"),
        ({"positions": np.ones((4, 2))}, r"5 patterns need positions \(n, 2\), got \(4, 2\)"),
        ({"positions": np.ones((2, 5))}, r"got \(2, 5\)"),
        ({"positions": with_nan((5, 2), float)}, "positions hold NaN"),
        ({"probe": np.ones((8, 8))}, r"probe must be \(modes, 8, 8\), got \(8, 8\)"),
        ({"probe": np.ones((1, 6, 6))}, r"got \(1, 6, 6\)"),
        ({"probe": np.zeros((1, 8, 8))}, "probe is zero everywhere"),
        ({"probe": with_nan((1, 8, 8))}, "or holds NaN"),
        ({"truth": np.ones((3, 4, 5))}, r"true object must be \(H, W\), got \(3, 4, 5\)"),
    ],
)
def test_what_is_impossible_is_refused_in_a_sentence(scan, change, words):
    with pytest.raises(DataError, match=r"^star: .*" + words):
        replace(scan, **change)


def test_hash_is_that_of_the_numbers() -> None:
    scan = tiny_scan()
    assert scan.sha256 == tiny_scan().sha256
    assert scan.sha256 == replace(scan, label="other", truth=None).sha256
    fortran = replace(scan, amplitude=np.asfortranarray(scan.amplitude))
    assert fortran.sha256 == scan.sha256


@pytest.mark.parametrize("what", ["amplitude", "positions", "probe"])
def test_hash_changes_with_a_single_number(what: str) -> None:
    scan = tiny_scan()
    array = getattr(scan, what).copy()
    array.flat[0] += 1
    assert replace(scan, **{what: array}).sha256 != scan.sha256


def test_hash_changes_with_the_number_of_patterns() -> None:
    scan = tiny_scan()
    assert scan.first(63).sha256 != scan.sha256


def test_hash_sees_where_one_array_ends() -> None:
    scan = tiny_scan()
    modes = replace(scan, probe=np.concatenate([scan.probe, 0 * scan.probe]))
    assert modes.sha256 != scan.sha256
