"""``task=reconstruct``: a trained bundle meets a scan."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ptycho.config.config import SolverConfig
from ptycho.data.reconstruction import NETWORK, Reconstruction, Stage
from ptycho.data.tiles import Lifted
from ptycho.physics.solver import Recipe
from ptycho.report.bundle import Bundle, BundleError
from ptycho.report.metrics import Figures
from ptycho.workflows import build, stages, uncertainty
from ptycho.workflows.problem import Problem
from ptycho.workflows.session import Session


def reconstruct(session: Session, bundle: Bundle) -> dict[str, Figures]:
    """Reconstruct the scan of ``data`` with the network of a bundle."""
    run = session.run
    problem = unseen(bundle, session.pose(build.make_scan(run.data, run.model.N or 0)))
    session.describe(problem)
    network = network_of(bundle, session)
    height, width = bundle.params["tile"]
    again = partial(
        reconstruct_with,
        network=network,
        tile=(height, width),
        lift_recipe=lift_recipe_of(bundle, run.solver),
        gain=gain_of(bundle),
    )
    return uncertainty.report(session, problem, again(session, problem), again)


def reconstruct_with(
    session: Session,
    problem: Problem,
    network: nn.Module,
    tile: tuple[int, int],
    *,
    lifted: tuple[Lifted, float] | None = None,
    lift_recipe: Recipe | None = None,
    gain: float = 1.0,
) -> Reconstruction:
    """Lift, correct and refine.

    Args:
        session: settings and progress.
        problem: the scan.
        network: trained, on the device, in evaluation mode.
        tile: size of the tiles it was trained on.
        lifted: the lift and its seconds, when it was made before.
        lift_recipe: how to lift, when not as this session's settings say.
        gain: what the training found the predicted photons should be multiplied by; it lifted
            without.
    """
    run, device = session.run, session.device
    how = lift_recipe or build.make_recipe(run.solver)
    if lifted is None:
        (problem, first), lift_seconds = stages.timed(
            device, lambda: stages.begin(problem, run.model, how, session.bars)
        )
    else:
        first, lift_seconds = lifted
    problem = problem.brightened(gain)
    batch = session.execution.inference_batch_size
    corrected, network_seconds = stages.timed(
        device, lambda: stages.correct(problem, network, first, tile, batch)
    )
    steps = [
        stages.as_stage("lift", first.obj, lift_seconds),
        stages.as_stage(NETWORK, corrected, network_seconds),
    ]
    return finish(session, problem, steps, corrected)


def finish(session: Session, problem: Problem, steps: list[Stage], obj: Tensor) -> Reconstruction:
    """Refine the last object, unless the settings ask for no refinement, and put all together.

    Args:
        session: settings and progress.
        problem: the scan.
        steps: how the object came about.
        obj: complex ``(H, W)``.
    """
    how, recipe = session.run.refine, build.make_recipe(session.run.solver)
    if not (how.iterations or how.poisson_iterations):
        return problem.reconstruction(steps)
    effort = 0, how.iterations, how.poisson_iterations

    def work() -> tuple[Problem, Tensor]:
        if problem.freedom.any:
            return stages.solve_jointly(problem, effort, recipe, session.bars, "refine", obj)
        return problem, stages.refine(problem, obj, how, recipe, session.bars)

    (problem, refined), seconds = stages.timed(session.device, work)
    return problem.reconstruction([*steps, stages.as_stage("refined", refined, seconds)])


def network_on(network: nn.Module, device: torch.device) -> nn.Module:
    """A network where and how it is computed; the same for training and reconstructing."""
    placed: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def network_of(bundle: Bundle, session: Session) -> nn.Module:
    """The trained network, on the device."""
    network = build.make_network(session.run.model)
    load_weights(network, bundle, session)
    return network_on(network, session.device)


def load_weights(network: nn.Module, bundle: Bundle, session: Session) -> None:
    """Give a network the weights of a bundle."""
    model = session.run.model
    try:
        network.load_state_dict(bundle.weights)
    except RuntimeError as error:
        raise BundleError(
            f"{session.run.bundle}: the weights do not fit model.architecture="
            f"{model.architecture} with model.generator={model.generator} as its config.json "
            "describes it."
        ) from error


def gain_of(bundle: Bundle) -> float:
    """The factor of all photons that the training found."""
    return float(bundle.params.get("intensity_gain", 1.0))


def unseen(bundle: Bundle, problem: Problem) -> Problem:
    """Hold nothing out that the network was trained on, where it meets one of its scans again."""
    held_out = seen(bundle).get(problem.scan.sha256)
    if held_out is None:
        return problem
    return problem.holding_out(np.intersect1d(problem.held_out, np.array(held_out, dtype=int)))


def seen(bundle: Bundle) -> dict[str, list[int]]:
    """The scans a network was trained on, and which of their patterns it was not shown."""
    known = bundle.params
    own = {known["data_sha256"]: known["held_out"]} if "data_sha256" in known else {}
    return {**known.get("also_seen", {}), **own}


def lift_recipe_of(bundle: Bundle, solver: SolverConfig) -> Recipe:
    """The lift the network was trained on; only the memory it may take is this run's."""
    try:
        trained = build.make_recipe(SolverConfig(**bundle.config["solver"]))
    except (KeyError, TypeError) as error:
        raise BundleError(
            f"the bundle's config.json does not say how to lift ({error}); train it again."
        ) from error
    return replace(trained, batch_size=solver.batch_size)
