"""How uncertain each pixel of a result is.

``bootstrap`` takes the result for the truth, draws scans from it with photon noise (a
parametric bootstrap: Efron & Tibshirani 1993, chapter 6.5, ISBN 978-0-412-04231-7) and
reconstructs each in the way the result was made. How far these come out from the result is
how far the result is from the truth: its noise and what the method always gets wrong. What
neither shows because photons were too few, :mod:`ptycho.report.unresolved` adds.

A network that nobody refined is wrong in ways that its members share. Patterns held out tell:
the phase's uncertainty is multiplied by how much farther they are from the result than from
the members those that are held out of the scans drawn.

``halves`` reconstructs two halves of the measured patterns. Half their difference is the
noise of the mean and, other than above, what is wrong with the model: a probe or positions
that are not true disturb each half in its own way.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho.config.choices import Task, UncertaintyMethod
from ptycho.config.config import RunConfig, UncertaintyConfig, UserError
from ptycho.data.halves import split_halves
from ptycho.data.reconstruction import NETWORK, Complex, Reconstruction, Uncertainty
from ptycho.physics.detector import intensity
from ptycho.physics.fourier import to_detector
from ptycho.physics.mask import seen_share
from ptycho.report.calibration import Calibration, calibrate
from ptycho.report.console import console, progress, ticking
from ptycho.report.excess import Excess, excess
from ptycho.report.frames import measured_frames, photon_scale, simulated_frames
from ptycho.report.metrics import Figures
from ptycho.report.spread import Maps, differences, errors, mean_square, photon_variance
from ptycho.report.uncertainty_figure import save_uncertainty
from ptycho.report.unresolved import missing_energy, missing_variance, transfer
from ptycho.workflows.build import make_freedom
from ptycho.workflows.problem import Problem
from ptycho.workflows.session import Session

Again = Callable[[Session, Problem], Reconstruction]
"""Reconstructs a problem in the way the result was made."""
OnceMore = Callable[[Problem], Reconstruction]
"""The same from the beginning, told to the progress bar."""

MISFIT = 2.0
"""Times the expected distance of held-out patterns from which a model is called wrong."""

_NAMES = ("phase", "amplitude")


@dataclass(frozen=True)
class Estimate:
    """What was found out about the errors of a result."""

    variance: Maps
    """``(2, H, W)`` over the scanned area."""
    misfit: float = np.nan
    """Distance of the held-out patterns from the model, over that in scans drawn from it."""


def report(
    session: Session, problem: Problem, found: Reconstruction, again: Again, prefix: str = ""
) -> dict[str, Figures]:
    """Estimate the uncertainty, if it is asked for, and report the reconstruction.

    When that is interrupted or fails, the reconstruction is reported without it.
    """
    settings = session.run.uncertainty
    if settings.method == UncertaintyMethod.none:
        return session.report(problem, found, prefix)
    began = time.perf_counter()
    problem = problem.found_in(found)
    try:
        told = estimate(session, problem, found, again)
    except (KeyboardInterrupt, SystemExit, UserError):
        session.report(problem, found, prefix)
        session.finish()
        raise
    seconds = time.perf_counter() - began
    found = replace(found, uncertainty=_on_canvas(told.variance, found, settings.method))
    figures = session.report(problem, found, prefix)
    calibrations = calibrate_result(found)
    save_uncertainty(found, calibrations, session.path(f"{prefix}uncertainty.png"))
    _tell(session, found, calibrations, told.misfit, seconds, prefix)
    return figures


def calibrate_result(found: Reconstruction) -> dict[str, Calibration]:
    """Phase and amplitude of a result held against a known truth; empty without one."""
    known = found.uncertainty
    if known is None or found.truth is None or not found.truth_is_known:
        return {}
    inside = found.scanned
    error = errors(found.obj[inside], found.truth[inside])
    sigma = known.phase[inside], known.amplitude[inside]
    return {
        name: calibrate(*pair)
        for name, pair in zip(_NAMES, zip(error, sigma, strict=True), strict=True)
    }


def estimate(session: Session, problem: Problem, found: Reconstruction, again: Again) -> Estimate:
    """What the method of the settings tells of the errors of a result.

    Args:
        session: settings, progress and folder.
        problem: what was reconstructed.
        found: the result.
        again: how it was made; called with a silent session that has a seed of its own.
    """
    settings = session.run.uncertainty
    method = settings.method
    if method == UncertaintyMethod.fisher:
        return Estimate(_fisher(problem, found))
    blind = replace(problem, scan=replace(problem.scan, truth=None))
    quiet = progress(False, console(quiet=True))
    numbers = itertools.count()
    with ticking(
        session.bars, "members", settings.members * method.draws + 2 * method.splits
    ) as tick:

        def once_more(changed: Problem) -> Reconstruction:
            number, start = next(numbers), changed.as_it_came()
            run = replace(session.run, seed=_seed(settings.seed, session.run.seed, number))
            folder = session.folder / "members" / str(number)
            made = again(replace(session, run=run, folder=folder, bars=quiet, files=[]), start)
            tick()
            return made

        if not method.draws:
            return Estimate(_halves(blind, found, once_more))
        drawn = _bootstrap(settings, blind, found, once_more)
        if not method.splits:
            return drawn
        return replace(drawn, variance=np.maximum(drawn.variance, _halves(blind, found, once_more)))


def _fisher(problem: Problem, found: Reconstruction) -> Maps:
    """The photons that fell on each pixel and were seen, and nothing else."""
    experiment = problem.experiment
    canvas = torch.from_numpy(found.obj).to(problem.device)
    scale = photon_scale(experiment, canvas, problem.amplitude)
    used = experiment if problem.fitted is None else experiment.of(problem.fitted)
    scale *= seen_share(
        problem.probe, problem.amplitude, problem.fitted, problem.instrument.fresnel
    )
    photons = scale * used.illumination(problem.shape).cpu().numpy()
    return photon_variance(found.obj[found.scanned], photons[found.scanned])


def _halves(problem: Problem, found: Reconstruction, once_more: OnceMore) -> Maps:
    """Half of the difference of two half scans: the deviation of their mean."""
    numbers = torch.arange(len(problem.scan)) if problem.fitted is None else problem.fitted.cpu()
    halves = [
        once_more(replace(problem, fitted=numbers[some].to(problem.device))).obj[found.scanned]
        for some in map(torch.from_numpy, split_halves(problem.positions[numbers].numpy()))
    ]
    return mean_square([differences(*halves) / 2])


def _bootstrap(
    settings: UncertaintyConfig, problem: Problem, found: Reconstruction, once_more: OnceMore
) -> Estimate:
    """Scans drawn from the result, reconstructed and held against it."""
    inside, experiment = found.scanned, problem.experiment
    canvas = torch.from_numpy(found.obj).to(problem.device)
    scale = photon_scale(experiment, canvas, problem.amplitude)
    members, misfits = [], []
    for number in range(settings.members):
        frames = simulated_frames(
            experiment, canvas, scale, _seed(settings.seed, number), like=problem.amplitude
        )
        amplitude = torch.cat([amplitude for _, amplitude in frames()])
        scan = replace(problem.scan, amplitude=amplitude.cpu().numpy())
        drawn = replace(problem, scan=scan, amplitude=amplitude)
        member = once_more(drawn)
        members.append(member.obj[inside])
        misfits.append(_excess(drawn.as_it_came().found_in(member), member.obj).misfit)
    result = found.obj[inside]
    measured = _excess(problem, found.obj)
    through = transfer(result, members)
    energy = missing_energy(measured.light, _pupil(problem), through)
    spread = mean_square([differences(member, result) for member in members])
    variance = spread + missing_variance(result, energy, through)
    misfit = _times(measured.misfit, float(np.mean(misfits)))
    if found.stages[-1].name == NETWORK and misfit > 1:
        variance[0] *= misfit**2
    return Estimate(variance, misfit)


def _seed(*numbers: int) -> int:
    """A seed of its own for each few numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _excess(problem: Problem, obj: Complex) -> Excess:
    canvas = torch.from_numpy(obj).to(problem.device)
    scale = photon_scale(problem.experiment, canvas, problem.amplitude)
    frames = measured_frames(problem.experiment, canvas, problem.amplitude)
    return excess(frames, scale, problem.held_out)


