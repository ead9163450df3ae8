import time

import numpy as np
import pytest
from scipy.spatial import cKDTree

from ptycho.data.grouping import make_groups, subsample
from ptycho.data.scan import DataError

rng = np.random.default_rng(0)
PLACES = rng.uniform(0, 50, (80, 2))


def nearest(k):
    return np.sort(cKDTree(PLACES).query(PLACES, k)[1])


def as_sets(groups):
    return {tuple(sorted(group)) for group in groups.tolist()}


def test_a_group_is_a_pattern_and_its_nearest():
    groups = make_groups(PLACES, members=4)
    assert groups.shape == (80, 4)
    assert groups.dtype == np.int64
    np.testing.assert_array_equal(groups[:, 0], np.arange(80))
    np.testing.assert_array_equal(np.sort(groups), nearest(4))


def test_groups_of_one_are_the_patterns():
    np.testing.assert_array_equal(make_groups(PLACES, members=1), np.arange(80)[:, None])


@pytest.mark.parametrize(("members", "neighbours"), [(4, 7), (4, 5), (9, 12), (2, 2)])
def test_members_are_distinct_and_among_the_nearest(members, neighbours):
    groups = make_groups(PLACES, members=members, neighbours=neighbours, seed=3)
    among = nearest(neighbours)
    for leader, group in enumerate(groups):
        assert group[0] == leader
        assert len(set(group)) == members
        assert set(group) <= set(among[leader])


def test_more_neighbours_make_other_groups_than_the_nearest():
    assert as_sets(make_groups(PLACES, members=4, neighbours=8)) != as_sets(nearest(4))


def test_the_seed_chooses():
    one, same, other = (
        make_groups(PLACES, members=4, neighbours=7, n_groups=30, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert as_sets(one) != as_sets(other)


@pytest.mark.parametrize("members", [1, 4])
def test_fewer_groups_have_different_leaders(members):
    chance = make_groups(PLACES, members=members, n_groups=30)
    assert len(set(chance[:, 0])) == 30
    assert set(chance[:, 0]) != set(range(30))
    first = make_groups(PLACES, members=members, n_groups=30, sequential=True)
    np.testing.assert_array_equal(first[:, 0], np.arange(30))


@pytest.mark.parametrize("n_groups", [81, 200, 80 * 10])
def test_oversampling_never_makes_a_group_twice_around_a_pattern(n_groups):
    groups = make_groups(PLACES, members=4, neighbours=6, n_groups=n_groups, oversample=True)
    assert len(groups) == n_groups
    led = {(group[0], tuple(sorted(group[1:]))) for group in groups.tolist()}
    assert len(led) == n_groups
    counts = np.bincount(groups[:, 0], minlength=80)
    assert counts.max() - counts.min() <= 1


def test_what_cannot_be_made_is_refused_in_a_sentence():
    with pytest.raises(DataError, match=r"data\.n_groups=81 is more than the 80 patterns.*enable"):
        make_groups(PLACES, members=4, neighbours=6, n_groups=81)
    with pytest.raises(DataError, match=r"data\.n_groups=801 is more than the 800 groups of 4"):
        make_groups(PLACES, members=4, neighbours=6, n_groups=801, oversample=True)
    with pytest.raises(DataError, match="from 9 neighbouring patterns, and there are 3 to learn"):
        make_groups(PLACES[:3], members=9)


def test_patterns_at_one_place_still_make_groups():
    groups = make_groups(np.zeros((20, 2)), members=4, neighbours=5)
    assert all(len(set(group)) == 4 for group in groups.tolist())
    np.testing.assert_array_equal(groups[:, 0], np.arange(20))


def test_many_ways_to_choose_are_sampled():
    groups = make_groups(PLACES, members=9, neighbours=30, n_groups=4000, oversample=True)
    assert len({(group[0], tuple(sorted(group))) for group in groups.tolist()}) == 4000


@pytest.mark.slow
def test_a_million_patterns_take_seconds():
    places = np.random.default_rng(0).uniform(0, 6000, (1_000_000, 2))
    began = time.process_time()
    assert make_groups(places, members=4, neighbours=7).shape == (1_000_000, 4)
    assert time.process_time() - began < 20


def test_subsampling_keeps_scan_order():
    np.testing.assert_array_equal(subsample(50, None, 0, False), np.arange(50))
    np.testing.assert_array_equal(subsample(50, 70, 0, False), np.arange(50))
    np.testing.assert_array_equal(subsample(50, 20, 5, True), np.arange(20))
    some = subsample(50, 20, 5, False)
    assert len(set(some)) == 20
    assert (np.diff(some) > 0).all()
    assert set(some) != set(range(20))
    assert set(some) != set(subsample(50, 20, 6, False))
