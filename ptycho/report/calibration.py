"""Whether an uncertainty means what it says: held against the error, where the truth is known.

A standard deviation is taken for that of a Gaussian around the result. Of all pixels, a
share ``p`` should then lie within the interval that holds ``p`` of that Gaussian.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from scipy.stats import spearmanr

Image = NDArray[np.floating[Any]]
Vector = NDArray[np.float64]

LEVELS = np.arange(1, 100) / 100
"""Shares of the pixels that should lie within their intervals."""

_BINS = 10  # of equally many pixels, from the surest to the least sure
_STEPS = 50  # shares of the pixels that are left out for the sparsification


@dataclass(frozen=True)
class Calibration:
    """What a comparison of uncertainty and error tells."""

    observed: Vector
    """``(99,)``: share of the pixels within the interval of each of :data:`LEVELS`."""
    stated: Vector
    """``(10,)``: root mean square uncertainty of pixels that are alike sure."""
    actual: Vector
    """``(10,)``: root mean square error of the same pixels."""
    rms_sigma: float
    """Sharpness: root mean square uncertainty."""
    rms_error: float
    """Root mean square error."""
    rank: float
    """Spearman correlation of uncertainty and size of the error."""
    best_rank: float
    """What it would be for errors drawn from the uncertainty: noise cannot be ranked."""
    sparsification: float
    """Area between two curves, over the error of all pixels: the error of those that remain
    when the least sure, or else the most wrong, are left out. 0 would be an oracle's."""

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of observed from stated shares."""
        return float(np.abs(self.observed - LEVELS).mean())

    @property
    def binned_error(self) -> float:
        """Mean relative distance of actual error from stated uncertainty, bin by bin."""
        return float((np.abs(self.actual - self.stated) / np.maximum(self.stated, 1e-30)).mean())

    def figures(self) -> dict[str, float]:
        """The numbers, for a file."""
        return {
            "calibration_error": self.calibration_error,
            "binned_error": self.binned_error,
            "rms_sigma": self.rms_sigma,
            "rms_error": self.rms_error,
            "rank": self.rank,
            "best_rank": self.best_rank,
            "sparsification": self.sparsification,
        }


def calibrate(error: Image, sigma: Image) -> Calibration:
    """Hold uncertainties against errors.

    The reliability is that of Kuleshov, Fenner & Ermon 2018 (arXiv:1807.00263) with intervals
    around the result, its area the expected calibration error. An uncertainty that is the
    same everywhere can pass that; the bins (Levi et al. 2022, doi:10.3390/s22155540), the
    ranks and the sparsification (Ilg et al. 2018, doi:10.1007/978-3-030-01234-2_40) ask
    whether it knows where the errors are.

    Args:
        error: result less truth, any shape.
        sigma: stated standard deviations, same shape, positive.
    """
    size, spread = np.abs(error).ravel().astype(float), sigma.ravel().astype(float)
    inside = erf(size / np.maximum(spread, 1e-30) / np.sqrt(2))
    order = np.argsort(spread, kind="stable")
    bins = np.array_split(order, _BINS)
    drawn = np.abs(np.random.default_rng(0).normal(size=spread.shape)) * spread
    return Calibration(
        observed=np.searchsorted(np.sort(inside), LEVELS, side="right") / inside.size,
        stated=np.array([_rms(spread[some]) for some in bins]),
        actual=np.array([_rms(size[some]) for some in bins]),
        rms_sigma=_rms(spread),
        rms_error=_rms(size),
        rank=_rank(size, spread),
        best_rank=_rank(drawn, spread),
        sparsification=_sparsification(size, order),
    )


def _rms(values: Vector) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0


def _rank(size: Vector, spread: Vector) -> float:
    if np.ptp(spread) == 0 or np.ptp(size) == 0:
        return 0.0
    return float(spearmanr(size, spread).statistic)


def _sparsification(size: Vector, order: NDArray[np.int64]) -> float:
    """Mean distance of the two curves; ``order`` has the surest pixels first."""
    most = _rms(size)
    if most == 0:
        return 0.0
    kept = np.maximum((size.size * (1 - np.arange(_STEPS) / _STEPS)).astype(int), 1)
    ours, oracle = (
        np.sqrt(np.cumsum(np.square(one))[kept - 1] / kept) for one in (size[order], np.sort(size))
    )
    return float((ours - oracle).mean() / most)
