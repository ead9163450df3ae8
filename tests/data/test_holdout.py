from dataclasses import replace

import numpy as np
import pytest

from ptycho.workflows.problem import pose
from tests.runs import CPU, lifted, tiny_scan


@pytest.fixture(scope="module")
def scan():
    return tiny_scan(n_patterns=400)


def test_as_many_as_wanted_and_the_same_every_time(scan):
    first, second = (pose(scan, CPU, 0.1).held_out for _ in range(2))
    assert len(first) == 40
    assert np.array_equal(first, second)
    assert np.array_equal(first, np.unique(first))


def test_none_are_held_out_unless_wanted(scan):
    assert pose(scan, CPU).fitted is None
    assert len(pose(scan, CPU, 0.0).held_out) == 0
    assert len(pose(scan, CPU, 0.001).held_out) == 0, "less than half a pattern"


def test_what_is_left_lights_what_they_saw(scan):
    problem = pose(scan, CPU, 0.2)
    everything = problem.experiment.illumination(problem.shape)
    rest = problem.experiment.of(problem.fitted).illumination(problem.shape)
    typical = everything[problem.lit].median()
    for number in problem.held_out:
        one = problem.experiment.of(np.array([number])).illumination(problem.shape)
        # where its light falls, on average, enough of the others' fell, too
        assert (one * (rest >= 0.3 * typical)).sum() >= 0.8 * one.sum()


def test_the_rim_of_the_scan_is_kept(scan):
    positions = pose(scan, CPU).positions.numpy()
    rim = np.concatenate([positions.argmin(0), positions.argmax(0)])
    held = pose(scan, CPU, 0.5).held_out
    assert len(held) > 100
    assert not set(rim).intersection(held)


def test_patterns_that_do_not_overlap_are_all_kept(scan, caplog):
    apart = replace(scan, positions=40 * np.stack(np.divmod(np.arange(400), 20), 1).astype(float))
    problem = pose(replace(apart, truth=None), CPU, 0.1)
    assert len(problem.held_out) == 0
    assert "0 of 40 patterns held out" in caplog.text


def test_nothing_of_what_is_held_out_reaches_the_fit(scan):
    """Not even the scale of the probe: garbage in the held-out patterns changes no bit."""
    problem = pose(scan, CPU, 0.1)
    amplitude = scan.amplitude.copy()
    amplitude[problem.held_out] = 1000 * np.abs(np.random.default_rng(0).normal(size=(40, 32, 32)))
    other = pose(replace(scan, amplitude=amplitude), CPU, 0.1)
    assert np.array_equal(other.held_out, problem.held_out)
    assert other.scale == problem.scale
    first, second = (lifted(one) for one in (problem, other))
    assert np.array_equal(first.obj.numpy(), second.obj.numpy())
    assert np.array_equal(first.pull.numpy(), second.pull.numpy())


def test_others_can_be_held_out_afterwards(scan):
    problem = pose(scan, CPU, 0.1)
    fewer = problem.holding_out(problem.held_out[:7])
    assert np.array_equal(fewer.held_out, problem.held_out[:7])
    assert fewer.holding_out(problem.held_out[:0]).fitted is None
