"""How good a reconstruction is: against the truth, the frames and an empty object.

Every figure stands between two others: that of an object without any structure, and that
which the counted photons allow.
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
from ptycho.physics.measured import Measured, only
from ptycho.report.align import ComplexImage, align, remove_ramp
from ptycho.report.correlation import frc, frc_area, resolution
from ptycho.report.frames import Judged, judge, judge_several, photon_scale, simulated_frames

Figures = dict[str, float]
Image = NDArray[np.float64]
Indices = NDArray[np.int64]

FLAT = "flat"
"""Row of an object without structure among the rows of :func:`score`."""

NOISE = "noise"
"""Row of what photon noise allows among the rows of :func:`score`."""

FLOORS = (FLAT, NOISE)
"""Rows that are no stages; a stage lies between them."""

_ROUNDING = 1e-5  # variation below this share is single precision, not structure
_WRAPS = 1.5 * math.pi  # range of a true phase from which it is taken to wrap
_BEST_PSNR = 200.0  # decibels given to identical images: infinity is no JSON
_HIGH_GROUND = 5  # ranges above zero; up to here single precision costs an SSIM below 1e-4
_ENOUGH = 2**14  # frames from which the noise of a perfect model is known well
_FIVE_SCALES = 11 * 2**4  # pixels a side: the fifth scale must hold a window of 11


def compare(
    obj: ComplexImage,
    truth: ComplexImage,
    pixel_size_m: float | None = None,
    *,
    max_shift: float = 4.0,
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
        max_shift: largest shift that is undone, in pixels, see :func:`align`.
        twin: whether the conjugate twin counts as the same.

    Returns:
        ``{amplitude,phase}_{pearson,ssim,ms_ssim,psnr,mae}`` (dB, rad), ``frc_area`` and
        ``frc_{half_bit,one_seventh}_px`` (period resolved) and the same in ``_nm``.
    """
    if not np.isfinite(obj).all():
        return dict.fromkeys(flat_floor(truth, pixel_size_m), math.nan)
    # diffraction is blind to a tilt, so a tilt must not earn correlation: a photograph that
    # is brighter on one side would grant 0.6 to an empty object
    aligned = align(obj, remove_ramp(truth), max_shift=max_shift, twin=twin)
    return compare_aligned(aligned, truth, pixel_size_m)


def compare_aligned(
    aligned: ComplexImage, truth: ComplexImage, pixel_size_m: float | None = None
) -> Figures:
    """:func:`compare` of an object that was aligned to the truth without its ramp."""
    level = remove_ramp(truth)
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
    reconstruction: Reconstruction, experiment: Experiment, amplitude: Measured
) -> dict[str, Figures]:
    """Score every stage of a reconstruction, between its floor and what the photons allow.

    Args:
        reconstruction: stages, positions and perhaps the truth, on one canvas.
        experiment: probe and positions of all patterns on that canvas.
        amplitude: measured ``(n, N, N)``, the patterns held out among them.

    Returns:
        A row of figures per stage, in order, then the rows ``flat`` and ``noise`` (see
        :func:`noise_floor`): ``seconds`` (stages only), those of :func:`frame_figures` and,
        with a known truth, those of :func:`compare`.
    """
    objects = [stage.obj for stage in reconstruction.stages]
    objects.append(np.ones_like(reconstruction.obj))
    best = _best(reconstruction)
    # all at once: reading the patterns of a large scan takes its time
    judged, scales = judge_several(
        experiment,
        [_canvas(obj) for obj in objects],
        amplitude,
        [] if best is reconstruction.obj else [_canvas(best)],
    )
    scale = scales[-2] if best is reconstruction.obj else scales[-1]
    *rows, flat = (
        frame_figures(one, reconstruction.held_out) | _likeness_to_truth(reconstruction, obj)
        for one, obj in zip(judged, objects, strict=True)
    )
    stages = {
        stage.name: {"seconds": float(stage.seconds)} | row
        for stage, row in zip(reconstruction.stages, rows, strict=True)
    }
    noise = noise_floor(reconstruction, experiment, amplitude, scale=scale)
    return stages | {FLAT: flat, NOISE: noise}


def frame_figures(judged: Judged, held_out: NDArray[np.int64]) -> Figures:
    """What frames say about an object.

    Args:
        judged: what each says, see :func:`ptycho.report.frames.judge`.
        held_out: numbers of the frames that were never fitted.

    Returns:
        ``R`` and ``C`` over all frames, ``C_held_out`` and ``deviance`` over those held out,
        ``deviance_fitted`` over the others; means of no frames are left out.
    """
    r, c = judged.misfit
    unseen = np.zeros(len(judged.deviance), dtype=bool)
    unseen[held_out] = True
    row = {"R": r, "C": c}
    if unseen.any():
        row["C_held_out"] = float(judged.correlation[unseen].mean())
        row["deviance"] = float(judged.deviance[unseen].mean())
    if not unseen.all():
        row["deviance_fitted"] = float(judged.deviance[~unseen].mean())
    return row


