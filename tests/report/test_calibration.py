"""Uncertainties that are right, too small, too large or the same everywhere."""

import numpy as np
import pytest

from ptycho.report.calibration import LEVELS, calibrate

rng = np.random.default_rng(7)
SIGMA = np.exp(rng.normal(size=(200, 200)))
NOISE = rng.normal(size=(200, 200))


def test_errors_drawn_from_the_uncertainty_are_calibrated():
    one = calibrate(NOISE * SIGMA, SIGMA)
    assert one.calibration_error < 0.005
    assert one.binned_error < 0.05
    assert one.rank == pytest.approx(one.best_rank, abs=0.02)
    assert one.rms_error == pytest.approx(one.rms_sigma, rel=0.05)


@pytest.mark.parametrize(
    ("factor", "off"),
    # the mean over p of |erf(f erfinv(p)) - p| in closed form: |1/2 - 2 atan(1/f) / pi|
    [(f, abs(0.5 - 2 * np.arctan(1 / f) / np.pi)) for f in (0.2, 0.5, 2.0, 5.0)],
)
def test_a_wrong_size_costs_what_it_should(factor: float, off: float):
    one = calibrate(NOISE * SIGMA, factor * SIGMA)
    assert one.calibration_error == pytest.approx(off, abs=0.01)
    assert (one.observed < LEVELS).all() == (factor < 1)


def test_the_same_uncertainty_everywhere_may_be_reliable_and_yet_know_nothing():
    sizes = np.where(np.arange(200) < 100, 0.5, 1.5) * np.ones((200, 1))
    errors = NOISE * sizes
    constant = calibrate(errors, np.full_like(sizes, errors.std()))
    told = calibrate(errors, sizes)
    assert constant.rank == 0.0
    assert told.rank > 0.4
    assert told.sparsification < 0.8 * constant.sparsification


def test_who_knows_every_error_has_nothing_to_sort():
    one = calibrate(NOISE, np.abs(NOISE))
    assert one.rank == pytest.approx(1)
    assert one.sparsification == pytest.approx(0, abs=1e-12)


def test_bins_tell_where_an_uncertainty_is_wrong():
    # the sure half is twice as sure as it should be
    sure = np.median(SIGMA) > SIGMA
    one = calibrate(NOISE * SIGMA, np.where(sure, SIGMA / 2, SIGMA))
    assert (one.actual / one.stated)[:5] == pytest.approx(2, rel=0.1)
    assert (one.actual / one.stated)[5:] == pytest.approx(1, rel=0.1)


def test_no_errors_and_no_uncertainty_are_survived():
    assert calibrate(np.zeros((4, 4)), np.ones((4, 4))).sparsification == 0
    assert calibrate(np.ones((4, 4)), np.zeros((4, 4))).calibration_error == pytest.approx(0.5)
