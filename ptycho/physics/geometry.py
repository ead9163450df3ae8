"""Where the patterns were taken, how bright the beam was, and what lay under them all.

Fisher scoring on the Poisson likelihood: with ``I`` expected and ``n`` counted photons, the
score of a parameter is ``sum (n - I) I' / I`` and its information ``sum I'^2 / I``. It is not
biased where photons are few, as amplitudes would be. All patterns are looked at, those held
out, too: where a pattern was taken nobody but itself can tell.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ptycho.physics.forward import Experiment
from ptycho.physics.mask import hidden
from ptycho.physics.measured import Measured
from ptycho.physics.patches import extract_patches
from ptycho.physics.sweep import usual_batch
from ptycho.physics.threads import in_parallel, shares

_DARK = 0.1  # photons added to those expected: what is dark says little
_SLOWLY = 7  # pixels of the detector within which a background hardly changes
_ROUNDS = 12  # to find how widely positions scatter
_NARROWEST, _WIDEST = 1e-6, 1e4  # px^2: variance of that scatter
_DAMPING = 0.1  # of the mean information: patterns over even areas hardly know where they are


class Findings(NamedTuple):
    """What patterns say of themselves and, summed over them, of the background."""

    score: Tensor
    """``(n, 2)``: how much likelier each becomes per pixel that it moves along (y, x)."""
    information: Tensor
    """``(n, 2, 2)``: how well each knows where it was taken, in 1 / px^2."""
    flux: Tensor
    """``(n,)``: photons counted less background for each that the object lets through."""
    background: Tensor
    """``(y, x)``: photons by which it should grow, the same for neighbours."""


def inquire(
    experiment: Experiment, obj: Tensor, amplitude: Measured, batch_size: int | None = None
) -> Findings:
    """Ask all patterns about the instrument, the object being what it is.

    Args:
        experiment: probe, positions and the rest as far as they are known.
        obj: complex ``(H, W)``.
        amplitude: measured ``(n, y, x)``, one for each position.
        batch_size: patterns at once; None: what suits the device.
    """
    slopes = gradient(obj)
    size = experiment.size

    def ask(share: Sequence[slice]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        scores, information, fluxes = [], [], []
        asked, known = torch.zeros(2, size, size, device=obj.device)
        for frames in share:
            seen = _Seen(experiment, obj, amplitude, frames)
            fluxes.append(seen.flux())
            asked += (seen.surprise / seen.expected).sum(0)
            known += (seen.weight / seen.expected).sum(0)
            along = torch.stack([seen.change(slope) for slope in slopes], 1).flatten(2)
            scores.append((along @ seen.residual[..., None])[..., 0])
            information.append(along @ along.mT)
        return torch.cat(scores), torch.cat(information), torch.cat(fluxes), asked, known

    n, at_once = len(experiment.row), batch_size or usual_batch(obj.device)
    parts = zip(*in_parallel(ask, shares(n, at_once, obj.device)), strict=True)
    scores, information, fluxes, asked, known = parts
    score, matrix = torch.cat(scores), torch.cat(information)
    wanted, certain = (_smoothed(torch.stack(part).sum(0)) for part in (asked, known))
    return Findings(score, matrix, torch.cat(fluxes), wanted / certain.clamp_min(1e-30))


def likelier_shifts(found: Findings, away: Tensor) -> Tensor:
    """Pixels by which patterns should move, who may err in where they say they were taken.

    Positions are taken to scatter normally about those that came with the scan. How widely, all
    patterns tell together: the variance is that which makes them likeliest (MacKay 1992,
    doi:10.1162/neco.1992.4.3.415). Who knows little of its place, over an even area or
    with few photons, stays with what was said; where nothing was wrong, nearly all do.

    Args:
        found: what the patterns say where they are now.
        away: ``(n, 2)`` pixels from where they were said to be, float64.

    Returns:
        ``(n, 2)`` along (y, x), float64 on the CPU.
    """
    score, matrix = found.score.cpu().double(), found.information.cpu().double()
    typical = matrix.diagonal(dim1=1, dim2=2).mean()
    one = torch.eye(2, dtype=torch.float64)
    pull = score + (matrix @ away[..., None])[..., 0]
    variance = torch.tensor(1.0, dtype=torch.float64)
    for _ in range(_ROUNDS):
        narrow = 1 / variance
        prior = narrow * one
        moved = _solve_pairs(matrix + prior, pull)
        # parameters that the patterns have settled: 2 - tr(prior covariance) of each
        trace, determinant = _trace_and_determinant(matrix + prior)
        settled = (2 - narrow * trace / determinant).sum()
        variance = (moved.square().sum() / settled.clamp_min(1e-12)).clamp(_NARROWEST, _WIDEST)
    narrow = 1 / variance
    damped = matrix + (narrow + _DAMPING * typical) * one
    return _solve_pairs(damped, score - narrow * away)


def _trace_and_determinant(matrix: Tensor) -> tuple[Tensor, Tensor]:
    a, b, c = matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 1]
    return a + b, a * b - c * c


def magnification(
    experiment: Experiment, obj: Tensor, amplitude: Measured, batch_size: int | None = None
) -> Tensor:
    """By how much scan and object are spread, turned and sheared too far.

    Positions that are all too far apart stretch the object with them, so that no pattern
    contradicts its neighbours; but inside each pattern the object is too large for the beam
    and the detector. It tells so where its patch had better be ``object((1 + M) r)``, ``r``
    being the distance from its centre; the shift of the patch is left free.

    Args:
        experiment: probe, positions and the rest as far as they are known.
        obj: complex ``(H, W)``, reconstructed with it.
        amplitude: measured ``(n, y, x)``, one for each position.
        batch_size: patterns at once; None: what suits the device.

    Returns:
        ``M (2, 2)`` float64 on the CPU, of (y, x) by (y, x): distances should be divided by
        ``1 + M``. The object has taken up a part of the error: this is less than all of it.
    """
    slopes, size = gradient(obj), experiment.size
    axis = torch.arange(size, device=obj.device, dtype=slopes.real.dtype) - size // 2
    away = (axis[:, None], axis[None, :])

    def ask(share: Sequence[slice]) -> tuple[Tensor, Tensor]:
        matrix = torch.zeros(4, 4, dtype=torch.float64)
        vector = torch.zeros(4, dtype=torch.float64)
        for frames in share:
            seen = _Seen(experiment, obj, amplitude, frames)
            changes = [seen.change(slope) for slope in slopes]
            # of the first index a point moves, of the second it is away
            changes += [seen.change(slope, along) for slope in slopes for along in away]
            every = torch.stack(changes, 1).flatten(2)
            information = (every @ every.mT).cpu().double()
            score = (every @ seen.residual[..., None]).cpu().double()
            shifts, both, stretches = (
                information[:, :2, :2], information[:, :2, 2:], information[:, 2:, 2:],
            )  # fmt: skip
            typical = shifts.diagonal(dim1=1, dim2=2).mean()
            free = torch.linalg.solve(
                shifts + 1e-3 * typical * torch.eye(2, dtype=torch.float64),
                torch.cat([both, score[:, :2]], 2),
            )
            matrix += (stretches - both.mT @ free[..., :4]).sum(0)
            vector += (score[:, 2:] - both.mT @ free[..., 4:]).sum(0)[:, 0]
        return matrix, vector

    at_once = batch_size or usual_batch(obj.device)
    parts = in_parallel(ask, shares(len(experiment.row), at_once, obj.device))
    matrix, vector = (sum(part[1:], part[0]) for part in zip(*parts, strict=True))
    weak = 1e-6 * float(matrix.diagonal().mean()) * torch.eye(4, dtype=torch.float64)
    excess: Tensor = torch.linalg.solve(matrix + weak, vector).reshape(2, 2)
    return excess


def gradient(obj: Tensor) -> Tensor:
    """Derivatives of an object along y and x, complex ``(2, H, W)``, by its spectrum."""
    spectrum = torch.fft.fft2(obj)
    ramps = [
        2j * math.pi * torch.fft.fftfreq(n, device=obj.device, dtype=obj.real.dtype)
        for n in obj.shape
    ]
    both = torch.stack([spectrum * ramps[0][:, None], spectrum * ramps[1]])
    slopes: Tensor = torch.fft.ifft2(both)
    return slopes


class _Seen:
    """Some patterns, expected and counted."""

    def __init__(
        self, experiment: Experiment, obj: Tensor, amplitude: Measured, frames: slice
    ) -> None:
        self.corners = experiment.corners[frames]
        self.probes = experiment.beams(frames)
        patches = extract_patches(obj, self.corners, experiment.size)[:, None]
        self.propagate = experiment.propagate
        self.wave = self.propagate(patches * self.probes)
        photons = experiment.seen(self.wave)
        measured = amplitude[frames]
        bad = hidden(measured)
        self.expected = photons + _DARK
        self.weight = torch.ones_like(photons) if bad is None else (~bad).to(photons.dtype)
        self.surprise = (measured.square() - photons) * self.weight
        self._root = self.expected.rsqrt() * self.weight
        self._beam = photons if experiment.background is None else photons - experiment.background
        self.residual = (self.surprise * self.expected.rsqrt()).flatten(1)

    def flux(self) -> Tensor:
        """Photons counted less background for each that came through, ``(b,)``."""
        through = (self._beam * self.weight).sum((-2, -1))
        return 1 + self.surprise.sum((-2, -1)) / through.clamp_min(1e-30)

    def change(self, slope: Tensor, along: Tensor | None = None) -> Tensor:
        """``I' / sqrt(I)`` where the patches change by a field of slopes, ``(b, y, x)``."""
        moved = extract_patches(slope, self.corners, self.probes.shape[-1])
        if along is not None:
            moved = moved * along
        change = self.propagate(moved[:, None] * self.probes)
        # d|psi|^2 = 2 Re(conj(psi) dpsi)
        both = torch.addcmul(self.wave.real * change.real, self.wave.imag, change.imag)
        return both.sum(1).mul_(2).mul_(self._root)


def _smoothed(plane: Tensor) -> Tensor:
    """Sums over a neighbourhood: a background changes slowly across the detector."""
    return functional.avg_pool2d(plane[None, None], _SLOWLY, 1, _SLOWLY // 2)[0, 0]


def _solve_pairs(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solutions ``(n, 2)`` of symmetric systems ``(n, 2, 2)``, zero where there is nothing."""
    a, b, c = matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 1]
    determinant = (a * b - c * c).clamp_min(1e-30)
    y, x = vector.unbind(1)
    return torch.stack([b * y - c * x, a * x - c * y], 1) / determinant[:, None]
