"""Our own methods, measured as the peers are: one process, one thread, snapshots.

    python -m benchmarks.methods {solver,network,patches} --scan SCAN.npz --out FOLDER [--epochs N]
                                 [--instrument NAME] [--modes-given N]

See :mod:`benchmarks.peers.protocol` for what is written and what the clock counts.
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers import protocol
from ptycho.config.choices import Accelerator, LoggerBackend
from ptycho.config.config import InstrumentConfig, RunConfig
from ptycho.config.store import preset
from ptycho.data.formats.npz import read_npz
from ptycho.data.tiles import TileDataset
from ptycho.report.console import console, progress
from ptycho.training.choosing import KeepBest
from ptycho.workflows import build, stages
from ptycho.workflows.factory import execution_config
from ptycho.workflows.lessons import Lesson
from ptycho.workflows.lessons import tiles as cut
from ptycho.workflows.problem import Problem, pose
from ptycho.workflows.recalibration import Recalibration

PATHS = (
    *((coarse, 0, 0) for coarse in (1, 2, 3, 4, 6, 8)),
    *((8, full, 0) for full in (1, 2, 5)),
    *((8, 5, poisson) for poisson in (2, 5, 10)),
    (8, 10, 10),
    (8, 20, 20),
)
"""Coarse, full and Poisson iterations of the solver's runs, each from a flat start."""

NETWORK, REFINED = "network", "network_refined"
PATCHES, PATCHES_REFINED = "patches", "patches_refined"
FOUND = "found_"
"""Begins the names of files with ``probe`` and ``positions``, where these were found, too."""
EPOCHS = 20
PATCH_EPOCHS = 16
"""Of the patch network, whose epoch takes longer."""

JOINT_PATHS = (
    *((coarse, 0, 0) for coarse in (1, 2, 3, 4, 6, 8, 12)),
    *((8, full, 0) for full in (1, 2, 5)),
    *((8, 5, poisson) for poisson in (2, 5, 10)),
    (12, 13, 12),
    (12, 17, 24),
    (12, 33, 48),
)
"""The same where the instrument is found, too, which takes longer."""

INSTRUMENTS: dict[str, dict[str, Any]] = {
    "known": {},
    "probe": {"probe_trainable": True},
    "two_modes": {"probe_trainable": True, "probe_modes": 2},
    "positions": {"positions_trainable": True},
    "measured": {"probe_trainable": True, "probe_modes": 2, "positions_trainable": True},
}
"""Settings ``instrument.*``."""


@torch.no_grad()
def solve(problem: Problem, out: Path) -> None:
    """One run of the solver for every path, so that each point is a result one can have.

    A run that was cut into pieces would lose its momentum at every cut.
    """
    recipe = build.make_recipe(RunConfig().solver)
    bars = progress(False, console(quiet=True))
    out.mkdir(parents=True)
    for number, path in enumerate(JOINT_PATHS if problem.freedom.any else PATHS):
        coarse, full, poisson = path
        clock, found = protocol.Clock(), problem
        if problem.freedom.any:
            found, obj = stages.solve_jointly(problem, path, recipe, bars, "solve")
        else:
            obj = problem.start(coarse, recipe)
            if full or poisson:
                solver = problem.solver(recipe)
                obj = solver.run(obj, full)
                obj = solver.run(obj, poisson, poisson=True)
        clock.pause()
        _save(found, out, number, obj, clock.cpu, clock.wall, sum(path))


def train(problem: Problem, out: Path, epochs: int) -> None:
    """Train the network on the scan; after some epochs let it reconstruct, and refine that.

    A point of ``network`` counts the lift, the training so far and one reconstruction; a
    point of ``network_refined`` the refinement as well.
    """
    run = settings(epochs)
    torch.manual_seed(run.seed)
    folders = {name: out / name for name in (NETWORK, REFINED)}
    for folder in folders.values():
        folder.mkdir(parents=True)
    recipe, network = build.make_recipe(run.solver), build.make_network(run.model)
    bars = progress(False, console(quiet=True))
    fit = prepared(run, problem, network)

    at_once = run.execution.inference_batch_size
    clock = protocol.Clock()
    problem, lifted = stages.begin(problem, run.model, recipe, bars)
    tiles = cut(problem, lifted, run.trainer.batch_size)
    effort = 0, run.refine.iterations, run.refine.poisson_iterations

    def predict() -> Tensor:
        return stages.correct(problem, network, lifted, tiles.tile, at_once)

    again = Recalibration(run, problem, predict) if problem.freedom.any else None

    def snapshot(epoch: int) -> None:
        clock.pause()
        if epoch in snapshots(epochs):
            number = snapshots(epochs).index(epoch)
            ending = protocol.Clock()
            obj, now = predict(), problem if again is None else again.problem
            ending.pause()
            seconds = clock.cpu + ending.cpu, clock.wall + ending.wall
            _save(now, folders[NETWORK], number, obj, *seconds, epoch)
            ending.resume()
            if again is None:
                obj = stages.refine(problem, obj, run.refine, recipe, bars)
            else:
                now, obj = stages.solve_jointly(now, effort, recipe, bars, "refine", obj)
            ending.pause()
            seconds = clock.cpu + ending.cpu, clock.wall + ending.wall
            _save(now, folders[REFINED], number, obj, *seconds, epoch)
        clock.resume()

    snapshot(0)
    fit(tiles, snapshot, again)


