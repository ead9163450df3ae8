"""Trainings of a given length in CPU seconds, on problems in memory: what adaptation measures.

One thread, no files. Seconds are those of :class:`benchmarks.peers.protocol.Clock`; imports and
the building of modules are not counted, making labels is.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import ancestor, methods
from benchmarks.curves import Figures, Judge
from benchmarks.peers.protocol import Clock
from ptycho.config.config import RunConfig
from ptycho.config.validate import check
from ptycho.data.scan import Scan
from ptycho.data.tiles import Lifted
from ptycho.physics.patches import split_positions, stitch
from ptycho.report.console import console, progress
from ptycho.training.choosing import KeepBest
from ptycho.workflows import build, stages
from ptycho.workflows.adapt import chooser, short
from ptycho.workflows.lessons import Lesson, tiles
from ptycho.workflows.problem import Problem, pose
from ptycho.workflows.reconstruct import network_on

CPU = torch.device("cpu")
AT_ONCE = 4  # tiles a network corrects at once
BARS = progress(False, console(quiet=True))


def settings(**changes: Any) -> RunConfig:
    """The defaults on one thread; ``trainer__nepochs=3`` changes ``trainer.nepochs``."""
    run = methods.settings(1)
    run.data.nphotons = 1e5  # of a scan that is in memory already; the check asks for it
    for name, value in changes.items():
        group, _, last = name.partition("__")
        if not hasattr(getattr(run, group), last):
            raise AttributeError(f"there is no setting {group}.{last}")
        setattr(getattr(run, group), last, value)
    return check(run)


@dataclass
class Subject:
    """A scan with its judge and the lifts made of it."""

    problem: Problem
    judge: Judge
    lifts: dict[tuple[int, int], tuple[Lifted, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, scan: Scan, holdout_fraction: float = 0.0) -> "Subject":
        """A scan whose probe is right; nothing held out where nothing is said."""
        problem = pose(scan, CPU, holdout_fraction)
        return cls(problem, Judge(problem, True))

    def lifted(self, run: RunConfig) -> Lifted:
        """The network's input; kept, with its CPU seconds."""
        key = _key(run)
        if key not in self.lifts:
            clock = Clock()
            made = stages.lift(self.problem, run.model, build.make_recipe(run.solver), BARS)
            clock.pause()
            self.lifts[key] = made, clock.cpu
        return self.lifts[key][0]

    def seconds(self, run: RunConfig) -> float:
        """CPU seconds of that input."""
        self.lifted(run)
        return self.lifts[_key(run)][1]

    def score(self, obj: Tensor) -> Figures:
        """Figures of an object on the canvas."""
        return self.judge.score(obj.detach().numpy())


def _key(run: RunConfig) -> tuple[int, int]:
    return run.model.lift_coarse_iterations, run.model.lift_iterations


@dataclass(frozen=True)
class Learnt:
    """A network, and what it took to train it."""

    run: RunConfig
    network: nn.Module
    tile: tuple[int, int]
    seconds: float
    """CPU, with the making of labels."""
    epochs: int

    def answer(self, subject: Subject) -> Tensor:
        """What the network makes of a scan, unrefined."""
        first = subject.lifted(self.run)
        return stages.correct(subject.problem, self.network, first, self.tile, AT_ONCE)


def learn(run: RunConfig, subjects: Sequence[Subject], budget: float) -> Learnt:
    """Train for about so many CPU seconds, a whole number of epochs.

    Args:
        run: settings; the number of epochs is found here, from the seconds of one.
        subjects: scans to learn from, unlifted ones are lifted (and that is not counted).
        budget: CPU seconds, labels included; one epoch is trained in any case.
    """
    lifts = [subject.lifted(run) for subject in subjects]
    clock = Clock()
    labels = [_label(run, subject) for subject in subjects]
    clock.pause()
    cuts = [
        tiles(subject.problem, first, run.trainer.batch_size, label)
        for subject, first, label in zip(subjects, lifts, labels, strict=True)
    ]
    lessons = [
        Lesson(cut, subject.problem.experiment, subject.problem.scan.sha256)
        for subject, cut in zip(subjects, cuts, strict=True)
    ]
    torch.manual_seed(run.seed)
    network = network_on(build.make_network(run.model), CPU)
    problem = subjects[0].problem
    epochs = _affordable(run, problem, network, lessons, budget - clock.cpu)
    seconds = _train(run, problem, network, lessons, epochs)
    return Learnt(run, network, cuts[0].tile, clock.cpu + seconds, epochs)


