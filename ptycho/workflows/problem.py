"""A scan laid out for computing: probe in photons, positions on a canvas, one device."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.config.choices import Accelerator
from ptycho.data.holdout import hold_out
from ptycho.data.lazy import LazyAmplitude, as_measured
from ptycho.data.reconstruction import Complex, Reconstruction, Stage
from ptycho.data.scan import DataError, Scan
from ptycho.nn.object_net import STRIDE
from ptycho.physics.detector import intensity
from ptycho.physics.forward import Experiment, matched_scale
from ptycho.physics.instrument import KNOWN, Freedom, Instrument, add_modes
from ptycho.physics.joint import FIRST_LOOK, JointSolver, coarse_joint_solution
from ptycho.physics.mask import seen_share
from ptycho.physics.measured import Measured
from ptycho.physics.probe import reach
from ptycho.physics.solver import Recipe, Solver, coarse_solution, fine_cutoff

_MARGIN = 2  # pixels around the outermost patches, for rounding at half resolution
_LARGEST_CANVAS = 2**28  # pixels: 2 GiB of complex64
_FARTHEST = 1e7  # pixels from the origin at which positions are no pixels
_FEWEST_PHOTONS = 1e3  # per pattern; below, fractions of photons mean an arbitrary unit
_ASSUMED_PHOTONS = 1e5
_CPU = torch.device("cpu")

log = logging.getLogger(__name__)

Tick = Callable[[int, float], None]


@dataclass(frozen=True)
class Problem:
    """What the solver and the networks work on."""

    scan: Scan
    """As read."""
    instrument: Instrument
    """Probe in square roots of photons, positions on the canvas: as far as they are known."""
    shape: tuple[int, int]
    """``(H, W)`` of the canvas; sides divisible by the networks' stride."""
    offset: NDArray[np.int64]
    """``(2,)``: the scan's own pixel (y, x) at the canvas's first pixel."""
    scale: float
    """What the scan's probe was multiplied by."""
    experiment: Experiment
    """Probe and positions on the device."""
    amplitude: Measured
    """Measured ``(n, N, N)``, on the device or read there when indexed."""
    fitted: Tensor | None = None
    """int64 ``(m,)``: patterns that may be fitted, on the device; all when None."""
    freedom: Freedom = KNOWN
    """What of the instrument is found together with the object."""
    home: Instrument | None = None
    """The instrument as it came with the scan, once it has moved."""

    @property
    def probe(self) -> Tensor:
        """Complex ``(mode, N, N)`` in square roots of photons."""
        return self.instrument.probe

    @property
    def positions(self) -> Tensor:
        """``(n, 2)`` float64 on the CPU: patch centres (y, x) on the canvas."""
        return self.instrument.positions

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.amplitude.device

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Sorted numbers of the patterns that are never fitted."""
        everything = np.arange(len(self.scan))
        return (
            everything[:0] if self.fitted is None else np.setdiff1d(everything, self.fitted.cpu())
        )

    @cached_property
    def reach(self) -> float:
        """Pixels around a patch centre that the beam lights."""
        return reach(self.probe)

    @property
    def lit(self) -> tuple[slice, slice]:
        """Rows and columns of the canvas that the beam reaches; sides divisible by the stride."""
        low = np.floor(self.positions.numpy().min(0) - self.reach)
        high = np.ceil(self.positions.numpy().max(0) + self.reach)
        size = np.minimum(np.ceil((high - low) / STRIDE) * STRIDE, self.shape).astype(int)
        top, left = low.clip(0, self.shape - size).astype(int)
        return slice(top, top + size[0]), slice(left, left + size[1])

    def holding_out(self, numbers: NDArray[np.int64]) -> "Problem":
        """The same problem with just these patterns never fitted, not even their photons."""
        if np.array_equal(numbers, self.held_out):
            return self
        kept = np.setdiff1d(np.arange(len(self.scan)), numbers)
        fitted = torch.from_numpy(kept) if len(numbers) else None
        probe, scale = _in_photons(self.scan, fitted)
        probe = add_modes(probe, len(self.probe)).to(self.device)
        return replace(
            self.knowing(replace(self.instrument, probe=probe)),
            scale=scale,
            fitted=None if fitted is None else fitted.to(self.device),
            home=None,
        )

    def knowing(self, instrument: Instrument | None) -> "Problem":
        """The same problem with another instrument, found from this one; None: nothing found."""
        if instrument is None or instrument is self.instrument:
            return self
        home = self.home or self.instrument
        return replace(self, instrument=instrument, experiment=instrument.experiment(), home=home)

    def as_it_came(self) -> "Problem":
        """The same problem with nothing found of the instrument yet."""
        if self.home is None:
            return self
        came = self.home
        return replace(self, instrument=came, experiment=came.experiment(), home=None)

    def found_in(self, found: Reconstruction) -> "Problem":
        """The same problem with the instrument of a reconstruction of it."""
        known = self.reconstruction([])
        same = (
            np.array_equal(*pair)
            for pair in (
                (found.probe, known.probe),
                (found.positions, known.positions),
            )
        )
        if all(same) and found.flux is None and found.background is None:
            return self
        maybe = (found.flux, found.background)
        flux, background = (
            None if one is None else torch.from_numpy(one).to(self.device) for one in maybe
        )
        probe = torch.from_numpy(found.probe).to(self.device)
        positions = torch.from_numpy(found.positions)
        fresnel = self.instrument.fresnel
        return self.knowing(Instrument(probe, positions, flux, background, fresnel))

    def brightened(self, gain: float) -> "Problem":
        """The same problem with so many times the photons in the beam."""
        if gain == 1:
            return self
        factor = math.sqrt(gain)
        brighter = replace(self.instrument, probe=factor * self.probe)
        return replace(self.knowing(brighter), scale=self.scale * factor)

    def flat(self) -> Tensor:
        """An empty object, complex ``(H, W)``."""
        return torch.ones(self.shape, dtype=torch.complex64, device=self.device)

    def solver(self, recipe: Recipe) -> Solver:
        """The physics solver at full resolution."""
        cutoff = fine_cutoff(self.probe, recipe)
        experiment = self.experiment if self.fitted is None else self.experiment.of(self.fitted)
        return Solver(experiment, self.amplitude, self.shape, recipe, cutoff, self.fitted)

    def joint_solver(self, recipe: Recipe) -> JointSolver:
        """The solver that finds the free parts of the instrument, too, at full resolution."""
        return JointSolver(
            self.instrument,
            self.amplitude,
            self.shape,
            recipe,
            self.freedom,
            fine_cutoff(self.probe, recipe),
            self.fitted,
            home=self.home,
        )

    def joint_start(
        self, iterations: int, recipe: Recipe, tick: Tick | None = None
    ) -> tuple[Tensor, "Problem"]:
        """:meth:`start` that finds the free parts of the instrument, too."""
        if not self.instrument.halves:
            solver = self.joint_solver(recipe)
            obj = solver.run(self.flat(), iterations, wait=FIRST_LOOK, on_iteration=tick)
            return obj, self.knowing(solver.instrument)
        obj, instrument = coarse_joint_solution(
            self.instrument,
            self.amplitude,
            self.shape,
            iterations,
            recipe,
            self.freedom,
            take=self.fitted,
            on_iteration=tick,
        )
        return obj, self.knowing(instrument)

    def start(self, iterations: int, recipe: Recipe, tick: Tick | None = None) -> Tensor:
        """A first object from the half-resolution solver, complex ``(H, W)``."""
        if not self.instrument.halves:
            return self.solver(recipe).run(self.flat(), iterations, on_iteration=tick)
        fitted = self.fitted
        return coarse_solution(
            self.probe,
            self.positions if fitted is None else self.positions[fitted.cpu()],
            self.amplitude,
            self.shape,
            iterations,
            recipe,
            take=fitted,
            on_iteration=tick,
        )

    def reconstruction(self, stages: list[Stage]) -> Reconstruction:
        """Stages on this canvas, with everything a report needs."""
        return Reconstruction(
            stages=tuple(stages),
            probe=self.probe.cpu().numpy(),
            positions=self.positions.numpy(),
            flux=_as_array(self.instrument.flux),
            background=_as_array(self.instrument.background),
            fresnel=self.instrument.fresnel,
            truth=self._truth_on_canvas(),
            truth_is_known=self.scan.truth_is_known,
            pixel_size_m=self.scan.pixel_size_m,
            label=self.scan.label,
            held_out=self.held_out,
        )

    def _truth_on_canvas(self) -> Complex | None:
        truth = self.scan.truth
        if truth is None:
            return None
        canvas = np.ones(self.shape, dtype=np.complex64)
        low = np.maximum(self.offset, 0)
        high = np.minimum(self.offset + self.shape, truth.shape)
        corners = zip(low - self.offset, high - self.offset, strict=True)
        inside = tuple(slice(*pair) for pair in corners)
        wanted = Reconstruction((), self.probe.cpu().numpy(), self.positions.numpy()).scanned
        if any(i.start > w.start or i.stop < w.stop for i, w in zip(inside, wanted, strict=True)):
            log.warning(
                "%s: objectGuess does not cover the scanned area and is left out", self.scan.label
            )
            return None
        canvas[inside] = truth[low[0] : high[0], low[1] : high[1]]
        return canvas


def pose(
    scan: Scan,
    device: torch.device,
    holdout_fraction: float = 0.0,
    freedom: Freedom = KNOWN,
    modes: int = 1,
) -> Problem:
    """Lay a scan out on a canvas just large enough for all its patches.

    Args:
        scan: as read.
        device: where to compute.
        holdout_fraction: share of the patterns that are never fitted.
        freedom: what of probe and positions is found together with the object; positions
            that may move get room to.
        modes: of the probe, at least; those that the scan lacks are added.

    Raises:
        DataError: when the positions span an absurd area, or no so many modes can be made.
    """
    scan = with_a_dose(scan)
    size = scan.patch_size
    if np.abs(scan.positions).max() > _FARTHEST:
        raise DataError(
            f"{scan.label}: a position is {np.abs(scan.positions).max():.3g} pixels away; "
            "positions must be in pixels of the object."
        )
    margin = _MARGIN + (math.ceil(freedom.max_shift) if freedom.positions else 0)
    offset = np.floor(scan.positions.min(0)).astype(np.int64) - size // 2 - margin
    positions = scan.positions - offset
    sides = positions.max(0) + size / 2 + margin
    if np.prod(sides) > _LARGEST_CANVAS:
        raise DataError(
            f"{scan.label}: the positions span {sides[0]:.3g} x {sides[1]:.3g} object pixels, "
            "more than a canvas can hold; positions must be in pixels of the object."
        )
    height, width_ = (int(-(-side // STRIDE) * STRIDE) for side in np.ceil(sides))
    probe, scale = _in_photons(scan)
    every = add_modes(probe, modes)
    if len(every) < modes:
        raise DataError(
            f"{scan.label}: the probe lights too few pixels for instrument.probe_modes={modes}; "
            f"ask for {len(every)}."
        )
    instrument = Instrument(every.to(device), torch.from_numpy(positions), fresnel=scan.fresnel)
    problem = Problem(
        scan=scan,
        instrument=instrument,
        shape=(height, width_),
        offset=offset,
        scale=scale,
        experiment=instrument.experiment(),
        amplitude=as_measured(scan.amplitude, device),
        freedom=freedom,
    )
    return problem.holding_out(_judges(problem, holdout_fraction))


def _as_array(values: Tensor | None) -> NDArray[np.float32] | None:
    return None if values is None else values.cpu().numpy()


def _in_photons(scan: Scan, fitted: Tensor | None = None) -> tuple[Tensor, float]:
    """The probe in photons, as the patterns that may be fitted tell them, and its factor."""
    probe, amplitude = torch.from_numpy(scan.probe), as_measured(scan.amplitude, _CPU)
    # where pixels are bad, the photons of an empty object are missing as well
    share = seen_share(probe, amplitude, fitted, scan.fresnel)
    if share == 0:
        raise DataError(f"{scan.label}: bad_pixels cover all that the beam lights; mark fewer.")
    scale = matched_scale(probe, amplitude, fitted) / math.sqrt(share)
    if not (np.isfinite(scale) and scale > 0):
        raise DataError(
            f"{scan.label}: probe or patterns are too large or too small for single precision "
            f"({scan.photons:.3g} photons a pattern); rescale them."
        )
    return (probe.to(torch.complex128) * scale).to(torch.complex64), scale


def _judges(problem: Problem, fraction: float) -> NDArray[np.int64]:
    """Numbers of the patterns to hold out."""
    wanted = round(fraction * len(problem.scan))
    if wanted == 0:
        return problem.held_out
    experiment = problem.experiment
    beams = intensity(experiment.table).cpu().numpy()
    light = experiment.illumination(problem.shape).cpu().numpy()
    corners, row = experiment.corners.cpu().numpy(), experiment.row.cpu().numpy()
    chosen = hold_out(light, beams, row, corners, wanted)
    if len(chosen) < wanted:
        log.warning(
            "%s: %d of %d patterns held out, since the others must light the same places%s",
            problem.scan.label, len(chosen), wanted,
            "" if len(chosen) else ": C is of patterns that were fitted, and says less",
        )  # fmt: skip
    return chosen


def with_masked_probe(scan: Scan) -> Scan:
    """The same scan, its probe zero outside the central circle of diameter ``N / 2``."""
    axis = np.arange(scan.patch_size) - scan.patch_size // 2
    inside = np.hypot(axis[:, None], axis) <= scan.patch_size / 4
    probe = scan.probe * inside
    if not probe.any():
        raise DataError(
            f"{scan.label}: the probe is zero within the circle; leave model.probe_mask out."
        )
    return replace(scan, probe=probe)


def with_a_dose(scan: Scan) -> Scan:
    """Give amplitudes in an arbitrary unit a dose; those of counts are left alone.

    The likelihood of few photons needs to know what one photon is. Amplitudes whose squares
    are no whole numbers and add up to less than any scan's dose were normalised by somebody.
    """
    photons = scan.photons
    some = np.square(scan.amplitude[:: max(len(scan) // 16, 1)], dtype=np.float64)
    counted = bool((np.abs(some - np.round(some)) < 1e-2).all()) and bool(some.max() > 0.5)
    if counted or photons >= _FEWEST_PHOTONS:
        return scan
    log.warning(
        "%s: %.3g photons a pattern: the amplitudes are in an arbitrary unit and are treated as "
        "%.0e photons a pattern", scan.label, photons, _ASSUMED_PHOTONS,
    )  # fmt: skip
    factor = np.sqrt(_ASSUMED_PHOTONS / photons)
    amplitude: NDArray[np.float32] | LazyAmplitude
    if isinstance(scan.amplitude, LazyAmplitude):
        amplitude = scan.amplitude.times(factor)
    else:
        amplitude = np.asarray(scan.amplitude * factor, dtype=np.float32)
    notes = {**scan.notes, "dose": f"unknown; treated as {_ASSUMED_PHOTONS:.0e} photons a pattern"}
    return replace(scan, amplitude=amplitude, notes=notes)


def pick_device(accelerator: Accelerator) -> torch.device:
    """The device a choice means on this machine; ``auto``: CUDA, else MPS, else the CPU."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    wants_cuda = accelerator in (Accelerator.auto, Accelerator.gpu, Accelerator.cuda)
    if wants_cuda and cuda:
        return torch.device("cuda")
    if mps and accelerator in (Accelerator.auto, Accelerator.gpu, Accelerator.mps):
        return torch.device("mps")
    return torch.device("cpu")


def with_curves(
    reconstruction: Reconstruction, curves: dict[str, list[tuple[float, float]]]
) -> Reconstruction:
    """The same reconstruction with curves of its making."""
    return replace(reconstruction, curves=curves)
