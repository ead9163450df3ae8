"""The physics solver where not only the object is unknown: probe, positions, flux, background.

Object and probe step together along what the same pass over the patterns asks of them, with
momentum on both (blind ptychography as in Thibault et al. 2009, doi:10.1016/j.ultramic.2008.
12.011, but by gradients of all patterns, or ordered subsets of them, at once). Between these
steps the patterns are asked where they were taken and how bright the beam was
(:mod:`ptycho.physics.geometry`). What no pattern can tell is pinned
(:func:`ptycho.physics.instrument.settle`).
"""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ptycho.physics.geometry import inquire, likelier_shifts, magnification
from ptycho.physics.instrument import Freedom, Instrument, settle
from ptycho.physics.measured import Measured, central, norms
from ptycho.physics.precondition import Preconditioner
from ptycho.physics.solver import (
    OnIteration,
    Recipe,
    amplitude_step,
    coarse_cutoff,
    coarse_recipe,
    leave_holes,
    poisson_step,
    trusted_pixels,
    upsample,
)
from ptycho.physics.sweep import Asked, Judge, sweep_both

_STEP = 0.7  # of what object and probe ask for on their own: both steps meet in each pattern
_STEP_ALONE = 1.2  # where the probe steps and the object stays
_MOMENTUM = 2  # of k / (k + this)
_PROBE_FLOOR = 0.1  # share of the densest object added where little of it was under the probe
_SLOW = 0.995  # of the misfit before: subsets that gain less would soon run in circles
_BINS = 8  # sub-pixel shifts of the probe per pixel: it is tabulated anew every iteration
FIRST_LOOK = 3  # iterations from a flat object before it can say where patterns were taken
_LOOKS = 2  # iterations for each look at the instrument
_SPREAD_WAITS = 1  # iterations before the patterns are asked for the spread of the scan
_SPREAD_PATTERNS = 300  # enough to find four numbers
_FARTHEST = 0.5  # pixels that a position moves at once
_DIMMEST = 1e-3  # flux where the beam was blocked: no brightness is negative


