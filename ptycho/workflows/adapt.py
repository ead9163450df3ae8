"""``task=adapt``: a trained network gets used to a new scan before it reconstructs it."""

from dataclasses import replace

from torch import Tensor, nn

from ptycho.report.bundle import Bundle
from ptycho.report.metrics import Figures
from ptycho.workflows import build, stages, train
from ptycho.workflows.lessons import label, tiles
from ptycho.workflows.problem import Problem, with_curves
from ptycho.workflows.reconstruct import (
    finish,
    gain_of,
    lift_recipe_of,
    network_of,
    seen,
    unseen,
)
from ptycho.workflows.session import Session


def adapt(session: Session, bundle: Bundle) -> dict[str, Figures]:
    """Train the network of a bundle a little further, on the scan of ``data`` alone.

    No truth is needed: as in training, the measured patterns judge.

    Returns:
        Figures of the lift, of the network before (``network``) and after (``adapted``), and
        of the refinement; empty on processes other than the first.
    """
    run, device = session.run, session.device
    problem = unseen(bundle, session.pose(build.make_scan(run.data, run.model.N or 0)))
    if session.first:
        session.describe(problem)
    network = network_of(bundle, session)
    height, width = bundle.params["tile"]
    recipe = lift_recipe_of(bundle, run.solver)
    start, bars = problem, session.bars
    (problem, lifted), lift_seconds = stages.timed(
        device, lambda: stages.begin(start, run.model, recipe, bars)
    )
    problem = problem.brightened(gain_of(bundle))  # it lifted without
    batch = session.execution.inference_batch_size

    def corrected(tile: tuple[int, int]) -> Tensor:
        return stages.correct(problem, network, lifted, tile, batch)

    before, before_seconds = stages.timed(device, lambda: corrected((height, width)))
    cut = tiles(problem, lifted, run.trainer.batch_size, label(session, problem))
    learning = _learning(session)
    history = train.fit(learning, problem, network, cut, lifted)
    if not session.first:
        return {}
    problem = problem.knowing(history.instrument).brightened(history.gain)
    _save(session, problem, bundle, network, cut.tile, gain_of(bundle) * history.gain)
    after, after_seconds = stages.timed(device, lambda: corrected(cut.tile))
    taken = history.rows[-1]["seconds"] + after_seconds
    steps = [
        stages.as_stage("lift", lifted.obj, lift_seconds),
        stages.as_stage("network", before, before_seconds),
        stages.as_stage("adapted", after, taken),
    ]
    found = with_curves(finish(session, problem, steps, after), train.curve(history))
    figures = session.report(problem, found)
    train.say_training(learning, history, "adapted")
    return figures


def _learning(session: Session) -> Session:
    """The session with the settings of a short training."""
    run, how = session.run, session.run.adapt
    trainer = replace(run.trainer, nepochs=how.epochs, learning_rate=how.learning_rate)
    return replace(session, run=replace(run, trainer=trainer))


def _save(
    session: Session,
    problem: Problem,
    bundle: Bundle,
    network: nn.Module,
    tile: tuple[int, int],
    gain: float,
) -> None:
    """Write a new bundle, which lifts as the network learnt it and knows all scans it saw."""
    before = seen(bundle)
    before.pop(problem.scan.sha256, None)
    train.save_network(
        session, problem, network, tile, gain, lift=bundle.config["solver"], also_seen=before
    )