def train_patches(problem: Problem, out: Path, epochs: int) -> None:
    """The same of ``model=pinn``, but that every point is a training of its own from the start."""
    from ptycho.workflows import patch_train, patches  # loads Lightning
    from ptycho.workflows.session import open_session

    quieten()
    for name in (PATCHES, PATCHES_REFINED):
        (out / name).mkdir(parents=True)
    bars = progress(False, console(quiet=True))
    for number, length in enumerate([1, *snapshots(epochs)[1:]]):  # the first warms up
        run = preset(settings(length), "model", "pinn")
        run.logger.backend = LoggerBackend.none
        recipe = build.make_recipe(run.solver)
        torch.manual_seed(run.seed)
        network = build.make_patch_network(run.model, problem.probe)
        with (
            TemporaryDirectory() as folder,
            open_session(run, execution_config(run), Path(folder), []) as session,
        ):
            clock = protocol.Clock()
            _, lifted = patches.lift(session, problem, recipe)
            batches = patch_train.batches_of(session, problem)
            patch_train.fit(session, problem, network, batches, lifted)
            predict = patches.predictor(problem, network, lifted)
            obj = patches.stitch_patches(run, problem, predict)
            clock.pause()
            if number:
                _save(problem, out / PATCHES, number - 1, obj, clock.cpu, clock.wall, length)
            clock.resume()
            obj = stages.refine(problem, obj, run.refine, recipe, bars)
            clock.pause()
        if number:
            _save(problem, out / PATCHES_REFINED, number - 1, obj, clock.cpu, clock.wall, length)


def settings(epochs: int) -> RunConfig:
    """The defaults, on one CPU thread, without files."""
    run = RunConfig()
    run.trainer.accelerator = Accelerator.cpu
    run.trainer.nepochs = epochs
    run.execution.threads = 1
    run.execution.enable_progress_bar = False
    run.execution.enable_checkpointing = False
    return run


def snapshots(epochs: int) -> list[int]:
    """Epochs at which the network reconstructs: about evenly on a logarithmic axis."""
    wanted = np.geomspace(1, epochs, min(5, epochs)).round().astype(int)
    return [0, *sorted(set(wanted.tolist()))]


def prepared(
    run: RunConfig,
    problem: Problem,
    network: nn.Module,
    further: Sequence[Lesson] = (),
    best: KeepBest | None = None,
) -> Callable[..., None]:
    """Lightning, as ``task=train`` sets it up, imported and ready before the clock starts.

    Returns:
        A function that trains on tiles, and on those of further scans, calls another after
        every epoch, and has the instrument moved by a third, if there is one.
    """
    import torch._dynamo  # noqa: F401  # optimisers would import it when they first step
    from lightning.pytorch import Callback, Trainer

    from ptycho.data.module import ScanModule
    from ptycho.training.callbacks import PictureEvery, Recalibrate
    from ptycho.training.module import ObjectTraining
    from ptycho.training.schedules import adamw, schedule

    quieten()
    how, execution = run.trainer, execution_config(run)

    def optimiser(module: ObjectTraining) -> object:
        chosen = adamw(network.parameters(), how.learning_rate, how.weight_decay)
        steps = int(module.trainer.estimated_stepping_batches)
        moving = schedule(
            how.scheduler, chosen, steps=steps, epochs=how.nepochs, warmup_steps=how.warmup_steps
        )
        return {"optimizer": chosen, "lr_scheduler": moving} if moving else chosen

    judge = build.make_judge(how, problem.amplitude)
    module = ObjectTraining(
        network, problem.experiment, judge, optimiser, tv_weight=how.tv_weight,
        further=[lesson.experiment for lesson in further],
        label_weights=(how.realspace_weight, how.realspace_mae_weight),
    )  # fmt: skip
    more = [lesson.cut for lesson in further]

    def fit(
        tiles: TileDataset,
        after_epoch: Callable[[int], None],
        again: Recalibration | None = None,
    ) -> None:
        watchers: list[Callback] = [PictureEvery(1, after_epoch)]
        if again is not None:
            module.use(again.problem.experiment)
            watchers.append(Recalibrate(again.every, again))
        Trainer(
            **build.trainer_arguments(run, execution),
            callbacks=[*watchers, *([best] if best else [])],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        ).fit(module, ScanModule(tiles, run.seed, more, **build.loader_arguments(execution)))
        if best is not None:
            best.restore(module)

    return fit


def quieten() -> None:
    """Leave out what Lightning says of every short training."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def _save(
    problem: Problem, folder: Path, number: int, obj: Tensor, cpu: float, wall: float, i: int
) -> None:
    protocol.save(folder, number, obj.detach().numpy(), problem.offset, cpu, wall, i)
    if problem.home is not None:
        positions = problem.positions.numpy() + problem.offset
        np.savez(folder / f"{FOUND}{number:03d}.npz", probe=problem.probe, positions=positions)


WITH_EPOCHS = {"network": train, "patches": train_patches}
"""What trains for a number of epochs."""


def main() -> None:
    """Run one of our methods."""
    protocol.one_thread()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=("solver", *WITH_EPOCHS))
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--instrument", choices=INSTRUMENTS, default="known")
    parser.add_argument("--modes-given", type=int, help="of the scan's probe; all by default")
    parser.add_argument("--name", help="of the solver's folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    instrument = InstrumentConfig(**INSTRUMENTS[options.instrument])
    scan = read_npz(options.scan)
    scan = replace(scan, probe=scan.probe[: options.modes_given])
    freedom, modes = build.make_freedom(instrument), instrument.probe_modes or 1
    problem = pose(scan, torch.device("cpu"), freedom=freedom, modes=modes)
    if options.method == "solver":
        solve(problem, options.out / (options.name or "solver"))
    else:
        WITH_EPOCHS[options.method](problem, options.out, options.epochs)
    protocol.describe(options.out, ["ptycho", "torch", "numpy"], torch.get_num_threads())


if __name__ == "__main__":
    main()
