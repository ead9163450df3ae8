"""A reconstruction held against the patterns of its scan."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.config.choices import Accelerator
from ptycho.data.lazy import as_measured
from ptycho.data.pairing import Pairing, pair
from ptycho.data.placing import with_margin
from ptycho.data.products import Product
from ptycho.data.reconstruction import Complex, scanned_area
from ptycho.data.scan import DataError, Scan
from ptycho.physics.forward import Experiment, matched_scale
from ptycho.physics.mask import seen_share
from ptycho.physics.measured import Measured
from ptycho.report.frames import (
    judge,
    measured_frames,
    misfit,
    photon_scale,
    simulated_frames,
)
from ptycho.report.metrics import frame_figures
from ptycho.report.verdict import AgainstData, Between, Pattern
from ptycho.workflows.problem import pick_device

_CPU = torch.device("cpu")
_WORST = 6  # patterns shown
_TRIED = (-1.0, -0.5, 0.0, 0.5, 1.0)  # pixels by which conventions differ
_USUAL = 10.0  # times more or less than 1 that the amplitude of an object may be
_GAIN = 0.02  # relative fall of R from which another convention is suspected


@dataclass(frozen=True)
class Evidence:
    """Patterns paired with an object that has room for all of them."""

    obj: Complex
    """``(H, W)``: the object without a margin."""
    scan: Scan
    """The patterns that have a position, with the object's positions and its probe."""
    pairing: Pairing
    product: Product
    """The reconstruction, for what it tells of flux and background."""
    canvas: Tensor
    """Complex: the object, empty beyond its borders."""
    margin: NDArray[np.int64]
    """``(2,)``: rows and columns added before the object's first pixel."""
    experiment: Experiment
    """Probe and positions on the canvas."""
    amplitude: Measured
    """Measured ``(m, N, N)``."""
    scale: float
    """What the experiment's photons must be multiplied by to be those counted."""
    notes: tuple[str, ...]
    """What was decided, in sentences."""

    @property
    def photons(self) -> NDArray[np.float64]:
        """Photons that fell on each pixel of the canvas."""
        height, width = self.canvas.shape
        light = self.experiment.illumination((height, width))
        return np.asarray(self.scale * light.cpu().double().numpy())


def gather(product: Product, scan: Scan) -> Evidence:
    """Bring a reconstruction and the patterns of its scan together.

    The probe is the reconstruction's own; without one, the scan's. An object far from
    amplitude 1 is brought there, so that what lies beyond its borders can be empty.

    Raises:
        DataError: the two do not belong together.
    """
    pairing = pair(product, scan)
    notes = (*pairing.notes, *_probe_notes(product, scan))
    if "dose" in scan.notes:
        notes += (f"dose {scan.notes['dose']}: deviance and noise floor say little",)
    used = replace(
        scan.take(pairing.patterns),
        positions=pairing.positions,
        probe=scan.probe if product.probe is None else product.probe,
        fresnel=product.fresnel or scan.fresnel,
        truth=None,
        patches=None,
    )
    obj, said = _near_one(product, used)
    canvas, positions, beyond = with_margin(obj, used.positions, used.patch_size)
    if beyond:
        notes += (f"{beyond} patterns reach beyond the object, which is taken as empty there",)
    device = pick_device(Accelerator.auto)
    amplitude, on_device = as_measured(used.amplitude, _CPU), torch.from_numpy(canvas).to(device)
    experiment = _experiment(used, positions, product, _shrunk(product, obj)).to(device)
    return Evidence(
        obj=obj,
        scan=used,
        pairing=pairing,
        product=product,
        canvas=on_device,
        margin=np.rint(positions[0] - used.positions[0]).astype(np.int64),
        experiment=experiment,
        amplitude=amplitude,
        scale=photon_scale(experiment, on_device, amplitude),
        notes=(*notes, *said),
    )


def beneath(evidence: Evidence, truth: Product, moved: tuple[int, int]) -> Evidence:
    """The same patterns on the true object.

    Args:
        evidence: patterns on a reconstruction.
        truth: what should be reconstructed.
        moved: whole pixels (y, x) from the reconstruction's grid to the truth's.
    """
    positions = evidence.scan.positions + np.array(moved)
    found = evidence.product
    there = replace(
        truth,
        positions=positions,
        probe=evidence.scan.probe,
        indexes=None,
        flux=found.flux,
        background=found.background,
    )
    return gather(there, evidence.scan)


def _near_one(product: Product, scan: Scan) -> tuple[Complex, tuple[str, ...]]:
    """The object, divided by its amplitude where it was scanned if that is far from 1."""
    rows, columns = scanned_area(scan.positions, scan.patch_size)
    seen = product.obj[max(rows.start, 0) : rows.stop, max(columns.start, 0) : columns.stop]
    size = float(np.sqrt(np.square(np.abs(seen), dtype=np.float64).mean()))
    if size == 0:
        raise DataError(f"{product.label}: no light comes through this object; is it empty?")
    if 1 / _USUAL < size < _USUAL:
        return product.obj, ()
    near_one = (product.obj / np.complex128(size)).astype(np.complex64)
    return near_one, (f"the object, of amplitude {size:.3g}, was divided by that",)