class JointSolver:
    """Iterates object and instrument towards the measured amplitudes.

    Args:
        instrument: where to start.
        amplitude: measured ``(n, y, x)`` on the device, one for each position.
        shape: ``(H, W)`` of the object.
        recipe: how to step.
        freedom: what is found besides the object.
        cutoff: frequency in cycles per pixel of *this* object.
        take: numbers ``(m,)`` of the patterns to fit; the others are only asked where they
            were taken.
        coarse: whether this is a first look at half resolution: what no pattern can tell is not
            pinned, since the rim of the detector is not there to follow, and magnification and
            shear of the whole scan are not asked for.
        home: what the centre of the probe is pinned to, and where positions may not move far
            from; None: the instrument.

    Attributes:
        instrument: as far as it is known by now.
    """

    def __init__(
        self,
        instrument: Instrument,
        amplitude: Measured,
        shape: tuple[int, int],
        recipe: Recipe,
        freedom: Freedom,
        cutoff: float,
        take: Tensor | None = None,
        *,
        coarse: bool = False,
        home: Instrument | None = None,
    ) -> None:
        self.instrument, self._home = instrument, home or instrument
        self.amplitude, self.shape, self.recipe = amplitude, shape, recipe
        # a free probe takes up most of a wrong spread, and its own errors look like one
        self.freedom, self._pinned = freedom, freedom.probe and not coarse
        self.spread = freedom.positions and not (coarse or freedom.probe)
        everything = torch.arange(len(amplitude), device=amplitude.device)
        self._fitted = everything if take is None else take
        count = min(recipe.subsets, len(self._fitted))
        self._subsets = [self._fitted[first::count] for first in range(count)]
        experiment = instrument.experiment(_BINS)
        if leave_holes([experiment.of(some).illumination(shape) for some in self._subsets]):
            self._subsets = [self._fitted]
        self._conditioner = (
            Preconditioner(shape, cutoff, recipe.cap, amplitude.device)
            if recipe.precondition
            else None
        )
        energy = norms(amplitude)[self._fitted].square()
        self._energy = float(energy.cpu().double().sum())
        self._photons = instrument.probe.abs().square().sum()

    def run(
        self,
        obj: Tensor,
        iterations: int,
        *,
        poisson: bool = False,
        wait: int = 0,
        on_iteration: OnIteration | None = None,
    ) -> Tensor:
        """Iterate from an object; every iteration uses every fitted pattern once.

        Args:
            obj: complex ``(H, W)``.
            iterations: how many.
            poisson: step on the Poisson likelihood instead of the amplitude error.
            wait: iterations before patterns are asked where they were taken.
            on_iteration: called with the iteration and the relative amplitude error.

        Returns:
            Complex ``(H, W)``; :attr:`instrument` has moved with it.
        """
        subsets = self._subsets
        judge = poisson_step if poisson else amplitude_step
        pace = _Pace(obj, self.instrument.probe, len(subsets))
        before = math.inf
        spreads = range(wait + _SPREAD_WAITS, iterations) if self.spread else ()
        for iteration in range(iterations):
            if iteration >= wait and (iteration - wait) % _LOOKS == 0:
                self._look(pace)
            if iteration in spreads:
                self._respread(pace, iteration)
            for number, subset in enumerate(subsets):
                self._step(pace, number, subset, judge)
            total = sum(pace.misfits)
            if on_iteration is not None:
                on_iteration(iteration, math.sqrt(total / self._energy))
            if len(subsets) > 1 and total > _SLOW * before:
                subsets = [self._fitted]
                pace.misfits = [math.inf]
            before = total
        obj, probe = pace.result
        self.instrument = replace(self.instrument, probe=probe)
        if self._pinned:
            obj, self.instrument = _settled(obj, self.instrument, self._home.probe)
        return obj

    def calibrate(self, obj: Tensor, iterations: int) -> None:
        """Move the instrument alone, an object being given.

        Args:
            obj: complex ``(H, W)``.
            iterations: steps of the probe on the Poisson likelihood; before the first one,
                patterns are asked where they were taken and how bright the beam was.
        """
        pace = _Pace(obj, self.instrument.probe, 1)
        self._look(pace)
        for _ in range(iterations if self.freedom.probe else 0):
            asked = self._ask(*pace.ahead, self._fitted, poisson_step)
            beam = self._stepped(pace.ahead[1], asked, _STEP_ALONE)
            pace.step((obj, beam), 0, float(asked.misfit))
        self.instrument = replace(self.instrument, probe=pace.result[1])

    def _ask(self, obj: Tensor, probe: Tensor, subset: Tensor, judge: Judge) -> Asked:
        experiment = replace(self.instrument, probe=probe).experiment(_BINS).of(subset)
        at_once = self.recipe.batch_size
        return sweep_both(experiment, obj, self.amplitude, judge, take=subset, batch_size=at_once)

    def _step(self, pace: "_Pace", number: int, subset: Tensor, judge: Judge) -> None:
        obj, probe = pace.ahead
        asked = self._ask(obj, probe, subset, judge)
        brightest, floor = asked.light.max(), self.recipe.probe_floor
        pull = _STEP * asked.obj / ((1 - floor) * asked.light + floor * brightest)
        if self._conditioner is None:
            stepped = obj + pull
        else:
            stepped = self._conditioner.step(obj, pull, trusted_pixels(asked.light))
        beam = self._stepped(probe, asked, _STEP) if self.freedom.probe else probe
        pace.step((stepped, beam), number, float(asked.misfit))

    def _stepped(self, probe: Tensor, asked: Asked, step: float) -> Tensor:
        share = (1 - _PROBE_FLOOR) * asked.density + _PROBE_FLOOR * asked.density.max()
        beam = probe + step * asked.probe / share
        # or probe and object would trade brightness
        return beam * (self._photons / beam.abs().square().sum()).sqrt()

    def _look(self, pace: "_Pace") -> None:
        """Ask the patterns about everything but object and probe."""
        free = self.freedom
        if not (free.positions or free.flux or free.background):
            return
        obj, probe = pace.result
        now = replace(self.instrument, probe=probe)
        found = inquire(now.experiment(_BINS), obj, self.amplitude, self.recipe.batch_size)
        if free.positions:
            shift = likelier_shifts(found, self._scatter(now)).clamp(-_FARTHEST, _FARTHEST)
            now = self._moved(now, now.positions + shift)
        if free.flux:
            flux = found.flux if now.flux is None else now.flux * found.flux
            flux = flux.clamp_min(_DIMMEST)
            now = replace(now, flux=flux / flux[self._fitted].mean())
        if free.background:
            background = (
                found.background if now.background is None else (now.background + found.background)
            )
            now = replace(now, background=background.clamp_min(0))
        self.instrument = now

    def _scatter(self, now: Instrument) -> Tensor:
        """How far each position is from home, but for what all of them did together."""
        home = self._home.positions
        change = now.positions - home
        return change - change.mean(0) - _together(home, change)

    def _moved(self, now: Instrument, positions: Tensor) -> Instrument:
        """Other positions: none far from where it started, their mean where it was."""
        home = self._home.positions
        change = positions - home
        change -= change.mean(0)
        if self.freedom.probe:
            # the spread of the scan, which a free probe nearly makes up for, would drift with it
            change -= _together(home, change)
        limit = self.freedom.max_shift
        return replace(now, positions=home + change.clamp(-limit, limit))

    def _respread(self, pace: "_Pace", iteration: int) -> None:
        """Magnify, turn and shear positions and object together, as patterns ask for it.

        That is about half of what is wrong, the object having taken up the rest.
        """
        obj, probe = pace.result
        now = replace(self.instrument, probe=probe)
        every = max(len(self._fitted) // _SPREAD_PATTERNS, 1)
        some = self._fitted[iteration % every :: every]
        experiment = now.experiment(_BINS).of(some)
        at_once = self.recipe.batch_size
        excess = magnification(experiment, obj, self.amplitude[some], at_once)
        nothing = torch.eye(2, dtype=torch.float64)
        mapping = torch.linalg.inv(nothing + excess)
        centre = now.positions.mean(0)
        wanted = (now.positions - centre) @ (mapping - nothing).T
        self.instrument = self._moved(now, now.positions + wanted)
        # positions that must not go so far take the object no farther
        went = self.instrument.positions - now.positions
        share = (went * wanted).sum() / wanted.square().sum().clamp_min(1e-30)
        pace.carry(nothing + share * (mapping - nothing), centre)


def _together(home: Tensor, change: Tensor) -> Tensor:
    """The part of a change ``(n, 2)`` that stretches, turns or shears all positions alike."""
    away = home - home.mean(0)
    # by SVD: the usual driver pivots by memory nobody has written, other bits each time
    matrix: Tensor = torch.linalg.lstsq(away, change - change.mean(0), driver="gelsd").solution
    return away @ matrix


def _settled(obj: Tensor, instrument: Instrument, home: Tensor) -> tuple[Tensor, Instrument]:
    light = instrument.experiment(_BINS).illumination((obj.shape[0], obj.shape[1]))
    return settle(obj, instrument, light, home)


class _Pace:
    """Object and probe with Nesterov's momentum; slows down where a step went wrong."""

    def __init__(self, obj: Tensor, probe: Tensor, subsets: int) -> None:
        self.result = self.ahead = (obj, probe)
        self.misfits = [math.inf] * subsets
        self._momentum = 0

    def step(self, stepped: tuple[Tensor, Tensor], number: int, misfit: float) -> None:
        """Go on from where a step led, and beyond."""
        self._momentum = 0 if misfit > self.misfits[number] else self._momentum + 1
        beyond = 1 + self._momentum / (self._momentum + _MOMENTUM)
        self.ahead = tuple(map(torch.lerp, self.result, stepped, (beyond, beyond)))  # type: ignore[assignment]
        self.result, self.misfits[number] = stepped, misfit

    def carry(self, mapping: Tensor, centre: Tensor) -> None:
        """Go on with objects that were stretched, see :func:`transformed`."""
        (obj, probe), (ahead, beam) = self.result, self.ahead
        self.result = transformed(obj, mapping, centre), probe
        self.ahead = transformed(ahead, mapping, centre), beam
        self.misfits = [math.inf] * len(self.misfits)


def transformed(obj: Tensor, mapping: Tensor, centre: Tensor) -> Tensor:
    """An object whose points went from ``r`` to ``centre + mapping (r - centre)``.

    Args:
        obj: complex ``(H, W)``; its border goes on outside.
        mapping: ``(2, 2)`` float64 on the CPU, of (y, x).
        centre: ``(2,)`` float64, pixel that stays.

    Returns:
        Complex ``(H, W)``, interpolated cubically.
    """
    back = torch.linalg.inv(mapping)
    sides = [torch.arange(n, dtype=torch.float64) for n in obj.shape]
    away = torch.stack(torch.meshgrid(*sides, indexing="ij"), -1) - centre
    source = away @ back.T + centre
    grid = 2 * source / (torch.tensor(obj.shape, dtype=torch.float64) - 1) - 1
    grid = grid.flip(-1)[None].to(device=obj.device, dtype=obj.real.dtype)
    planes = torch.view_as_real(obj).permute(2, 0, 1)[None]
    found = functional.grid_sample(
        planes, grid, mode="bicubic", padding_mode="border", align_corners=True
    )[0]
    return torch.complex(found[0], found[1])


def coarse_joint_solution(
    instrument: Instrument,
    amplitude: Measured,
    shape: tuple[int, int],
    iterations: int,
    recipe: Recipe,
    freedom: Freedom,
    *,
    take: Tensor | None = None,
    on_iteration: OnIteration | None = None,
) -> tuple[Tensor, Instrument]:
    """Solve from a flat object at half resolution, as the plain solver does.

    Args:
        instrument: where to start; the side of its probe is divisible by 4.
        amplitude: ``(n, N, N)``.
        shape: ``(H, W)`` of the full object, even.
        iterations: how many; 0 gives a flat object and the instrument as it is.
        recipe: how to step.
        freedom: what is found besides the object.
        take: numbers of the patterns to fit; None: all.
        on_iteration: called with the iteration and the relative amplitude error.

    Returns:
        Object, complex ``(H, W)``, and instrument at full resolution.
    """
    probe = instrument.probe
    if iterations == 0:
        return torch.ones(shape, dtype=probe.dtype, device=probe.device), instrument
    small = (shape[0] // 2, shape[1] // 2)
    cropped = central(amplitude, amplitude.shape[-1] // 2)
    solver = JointSolver(
        instrument.halved(),
        cropped,
        small,
        coarse_recipe(recipe, amplitude.device),
        replace(freedom, max_shift=freedom.max_shift / 2),
        coarse_cutoff(probe, recipe),
        take,
        coarse=True,
    )
    flat = torch.ones(small, dtype=probe.dtype, device=probe.device)
    found = solver.run(flat, iterations, wait=FIRST_LOOK, on_iteration=on_iteration)
    fine, known = upsample(found), instrument.with_coarse(solver.instrument)
    if not freedom.probe:  # back from half resolution it differs in the last digit
        known = replace(known, probe=probe)
    return _settled(fine, known, probe) if freedom.probe else (fine, known)
