"""Networks that generalise, adapt and help the solver: what each gives for its seconds.

    python -m benchmarks.adaptation [--quick] [--docs DIR]

Dead leaves, 1e5 photons, 2,025 patterns, the known probe, one thread. A network is trained on one
scan (or a few), then shown another object of the same kind, and one of another kind. Prints the
tables and writes adaptation.md under outputs/benchmarks. Takes about a quarter of an hour; a table
that is there already, as JSON beside the page, is not made again (remove it to do so).
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks import scans
from benchmarks.adaptation_report import Part, Row, kept, read, terminal_table, write
from benchmarks.learning import (
    Learnt,
    Subject,
    ancestor_object,
    get_used_to,
    iterations_to,
    learn,
    settings,
)
from ptycho.config.choices import Labels
from ptycho.config.config import RunConfig
from ptycho.data.simulate import simulate

KIND, OTHER_KIND = "dead_leaves", "chip"
LIFTS = {"weak": (0, 1), "usual": (6, 0), "strong": (20, 2)}
"""Coarse and full iterations of the solver that make the network's input."""
SMALL: dict[str, Any] = {"trainer__batch_size": 64, "trainer__learning_rate": 3e-3}
FORMER: dict[str, Any] = {"trainer__learning_rate": 1e-3, "trainer__tv_weight": 0.0}
"""The defaults before total variation was one of them."""
DISTIL = SMALL | {
    "trainer__nll_weight": 0.0, "trainer__tv_weight": 0.0, "trainer__realspace_weight": 1.0,
    "data__labels": Labels.solver,
}  # fmt: skip
SCRATCH, ADAPTING = 0.3, 0.15
"""Shares of a training's seconds."""
PARTS = ("defaults", "generalise", "adapt", "refine")
HELD_OUT = RunConfig().data.holdout_fraction
LEVELS, NEAR, MOST = (0.92, 0.93, 0.94, 0.95), 0.94, 40
FOLDER, QUICK_FOLDER = scans.OUTPUTS / "adaptation", scans.OUTPUTS / "adaptation_quick"