def _probe_notes(product: Product, scan: Scan) -> tuple[str, ...]:
    if product.probe is None:
        return ("FILE has no probe: that of the scan is used",)
    mine, theirs = product.probe.shape[-1], scan.patch_size
    if mine != theirs:
        raise DataError(
            f"{product.label} has a probe of {mine} x {mine} pixels and {scan.label} patterns of "
            f"{theirs} x {theirs}; crop or bin the patterns as for the reconstruction."
        )
    return ()


def _shrunk(product: Product, obj: Complex) -> float:
    """What the object of a reconstruction was multiplied by."""
    return float(np.abs(obj).max() / np.abs(product.obj).max())


def _experiment(
    scan: Scan, positions: NDArray[np.float64], product: Product, shrunk: float, some: Any = ...
) -> Experiment:
    """The model of some patterns with all that the reconstruction tells of its instrument."""
    probe, flux, background = _scaled(scan), product.flux, product.background
    if background is not None:  # goes with the probe and the object as they were saved
        gain = float(probe.abs().square().sum() / np.square(np.abs(scan.probe)).sum())
        background = background * np.float32(gain * shrunk**2)
    return Experiment(
        probe,
        torch.from_numpy(positions),
        flux=None if flux is None else torch.from_numpy(flux[some]),
        background=None if background is None else torch.from_numpy(background),
        fresnel=scan.fresnel,
    )


def _scaled(scan: Scan) -> Tensor:
    """The probe of a scan in square roots of photons."""
    probe = torch.from_numpy(scan.probe).to(torch.complex128)
    amplitude = as_measured(scan.amplitude, _CPU)
    share = seen_share(probe, amplitude, fresnel=scan.fresnel)
    scale = matched_scale(probe, amplitude) / share**0.5 if share else 0.0
    if not 0 < scale < np.inf:
        raise DataError(f"{scan.label}: the probe is zero, or far too large or too small.")
    return (probe * scale).to(torch.complex64)


def against_data(evidence: Evidence, source: str, best: Evidence | None = None) -> AgainstData:
    """Compare what an object predicts with what was measured.

    Args:
        evidence: the two.
        source: where the patterns came from.
        best: the same patterns with the true object, of which the noise floor is simulated;
            without it, the object itself has to do.
    """
    best = best or evidence
    experiment, canvas, amplitude = evidence.experiment, evidence.canvas, evidence.amplitude
    held_out = evidence.pairing.held_out

    measured = measured_frames(experiment, canvas, amplitude)
    flat = measured_frames(experiment, torch.ones_like(canvas), amplitude)
    perfect = simulated_frames(best.experiment, best.canvas, best.scale, seed=0, like=amplitude)
    judged = [judge(frames) for frames in (measured, flat, perfect)]
    residual = judged[0].residual
    # an empty pattern has no relative residual, and is worth looking at first
    order = np.argsort(-np.nan_to_num(residual, nan=np.inf), kind="stable")
    return AgainstData(
        source=source,
        scores=Between(*(frame_figures(one, held_out) for one in judged)),
        numbers=evidence.pairing.patterns,
        positions=evidence.pairing.positions,
        residual=residual,
        held_out=held_out,
        worst=tuple(_pattern(evidence, int(row), residual) for row in order[:_WORST]),
    )


@torch.no_grad()
def _pattern(evidence: Evidence, row: int, residual: NDArray[np.float64]) -> Pattern:
    which = torch.tensor([row], device=evidence.canvas.device)
    model = (evidence.scale * evidence.experiment(evidence.canvas, which)[0]).sqrt()
    y, x = evidence.pairing.positions[row].tolist()
    return Pattern(
        number=int(evidence.pairing.patterns[row]),
        position=(y, x),
        residual=float(residual[row]),
        measured=evidence.scan.amplitude[row],
        model=model.cpu().numpy(),
    )


def other_convention(evidence: Evidence) -> str | None:
    """A sentence when the patterns would fit better half a pixel or a pixel away.

    Packages name a patch by different pixels (its middle, the pixel after it, its first one),
    and a result is easily saved with the wrong one.
    """
    scan = evidence.scan
    few = int(np.clip(2**20 // scan.patch_size**2, 8, 64))
    some = np.unique(np.linspace(0, len(scan) - 1, few).astype(int))
    amplitude, product = torch.from_numpy(scan.amplitude[some]), evidence.product
    found = {}
    for offset in itertools.product(_TRIED, repeat=2):
        moved = scan.positions[some] + np.array(offset)
        canvas, positions, _ = with_margin(evidence.obj, moved, scan.patch_size)
        shrunk = _shrunk(product, evidence.obj)
        experiment = _experiment(scan, positions, product, shrunk, some)
        found[offset], _ = misfit(experiment, torch.from_numpy(canvas), amplitude)
    best, as_it_is = min(found, key=lambda offset: found[offset]), found[0.0, 0.0]
    if found[best] > (1 - _GAIN) * as_it_is:
        return None
    return (
        f"R would fall from {as_it_is:.3f} to {found[best]:.3f} with all positions moved by "
        f"{best[0]:+g} and {best[1]:+g} pixels (y, x): FILE may name another pixel the centre"
    )
