"""Patch networks: a canvas of neighbours against groups of four, at equal CPU seconds.

    GOMP_SPINCOUNT=10000 python -m benchmarks.overlap [--quick] [--seconds S] [--docs DIR]

Trains ``model=pinn`` on one thread, the same CPU seconds for every way of overlapping, each with
its own batches, and scores what the network alone reconstructs. Then it times the training beside
that of the layout of the CNN that this package descends from, in turn in one process. Prints the
tables and writes overlap.md under outputs/benchmarks; a table that is there already, as JSON beside
the page, is not made again (remove it to do so). Threads that wait in vain for a busy core spoil
the speed of two: the variable, which runs set themselves, lets them give up soon, and the machine
should be idle.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from benchmarks import ancestor, scans
from benchmarks.adaptation_report import Part, Row, cells, kept, terminal_table
from benchmarks.clock import Clock as WallClock
from benchmarks.clock import Repeated, alternate, any_order, ratio
from benchmarks.learning import CPU, Subject, settings
from benchmarks.methods import quieten
from benchmarks.peers.protocol import Clock
from benchmarks.quality_report import processor
from ptycho.config.choices import Architecture, LoggerBackend, Overlap
from ptycho.config.config import RunConfig
from ptycho.workflows import build, patch_train, patches
from ptycho.workflows.factory import execution_config
from ptycho.workflows.reconstruct import network_on
from ptycho.workflows.session import open_session

SCANS = ("dead_leaves_1e5", "chip_1e6")
BATCH, RATE = 16, 3e-3
"""Patterns predicted in a step, and the learning rate: 48 at 1e-3 or 3e-3 are worse for all."""
WAYS: dict[str, dict[str, Any]] = {
    "canvases of 8, half predicted (the default)": {"trainer__batch_size": 2 * BATCH},
    "one canvas of 16, all predicted": {
        "model__canvas_patterns": 16, "model__predicted_share": 1.0,
    },
    "groups of 4": {"model__overlap": Overlap.group, "model__gridsize": 2},
    "groups of 4, batches of 48, rate 1e-3": {
        "model__overlap": Overlap.group, "model__gridsize": 2,
        "trainer__batch_size": 48, "trainer__learning_rate": 1e-3,
    },
}  # fmt: skip
PACE_STEPS = 24
RATE_STEPS = 24
REPEATS = 3


@dataclass(frozen=True)
class Training:
    """One training and what came of it."""

    psnr: float
    ssim: float
    seconds: float
    """CPU, of the training alone."""
    steps: int


def way(seed: int, **how: Any) -> RunConfig:
    """Settings of one way of overlapping."""
    usual: dict[str, Any] = {
        "model__architecture": Architecture.pinn,
        "trainer__batch_size": BATCH, "trainer__learning_rate": RATE,
    }  # fmt: skip
    run = settings(**usual | how)
    run.seed, run.logger.backend = seed, LoggerBackend.none
    return run


class Bench:
    """The scans and a place for what trainings leave."""

    def __init__(
        self, folder: Path, seconds: float, patterns: int, seeds: int, say: Callable[[str], None]
    ) -> None:
        self.folder, self.seconds, self.seeds, self.say = folder, seconds, seeds, say
        self.patterns = patterns
        self._subjects: dict[str, Subject] = {}

    def subject(self, name: str) -> Subject:
        """A scan with its lift."""
        if name not in self._subjects:
            self._subjects[name] = Subject.of(scans.load(name, patterns=self.patterns))
        return self._subjects[name]

    def train(self, run: RunConfig, name: str, seconds: float) -> Training:
        """Train for about so many CPU seconds, then let the network reconstruct."""
        subject = self.subject(name)
        steps = max(1, round(seconds / self.pace(run, name)))
        network, spent, done = self._fit(run, subject, steps)
        predict = patches.predictor(subject.problem, network, subject.lifted(run))
        found = subject.score(patches.stitch_patches(run, subject.problem, predict))
        return Training(found["phase_psnr"], found["phase_ssim"], spent, done)

    def pace(self, run: RunConfig, name: str) -> float:
        """CPU seconds of a step."""
        subject = self.subject(name)
        self._fit(run, subject, 2)  # warms up
        _, spent, steps = self._fit(run, subject, PACE_STEPS)
        return spent / steps

    def _fit(self, run: RunConfig, subject: Subject, steps: int) -> tuple[Any, float, int]:
        """The network, CPU seconds and steps; every epoch as long as the others."""
        problem, lifted = subject.problem, subject.lifted(run)
        torch.manual_seed(run.seed)
        network = build.make_patch_network(run.model, problem.probe)
        network_on(network, CPU)
        with TemporaryDirectory(dir=self.folder) as place, self.session(run, place) as session:
            batches = patch_train.batches_of(session, problem)
            whole = len(batches.sampler(batches.places, batches.n_patterns, run.seed))  # type: ignore[arg-type]
            epochs = -(-steps // whole)
            limit = max(1, round(steps / epochs))
            how = replace(run, trainer=replace(run.trainer, nepochs=epochs))
            session = replace(
                session, run=how, execution=replace(session.execution, limit_train_batches=limit)
            )
            clock = Clock()
            patch_train.fit(session, problem, network, batches, lifted)
            clock.pause()
        return network, clock.cpu, epochs * limit

    def session(self, run: RunConfig, place: str) -> Any:
        """An open session without pictures, loggers or progress."""
        return open_session(run, execution_config(run), Path(place), [])

    def compared(self) -> Part:
        """Every way on every scan, seeds in turn."""
        found: dict[tuple[str, str], list[Training]] = {}
        for seed in range(self.seeds):
            for name in SCANS:
                for words, how in WAYS.items():
                    self.say(f"{name}, seed {seed}: {words}")
                    made = self.train(way(seed, **how), name, self.seconds)
                    found.setdefault((name, words), []).append(made)
        rows = []
        for name in SCANS:
            subject = self.subject(name)
            lifted = subject.score(subject.lifted(way(0)).obj)
            rows.append(Row(f"{name}: lift alone", _cells(lifted["phase_psnr"])))
            rows += [Row(f"{name}: {words}", _summary(found[name, words])) for words in WAYS]
            noise = subject.judge.noise["phase_psnr"]
            rows.append(Row(f"{name}: photon noise", _cells(noise)))
        head = ("dB", "lowest", "highest", "SSIM", "CPU s", "steps")
        title = "Canvases and groups"
        return Part(
            title, _COMPARED.format(seeds=self.seeds), head, (2, 2, 2, 3, 1, 0), tuple(rows)
        )

    def rates(self) -> Part:
        """Patterns per second beside the ancestor's layout, at one thread and at two."""
        rows = []
        for threads in (1, 2):
            self.say(f"rates at {threads} threads")
            torch.set_num_threads(threads)
            try:
                rows += self._rates(threads)
            finally:
                torch.set_num_threads(1)
        head = ("patterns/s", "times the ancestor's", "lowest", "highest")
        return Part("Speed", _SPEED, head, (0, 1, 1, 1), tuple(rows))

    def _rates(self, threads: int) -> list[Row]:
        subject = self.subject(SCANS[0])
        problem = subject.problem
        groups = ancestor.group(problem.amplitude, problem.positions, problem.probe)
        theirs = ancestor.Training(groups, "fp32")
        runs = {
            "the default, patterns measured": way(0, trainer__batch_size=2 * BATCH),
            "all predicted, batches of 48": way(
                0, trainer__batch_size=48, model__canvas_patterns=48, model__predicted_share=1.0
            ),
        }  # fmt: skip
        for run in runs.values():
            run.execution.threads = threads
        works: dict[str, Callable[[], float]] = {
            words: lambda run=run: self._rate(run, subject)  # type: ignore[misc]
            for words, run in runs.items()
        }
        works["ancestor"] = Repeated(
            any_order()(theirs.step), ancestor.GROUP * ancestor.GROUPS, WallClock(CPU), 1.0
        )
        found = alternate(REPEATS, works)
        where = {1: "one thread", 2: "two threads"}[threads]
        theirs_alone = median(found["ancestor"]), 1.0, None, None
        rows = [Row(f"{where}: the ancestor's layout", theirs_alone)]
        for words in runs:
            times = ratio(found[words], found["ancestor"])
            figures = median(found[words]), median(times), min(times), max(times)
            rows.append(Row(f"{where}: {words}", figures))
        return rows

    def _rate(self, run: RunConfig, subject: Subject) -> float:
        began = time.perf_counter()
        _, _, few = self._fit(run, subject, 2)
        between = time.perf_counter()
        _, _, steps = self._fit(run, subject, 2 + RATE_STEPS)
        ended = time.perf_counter()
        # what a training costs besides its steps is in both
        seconds = (ended - between) - (between - began)
        return run.trainer.batch_size * (steps - few) / seconds


