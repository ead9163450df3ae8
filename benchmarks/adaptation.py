"""Networks that generalise, adapt and help the solver: what each gives for its seconds.

    python -m benchmarks.adaptation [--quick] [--docs DIR]

Dead leaves, 1e5 photons, 2,025 patterns, the known probe, one thread. A network is trained on one
scan (or a few), then shown another object of the same kind, and one of another kind. Prints the
tables and writes adaptation.md under outputs/benchmarks. Takes about a quarter of an hour.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import scans
from benchmarks.learning import (
    Learnt,
    Subject,
    ancestor_object,
    iterations_to,
    learn,
    settings,
)
from ptycho.config.choices import Labels
from ptycho.data.simulate import simulate

KIND, OTHER_KIND = "dead_leaves", "chip"
LIFTS = {"weak": (0, 1), "middle": (0, 5), "usual": (6, 0), "strong": (20, 2)}
"""Coarse and full iterations of the solver that make the network's input."""
SMALL: dict[str, Any] = {"trainer__batch_size": 64, "trainer__learning_rate": 3e-3}
SMOOTH = SMALL | {"trainer__tv_weight": 0.02}
DISTIL = SMALL | {
    "trainer__nll_weight": 0.0, "trainer__realspace_weight": 1.0, "data__labels": Labels.solver,
}  # fmt: skip
LEVELS = (0.92, 0.93, 0.94, 0.95)
MOST = 40


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    words: str
    figures: tuple[float | None, ...]


@dataclass(frozen=True)
class Part:
    """A table."""

    name: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]