def noise_floor(
    reconstruction: Reconstruction,
    experiment: Experiment,
    amplitude: Measured,
    *,
    seed: int = 0,
    scale: float | None = None,
) -> Figures:
    """What the counted photons allow: the other end of the scale that begins at ``flat``.

    Frames are simulated with photon noise from the truth (without one: from the last stage)
    and held against the same model: R, C and deviance of a perfect model. Of large scans, some
    16,000 frames spread over the scan tell as much as all. Against the truth
    the row scores the truth itself under the noise of :func:`noisy`.

    Args:
        reconstruction: as for :func:`score`.
        experiment: probe and positions of all patterns.
        amplitude: measured ``(n, N, N)``; only its total counts and its bad pixels are used.
        seed: seed of the noise.
        scale: what the photons expected of that object must be multiplied by to be those
            counted; None: it is found out.

    Returns:
        The keys of a stage's row, less ``seconds``.
    """
    obj = _best(reconstruction)
    canvas = _canvas(obj)
    if scale is None:
        scale = photon_scale(experiment, canvas, amplitude)
    some, held_out = _spread(len(amplitude), reconstruction.held_out)
    few, like = (experiment, amplitude) if some is None else _of(experiment, amplitude, some)
    frames = simulated_frames(few, canvas, scale, seed, like=like)
    row = frame_figures(judge(frames), held_out)
    if obj is not reconstruction.truth:
        return row
    photons = scale * experiment.illumination((obj.shape[0], obj.shape[1])).cpu().double().numpy()
    return row | _likeness_to_truth(reconstruction, noisy(obj, photons, seed))


def noisy(truth: ComplexImage, photons: Image, seed: int) -> ComplexImage:
    """An object as well known as the photons that fell on it allow.

    White noise of variance ``1 / (2 photons)`` on the real and on the imaginary part: the
    Cramer-Rao bound (Wei, Urbach & Coene 2020, doi:10.1103/PhysRevA.102.043516) if pixels are
    independent and the phases at the detector spread uniformly, so that a photon tells as
    much of one part as of the other. Low frequencies of the phase are known less well. Where
    most of the detector counts nothing, that nothing was scattered there is known better
    than an unbiased estimate would, and the amplitude with it.

    Args:
        truth: complex ``(H, W)``.
        photons: photons that fell on each pixel, ``(H, W)``. Less than half a photon counts
            as half, so that either part is as noisy as an empty object is bright.
        seed: seed of the noise.

    Returns:
        Complex128 ``(H, W)``.
    """
    real, imaginary = np.random.default_rng(seed).normal(size=(2, *truth.shape))
    noise = (real + 1j * imaginary) / np.sqrt(2 * np.maximum(photons, 0.5))
    return np.asarray(truth + noise)


def _best(reconstruction: Reconstruction) -> ComplexImage:
    """The true object; the last stage where nobody knows that."""
    truth = reconstruction.truth if reconstruction.truth_is_known else None
    return reconstruction.obj if truth is None else truth


def _spread(n: int, held_out: Indices) -> tuple[Tensor | None, Indices]:
    """Every k-th frame of a large scan, and which of these were held out; None: all frames."""
    every = n // _ENOUGH
    if every < 2:
        return None, held_out
    # as many of those held out: they stand in a row of their own
    shown = np.zeros(n, dtype=bool)
    shown[::every] = shown[held_out[::every]] = True
    some = np.flatnonzero(shown)
    return torch.from_numpy(some), np.flatnonzero(np.isin(some, held_out))


def _of(experiment: Experiment, amplitude: Measured, some: Tensor) -> tuple[Experiment, Measured]:
    which = some.to(experiment.row.device)
    return experiment.of(which), only(amplitude, some.to(amplitude.device))


def _canvas(obj: ComplexImage) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(obj, dtype=np.complex64))


def _likeness_to_truth(reconstruction: Reconstruction, obj: ComplexImage) -> Figures:
    # somebody's estimate is shown, but it is no truth to be scored against
    if reconstruction.truth is None or not reconstruction.truth_is_known:
        return {}
    inside = reconstruction.judged
    return compare(obj[inside], reconstruction.truth[inside], reconstruction.pixel_size_m)
