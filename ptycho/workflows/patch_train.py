"""``task=train`` of networks that predict patches: group, lift, learn, reconstruct, score."""

from functools import partial

import torch
from torch import Tensor

from ptycho.config.choices import Labels
from ptycho.config.config import RunConfig, UserError
from ptycho.config.patch_rules import measures, shares_canvas
from ptycho.data.lazy import LazyAmplitude
from ptycho.data.patch_batches import Labelled, PatchDataset
from ptycho.data.scan import Scan
from ptycho.data.tiles import Lifted
from ptycho.nn.patch_net import PatchNet
from ptycho.report.metrics import Figures
from ptycho.training.callbacks import History
from ptycho.training.patch_module import PatchTraining
from ptycho.workflows import build, patches, stages, uncertainty
from ptycho.workflows.lessons import label_source
from ptycho.workflows.problem import Problem, with_curves
from ptycho.workflows.recalibration import Recalibration
from ptycho.workflows.reconstruct import network_on
from ptycho.workflows.session import Session
from ptycho.workflows.train import (
    curve,
    make_optimiser,
    save_network,
    say_training,
    teach,
    test_problem,
)


def train(session: Session) -> dict[str, Figures]:
    """Train a patch network on one scan and reconstruct with it.

    Returns:
        Figures of every stage; empty on processes other than the first.
    """
    run = session.run
    problem = session.pose(_scan(run))
    test = test_problem(session)  # an unusable one is refused before the long work
    batches = batches_of(session, problem)  # and labels or groups that cannot be made
    if session.first:
        session.describe(problem, label_source(run, problem))
    recipe = build.make_recipe(run.solver)
    start = problem
    (problem, lifted), lift_seconds = stages.timed(
        session.device, lambda: patches.lift(session, start, recipe)
    )
    if problem is not start:
        batches = batches_of(session, problem)  # positions may have moved
    network = build.make_patch_network(run.model, problem.probe)
    network_on(network, session.device)
    history = fit(session, problem, network, batches, lifted)
    if not session.first:
        return {}
    gain, side = history.gain, network.window
    problem = problem.knowing(history.instrument)
    save_network(session, problem.brightened(gain), network, (side, side), gain)
    again = partial(patches.reconstruct_with, network=network, gain=gain)
    found = again(session, problem, lifted=(lifted, lift_seconds), statistics="")
    found = with_curves(found, curve(history))
    figures = uncertainty.report(session, problem, found, again)
    say_training(session, history)
    if test is not None:
        session.terminal.print(f"test scan {test.scan.label}:", markup=False)
        twin = build.make_patch_network(run.model, test.probe)  # it sees that scan's probe
        twin.load_state_dict(network.state_dict())
        network_on(twin, session.device)
        again = partial(again, network=twin)
        found = again(session, test, statistics="test_")
        uncertainty.report(session, test, found, again, prefix="test_")
    return figures


def fit(
    session: Session,
    problem: Problem,
    network: PatchNet,
    batches: PatchDataset,
    lifted: Lifted | None,
) -> History:
    """Let Lightning train; the network is left on the device with its best weights."""
    run = session.run
    predict = patches.predictor(problem, network, lifted)
    module = PatchTraining(
        predict,
        problem.experiment,
        build.make_objective(run.trainer, problem.amplitude),
        patches.pixel_weights(run.model, problem.probe, network.window),
        make_optimiser(session),
        intensity_scale_trainable=run.trainer.intensity_scale_trainable,
    )

    def present() -> Tensor:
        return patches.stitch_patches(run, problem, predict)

    free = problem.freedom.any
    # the groups stay where they are, and their positions with them
    again = Recalibration(run, problem, present, positions=False) if free else None
    history = teach(session, problem, module, batches, present, again=again)
    if module.brightness is not None:
        history.gain = module.brightness.gain
    return history


def batches_of(session: Session, problem: Problem) -> PatchDataset:
    """The patterns that may be learnt from, in groups."""
    run, model = session.run, session.run.model
    positions = problem.positions.numpy()
    if problem.fitted is None:
        groups = build.groups_of(run, positions)
    else:
        fitted = problem.fitted.cpu().numpy()
        groups = fitted[build.groups_of(run, positions[fitted])]
    corners = problem.experiment.corners.cpu()
    return PatchDataset(
        problem.amplitude.cpu(),
        corners.numpy(),
        groups,
        run.trainer.batch_size,
        shared=model.canvas_patterns if shares_canvas(model) else None,
        share=model.predicted_share if measures(run) else 1.0,
        labels=_labels(session, problem, corners) if labelled(run) else None,
    )


def _scan(run: RunConfig) -> Scan:
    """The scan, with object patches of the file where they are learnt."""
    wanted = labelled(run) and run.data.labels in (Labels.auto, Labels.Y)
    scan = build.make_scan(run.data, run.model.N or 0, wanted)
    if scan.patches is not None and isinstance(scan.amplitude, LazyAmplitude):
        raise UserError(
            f"{scan.label}: the object patches Y of the file are read into memory, twice the "
            "amplitudes, which stay in the file; learn from data.labels=objectGuess or solver, or "
            "type data.lazy=never."
        )
    return scan


def labelled(run: RunConfig) -> bool:
    """Whether labels are learnt."""
    return bool(run.trainer.realspace_weight or run.trainer.realspace_mae_weight)


def _labels(session: Session, problem: Problem, corners: torch.Tensor) -> Labelled:
    wanted, scan, size = session.run.data.labels, problem.scan, problem.scan.patch_size
    if scan.patches is not None and wanted in (Labels.auto, Labels.Y):
        return Labelled(torch.from_numpy(scan.patches), corners, size)
    truth = problem.reconstruction([]).truth
    if truth is not None and wanted in (Labels.auto, Labels.objectGuess):
        return Labelled(torch.from_numpy(truth), corners, size)
    if wanted == Labels.solver:
        run = session.run
        recipe = build.make_recipe(run.solver)
        obj = stages.solve(problem, run.solver, recipe, session.bars, "labels")
        return Labelled(obj.cpu(), corners, size)
    missing = {
        Labels.auto: "neither Y (n, N, N), one complex object patch for every pattern, nor an "
        "objectGuess that covers it",
        Labels.Y: "no Y (n, N, N), one complex object patch for every pattern",
        Labels.objectGuess: "no objectGuess that covers it",
    }[wanted]
    raise UserError(
        f"data.labels={wanted}: {scan.label} comes with {missing}. Add it to the file, or let the "
        "physics make the labels: data.labels=solver."
    )
