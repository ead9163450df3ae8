"""How good a reconstruction is: against the truth, the frames and an empty object.

Every figure has its floor beside it, the score of an object without any structure.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import pearson_corr_coeff
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from ptycho.data.reconstruction import Reconstruction
from ptycho.physics.forward import Experiment
from ptycho.report.align import ComplexImage, align, remove_ramp
from ptycho.report.correlation import frc, frc_area, resolution
from ptycho.report.frames import misfit

Figures = dict[str, float]
Image = NDArray[np.float64]

FLAT = "flat"
"""Row of the floor among the rows of :func:`score`."""

_ROUNDING = 1e-5  # variation below this share is single precision, not structure
_WRAPS = 1.5 * math.pi  # range of a true phase from which it is taken to wrap
_BEST_PSNR = 200.0  # decibels given to identical images: infinity is no JSON
_HIGH_GROUND = 5  # ranges above zero; up to here single precision costs an SSIM below 1e-4
_FIVE_SCALES = 11 * 2**4  # pixels a side: the fifth scale must hold a window of 11


def compare(
    obj: ComplexImage,
    truth: ComplexImage,
    pixel_size_m: float | None = None,
    *,
    twin: bool = False,
) -> Figures:
    """Score an object against the truth; both cropped to the scanned area.

    The object is aligned first. Errors of the phase are ``angle(obj conj(truth))``, which
    does not know about wrapping. Figures that have no meaning (the PSNR for a truth of
    constant phase, the FRC of garbage, anything of an object that holds NaN) are NaN.

    Args:
        obj: complex ``(H, W)``.
        truth: complex ``(H, W)`` on the same grid.
        pixel_size_m: side of a pixel in metres, when known.
        twin: whether the conjugate twin counts as the same, see :func:`align`.

    Returns:
        ``{amplitude,phase}_{pearson,ssim,ms_ssim,psnr,mae}`` (dB, rad), ``frc_area`` and
        ``frc_{half_bit,one_seventh}_px`` (period resolved) and the same in ``_nm``.
    """
    if not np.isfinite(obj).all():
        return dict.fromkeys(flat_floor(truth, pixel_size_m), math.nan)
    # diffraction is blind to a tilt, so a tilt must not earn correlation: a photograph that
    # is brighter on one side would grant 0.6 to an empty object
    level = remove_ramp(truth)
    aligned = align(obj, level, twin=twin)
    true_modulus = np.abs(level)
    unit = float(true_modulus.max())
    figures = _likeness("amplitude", np.abs(aligned), true_modulus, np.ptp(true_modulus), unit)
    # but the range is the one people see
    span = np.ptp(np.angle(truth * np.conj(truth.mean())))
    phase, true_phase = phases(aligned, level)
    figures |= _likeness("phase", phase, true_phase, span, 1.0)
    frequency, curve, half_bit = frc(aligned, level)
    figures["frc_area"] = frc_area(frequency, curve)
    figures["frc_half_bit_px"] = resolution(frequency, curve, half_bit)
    figures["frc_one_seventh_px"] = resolution(frequency, curve, np.full_like(curve, 1 / 7))
    if pixel_size_m is not None:
        for name in ("frc_half_bit", "frc_one_seventh"):
            figures[f"{name}_nm"] = figures[f"{name}_px"] * pixel_size_m * 1e9
    return figures


def phases(aligned: ComplexImage, truth: ComplexImage) -> tuple[Image, Image]:
    """Phases of an aligned object and of the truth in radians, around the truth's mean.

    Where the truth itself wraps, the object's is the truth's plus ``angle(obj conj(truth))``
    and wraps with it. Only there: to stay within half a turn of the truth is a likeness
    that noise has not earned.
    """
    fields = truth.astype(np.complex128)
    # black has no phase; without this it would agree with any truth
    visible = np.where(aligned == 0, 1, aligned)
    centre = np.conj(fields.mean())
    true_phase = np.angle(fields * centre)
    if np.ptp(true_phase) > _WRAPS:
        return true_phase + np.angle(visible * np.conj(fields)), true_phase
    return np.angle(visible * centre), true_phase


def wrapped(angle: NDArray[np.floating[Any]]) -> Image:
    """An angle brought into (-pi, pi]."""
    return np.asarray(np.angle(np.exp(1j * angle)))


def _likeness(name: str, image: Image, truth: Image, span: float, unit: float) -> Figures:
    """Five figures; ``span`` is the range of the truth, ``unit`` what its values are sized by."""
    error = wrapped(image - truth) if name == "phase" else image - truth
    if span <= _ROUNDING * unit:
        span = math.nan
    return {
        f"{name}_pearson": pearson(image, truth, _ROUNDING * unit),
        f"{name}_ssim": _ssim(image, truth, span),
        f"{name}_ms_ssim": _ms_ssim(image, truth, span),
        f"{name}_psnr": _psnr(truth + error, truth, span),
        f"{name}_mae": float(np.abs(error).mean()),
    }


def pearson(image: Image, truth: Image, rounding: float = 0.0) -> float:
    """Pearson correlation; 0 when either image varies by no more than ``rounding``."""
    if image.size < 2 or min(np.ptp(image), np.ptp(truth)) <= rounding:
        return 0.0
    return float(pearson_corr_coeff(image, truth)[0])


def _ssim(image: Image, truth: Image, span: float) -> float:
    window = min(7, (min(image.shape) - 1) // 2 * 2 + 1)
    if window < 3 or math.isnan(span):
        return math.nan
    return float(structural_similarity(truth, image, data_range=span, win_size=window))


def _ms_ssim(image: Image, truth: Image, span: float) -> float:
    """Over five scales (Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216)."""
    if min(image.shape) < _FIVE_SCALES or math.isnan(span):
        return math.nan
    # here, because it loads for seconds
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    # single precision is five times faster, but loses what stands on a high ground
    single = float(np.abs(truth).max()) <= _HIGH_GROUND * span
    kind = torch.float32 if single else torch.float64
    found, true = (torch.from_numpy(one).to(kind)[None, None] for one in (image, truth))
    return float(
        multiscale_structural_similarity_index_measure(found, true, data_range=float(span))
    )


def _psnr(image: Image, truth: Image, span: float) -> float:
    if np.square(image - truth).mean() <= span**2 * 10 ** (-_BEST_PSNR / 10):
        return _BEST_PSNR
    return float(peak_signal_noise_ratio(truth, image, data_range=span))


def flat_floor(truth: ComplexImage, pixel_size_m: float | None = None) -> Figures:
    """What an object without structure scores: the floor beside every figure."""
    return compare(np.ones_like(truth), truth, pixel_size_m)


def score(
    reconstruction: Reconstruction, experiment: Experiment, amplitude: Tensor
) -> dict[str, Figures]:
    """Score every stage of a reconstruction, and a flat object as the floor.

    Args:
        reconstruction: stages, positions and perhaps the truth, on one canvas.
        experiment: probe and positions on that canvas.
        amplitude: measured ``(n, N, N)``.

    Returns:
        A row of figures per stage, in order, and the row ``flat``: ``seconds`` (not for the
        floor), ``R``, ``C`` and, with a truth, those of :func:`compare`.
    """
    rows = {
        stage.name: {"seconds": float(stage.seconds)}
        | _row(reconstruction, stage.obj, experiment, amplitude)
        for stage in reconstruction.stages
    }
    flat = np.ones_like(reconstruction.obj)
    return rows | {FLAT: _row(reconstruction, flat, experiment, amplitude)}


def _row(
    reconstruction: Reconstruction, obj: ComplexImage, experiment: Experiment, amplitude: Tensor
) -> Figures:
    canvas = torch.from_numpy(np.ascontiguousarray(obj, dtype=np.complex64))
    r, c = misfit(experiment, canvas, amplitude)
    row = {"R": r, "C": c}
    # somebody's estimate is shown, but it is no truth to be scored against
    if reconstruction.truth is not None and reconstruction.truth_is_known:
        inside = reconstruction.scanned
        row |= compare(obj[inside], reconstruction.truth[inside], reconstruction.pixel_size_m)
    return row