class Bench:
    """The scans, and the networks trained on them.

    Args:
        seconds: CPU seconds of a training.
        patterns: of every scan.
        say: called before anything long.
    """

    def __init__(self, seconds: float, patterns: int, say: Callable[[str], None]) -> None:
        self.seconds, self.patterns, self.say = seconds, patterns, say
        self.known, self.unseen = self.subject(KIND, 0), self.subject(KIND, 1)
        self.more = [self.subject(KIND, seed) for seed in (101, 102)]

    def subject(self, kind: str, seed: int, held_out: float = 0.0) -> Subject:
        """A simulated scan."""
        arguments: dict[str, Any] = scans.COMMON | {"kind": kind, "photons": 1e5, "seed": seed}
        scan = simulate(**arguments, n_patterns=self.patterns, label=f"{kind} {seed}")
        return Subject.of(scan, held_out)

    def learnt(self, words: str, lift: str, how: dict[str, Any], several: bool = False) -> Learnt:
        """A network; from several scans it learns as long for each."""
        self.say(f"training: {words}, {lift} lift")
        subjects = [self.known, *(self.more if several else [])]
        return learn(settings(**_lift(lift), **how), subjects, self.seconds * len(subjects))

    def defaults(self) -> Part:
        """What a training makes of its own input, by the defaults and by the former ones."""
        rows = []
        for name in scans.SIMULATED:
            subject, run = Subject.of(scans.load(name, patterns=self.patterns)), settings()
            first = subject.lifted(run).obj
            rows.append(Row(f"{name}: lift", (None, subject.seconds(run), *_four(subject, first))))
            for words, how in (("former defaults", FORMER), ("defaults", {})):
                self.say(f"training: {words}, {name}")
                found = learn(settings(**how), [subject], self.seconds)
                rate = found.epochs * len(subject.problem.scan) / found.seconds
                figures = rate, found.seconds, *_four(subject, found.answer(subject))
                rows.append(Row(f"{name}: {words}", figures))
        head = ("patterns/s", "CPU s", "SSIM", "dB", "amplitude SSIM", "amplitude dB")
        return Part("Trained on one scan", _DEFAULTS, head, (0, 1, 3, 1, 3, 1), tuple(rows))

    def generalising(self) -> Part:
        """Trained on one scan or three, shown another."""
        rows = []
        for lift in ("usual", "strong"):
            run = settings(**_lift(lift))
            objects = [subject.lifted(run).obj for subject in self._both]
            rows.append(Row(f"{lift} lift alone", (self.known.seconds(run), *self._of(objects))))
        networks = {
            "patterns, former defaults": self.learnt("former defaults", "usual", FORMER),
            "patterns, defaults": self.learnt("defaults", "usual", {}),
            "distilled": self.learnt("distilled", "usual", DISTIL),
            "distilled, strong lift": self.learnt("distilled", "strong", DISTIL),
            "distilled, 3 scans": self.learnt("distilled, 3 scans", "usual", DISTIL, True),
            "distilled, 3 scans, strong lift": self.learnt("3 scans", "strong", DISTIL, True),
        }
        for name, network in networks.items():
            found = self._of([network.answer(subject) for subject in self._both])
            rows.append(Row(name, (network.seconds, *found)))
        self.say("training: the ancestor's layout")
        obj, seconds = ancestor_object(self.known, self.seconds)
        rows.append(Row("the ancestor's layout", (seconds, *_figures(self.known, obj), None, None)))
        noise = [one.judge.noise for one in self._both]
        limits = [one[name] for one in noise for name in ("phase_ssim", "phase_psnr")]
        rows.append(Row("photon noise", (None, *limits)))
        head = ("CPU s", "SSIM", "dB", "unseen SSIM", "unseen dB")
        title = "Trained on one scan, shown another"
        return Part(title, _GENERALISING, head, (1, 3, 1, 3, 1), tuple(rows))

    def adapting(self) -> Part:
        """A short unsupervised training on the scan at hand, after another's or from scratch."""
        rows = []
        both = [self.subject(kind, 1, HELD_OUT) for kind in (KIND, OTHER_KIND)]
        for lift in ("weak", "usual"):
            trained = {
                "patterns": self.learnt("defaults", lift, {}),
                "distilled": self.learnt("distilled", lift, DISTIL),
            }
            for subject in both:
                rows += self._adapted(lift, subject, trained)
        head = ("CPU s", "SSIM", "dB")
        return Part("A few seconds on the scan at hand", _ADAPTING, head, (1, 3, 1), tuple(rows))

    def _adapted(self, lift: str, subject: Subject, trained: dict[str, Learnt]) -> list[Row]:
        where = f"{subject.problem.scan.label}, {lift} lift"
        run = settings(**_lift(lift))
        first = subject.lifted(run).obj
        self.say(f"adapting to {where}")
        scratch = learn(run, [subject], SCRATCH * self.seconds)
        rows = [
            Row(f"{where}: alone", (subject.seconds(run), *_figures(subject, first))),
            Row(f"{where}: from scratch", _row(scratch, subject)),
        ]
        for name, network in trained.items():
            adapted = get_used_to(run, subject, ADAPTING * self.seconds, network)
            before = _figures(subject, network.answer(subject))
            rows.append(Row(f"{where}: {name}, before", (None, *before)))
            rows.append(Row(f"{where}: {name}, adapted", _row(adapted, subject)))
        return rows

    def refining(self) -> Part:
        """How far the solver has to go from different starts, on the scan that was trained on."""
        known = self.known
        network = self.learnt("distilled", "usual", DISTIL)
        starts = {
            "a flat object": known.problem.flat(),
            "the usual lift": known.lifted(settings(**_lift("usual"))).obj,
            "the strong lift": known.lifted(settings(**_lift("strong"))).obj,
            "the distilled network": network.answer(known),
        }
        rows, near = [], []
        for name, start in starts.items():
            self.say(f"refining from {name}")
            counts = iterations_to(known, start, LEVELS, MOST)
            rows.append(Row(name, (_figures(known, start)[0], *counts)))
            near.append(f"{counts[LEVELS.index(NEAR)] or 'none'} from {name}")
        head = ("SSIM", *(f"to {level:g}" for level in LEVELS))
        noise = known.judge.noise["phase_ssim"]
        words = _REFINING.format(most=MOST, near=NEAR, counts=", ".join(near), noise=noise)
        return Part("Refining", words, head, (3, *(0 for _ in LEVELS)), tuple(rows))

    @property
    def _both(self) -> tuple[Subject, Subject]:
        return self.known, self.unseen

    def _of(self, objects: list[Tensor]) -> list[float]:
        pairs = zip(self._both, objects, strict=True)
        return [value for subject, obj in pairs for value in _figures(subject, obj)]


