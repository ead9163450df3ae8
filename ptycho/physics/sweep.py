"""One pass over the patterns: what they ask of an object, added up in bounded memory.

The solver steps along it and training takes its gradient from it, so the loop that costs the
time stands here once: predict, compare, propagate the difference back, add.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ptycho.physics.detector import intensity
from ptycho.physics.forward import Experiment
from ptycho.physics.measured import Measured
from ptycho.physics.patches import add_patches_, extract_patches
from ptycho.physics.threads import in_parallel, shares

Judge = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Compares expected photons with measured amplitudes, both ``(b, y, x)``.

Returns the misfit, summed, and the factor ``(b, y, x)`` by which the predicted wave is
multiplied before it travels back; it may overwrite the expected photons.
"""

_ON_CPU, _ON_GPU = 48, 512


def usual_batch(device: torch.device) -> int:
    """Patterns at once: few enough for a CPU's cache, enough to keep a GPU busy."""
    return _ON_CPU if device.type == "cpu" else _ON_GPU


def sweep(
    experiment: Experiment,
    obj: Tensor,
    amplitude: Measured,
    judge: Judge,
    *,
    take: Tensor | None = None,
    batch_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Predict all patterns of an experiment, compare, propagate back and add.

    Args:
        experiment: probe and positions on the canvas of ``obj``.
        obj: complex ``(H, W)``.
        amplitude: measured ``(n, y, x)``; the k-th belongs to the k-th position. Any that are
            indexed by slices and numbers.
        judge: how to compare.
        take: numbers ``(m,)`` of the amplitudes that belong to the positions, where not all do.
        batch_size: patterns each thread computes at once; None: :func:`usual_batch`.

    Returns:
        ``sum_j add_j(conj(P) IFFT(factor_j psi_j))``, complex ``(H, W)``, and the misfits of
        the batches.
    """

    def add(share: Sequence[slice]) -> tuple[Tensor, Tensor]:
        asked = torch.zeros_like(obj, memory_format=torch.contiguous_format)
        # room for all: small tensors kept between large ones leave holes in memory
        misfits = obj.real.new_empty(len(share))
        for number, frames in enumerate(share):
            measured = amplitude[frames] if take is None else amplitude[take[frames]]
            misfits[number] = _add(experiment, obj, measured, judge, frames, asked)
        return asked, misfits

    at_once = batch_size or usual_batch(obj.device)
    batches = shares(len(experiment.row), at_once, obj.device)
    canvases, misfits = zip(*in_parallel(add, batches), strict=True)
    return sum(canvases), torch.cat(misfits)


def _add(
    experiment: Experiment,
    obj: Tensor,
    measured: Tensor,
    judge: Judge,
    frames: slice,
    asked: Tensor,
) -> Tensor:
    """Add what some patterns ask for; in place, since memory is what takes the time."""
    corners = experiment.corners[frames]
    probes = experiment.beams(frames)
    patches = extract_patches(obj, corners, experiment.size)[:, None]
    misfit, back = _propagate_back(experiment, patches * probes, measured, judge)
    back.mul_(probes.conj_physical_())
    for mode in back.unbind(1):
        add_patches_(asked, mode, corners)
    return misfit


def _propagate_back(
    experiment: Experiment, exit_waves: Tensor, measured: Tensor, judge: Judge
) -> tuple[Tensor, Tensor]:
    """The misfit of some patterns, and what they ask of their exit waves."""
    wave = experiment.propagate(exit_waves)
    misfit, factor = judge(experiment.seen(wave), measured)
    return misfit, experiment.propagate_back(wave.mul_(factor[:, None]))


class Asked(NamedTuple):
    """What patterns ask of object and probe, and by how much light each has a say."""

    obj: Tensor
    """Complex ``(H, W)``."""
    light: Tensor
    """Real ``(H, W)``: photons of the probe on every pixel of the object."""
    probe: Tensor
    """Complex ``(mode, y, x)``."""
    density: Tensor
    """Real ``(y, x)``: ``|object|^2`` under every pixel of the probe, summed over positions."""
    misfit: Tensor
    """Scalar."""


def sweep_both(
    experiment: Experiment,
    obj: Tensor,
    amplitude: Measured,
    judge: Judge,
    *,
    take: Tensor | None = None,
    batch_size: int | None = None,
) -> Asked:
    """:func:`sweep` that also asks the probe: both gradients from one pass over the patterns.

    Sub-pixel shifts of the density are left out: it only sizes steps.
    """
    beams, table = intensity(experiment.table), experiment.table

    def add(share: Sequence[slice]) -> Asked:
        asked = Asked(
            torch.zeros_like(obj, memory_format=torch.contiguous_format),
            obj.real.new_zeros(obj.shape),
            torch.zeros_like(table),
            beams.new_zeros(beams.shape[1:]),
            beams.new_zeros(()),
        )
        for frames in share:
            measured = amplitude[frames] if take is None else amplitude[take[frames]]
            corners, row = experiment.corners[frames], experiment.row[frames]
            probes, light = experiment.beams(frames), beams[row]
            patches = extract_patches(obj, corners, experiment.size)[:, None]
            misfit, back = _propagate_back(experiment, patches * probes, measured, judge)
            gain = None if experiment.gain is None else experiment.gain[frames, None, None]
            if gain is not None:
                light, patches = light * gain.square(), patches * gain[:, None]
            asked.probe.index_add_(0, row, back * patches.conj())
            asked.density.add_(intensity(patches).sum(0))
            add_patches_(asked.light, light, corners)
            for mode in back.mul_(probes.conj_physical_()).unbind(1):
                add_patches_(asked.obj, mode, corners)
            asked.misfit.add_(misfit)
        return asked

    at_once = batch_size or usual_batch(obj.device)
    found = in_parallel(add, shares(len(experiment.row), at_once, obj.device))
    total = Asked(*(torch.stack(parts).sum(0) for parts in zip(*found, strict=True)))
    return total._replace(probe=experiment.gather(total.probe))


class _Misfit(torch.autograd.Function):
    """The misfit of an object; its gradient comes with the same sweep, in closed form."""

    @staticmethod
    def forward(
        ctx: Any, obj: Tensor, experiment: Experiment, amplitude: Tensor, judge: Judge
    ) -> Tensor:
        asked, misfits = sweep(experiment, obj, amplitude, judge)
        # d|psi|^2 = 2 Re(conj(psi) dpsi), and the factor is the negative slope
        ctx.save_for_backward(-2 * asked)
        return misfits.sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None, None


def misfit(experiment: Experiment, obj: Tensor, amplitude: Tensor, judge: Judge) -> Tensor:
    """Misfit of an object, differentiable with respect to it.

    Args:
        experiment: probe and positions on the canvas of ``obj``.
        obj: complex ``(H, W)``.
        amplitude: measured ``(n, y, x)``, one for each position.
        judge: its factor must be minus the derivative of its misfit with respect to the
            expected photons.

    Returns:
        Real scalar.
    """
    total: Tensor = _Misfit.apply(obj, experiment, amplitude, judge)  # type: ignore[no-untyped-call]
    return total
