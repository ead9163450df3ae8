"""A part of a scan that is small enough to be solved in a twentieth of a second."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from ptycho.physics.forward import Experiment, matched_scale
from ptycho.physics.fourier import crop_centre, fourier_crop
from ptycho.physics.mask import hide
from ptycho.physics.probe import as_modes
from ptycho.physics.solver import Recipe, Solver, fine_cutoff
from ptycho.report.frames import judge, measured_frames
from ptycho.workflows.doctor.turns import AS_IT_IS, Turn

Positions = NDArray[np.float64]

SIDES = (32, 48, 64, 96, 128)
"""Pixels of the detector's centre that are looked at."""
_LIGHT = 0.95
"""Of the light that must be in them."""
_PHOTONS = 1e5
"""Of a pattern, whatever unit it came in: only its shape counts here."""
_MARGIN = 3
_MODES = 3


@dataclass(frozen=True)
class Answer:
    """What a short fit said."""

    held: NDArray[np.float64]
    """``(h,)``: correlation with the patterns that were not fitted, the mean frames removed."""
    fitted: float
    """Mean correlation with those that were."""
    obj: Tensor
    """Complex ``(H, W)``."""

    @property
    def c(self) -> float:
        """C of the patterns that were not fitted."""
        return float(self.held.mean())


@dataclass(frozen=True)
class Region:
    """Neighbouring patterns, their centres only, at the resolution that these have."""

    amplitudes: Mapping[Turn, Tensor]
    """Turn of the patterns -> ``(n, M, M)``, zero frequency at ``[M // 2, M // 2]``."""
    positions: Positions
    """``(n, 2)`` in pixels of ``M x M`` patterns, about their middle."""
    probe: Tensor
    """Complex ``(mode, M, M)``, as bright as the patterns."""
    fitted: Tensor
    """Numbers of the patterns to fit."""
    held: Tensor
    """Numbers of the patterns that judge."""

    def solve(
        self,
        patterns: Turn = AS_IT_IS,
        positions: Turn = AS_IT_IS,
        scale: float = 1.0,
        iterations: int = 6,
    ) -> Answer:
        """Fit an object to most patterns and look at the others.

        Args:
            patterns: how the patterns are turned.
            positions: how to turn the positions first.
            scale: what to multiply them by.
            iterations: of the solver, from a flat object.
        """
        amplitude = self.amplitudes[patterns]
        size = amplitude.shape[-1]
        places = positions.positions(self.positions) * scale
        places = places - np.floor(places.min(0)) + size // 2 + _MARGIN
        sides = np.ceil(places.max(0)).astype(int) + size // 2 + _MARGIN
        shape = int(sides[0]), int(sides[1])
        experiment = Experiment(self.probe, torch.from_numpy(places), bins=8)
        recipe = Recipe()
        cutoff = fine_cutoff(self.probe, recipe)
        solver = Solver(experiment.of(self.fitted), amplitude, shape, recipe, cutoff, self.fitted)
        obj = solver.run(torch.ones(shape, dtype=torch.complex64), iterations)
        found = judge(measured_frames(experiment, obj, amplitude)).correlation
        return Answer(found[self.held.numpy()], float(found[self.fitted.numpy()].mean()), obj)

    def powered(self, power: float) -> "Region":
        """The same with powers of the amplitudes, brought to the same light."""
        amplitudes = {}
        for turn, amplitude in self.amplitudes.items():
            bad = torch.signbit(amplitude)
            amplitudes[turn] = _lit(hide(amplitude.abs() ** power, bad))
        return replace(self, amplitudes=amplitudes)