def get_used_to(run: RunConfig, subject: Subject, budget: float, start: Learnt) -> Learnt:
    """Adapt a network to a scan as ``task=adapt`` does, for about so many CPU seconds.

    Args:
        run: settings; the number of epochs is found here.
        subject: the scan; of its patterns some should be held out.
        budget: CPU seconds; one epoch is trained in any case.
        start: the network to go on from.
    """
    problem, first, learning = subject.problem, subject.lifted(run), short(run)
    cut = tiles(problem, first, run.trainer.batch_size, start.answer(subject))
    lessons = [Lesson(cut, problem.experiment, problem.scan.sha256)]

    def choosing() -> KeepBest | None:
        return chooser(problem, first, (start.tile, cut.tile), AT_ONCE)

    network, best = copy.deepcopy(start.network), choosing()
    epochs = _affordable(learning, problem, network, lessons, budget, choosing())
    seconds = _train(learning, problem, network, lessons, epochs, best)
    stayed = best is not None and best.epoch == 0
    return Learnt(run, network, start.tile if stayed else cut.tile, seconds, epochs)


def _affordable(
    run: RunConfig,
    problem: Problem,
    network: nn.Module,
    lessons: Sequence[Lesson],
    budget: float,
    best: KeepBest | None = None,
) -> int:
    """How many epochs so many CPU seconds allow."""
    trial = copy.deepcopy(network)
    _train(run, problem, trial, lessons, 1)  # warms up
    pace = _train(run, problem, trial, lessons, 1, best)
    return max(1, round(budget / pace))


def _train(
    run: RunConfig,
    problem: Problem,
    network: nn.Module,
    lessons: Sequence[Lesson],
    epochs: int,
    best: KeepBest | None = None,
) -> float:
    """Train, and say how many CPU seconds it took."""
    run.trainer.nepochs = epochs
    fit = methods.prepared(run, problem, network, lessons[1:], best)
    clock = Clock()
    fit(lessons[0].cut, lambda _: None)
    clock.pause()
    return clock.cpu


def _label(run: RunConfig, subject: Subject) -> Tensor | None:
    if not run.trainer.realspace_weight:
        return None
    return stages.solve(subject.problem, run.solver, build.make_recipe(run.solver), BARS)


def ancestor_object(subject: Subject, budget: float) -> tuple[Tensor, float]:
    """The ancestor's layout, trained on a scan for about so many CPU seconds, and stitched.

    Returns:
        The object on the canvas, and CPU seconds of the training.
    """
    problem = subject.problem
    torch.manual_seed(0)
    groups = ancestor.group(problem.amplitude, problem.positions, problem.probe)
    training = ancestor.Training(groups, "fp32")
    clock = Clock()
    while clock.cpu < budget:
        clock.resume()
        training.step()
        clock.pause()
    corners, _ = split_positions(problem.positions, ancestor.SIZE)
    windows, where = [], []
    with torch.no_grad():
        for members in groups.members.split(ancestor.GROUPS):
            windows.append(training.network(groups.amplitude[members] * training.scale))
            where.append(corners[members].flatten(0, 1) + (ancestor.SIZE - ancestor.WINDOW) // 2)
    patches = torch.cat(windows).flatten(0, 1)
    even = torch.ones(ancestor.WINDOW, ancestor.WINDOW)
    obj = stitch(patches, even, torch.cat(where), problem.shape)
    return obj, clock.cpu


def iterations_to(
    subject: Subject, start: Tensor, levels: Sequence[float], most: int
) -> list[int | None]:
    """Full-resolution Poisson iterations from an object until its phase SSIM reaches each level.

    Every number is a run of its own: one that was cut into pieces would lose its momentum.

    Returns:
        None where ``most`` are not enough.
    """
    solver = subject.problem.solver(build.make_recipe(RunConfig().solver))

    @functools.cache
    def after(count: int) -> float:
        with torch.no_grad():
            obj = solver.run(start, count, poisson=True)
        return subject.score(obj)["phase_ssim"]

    return [first_count(after, level, most) for level in levels]


def first_count(figure: Callable[[int], float], level: float, most: int) -> int | None:
    """The smallest count whose figure reaches a level, as far as doubling and halving can tell."""
    low, high = -1, 0  # not reached after low, to be tried: high
    while figure(high) < level:
        if high >= most:
            return None
        low, high = high, min(max(2 * high, 1), most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if figure(middle) >= level else (middle, high)
    return high
