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
from ptycho.data.reconstruction import Complex, Reconstruction, Stage
from ptycho.data.scan import DataError, Scan
from ptycho.nn.object_net import STRIDE
from ptycho.physics.detector import intensity
from ptycho.physics.forward import Experiment, matched_scale
from ptycho.physics.mask import seen_share
from ptycho.physics.probe import reach, width
from ptycho.physics.solver import Recipe, Solver, coarse_solution

_MARGIN = 2  # pixels around the outermost patches, for rounding at half resolution
_LARGEST_CANVAS = 2**28  # pixels: 2 GiB of complex64
_FARTHEST = 1e7  # pixels from the origin at which positions are no pixels
_FEWEST_PHOTONS = 1e3  # per pattern; below, fractions of photons mean an arbitrary unit
_ASSUMED_PHOTONS = 1e5

log = logging.getLogger(__name__)

Tick = Callable[[int, float], None]


@dataclass(frozen=True)
class Problem:
    """What the solver and the networks work on."""

    scan: Scan
    """As read."""
    probe: Tensor
    """Complex ``(mode, N, N)`` in square roots of photons."""
    positions: Tensor
    """``(n, 2)`` float64 on the CPU: patch centres (y, x) on the canvas."""
    shape: tuple[int, int]
    """``(H, W)`` of the canvas; sides divisible by the networks' stride."""
    offset: NDArray[np.int64]
    """``(2,)``: the scan's own pixel (y, x) at the canvas's first pixel."""
    scale: float
    """What the scan's probe was multiplied by."""
    experiment: Experiment
    """Probe and positions on the device."""
    amplitude: Tensor
    """Measured ``(n, N, N)`` on the device."""
    fitted: Tensor | None = None
    """int64 ``(m,)``: patterns that may be fitted, on the device; all when None."""

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
        return replace(
            self,
            probe=probe.to(self.device),
            scale=scale,
            experiment=Experiment(probe, self.positions).to(self.device),
            fitted=None if fitted is None else fitted.to(self.device),
        )

    def brightened(self, gain: float) -> "Problem":
        """The same problem with so many times the photons in the beam."""
        if gain == 1:
            return self
        probe, factor = self.probe * math.sqrt(gain), math.sqrt(gain)
        experiment = Experiment(probe.cpu(), self.positions).to(self.device)
        return replace(self, probe=probe, scale=self.scale * factor, experiment=experiment)

    def flat(self) -> Tensor:
        """An empty object, complex ``(H, W)``."""
        return torch.ones(self.shape, dtype=torch.complex64, device=self.device)

    def solver(self, recipe: Recipe) -> Solver:
        """The physics solver at full resolution."""
        cutoff = recipe.cutoff or 1 / max(width(self.probe), 2.0)
        experiment = self.experiment if self.fitted is None else self.experiment.of(self.fitted)
        return Solver(experiment, self.amplitude, self.shape, recipe, cutoff, self.fitted)

    def start(self, iterations: int, recipe: Recipe, tick: Tick | None = None) -> Tensor:
        """A first object from the half-resolution solver, complex ``(H, W)``."""
        if self.scan.patch_size % 4:
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


def pose(scan: Scan, device: torch.device, holdout_fraction: float = 0.0) -> Problem:
    """Lay a scan out on a canvas just large enough for all its patches.

    Args:
        scan: as read.
        device: where to compute.
        holdout_fraction: share of the patterns that are never fitted.

    Raises:
        DataError: when the positions span an absurd area.
    """
    scan = with_a_dose(scan)
    size = scan.patch_size
    if np.abs(scan.positions).max() > _FARTHEST:
        raise DataError(
            f"{scan.label}: a position is {np.abs(scan.positions).max():.3g} pixels away; "
            "positions must be in pixels of the object."
        )
    offset = np.floor(scan.positions.min(0)).astype(np.int64) - size // 2 - _MARGIN
    positions = scan.positions - offset
    sides = positions.max(0) + size / 2 + _MARGIN
    if np.prod(sides) > _LARGEST_CANVAS:
        raise DataError(
            f"{scan.label}: the positions span {sides[0]:.3g} x {sides[1]:.3g} object pixels, "
            "more than a canvas can hold; positions must be in pixels of the object."
        )
    height, width_ = (int(-(-side // STRIDE) * STRIDE) for side in np.ceil(sides))
    probe, scale = _in_photons(scan)
    on_canvas = torch.from_numpy(positions)
    problem = Problem(
        scan=scan,
        probe=probe.to(device),
        positions=on_canvas,
        shape=(height, width_),
        offset=offset,
        scale=scale,
        experiment=Experiment(probe, on_canvas).to(device),
        amplitude=torch.from_numpy(scan.amplitude).to(device),
    )
    return problem.holding_out(_judges(problem, holdout_fraction))


def _in_photons(scan: Scan, fitted: Tensor | None = None) -> tuple[Tensor, float]:
    """The probe in photons, as the patterns that may be fitted tell them, and its factor."""
    probe, amplitude = torch.from_numpy(scan.probe), torch.from_numpy(scan.amplitude)
    # where pixels are bad, the photons of an empty object are missing as well
    share = seen_share(probe, amplitude, fitted)
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
            "%s: %d of %d patterns held out: the others must light the same places",
            problem.scan.label, len(chosen), wanted,
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