def _lift(name: str) -> dict[str, int]:
    coarse, full = LIFTS[name]
    return {"model__lift_coarse_iterations": coarse, "model__lift_iterations": full}


def _figures(subject: Subject, obj: Tensor) -> tuple[float, float]:
    found = subject.score(obj)
    return found["phase_ssim"], found["phase_psnr"]


def _four(subject: Subject, obj: Tensor) -> tuple[float, ...]:
    found = subject.score(obj)
    names = "phase_ssim", "phase_psnr", "amplitude_ssim", "amplitude_psnr"
    return tuple(found[name] for name in names)


def _row(network: Learnt, subject: Subject) -> tuple[float, float, float]:
    return (network.seconds, *_figures(subject, network.answer(subject)))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; 130 when interrupted."""
    options = _options(arguments)
    terminal = Console(soft_wrap=True)
    torch.set_num_threads(1)
    seconds, patterns = (1.0, 225) if options.quick else (options.seconds, scans.PATTERNS)
    out = options.out or (QUICK_FOLDER if options.quick else FOLDER)
    try:
        with terminal.status("simulating") as status:
            bench = Bench(seconds, patterns, status.update)
            work = {
                "defaults": bench.defaults,
                "generalise": bench.generalising,
                "adapt": bench.adapting,
                "refine": bench.refining,
            }
            made = {name: kept(out / f"{name}.json", work[name]) for name in options.parts}
    except KeyboardInterrupt:
        terminal.print("interrupted; the same command goes on with the next table")
        return 130
    for part in made.values():
        terminal.print(terminal_table(part))
    found = {name: read(out / f"{name}.json") for name in work}
    parts = [part for part in found.values() if part is not None]
    path = out / "adaptation.md"
    write(parts, patterns, seconds, path)
    if options.docs is not None:
        options.docs.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, options.docs / path.name)
    terminal.print(f"  {path}", markup=False)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="CPU seconds of a full training"
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="tables to make; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="small scans, a second each")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="copy the page there, too")
    return parser.parse_args(arguments)


_DEFAULTS = (
    "What a training makes of its own input on the scans that everything is measured on, by the "
    "defaults and by the former ones, `trainer.learning_rate=1e-3 trainer.tv_weight=0 "
    "trainer.gradient_clip_val=1`; now they are 2e-3, 0.02 and 3e-3. Patterns "
    "per second are those of the training."
)
_GENERALISING = (
    "A network is trained on the first scan and answers for it and for a second one of the same "
    "kind that it never saw. *Patterns*: unsupervised, from the diffraction patterns. "
    "*Distilled*: `trainer.nll_weight=0 trainer.tv_weight=0 trainer.realspace_weight=1 "
    "data.labels=solver`, on small tiles: `trainer.batch_size=64 trainer.learning_rate=3e-3`; with "
    "3 scans three times as long. The usual lift has 6 coarse iterations, the strong one 20 coarse "
    "and 2 full ones. The ancestor's layout predicts patches, stitched with even weights; it "
    "learns from the patterns and has no lift. *Photon noise* is a yardstick, not a wall."
)
_ADAPTING = (
    "Networks as above, trained on the first scan (*patterns* with the defaults), meet a scan "
    "they never saw: another object of their kind, and a chip. *Alone*: the lift without any "
    "network. *Adapted*: a few seconds more on that scan as `task=adapt` does it, "
    "*from scratch*: twice as long from an untrained network, with the defaults. A twentieth of "
    "the patterns is held out from all of them; where those say that adapting does not help, the "
    "network stays as it was and both rows agree. The weak lift is 1 full iteration."
)
_REFINING = (
    "Full-resolution iterations on the Poisson likelihood until the phase SSIM of the scan that "
    "was trained on reaches a level; a dash: not within {most}, or never. An object that is wrong "
    "by no more than the photon noise has {noise:.3f}, and the last level is above that; to "
    "{near:g}, just below it, it takes {counts}."
)


if __name__ == "__main__":
    sys.exit(main())
