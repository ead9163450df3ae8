"""The steps of a reconstruction, timed: lift, network, refine, solve."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from rich.progress import Progress
from torch import Tensor

from ptycho.config.config import ModelConfig, RefineConfig, SolverConfig
from ptycho.data.reconstruction import Stage
from ptycho.data.tiles import Lifted
from ptycho.nn.tiling import Network, predict_tiled
from ptycho.physics.solver import Recipe
from ptycho.report.console import ticking
from ptycho.workflows.problem import Problem

T = TypeVar("T")


def timed(device: torch.device, work: Callable[[], T]) -> tuple[T, float]:
    """A result and the wall seconds it took, waiting for the device."""
    began = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - began


def as_stage(name: str, obj: Tensor, seconds: float) -> Stage:
    """An object on the device as a stage of the reconstruction."""
    return Stage(name, obj.detach().cpu().numpy(), seconds)


@torch.no_grad()
def lift(
    problem: Problem, model: ModelConfig, recipe: Recipe, bars: Progress, name: str = "lift"
) -> Lifted:
    """A first answer: a few solver iterations, and what the patterns still ask for."""
    total = model.lift_coarse_iterations + model.lift_iterations
    solver = problem.solver(recipe)
    with ticking(bars, name, total) as tick:
        obj = problem.start(model.lift_coarse_iterations, recipe, tick)
        obj = solver.run(obj, model.lift_iterations, on_iteration=tick)
    pull, _ = solver.back_projection(obj)
    return Lifted(obj, pull, solver.illumination / solver.illumination.max())


def begin(
    problem: Problem, model: ModelConfig, recipe: Recipe, bars: Progress, name: str = "lift"
) -> tuple[Problem, Lifted]:
    """:func:`lift` that also finds the free parts of the instrument, as well as it can."""
    if not problem.freedom.any:
        return problem, lift(problem, model, recipe, bars, name)
    effort = model.lift_coarse_iterations, model.lift_iterations, 0
    problem, obj = solve_jointly(problem, effort, recipe, bars, name)
    with torch.no_grad():
        solver = problem.solver(recipe)
        pull, _ = solver.back_projection(obj)
    return problem, Lifted(obj, pull, solver.illumination / solver.illumination.max())


@torch.no_grad()
def solve_jointly(
    problem: Problem,
    effort: tuple[int, int, int],
    recipe: Recipe,
    bars: Progress,
    name: str,
    obj: Tensor | None = None,
) -> tuple[Problem, Tensor]:
    """Object and free parts of the instrument, by the physics alone.

    Args:
        problem: what to solve.
        effort: coarse, full and Poisson iterations.
        recipe: how to step.
        bars: to show it.
        name: to show.
        obj: where to start, without coarse iterations; None: from a flat object.

    Returns:
        The problem with what was found of the instrument, and the object.
    """
    coarse, full, poisson = effort
    with ticking(bars, name, (coarse if obj is None else 0) + full + poisson) as tick:
        if obj is None:
            obj, problem = problem.joint_start(coarse, recipe, tick)
        solver = problem.joint_solver(recipe)
        obj = solver.run(obj, full, on_iteration=tick)
        obj = solver.run(obj, poisson, poisson=True, on_iteration=tick)
    return problem.knowing(solver.instrument), obj


@torch.no_grad()
def correct(
    problem: Problem, network: Network, lifted: Lifted, tile: tuple[int, int], batch_size: int
) -> Tensor:
    """The network's answer where the beam went; around it the lifted object stays."""
    lit = problem.lit
    planes = (lifted.obj[lit], lifted.pull[lit], lifted.light[lit])
    height, width = planes[0].shape
    corrected = lifted.obj.clone()
    tile = (min(tile[0], height), min(tile[1], width))
    corrected[lit] = predict_tiled(network, *planes, tile, batch_size)
    return corrected


@torch.no_grad()
def refine(
    problem: Problem, obj: Tensor, refine: RefineConfig, recipe: Recipe, bars: Progress
) -> Tensor:
    """Full-resolution solver iterations from an object, then a few on the likelihood."""
    solver = problem.solver(recipe)
    with ticking(bars, "refine", refine.iterations + refine.poisson_iterations) as tick:
        obj = solver.run(obj, refine.iterations, on_iteration=tick)
        return solver.run(obj, refine.poisson_iterations, poisson=True, on_iteration=tick)


@torch.no_grad()
def solve(
    problem: Problem,
    settings: SolverConfig,
    recipe: Recipe,
    bars: Progress,
    name: str = "solve",
) -> Tensor:
    """The physics alone, from a flat object."""
    solver = problem.solver(recipe)
    total = settings.coarse_iterations + settings.iterations + settings.poisson_iterations
    with ticking(bars, name, total) as tick:
        obj = problem.start(settings.coarse_iterations, recipe, tick)
        obj = solver.run(obj, settings.iterations, on_iteration=tick)
        return solver.run(obj, settings.poisson_iterations, poisson=True, on_iteration=tick)


def solve_with(
    problem: Problem,
    settings: SolverConfig,
    recipe: Recipe,
    bars: Progress,
    name: str = "solve",
) -> tuple[Problem, Tensor]:
    """:func:`solve` that also finds the free parts of the instrument, if there are any."""
    if not problem.freedom.any:
        return problem, solve(problem, settings, recipe, bars, name)
    effort = settings.coarse_iterations, settings.iterations, settings.poisson_iterations
    return solve_jointly(problem, effort, recipe, bars, name)
