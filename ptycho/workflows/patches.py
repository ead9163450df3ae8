"""Object patches of all patterns become one object: predict, synchronise, stitch."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from ptycho.config.choices import PatchInput, PatchWeighting
from ptycho.config.config import ModelConfig, RunConfig
from ptycho.data.blocks import blocks_of
from ptycho.data.in_order import in_order
from ptycho.data.reconstruction import Reconstruction
from ptycho.data.tiles import Lifted
from ptycho.nn.patch_net import PatchNet
from ptycho.physics.detector import intensity
from ptycho.physics.fourier import centre_start, crop_centre
from ptycho.physics.measured import norms
from ptycho.physics.patches import add_patches_
from ptycho.physics.solver import Recipe
from ptycho.physics.synchronise import synchronised_phases, turn_onto
from ptycho.report.bundle import Bundle
from ptycho.report.metrics import Figures
from ptycho.training.predictor import PatchPredictor
from ptycho.workflows import build, stages, uncertainty
from ptycho.workflows.patch_stats import PatchStatistics
from ptycho.workflows.problem import Problem
from ptycho.workflows.reconstruct import (
    finish,
    gain_of,
    lift_recipe_of,
    load_weights,
    network_on,
    unseen,
)
from ptycho.workflows.session import Session

PATTERNS_A_TILE = 16
"""That a patch network takes where an object network takes a tile."""

BLOCK_BYTES = 2**28
"""Of predicted windows that are held to find their phases; larger scans are done in blocks."""

Predicted = tuple[Tensor, Tensor]
"""Windows ``(b, window, window)`` and the numbers ``(b,)`` of their patterns."""

_OUTSKIRTS = 0.1  # what a pixel around N/2 counts, where the centre is predicted in full
_DIM = 1e-3  # of the brightest pixel: what a pixel in the dark counts all the same
_FILL = 1e-6  # what a pixel outside the central window counts, where nothing else is known


def reconstruct(session: Session, bundle: Bundle) -> dict[str, Figures]:
    """Reconstruct the scan of ``data`` with the patch network of a bundle."""
    run = session.run
    problem = unseen(bundle, session.pose(build.make_scan(run.data, run.model.N or 0)))
    session.describe(problem)
    network = build.make_patch_network(run.model, problem.probe)
    load_weights(network, bundle, session)
    network_on(network, session.device)
    gain = gain_of(bundle)
    recipe = lift_recipe_of(bundle, run.solver)
    again = partial(reconstruct_with, network=network, lift_recipe=recipe, gain=gain)
    found = again(session, problem, statistics="")
    return uncertainty.report(session, problem, found, again)


def reconstruct_with(
    session: Session,
    problem: Problem,
    network: PatchNet,
    *,
    lifted: tuple[Lifted | None, float] | None = None,
    lift_recipe: Recipe | None = None,
    gain: float = 1.0,
    statistics: str | None = None,
) -> Reconstruction:
    """Lift where the network wants it, predict and stitch patches, and refine.

    Args:
        session: settings and progress.
        problem: the scan.
        network: trained, on the device.
        lifted: the lift (None: the network sees none) and its seconds, when made before.
        lift_recipe: how to lift, when not as this session's settings say.
        gain: what the training found the predicted photons should be multiplied by; it lifted
            without.
        statistics: what the names of the files begin with that ``execution.log_patch_stats``
            asks for; None: none are written here.
    """
    run, device = session.run, session.device
    how = lift_recipe or build.make_recipe(run.solver)
    if lifted is None:
        start = problem
        (problem, first), lift_seconds = stages.timed(device, lambda: lift(session, start, how))
    else:
        first, lift_seconds = lifted
    problem = problem.brightened(gain)
    watch = None
    if statistics is not None and run.execution.log_patch_stats:
        core, limit = _core(run, network.window), run.execution.patch_stats_limit
        watch = PatchStatistics(problem, core, _at_once(run), limit)
    predict = predictor(problem, network, first)
    stitched, seconds = stages.timed(device, lambda: stitch_patches(run, problem, predict, watch))
    if watch is not None:
        watch.report(session, statistics or "")
    steps = [stages.as_stage("network", stitched, seconds)]
    if first is not None:
        steps.insert(0, stages.as_stage("lift", first.obj, lift_seconds))
    return finish(session, problem, steps, stitched)


def lift(session: Session, problem: Problem, recipe: Recipe) -> tuple[Problem, Lifted | None]:
    """The first object, for networks that see one, and what it told of the instrument."""
    model = session.run.model
    if model.patch_input != PatchInput.lifted:
        return problem, None
    return stages.begin(problem, model, recipe, session.bars)


def predictor(problem: Problem, network: PatchNet, lifted: Lifted | None) -> PatchPredictor:
    """The network at the positions of a scan, its patterns brought to a mean square of one."""
    scan, fitted = problem.amplitude, problem.fitted
    energy = norms(scan).square().cpu().double()
    mean = float((energy if fitted is None else energy[fitted.cpu()]).mean())
    unit = (scan.shape[-1] ** 2 / mean) ** 0.5
    return PatchPredictor(network, problem.experiment.corners, unit, lifted)


def pixel_weights(model: ModelConfig, probe: Tensor, window: int) -> Tensor:
    """What a pixel of a window counts where windows overlap, ``(window, window)``.

    Args:
        model: settings.
        probe: complex ``(mode, N, N)``.
        window: side of what is predicted.
    """
    light = crop_centre(intensity(probe), window)
    if model.patch_weighting == PatchWeighting.uniform:
        weights = torch.ones_like(light)
    else:
        weights = (light / light.max()).clamp_min(_DIM)
    if model.pad_object and window == probe.shape[-1]:
        centre = crop_centre(torch.ones_like(weights), window // 2)
        weights = weights * (_OUTSKIRTS + (1 - _OUTSKIRTS) * _in_the_middle(centre, window))
    return weights


def stitching_weights(run: RunConfig, probe: Tensor, window: int) -> Tensor:
    """:func:`pixel_weights`, less what ``execution.middle_trim`` takes away."""
    weights = pixel_weights(run.model, probe, window)
    trim = run.execution.middle_trim
    if trim is None or trim >= window:
        return weights
    inside = _in_the_middle(torch.ones(trim, trim, device=probe.device), window)
    fill = 0.0 if run.execution.pad_eval is False else _FILL
    return weights * inside.clamp_min(fill)


def _core(run: RunConfig, window: int) -> int:
    """Side of the central part of windows that counts in full when they are stitched."""
    if run.execution.middle_trim is not None:
        return min(run.execution.middle_trim, window)
    return window // 2 if run.model.pad_object and window == run.model.N else window


def _at_once(run: RunConfig) -> int:
    """Patterns that are predicted at once."""
    return PATTERNS_A_TILE * run.execution.inference_batch_size


def _in_the_middle(centre: Tensor, size: int) -> Tensor:
    whole = centre.new_zeros(size, size)
    crop_centre(whole, centre.shape[-1]).copy_(centre)
    return whole


@torch.no_grad()
def stitch_patches(
    run: RunConfig,
    problem: Problem,
    predict: PatchPredictor,
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Predict the patches of all fitted patterns and average them on the canvas.

    Where no patch has weight, the lifted object (or free space) stays. Memory is that of the
    canvas, and of :data:`BLOCK_BYTES` of patches where phases are synchronised.

    Args:
        run: settings.
        problem: the scan.
        predict: what predicts windows.
        watch: called with the windows of every batch as they are stitched, and their numbers.

    Returns:
        Complex ``(H, W)``.
    """
    window = predict.network.window
    weights = stitching_weights(run, problem.probe, window)
    corners = problem.experiment.corners + centre_start(problem.scan.patch_size, window)
    numbers = problem.fitted
    if numbers is None:
        numbers = torch.arange(len(problem.scan), device=problem.device)
    at_once = _at_once(run)
    blocks = [numbers]
    if run.model.synchronise_phases:
        most = max(BLOCK_BYTES // (8 * window**2), at_once)
        places = corners[numbers].cpu().numpy()
        blocks = [numbers[torch.from_numpy(one)] for one in blocks_of(places, window, most)]
    batches = [some for block in blocks for some in block.split(at_once)]
    loaded = in_order(problem.amplitude, batches, **build.loader_arguments(run.execution))
    predicted: Iterator[Predicted] = (
        (predict(amplitude, some), some) for amplitude, some in loaded
    )
    canvas = torch.zeros(problem.shape, dtype=torch.complex64, device=problem.device)
    light = torch.zeros(problem.shape, device=problem.device)
    if run.model.synchronise_phases:
        predicted = _synchronised(predicted, blocks, corners, weights, canvas, light)
    for windows, which in predicted:
        if watch is not None:
            watch(windows, which)
        add_patches_(canvas, windows * weights, corners[which])
        add_patches_(light, weights.expand(windows.shape).contiguous(), corners[which])
    around = problem.flat() if predict.lifted is None else predict.lifted.obj
    return torch.where(light > 0, canvas / light.clamp_min(1e-12), around)


def _synchronised(
    predicted: Iterator[Predicted],
    blocks: Sequence[Tensor],
    corners: Tensor,
    weights: Tensor,
    canvas: Tensor,
    light: Tensor,
) -> Iterator[Predicted]:
    """The same windows, turned: those of a block until they agree, then the block as a whole.

    Args:
        predicted: windows in the order of the blocks. Those that come out are for the moment:
            the next block takes their place in memory.
        blocks: numbers of patterns.
        corners: of the windows of all patterns.
        weights: what a pixel of a window counts.
        canvas: sum of the weighted windows that came out before.
        light: sum of their weights.
    """
    side = weights.shape[-1]
    room = canvas.new_empty((max(map(len, blocks)), side, side))
    for block in blocks:
        held = room[: len(block)]
        ends = [0]
        while ends[-1] < len(block):
            windows, _ = next(predicted)
            ends.append(ends[-1] + len(windows))
            held[ends[-2] : ends[-1]] = windows
        here = corners[block]
        first = here.amin(0)
        height, width = (here.amax(0) - first + side).tolist()
        turns = synchronised_phases(held, weights, here - first, (height, width))
        held *= turns[:, None, None]
        if len(blocks) > 1:
            held *= turn_onto(held, weights, here, canvas, light)
        for start, end in itertools.pairwise(ends):
            yield held[start:end], block[start:end]
