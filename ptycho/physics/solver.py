"""The physics solver: all patterns into one canvas, low frequencies helped, Nesterov.

Amplitude flow on the whole object at once. Patterns see only *gradients* of the phase, so
plain gradient and PIE iterations crawl on low spatial frequencies; a Fourier factor on the
phase update undoes that for a few per cent more time. A half-resolution start, ordered
subsets (Hudson & Larkin 1994, doi:10.1109/42.363108: since patterns overlap, a part of them
says nearly what all say) and momentum with restarts (O'Donoghue & Candes 2015,
doi:10.1007/s10208-013-9150-3) do the rest. All patterns together finish on the Poisson
likelihood (Thibault & Guizar-Sicairos 2012, doi:10.1088/1367-2630/14/6/063004).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ptycho.physics.forward import Experiment
from ptycho.physics.fourier import fourier_crop
from ptycho.physics.mask import seeing
from ptycho.physics.measured import Measured, central, norms
from ptycho.physics.precondition import Preconditioner
from ptycho.physics.probe import as_modes, width
from ptycho.physics.sweep import sweep, usual_batch

OnIteration = Callable[[int, float], None]

_EDGE = 0.1  # share of the brightest illumination below which a phase is not trusted
# times the damped average of what the patterns ask for; with momentum, 4/3 is where it diverges
_STEP = 1.2
_MOMENTUM = 2  # of k / (k + this); smaller gathers speed sooner
_COVERED = 0.85  # of the trusted pixels: subsets that cover less would guess in their holes
_SLOW = 0.995  # of the misfit before: subsets that gain less would soon run in circles


@dataclass(frozen=True)
class Recipe:
    """How the solver steps.

    Attributes:
        batch_size: patterns each thread computes at once; None: what suits the device.
        probe_floor: share of the brightest illumination added to the denominator.
        precondition: strengthen low frequencies of the phase update.
        cutoff: frequency (cycles per full-resolution pixel) below which; None: 1 / beam width.
        cap: largest factor.
        subsets: steps that an amplitude iteration takes, each along its own share of the
            patterns; 1: a single step along all of them, as where a share leaves holes.
    """

    batch_size: int | None = None
    probe_floor: float = 0.02
    precondition: bool = True
    cutoff: float | None = None
    cap: float = 50.0
    subsets: int = 2


@dataclass(frozen=True)
class _Subset:
    """Patterns that make a step together."""

    experiment: Experiment
    amplitude: Measured
    take: Tensor | None
    """Numbers ``(m,)`` of the amplitudes that belong to the positions; None: all."""
    damped: Tensor
    """Their illumination ``(H, W)``, dim pixels lifted."""
    trusted: Tensor
    """``(H, W)``: 1 where they light the object well enough to tell its phase, else 0."""


class Solver:
    """Iterates an object towards the measured amplitudes, the probe being known.

    Args:
        experiment: probe and positions, on the device to compute on.
        amplitude: measured ``(n, y, x)``, zero frequency at the centre.
        shape: ``(H, W)`` of the object.
        recipe: how to step.
        cutoff: frequency in cycles per pixel of *this* object.
        take: numbers ``(m,)`` of the amplitudes that belong to the positions, where not all do.
    """

    def __init__(
        self,
        experiment: Experiment,
        amplitude: Measured,
        shape: tuple[int, int],
        recipe: Recipe,
        cutoff: float,
        take: Tensor | None = None,
    ) -> None:
        self.shape = shape
        self.recipe = recipe
        parts = _interleaved(experiment, amplitude, take, recipe.subsets)
        lights = [part[0].illumination(shape) for part in parts]
        self.illumination = sum(lights[1:], lights[0])
        self._all = self._subset(experiment, amplitude, take, self.illumination)
        self._subsets = [
            self._subset(*part, light) for part, light in zip(parts, lights, strict=True)
        ]
        if leave_holes(lights):
            self._subsets = [self._all]
        device = self.illumination.device
        self._conditioner = (
            Preconditioner(shape, cutoff, recipe.cap, device) if recipe.precondition else None
        )
        energy = norms(amplitude).square()
        self._energy = float((energy if take is None else energy[take]).cpu().double().sum())

    def run(
        self,
        obj: Tensor,
        iterations: int,
        *,
        poisson: bool = False,
        on_iteration: OnIteration | None = None,
    ) -> Tensor:
        """Iterate from an object; every iteration uses every pattern once.

        Args:
            obj: complex ``(H, W)``.
            iterations: how many.
            poisson: step on the Poisson likelihood, along all patterns together, instead of
                on the amplitude error, subset by subset.
            on_iteration: called with the iteration and the relative amplitude error.

        Returns:
            Complex ``(H, W)``.
        """
        subsets = [self._all] if poisson else self._subsets
        last, before = [math.inf] * len(subsets), math.inf
        previous, ahead, momentum = obj, obj, 0
        for iteration in range(iterations):
            for number, subset in enumerate(subsets):
                pull, misfit = self._pull(subset, ahead, poisson)
                stepped = self._advance(ahead, _STEP * pull, subset.trusted)
                momentum = 0 if misfit > last[number] else momentum + 1
                ahead = torch.lerp(previous, stepped, 1 + momentum / (momentum + _MOMENTUM))
                previous, last[number] = stepped, misfit
            total = sum(last)
            if on_iteration is not None:
                on_iteration(iteration, math.sqrt(total / self._energy))
            if len(subsets) > 1 and total > _SLOW * before:
                subsets, last = [self._all], [math.inf]
            before = total
        return previous

    def back_projection(self, obj: Tensor, *, poisson: bool = False) -> tuple[Tensor, float]:
        """What the patterns ask of the object: residuals propagated back and averaged.

        Returns:
            The step ``u``, complex ``(H, W)``, and the relative amplitude error of ``obj``.
        """
        pull, misfit = self._pull(self._all, obj, poisson)
        return pull, math.sqrt(misfit / self._energy)

    def _pull(self, subset: _Subset, obj: Tensor, poisson: bool) -> tuple[Tensor, float]:
        asked, misfits = sweep(
            subset.experiment,
            obj,
            subset.amplitude,
            poisson_step if poisson else amplitude_step,
            take=subset.take,
            batch_size=self.recipe.batch_size,
        )
        return asked / subset.damped, float(misfits.cpu().double().sum())

    def _advance(self, obj: Tensor, pull: Tensor, trusted: Tensor) -> Tensor:
        if self._conditioner is None:
            return obj + pull
        return self._conditioner.step(obj, pull, trusted)

    def _subset(
        self, experiment: Experiment, amplitude: Measured, take: Tensor | None, light: Tensor
    ) -> _Subset:
        floor, brightest = self.recipe.probe_floor, light.max()
        damped = (1 - floor) * light + floor * brightest
        return _Subset(experiment, amplitude, take, damped, trusted_pixels(light))


def trusted_pixels(light: Tensor) -> Tensor:
    """``(H, W)``: 1 where an illumination tells the phase of an object, else 0."""
    return (light > _EDGE * light.max()).to(light.dtype)


def leave_holes(lights: Sequence[Tensor]) -> bool:
    """Whether any of some illuminations ``(H, W)`` misses much of what all together light."""
    known = trusted_pixels(sum(lights[1:], lights[0]))
    return any((trusted_pixels(light) * known).sum() < _COVERED * known.sum() for light in lights)


def _interleaved(
    experiment: Experiment, amplitude: Measured, take: Tensor | None, subsets: int
) -> list[tuple[Experiment, Measured, Tensor | None]]:
    """Every k-th pattern: shares spread alike over the whole scan."""
    count = min(subsets, len(experiment.row))
    everything = torch.arange(len(experiment.row), device=experiment.row.device)
    if take is None and not isinstance(amplitude, Tensor):
        take = everything
    shares = [slice(first, None, count) for first in range(count)]
    return [
        (experiment.of(everything[share]), amplitude, take[share])
        if take is not None
        else (experiment.of(everything[share]), amplitude[share], None)
        for share in shares
    ]


@seeing
def amplitude_step(expected: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
    """Put the measured amplitude in place of the predicted one: ``A / |psi| - 1``.

    A :data:`ptycho.physics.sweep.Judge` whose misfit is the squared amplitude error.
    """
    modulus = expected.sqrt_()
    missing = amplitude - modulus
    factor = missing / modulus.add_(1e-3)
    return missing.square_().sum(), factor


@seeing
def poisson_step(expected: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
    """Half of ``n / I - 1``, bounded where the prediction is dark.

    A :data:`ptycho.physics.sweep.Judge` whose misfit is the squared amplitude error.
    """
    factor = amplitude.square().div_(expected + 0.05).sub_(1).mul_(0.5).clamp_(max=2)
    missing = amplitude - expected.sqrt_()
    return missing.square_().sum(), factor


def coarse_solution(
    probe: Tensor,
    positions: Tensor,
    amplitude: Measured,
    shape: tuple[int, int],
    iterations: int,
    recipe: Recipe,
    *,
    take: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Solve from a flat object at half resolution and interpolate.

    The central half of the detector, the central half of the probe's spectrum and halved
    positions (the remainder carried by the sub-pixel probe shifts) are the same experiment
    with half the resolution, at a quarter of the cost and with half the distance for low
    frequencies to travel.

    Args:
        probe: complex ``(mode, N, N)``, ``N`` even.
        positions: ``(m, 2)`` float64, patch centres on the object.
        amplitude: ``(n, N, N)``.
        shape: ``(H, W)`` of the full object, even.
        iterations: how many; 0 gives a flat object.
        recipe: how to step.
        take: numbers ``(m,)`` of the amplitudes that belong to the positions, where not all do.
        on_iteration: called with the iteration and the relative amplitude error.

    Returns:
        Complex ``(H, W)``.
    """
    if iterations == 0:
        return torch.ones(shape, dtype=probe.dtype, device=probe.device)
    half = amplitude.shape[-1] // 2
    coarse_probe = fourier_crop(as_modes(probe), half)
    experiment = Experiment(coarse_probe.cpu(), positions / 2).to(probe.device)
    small = (shape[0] // 2, shape[1] // 2)
    cropped = central(amplitude, half, take)
    at_half = coarse_recipe(recipe, amplitude.device)
    solver = Solver(experiment, cropped, small, at_half, coarse_cutoff(probe, recipe))
    flat = torch.ones(small, dtype=probe.dtype, device=probe.device)
    return upsample(solver.run(flat, iterations, on_iteration=on_iteration))


def coarse_recipe(recipe: Recipe, device: torch.device) -> Recipe:
    """The same for patterns of half the side: as many bytes at once."""
    return replace(recipe, batch_size=4 * (recipe.batch_size or usual_batch(device)))


def fine_cutoff(probe: Tensor, recipe: Recipe) -> float:
    """Frequency in cycles per pixel below which phases are strengthened."""
    return recipe.cutoff or 1 / max(width(probe), 2.0)


def coarse_cutoff(probe: Tensor, recipe: Recipe) -> float:
    """The same in cycles per pixel of half the resolution; the probe is the fine one."""
    return min(2 * fine_cutoff(probe, recipe), 0.5)


def upsample(obj: Tensor) -> Tensor:
    """Double the pixels of ``(h, w)``, cubically; pixel ``i`` becomes pixel ``2 i``."""
    planes = torch.view_as_real(obj).permute(2, 0, 1)[None]
    height, width_ = obj.shape
    fine = functional.interpolate(
        planes, size=(2 * height - 1, 2 * width_ - 1), mode="bicubic", align_corners=True
    )
    fine = functional.pad(fine, (0, 1, 0, 1), mode="replicate")[0]
    return torch.complex(fine[0], fine[1])
