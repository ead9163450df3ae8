"""The simulator beside a plain loop."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.simulate import disagreement, plain_loop
from ptycho.data.simulate import expected_photons, simulate


@pytest.fixture(scope="module")
def scan():
    return simulate(kind="chip", n_patterns=49, patch_size=32, photons=1e5, probe_radius=6.0)


def test_the_simulator_agrees_with_the_physics_and_with_the_loop(scan):
    physics, loop = disagreement(scan)
    assert physics < 1e-6  # single precision
    assert loop < 5e-3  # which does not round positions to 1/128 of a pixel
    # and where positions need no rounding, to single precision
    positions = np.round(scan.positions * 128) / 128
    looped = plain_loop(scan.truth, scan.probe, positions, None)
    found = expected_photons(scan.truth, scan.probe, positions)
    np.testing.assert_allclose(found, looped, rtol=1e-3, atol=1e-6 * looped.max())


def test_the_loop_counts_with_the_same_noise(scan):
    looped = plain_loop(scan.truth, scan.probe, scan.positions, np.random.default_rng(0))
    assert looped.dtype == scan.amplitude.dtype
    assert np.square(looped).sum() == pytest.approx(np.square(scan.amplitude).sum(), rel=2e-3)


@pytest.mark.slow
def test_the_page_is_printed():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.simulate", "--patterns", "100", "--repeats", "1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "times loop" in done.stdout
    assert "photons differ from those of ptycho.physics by" in done.stdout
