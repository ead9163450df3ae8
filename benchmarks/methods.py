"""Our own methods, measured as the peers are: one process, one thread, snapshots.

    python -m benchmarks.methods {solver,network} --scan SCAN.npz --out FOLDER [--epochs N]

See :mod:`benchmarks.peers.protocol` for what is written and what the clock counts.
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers import protocol
from ptycho.config.choices import Accelerator
from ptycho.config.config import RunConfig
from ptycho.data.npz import read_npz
from ptycho.data.tiles import TileDataset
from ptycho.report.console import console, progress
from ptycho.training.choosing import KeepBest
from ptycho.workflows import build, stages
from ptycho.workflows.factory import execution_config
from ptycho.workflows.lessons import Lesson
from ptycho.workflows.lessons import tiles as cut
from ptycho.workflows.problem import Problem, pose

PATHS = (
    *((coarse, 0, 0) for coarse in (1, 2, 3, 4, 6, 8)),
    *((8, full, 0) for full in (1, 2, 5)),
    *((8, 5, poisson) for poisson in (2, 5, 10)),
    (8, 10, 10),
    (8, 20, 20),
)
"""Coarse, full and Poisson iterations of the solver's runs, each from a flat start."""

NETWORK, REFINED = "network", "network_refined"
EPOCHS = 20


@torch.no_grad()
def solve(problem: Problem, out: Path) -> None:
    """One run of the solver for every path, so that each point is a result one can have.

    A run that was cut into pieces would lose its momentum at every cut.
    """
    recipe = build.make_recipe(RunConfig().solver)
    out.mkdir(parents=True)
    for number, (coarse, full, poisson) in enumerate(PATHS):
        clock = protocol.Clock()
        obj = problem.start(coarse, recipe)
        if full or poisson:
            solver = problem.solver(recipe)
            obj = solver.run(obj, full)
            obj = solver.run(obj, poisson, poisson=True)
        clock.pause()
        _save(problem, out, number, obj, clock.cpu, clock.wall, coarse + full + poisson)


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
    lifted = stages.lift(problem, run.model, recipe, bars)
    tiles = cut(problem, lifted, run.trainer.batch_size)

    def snapshot(epoch: int) -> None:
        clock.pause()
        if epoch in snapshots(epochs):
            number = snapshots(epochs).index(epoch)
            ending = protocol.Clock()
            obj = stages.correct(problem, network, lifted, tiles.tile, at_once)
            ending.pause()
            seconds = clock.cpu + ending.cpu, clock.wall + ending.wall
            _save(problem, folders[NETWORK], number, obj, *seconds, epoch)
            ending.resume()
            obj = stages.refine(problem, obj, run.refine, recipe, bars)
            ending.pause()
            seconds = clock.cpu + ending.cpu, clock.wall + ending.wall
            _save(problem, folders[REFINED], number, obj, *seconds, epoch)
        clock.resume()

    snapshot(0)
    fit(tiles, snapshot)


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
) -> Callable[[TileDataset, Callable[[int], None]], None]:
    """Lightning, as ``task=train`` sets it up, imported and ready before the clock starts.

    Returns:
        A function that trains on tiles, and on those of further scans, and calls another after
        every epoch.
    """
    import torch._dynamo  # noqa: F401  # optimisers would import it when they first step
    from lightning.pytorch import Trainer

    from ptycho.data.module import ScanModule
    from ptycho.training.callbacks import PictureEvery
    from ptycho.training.module import ObjectTraining
    from ptycho.training.schedules import adamw, schedule

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
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

    def fit(tiles: TileDataset, after_epoch: Callable[[int], None]) -> None:
        Trainer(
            **build.trainer_arguments(run, execution),
            callbacks=[PictureEvery(1, after_epoch), *([best] if best else [])],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        ).fit(module, ScanModule(tiles, run.seed, more, **build.loader_arguments(execution)))
        if best is not None:
            best.restore(module)

    return fit


def _save(
    problem: Problem, folder: Path, number: int, obj: Tensor, cpu: float, wall: float, i: int
) -> None:
    protocol.save(folder, number, obj.detach().numpy(), problem.offset, cpu, wall, i)


def main() -> None:
    """Run one of our methods."""
    protocol.one_thread()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=("solver", "network"))
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    problem = pose(read_npz(options.scan), torch.device("cpu"))
    if options.method == "solver":
        solve(problem, options.out / "solver")
    else:
        train(problem, options.out, options.epochs)
    protocol.describe(options.out, ["ptycho", "torch", "numpy"], torch.get_num_threads())


if __name__ == "__main__":
    main()