def _pupil(problem: Problem) -> NDArray[np.float64]:
    return np.asarray(intensity(to_detector(problem.probe)).cpu().double().numpy())


def _times(measured: float, drawn: float) -> float:
    """Ratio of two distances, from their squares; NaN when noise hides the smaller one."""
    return float(np.sqrt(max(measured, 0.0) / drawn)) if drawn > 0 else np.nan


def _on_canvas(variance: Maps, found: Reconstruction, method: UncertaintyMethod) -> Uncertainty:
    maps = np.full((2, *found.obj.shape), np.nan, np.float32)
    maps[(slice(None), *found.scanned)] = np.sqrt(variance)
    return Uncertainty(phase=maps[0], amplitude=maps[1], method=method.value)


def _tell(
    session: Session,
    found: Reconstruction,
    calibrations: dict[str, Calibration],
    misfit: float,
    seconds: float,
    prefix: str,
) -> None:
    """Metrics and a few lines for the terminal."""
    known = found.uncertainty
    assert known is not None
    content: dict[str, Any] = {"method": known.method, "seconds": seconds}
    said = []
    for name, unit in zip(_NAMES, (" rad", ""), strict=True):
        sigma = getattr(known, name)[found.scanned]
        content[name] = {"rms_sigma": float(np.sqrt(np.square(sigma, dtype=np.float64).mean()))}
        words = f"{name} ±{content[name]['rms_sigma']:.2g}{unit}"
        if name in calibrations:
            content[name] = calibrations[name].figures()
            content[name]["reliability"] = calibrations[name].observed.tolist()
            words += (
                f" (error {calibrations[name].rms_error:.2g}, "
                f"calibration error {calibrations[name].calibration_error:.1%})"
            )
        said.append(words)
    if np.isfinite(misfit):
        content["misfit"] = misfit
    session.metrics[f"{prefix}uncertainty"] = content
    session.terminal.print(
        f"uncertainty ({known.method}, {seconds:.1f} s): {', '.join(said)}", markup=False
    )
    if misfit > MISFIT:
        session.terminal.print(
            f"patterns held out are {misfit:.1f} times as far from the model as photon noise "
            "explains: probe, positions or background are not as assumed, "
            + _whats_left(session.run),
            style="yellow", markup=False,
        )  # fmt: skip
    run = session.run
    networks_alone = run.task == Task.train and found.stages[-1].name == NETWORK
    if networks_alone and run.uncertainty.method.draws and not run.uncertainty.retrain:
        patches = run.model.architecture.predicts_patches
        way_out = "let refine finish it" if patches else "use uncertainty.retrain=true"
        session.terminal.print(
            "the result is the network's own, and the members share that network: the "
            f"uncertainty is too small; {way_out}",
            style="yellow", markup=False,
        )  # fmt: skip
    if session.dashboard is not None:
        flat = {
            f"{prefix}uncertainty/{name}/{figure}": value
            for name in _NAMES
            for figure, value in content[name].items()
            if figure != "reliability"
        }
        session.dashboard.log_metrics(flat)


def _whats_left(run: RunConfig) -> str:
    """What an uncertainty misses of a wrong model, and what to do about it."""
    if run.uncertainty.method == UncertaintyMethod.bootstrap:
        return "and the uncertainty is too small; use uncertainty.method=combined"
    told = "which halves tell in part only, and the uncertainty may be too small"
    free = make_freedom(run.instrument)
    if not (free.probe and free.positions):
        return f"{told}; find the instrument: instrument=measured"
    if not (free.flux and free.background):
        return f"{told}; find more of the instrument: instrument=all"
    return told
