"""The parts of the throughput benchmark: solver, training, inference, memory."""

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ancestor
from benchmarks.bench import Bench, write_counts
from benchmarks.clock import (
    PRECISIONS,
    Clock,
    Measured,
    Repeated,
    alternate,
    any_order,
    autocast,
    one_thread,
    ratio,
)
from benchmarks.machine import convolution, fft_pair
from benchmarks.memory import peak
from benchmarks.throughput_page import END_TO_END, PATCH_RATIO, RATIO, REFINED, SOLVER
from ptycho.physics.solver import Recipe
from ptycho.report.files import write_reconstruction
from ptycho.workflows import build, stages
from ptycho.workflows.problem import Problem, pose
from ptycho.workflows.reconstruct import network_on

COARSE = "pattern-iterations at N = 32"
INSTRUMENTS = "probe", "positions", "measured"
"""What is found with the object in timings of the joint solver: options of ``instrument``."""
_ITERATIONS, COARSE_ITERATIONS = 5, 4
"""Of the solver in one timing, and of the joint solver before it."""
_SETTING_UP = f"{_ITERATIONS} iterations with their set-up"


@torch.no_grad()
def solver(bench: Bench) -> list[Measured]:
    """Pattern-iterations of the solver beside its Fourier transforms, on one core."""
    problem, recipe, effort = bench.problem, bench.recipe, bench.effort
    clock, size = Clock(bench.device, cpu_time=True), problem.scan.patch_size
    full, flat, n = problem.solver(recipe), problem.flat(), len(problem.scan)
    coarse = bench.run.solver.coarse_iterations
    works: dict[str, Callable[[], float]] = {
        "full": Repeated(
            lambda: full.run(flat, _ITERATIONS), _ITERATIONS * n, clock, effort.shortest
        ),
        "pair": fft_pair(clock, size, effort.shortest / 5),
        "coarse": Repeated(
            lambda: problem.start(coarse, recipe), coarse * n, clock, effort.shortest
        ),
        "coarse pair": fft_pair(clock, size // 2, effort.shortest / 5),
    }
    jointly = {name: bench.free(name) for name in INSTRUMENTS}
    works |= {name: _joint(one, recipe, clock, effort.shortest) for name, one in jointly.items()}
    with one_thread():
        found = alternate(effort.repeats, works)
    unit = "per CPU s" if bench.device.type == "cpu" else "per s"

    def pair(side: int, name: str) -> Measured:
        return Measured("solver", f"FFT pair {side} x {side}", unit, found[name])

    def share(name: str, of: str, whole: str) -> Measured:
        values = tuple(100 * one for one in ratio(found[of], found[whole]))
        return Measured("solver", f"{name}, of the FFT pair", "%", values)

    note = f"{coarse} iterations with their set-up"
    return [
        pair(size, "pair"),
        pair(size // 2, "coarse pair"),
        Measured("solver", SOLVER, unit, found["full"]),
        share(SOLVER, "full", "pair"),
        Measured("solver", COARSE, unit, found["coarse"], note=note),
        share(COARSE, "coarse", "coarse pair"),
        *(
            Measured("solver", f"{SOLVER}, instrument={name}", unit, found[name], note=_SETTING_UP)
            for name in jointly
        ),
    ]


def _joint(problem: Problem, recipe: Recipe, clock: Clock, shortest: float) -> Repeated:
    """Iterations that find a part of the instrument, from the coarse solution."""
    obj, start = problem.joint_start(COARSE_ITERATIONS, recipe)

    def work() -> Tensor:
        return start.joint_solver(recipe).run(obj, _ITERATIONS)

    return Repeated(work, _ITERATIONS * len(problem.scan), clock, shortest)


def training(bench: Bench) -> list[Measured]:
    """Patterns per second of the default training and of the ancestor's layout."""
    effort, clock, groups = bench.effort, bench.clock, bench.groups
    batch = ancestor.GROUP * ancestor.GROUPS
    works: dict[tuple[str, str], Callable[[], float]] = {}
    for precision in PRECISIONS:
        yardstick = ancestor.Training(groups, precision)
        works["convolution", precision] = convolution(clock, precision, effort.shortest / 3)
        works["ours", precision] = partial(train_rate, bench, precision)
        works["patches", precision] = partial(patch_rate, bench, precision)
        works["ancestor", precision] = Repeated(
            any_order()(yardstick.step), batch, clock, effort.shortest
        )
    found = alternate(effort.repeats, works)
    macs = {
        "ours": multiplications(bench),
        "ancestor": ancestor.multiplications(ancestor.AncestorNet()),
    }
    share = bench.patch_run.model.predicted_share
    note = f"patterns measured, {share:.0%} of them predicted"
    return [row for precision in PRECISIONS for row in _training_rows(found, macs, precision, note)]


def _training_rows(
    found: dict[tuple[str, str], tuple[float, ...]],
    macs: dict[str, float],
    precision: str,
    note: str,
) -> list[Measured]:
    ours, theirs = found["ours", precision], found["ancestor", precision]
    patches = found["patches", precision]
    ceiling = found["convolution", precision]

    def row(name: str, unit: str, values: tuple[float, ...], note: str = "") -> Measured:
        return Measured("training", name, unit, values, precision, note)

    return [
        row("best 3x3 convolution", "GFLOP/s", ceiling),
        row("ours", "patterns/s", ours, "Lightning's loop, as a run reports it"),
        row("model=pinn", "patterns/s", patches, note),
        row("ancestor's layout", "patterns/s", theirs, "a plain loop"),
        row(RATIO, "x", ratio(ours, theirs)),
        row(PATCH_RATIO, "x", ratio(patches, theirs)),
        row("ours, of the convolution", "%", _share(ours, macs["ours"], ceiling)),
        row("ancestor's layout, of the convolution", "%",
            _share(theirs, macs["ancestor"], ceiling)),
    ]  # fmt: skip


def _share(rate: tuple[float, ...], macs: float, ceiling: tuple[float, ...]) -> tuple[float, ...]:
    """Per cent of the best convolution that a training's own convolutions make use of."""
    # forward, and backward to inputs and weights: three times two operations
    return tuple(100 * 6 * macs * one / 1e9 / best for one, best in zip(rate, ceiling, strict=True))


def train_rate(bench: Bench, precision: str) -> float:
    """Patterns per second that a short run of the package's own training reports."""
    from ptycho.workflows.train import fit  # loads Lightning

    session = bench.training_session(precision, bench.run)
    history = fit(session, bench.problem, bench.network(), bench.tiles, bench.lifted)
    return _median_rate(history.rows)


def patch_rate(bench: Bench, precision: str) -> float:
    """The same of ``model=pinn``."""
    from ptycho.workflows import patch_train  # loads Lightning

    session, problem = bench.training_session(precision, bench.patch_run), bench.problem
    network = network_on(build.make_patch_network(session.run.model, problem.probe), bench.device)
    batches = patch_train.batches_of(session, problem)
    history = patch_train.fit(session, problem, network, batches, bench.patch_lifted)
    return _median_rate(history.rows)


def _median_rate(epochs: list[dict[str, float]]) -> float:
    return statistics.median(epoch["train/patterns_per_s"] for epoch in epochs[1:])


def multiplications(bench: Bench) -> float:
    """Multiplications of our network for one pattern, on a typical tile."""
    height, width = bench.tiles.tile
    obj = torch.ones(1, height, width, dtype=torch.complex64, device=bench.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        bench.network()(obj, torch.zeros_like(obj), torch.ones_like(obj.real))
    return float(counter.get_total_flops()) / 2 / bench.run.trainer.batch_size


def inference(bench: Bench) -> list[Measured]:
    """From a file to a file: seconds of every stage, beside the ancestor's network alone."""
    effort = bench.effort
    network, n = bench.network(), len(bench.problem.scan)
    batch = ancestor.GROUP * ancestor.GROUPS
    alone = {
        precision: Repeated(
            any_order()(ancestor.Training(bench.groups, precision).predict), batch, bench.clock,
            effort.shortest,
        )
        for precision in PRECISIONS
    }  # fmt: skip
    rounds, yardsticks = [], []
    for _ in range(effort.repeats + 1):
        rounds.append(stage_seconds(bench, network))
        yardsticks.append({precision: rate() for precision, rate in alone.items()})
    rounds, yardsticks = rounds[1:], yardsticks[1:]  # the first warmed up
    rows = []
    for name in rounds[0]:
        seconds = tuple(one[name] for one in rounds)
        label, _, precision = name.partition("|")
        rows += [
            Measured("inference, stages", label, "s", seconds, precision, _NOTES.get(label, "")),
            Measured("inference, stages", label, "patterns/s", tuple(n / s for s in seconds),
                     precision),
        ]  # fmt: skip
    for precision in PRECISIONS:
        theirs = tuple(one[precision] for one in yardsticks)
        rows += _ends(rounds, theirs, precision, n)
    return rows


_NOTES = {
    "read": "NPZ, counts in 16 bits",
    "lay out": "probe shifts, canvas",
    "lift": "solver iterations; all patterns stitched once",
    "stitch": "part of the network's seconds: cutting and blending its tiles",
    "write": "NPZ",
}


def stage_seconds(bench: Bench, network: torch.nn.Module) -> dict[str, float]:
    """One reconstruction; ``network|fp32`` and ``network|bf16`` are alternatives."""
    seconds: dict[str, float] = {}
    run, device, session = bench.run, bench.device, bench.session

    def timed(name: str, work: Callable[[], Any]) -> Any:
        result, seconds[name] = bench.clock.timed(work)
        return result

    scan = timed("read", bench.read)
    problem = timed("lay out", lambda: pose(scan, device))
    lifted = timed("lift", lambda: bench.lift(problem))
    tile, at_once = bench.tiles.tile, session.execution.inference_batch_size
    for precision in PRECISIONS:
        with autocast(device, precision):
            obj = timed(
                f"network|{precision}",
                lambda: stages.correct(problem, network, lifted, tile, at_once),
            )
    timed("stitch", lambda: stages.correct(problem, _unchanged, lifted, tile, at_once))
    refined = timed(
        "refine", lambda: stages.refine(problem, obj, run.refine, bench.recipe, session.bars)
    )

    def write() -> None:
        found = problem.reconstruction([stages.as_stage("refined", refined, 0.0)])
        write_reconstruction(session.folder / "reconstruction.npz", found)

    timed("write", write)
    return seconds


def _unchanged(obj: Tensor, *_: Tensor) -> Tensor:
    return obj


def _ends(
    rounds: list[dict[str, float]], theirs: tuple[float, ...], precision: str, n: int
) -> list[Measured]:
    """End to end with and without refine, against the ancestor's network alone."""
    parts = ("read", "lay out", "lift", f"network|{precision}", "write")
    plain = tuple(n / sum(one[name] for name in parts) for one in rounds)
    refined = tuple(n / sum(one[name] for name in (*parts, "refine")) for one in rounds)

    def row(name: str, unit: str, values: tuple[float, ...], note: str = "") -> Measured:
        return Measured("inference", name, unit, values, precision, note)

    return [
        row(END_TO_END, "patterns/s", plain),
        row(REFINED, "patterns/s", refined),
        row("ancestor's network alone", "patterns/s", theirs),
        row(RATIO, "x", ratio(plain, theirs), "without refine"),
        row(f"{RATIO}, with refine", "x", ratio(refined, theirs)),
    ]


def memory(bench: Bench) -> list[Measured]:
    """Peak memory of whole runs in processes of their own."""
    folder = bench.session.folder
    scan_file = folder / "memory.npz"
    n = write_counts(scan_file, bench.effort.patterns_in_memory)
    run = bench.run
    common = [
        "data=npz", f"data.train_data_file={scan_file}", f"paths.outputs={folder}",
        f"trainer.accelerator={run.trainer.accelerator.value}",
        "execution.enable_progress_bar=false",
        *bench.effort.memory_settings,
    ]  # fmt: skip
    if run.execution.threads:
        common.append(f"execution.threads={run.execution.threads}")
    rows = []
    for task, more in (("solve", []), ("train", ["trainer.nepochs=1"])):
        command = [sys.executable, "-m", "ptycho.run", f"task={task}", *common, *more]
        found = peak([*command, f"hydra.run.dir={folder / task}"], folder / f"{task}.log")
        note = (
            f"{' '.join([f'task={task}', *more])}; "
            f"{found['seconds']:.0f} s, {found['cpu_seconds']:.0f} CPU s"
        )
        rows.append(
            Measured("memory", f"{task}, {n:,} patterns", "GB", (found["bytes"] / 1e9,), note=note)
        )
    return rows


PARTS = {"solver": solver, "training": training, "inference": inference, "memory": memory}
"""In the order in which they are measured."""