def _cells(psnr: float) -> tuple[float | None, ...]:
    return psnr, None, None, None, None, None


def _summary(made: list[Training]) -> tuple[float | None, ...]:
    psnr = [one.psnr for one in made]
    rest = [mean(getattr(one, name) for one in made) for name in ("ssim", "seconds", "steps")]
    return mean(psnr), min(psnr), max(psnr), *rest


def page(tables: list[Part], patterns: int, seconds: float) -> str:
    """The Markdown page."""
    lines = [_HEAD.format(patterns=patterns, seconds=seconds)]
    for part in tables:
        rows = [["", *part.head], ["---", *["---:"] * len(part.head)]]
        rows += [[row.words, *cells(part, row)] for row in part.rows]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        lines.append(f"## {part.title}\n\n{part.words}\n\n{table}")
    lines.append(f"{processor()}, {date.today():%Y-%m-%d}; other work ran on the same machine.")
    return "\n\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 130 when interrupted."""
    options = _options(arguments)
    terminal = Console(soft_wrap=True)
    quieten()
    torch.set_num_threads(1)
    seconds, patterns = (0.5, 225) if options.quick else (options.seconds, scans.PATTERNS)
    out = options.out or scans.OUTPUTS / ("overlap_quick" if options.quick else "overlap")
    try:
        with terminal.status("simulating") as status, TemporaryDirectory() as folder:
            bench = Bench(Path(folder), seconds, patterns, options.seeds, status.update)
            work = {"compared": bench.compared, "rates": bench.rates}
            made = [kept(out / f"{name}.json", make) for name, make in work.items()]
    except KeyboardInterrupt:
        terminal.print("interrupted; the same command goes on with the next table")
        return 130
    for part in made:
        terminal.print(terminal_table(part))
    path = out / "overlap.md"
    path.write_text(page(made, patterns, seconds), encoding="utf-8")
    if options.docs is not None:
        options.docs.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, options.docs / path.name)
    terminal.print(f"  {path}", markup=False)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overlap", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds of a training")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of every kind")
    parser.add_argument("--quick", action="store_true", help="small scans, half a second each")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="copy the page there, too")
    return parser.parse_args(arguments)


_HEAD = """# Overlap of patches

Made by `python -m benchmarks.overlap`. Simulated scans of {patterns:,} patterns of 64 x 64, the
known probe, `model=pinn` on one thread, {seconds:g} CPU seconds for every training; the lift is not
counted in them, since every way begins with the same. dB (PSNR) and SSIM are those of the phase of
what the network alone reconstructs, without refinement ([how results are judged](../results.md)).
What to make of it: [docs/networks.md](../networks.md)."""
_COMPARED = (
    "Means of {seeds} seeds of the network and of the batches, with the lowest and the highest. "
    "Where nothing else is said 16 patterns are predicted in a step and the learning rate is 3e-3. "
    "Half predicted: the other 16 are measured all the same. The number of steps was set from the "
    "seconds of some that were timed before, so that the seconds are near what was asked for, not "
    "equal to it. Photon noise is a yardstick, not a wall."
)
_SPEED = (
    "Training, seconds on the wall, this and the ancestor's layout (`benchmarks/ancestor.py`) in "
    "turn in one process; medians, and the lowest and highest ratio. By default half of the "
    "patterns that are counted are predicted and the others only measured."
)


if __name__ == "__main__":
    sys.exit(main())