class Bench:
    """The scans, and the networks trained on them.

    Args:
        seconds: CPU seconds of a training.
        patterns: of every scan.
        say: called before anything long.
    """

    def __init__(self, seconds: float, patterns: int, say: Callable[[str], None]) -> None:
        self.seconds, self.patterns, self.say = seconds, patterns, say
        self.known = self.subject(KIND, 0)
        self.unseen = self.subject(KIND, 1)
        self.strange = self.subject(OTHER_KIND, 1)
        self.more = [self.subject(KIND, seed) for seed in (101, 102)]

    def subject(self, kind: str, seed: int) -> Subject:
        """A simulated scan."""
        arguments = scans.COMMON | {"kind": kind, "photons": 1e5, "seed": seed}
        return Subject.of(simulate(**arguments, n_patterns=self.patterns, label=f"{kind} {seed}"))

    def learnt(self, name: str, lift: str, how: dict[str, Any], several: bool = False) -> Learnt:
        """A network, trained as long as all others; as long on each of several scans."""
        self.say(f"training {name}, {lift} lift")
        subjects = [self.known, *(self.more if several else [])]
        return learn(settings(**_lift(lift), **how), subjects, self.seconds * len(subjects))

    def generalising(self) -> tuple[Part, Learnt]:
        """Trained on one scan; shown another."""
        rows = []
        for lift in ("usual", "strong"):
            run = settings(**_lift(lift))
            objects = [subject.lifted(run).obj for subject in self.both]
            seconds = self.known.lifts[LIFTS[lift]][1]
            rows.append(Row(f"{lift} lift alone", (seconds, *self.scores(objects))))
        wanted = {
            "the defaults": ("usual", {}, False),
            "small tiles, fast": ("usual", SMALL, False),
            "small tiles, fast, total variation": ("usual", SMOOTH, False),
            "distilled from the solver": ("usual", DISTIL, False),
            "distilled, strong lift": ("strong", DISTIL, False),
            "distilled, three scans": ("usual", DISTIL, True),
            "distilled, three scans, strong lift": ("strong", DISTIL, True),
        }
        kept = None
        for name, (lift, how, several) in wanted.items():
            network = self.learnt(name, lift, how, several)
            if name == "distilled from the solver":
                kept = network
            found = self.scores([network.answer(subject) for subject in self.both])
            rows.append(Row(f"network: {name}", (network.seconds, *found)))
        assert kept is not None
        self.say("training the ancestor's layout")
        obj, seconds, _ = ancestor_object(self.known, self.seconds)
        rows.append(Row("the ancestor's layout", (seconds, *_pair(self.known, obj), None, None)))
        noise = [value for one in self.both for value in _figures(one.judge.noise)]
        rows.append(Row("photon noise", (None, *noise)))
        head = ("CPU s", "SSIM", "dB", "SSIM, unseen", "dB, unseen")
        return Part("generalise", head, tuple(rows)), kept

    def adapting(self) -> Part:
        """A short unsupervised training on the scan at hand, after another's or from scratch."""
        rows = []
        for lift in ("weak", "middle", "usual"):
            trained = self.learnt("distilled from the solver", lift, DISTIL)
            for subject in (self.unseen, self.strange):
                rows += list(self._adapted(lift, subject, trained))
        head = ("lift alone", "CPU s", "SSIM", "CPU s", "SSIM", "CPU s", "SSIM")
        return Part("adapt", head, tuple(rows))

    def _adapted(self, lift: str, subject: Subject, trained: Learnt) -> Iterator[Row]:
        label = subject.problem.scan.label
        alone = _ssim(subject, subject.lifted(trained.run).obj)
        before = trained.score(subject)["phase_ssim"]
        for words, how in (("", SMALL), (", total variation", SMOOTH)):
            self.say(f"adapting to {label}, {lift} lift{words}")
            run = settings(**_lift(lift), **how)
            scratch = learn(run, [subject], 0.3 * self.seconds)
            slow = how | {"trainer__learning_rate": ADAPT_RATE}
            adapted = learn(
                settings(**_lift(lift), **slow), [subject], 0.15 * self.seconds, start=trained
            )
            found = [
                value
                for one in (scratch, adapted)
                for value in (one.seconds, one.score(subject)["phase_ssim"])
            ]
            yield Row(f"{label}, {lift} lift{words}", (alone, *found[:2], None, before, *found[2:]))

    def refining(self, network: Learnt) -> Part:
        """How far the solver has to go from different starts, on the scan that was trained on."""
        known = self.known
        starts = {
            "a flat object": known.problem.flat(),
            "the usual lift": known.lifted(settings(**_lift("usual"))).obj,
            "the strong lift": known.lifted(settings(**_lift("strong"))).obj,
            "the network": network.answer(known),
        }
        rows = []
        for name, start in starts.items():
            self.say(f"refining from {name}")
            counts = [iterations_to(known, start, level, MOST) for level in LEVELS]
            rows.append(Row(name, (_ssim(known, start), *counts)))
        head = ("SSIM", *(f"to {level:g}" for level in LEVELS))
        return Part("refine", head, tuple(rows))

    @property
    def both(self) -> tuple[Subject, Subject]:
        """The scan trained on and the unseen one."""
        return self.known, self.unseen

    def scores(self, objects: list[torch.Tensor]) -> list[float]:
        """Phase SSIM and PSNR on both."""
        pairs = zip(self.both, objects, strict=True)
        return [value for subject, obj in pairs for value in _pair(subject, obj)]


ADAPT_RATE = 1e-3


def _lift(name: str) -> dict[str, int]:
    coarse, full = LIFTS[name]
    return {"model__lift_coarse_iterations": coarse, "model__lift_iterations": full}


def _pair(subject: Subject, obj: torch.Tensor) -> tuple[float, float]:
    return _figures(subject.score(obj))


def _figures(found: dict[str, float]) -> tuple[float, float]:
    return found["phase_ssim"], found["phase_psnr"]


def _ssim(subject: Subject, obj: torch.Tensor) -> float:
    return subject.score(obj)["phase_ssim"]


def measure(seconds: float, patterns: int, say: Callable[[str], None]) -> list[Part]:
    """All tables."""
    bench = Bench(seconds, patterns, say)
    first, network = bench.generalising()
    return [first, bench.adapting(), bench.refining(network)]