def make_region(
    amplitudes: Mapping[Turn, Tensor], positions: Positions, probe: Tensor, side: int, seed: int = 0
) -> Region:
    """Make patterns small and put some of them aside.

    Args:
        amplitudes: turn of the patterns -> ``(n, N, N)``, zero frequency at the centre; negative
            zero where bad.
        positions: ``(n, 2)`` in object pixels.
        probe: complex ``(mode, N, N)``.
        side: of the centre of the detector to look at.
        seed: of the choice of those put aside.
    """
    modes = as_modes(probe)
    energy = modes.abs().square().sum((-2, -1))
    strongest = modes[energy.argsort(descending=True)[:_MODES]]
    n = len(positions)
    number = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    aside = max(n // 5, 3)
    small = {
        turn: _lit(crop_centre(amplitude, side).contiguous())
        for turn, amplitude in amplitudes.items()
    }
    beam = fourier_crop(strongest, side)
    beam = beam * matched_scale(beam, next(iter(small.values())))
    return Region(
        amplitudes=small,
        positions=(positions - positions.mean(0)) * side / probe.shape[-1],
        probe=beam.to(torch.complex64),
        fitted=number[aside:].sort().values,
        held=number[:aside].sort().values,
    )


def _lit(amplitude: Tensor) -> Tensor:
    """Amplitudes ``(n, M, M)`` of a usual dose."""
    bad = torch.signbit(amplitude)
    power = amplitude.square().sum((-2, -1)).mean()
    return hide(amplitude * torch.sqrt(_PHOTONS / power.clamp_min(1e-30)), bad)


def side_for(mean: NDArray[np.float64], probe: Tensor, share: float = _LIGHT) -> int:
    """How much of the detector's centre to look at.

    Args:
        mean: ``(N, N)`` mean counts, zero frequency at the centre.
        probe: complex ``(mode, N, N)``.
        share: of the light that must be in it.
    """
    size = mean.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fft2(as_modes(probe)), dim=(-2, -1))
    empty = spectrum.abs().square().sum(0).double().numpy()
    background = np.median(mean)
    for side in (one for one in SIDES if one < size):
        shares = []
        for light in (np.maximum(mean - background, 0), empty):
            inside = crop_centre(torch.from_numpy(light), side).sum()
            shares.append(float(inside) / max(float(light.sum()), 1e-30))
        if min(shares) >= share:
            return side
    return int(min(size - size % 2, SIDES[-1]))


def choose_patterns(
    positions: Positions, beam: float, contrast: NDArray[np.float64], most: int
) -> NDArray[np.int64]:
    """Numbers of neighbouring patterns: enough of them, over a few widths of the beam.

    Args:
        positions: ``(n, 2)`` in object pixels.
        beam: width of the beam in object pixels.
        contrast: ``(n,)``: how much each differs from the mean pattern; NaN: not to be used.
        most: how many to choose.
    """
    usable = np.flatnonzero(np.isfinite(contrast))
    if len(usable) <= most:
        return usable
    places = positions[usable]
    tree = cKDTree(places)
    reach = tree.query(places, k=most)[0][:, -1]
    # in the middle of others, not at a rim, and where there is something to see
    inner = reach <= 1.25 * np.percentile(reach, 30)
    seen = np.array(
        [contrast[usable[near]].mean() for near in tree.query(places, k=min(most, 25))[1]]
    )
    centre = int(np.flatnonzero(inner)[seen[inner].argmax()])
    radius = min(max(float(reach[centre]), 1.6 * beam), float(reach[centre]) * 4 + 1.6 * beam)
    around = np.array(tree.query_ball_point(places[centre], radius), np.int64)
    return np.sort(usable[_thinned(places, around, centre, most)])


def _thinned(
    places: Positions, around: NDArray[np.int64], centre: int, most: int
) -> NDArray[np.int64]:
    """So many of some places, each as far from those before as can be."""
    if len(around) <= most:
        return around
    around = around[np.linspace(0, len(around) - 1, min(len(around), 4000)).astype(int)]
    chosen = [centre]
    away = np.linalg.norm(places[around] - places[centre], axis=1)
    while len(chosen) < most:
        farthest = int(away.argmax())
        chosen.append(int(around[farthest]))
        away = np.minimum(away, np.linalg.norm(places[around] - places[around[farthest]], axis=1))
    return np.unique(np.array(chosen, np.int64))
