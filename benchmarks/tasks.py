"""What is run on which scan, once: results are kept under a hash of all they depend on."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import methods, peers, processes, scans
from benchmarks.curves import Curve, Judge, Point, last_object, score_snapshots

OURS = {
    "solver": ("solver",),
    "measured": ("measured",),
    "one_mode": ("one_mode",),
    "two_modes": ("two_modes",),
    "network": (methods.NETWORK, methods.REFINED),
    "patches": (methods.PATCHES, methods.PATCHES_REFINED),
}
"""Our processes, and the curves that each gives."""
ON = {
    "solver": set(scans.MEASURED),
    "measured": {"siemens_star"},
    "one_mode": {"gold_balls"},
    "two_modes": {"gold_balls"},
}
"""Measured scans that each of our processes runs on; a network learns little from few patterns."""
ONLY_MEASURED = {"measured", "one_mode", "two_modes"}
GIVEN_ONE_MODE = {"one_mode", "two_modes"}
"""Those that see the brightest mode of the scan's probe alone."""
RUNNERS = (*OURS, *peers.PEERS)

BUDGETS = {"chip_1e6": 80.0, f"chip_1e6{scans.WRONG}": 45.0, "siemens_star": 12.0}
OTHER_BUDGET = 30.0
"""CPU seconds of every peer."""
EPOCHS = {"patches": methods.PATCH_EPOCHS}
"""Of our networks, where not the usual number."""
QUICK_PATTERNS, QUICK_BUDGET, QUICK_EPOCHS = 400, 5.0, 4

_HERE = Path(__file__).parent
_LAYERS = ("config", "data", "nn", "physics", "training", "workflows")
_LONGEST = 3600.0  # wall seconds that one of our methods may take

Note = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One process: a scan and what is run on it."""

    scan: str
    runner: str
    """One of :data:`RUNNERS`."""
    patterns: int = scans.PATTERNS
    """Of a simulated scan."""
    budget: float = OTHER_BUDGET
    """CPU seconds of a peer."""
    epochs: int = methods.EPOCHS
    """Of a network."""

    @property
    def fit_probe(self) -> bool:
        """Whether a peer optimises the probe: where the one it gets is wrong."""
        return self.scan.endswith(scans.WRONG)

    @property
    def instrument(self) -> str:
        """What our methods find besides the object: one of :data:`methods.INSTRUMENTS`."""
        if self.runner in ONLY_MEASURED:
            return {"one_mode": "probe"}.get(self.runner, self.runner)
        if self.scan.endswith(scans.WRONG_POSITIONS):
            return "positions"
        return "probe" if self.fit_probe else "known"

    @property
    def methods(self) -> tuple[str, ...]:
        """The curves that this process gives."""
        return OURS.get(self.runner, (self.runner,))

    @property
    def file(self) -> Path:
        """The scan."""
        return scans.get(self.scan, patterns=self.patterns)

    def settings(self) -> dict[str, Any]:
        """What the result depends on besides code and scan."""
        if self.runner in OURS:
            found = methods.INSTRUMENTS[self.instrument]
            known = {f"instrument.{name}": value for name, value in found.items()}
            if self.runner in methods.WITH_EPOCHS:
                return {"epochs": self.epochs, **known}
            return {"paths": methods.JOINT_PATHS if known else methods.PATHS, **known}
        how = peers.PEERS[self.runner].settings(self.fit_probe)
        return {"budget": self.budget, "fit_probe": self.fit_probe, **how}

    def key(self) -> str:
        """Hash of the scan, the settings and the code that runs."""
        code = [self.file, _HERE / "peers" / "protocol.py"]
        if self.runner in OURS:
            package = scans.ROOT / "ptycho"
            code += [_HERE / "methods.py", scans.ROOT / "conf" / "model" / "pinn.yaml"]
            code += [file for layer in _LAYERS for file in sorted((package / layer).glob("*.py"))]
        else:
            peer = peers.PEERS[self.runner]
            code += [peer.script, peer.requirements]
        return _digest(json.dumps(self.settings(), sort_keys=True), *code)

    def run(self, folder: Path, watch: processes.Watch) -> None:
        """Do it; snapshots go to a folder of each method's name.

        Raises:
            FailedError: it did not come to an end.
        """
        if self.runner in OURS:
            method = self.runner if self.runner in methods.WITH_EPOCHS else "solver"
            command = [
                sys.executable, "-m", "benchmarks.methods", method, "--name", self.runner,
                "--scan", str(self.file), "--out", str(folder), "--epochs", str(self.epochs),
                "--instrument", self.instrument,
            ]  # fmt: skip
            if self.runner in GIVEN_ONE_MODE:
                command += ["--modes-given", "1"]
            processes.execute(command, folder, _LONGEST, watch)
        else:
            peer = peers.PEERS[self.runner]
            out = folder / self.runner
            peers.run(peer, self.file, out, self.budget, self.fit_probe, watch)


def plan(
    names: Sequence[str], runners: Sequence[str], budget: float | None, quick: bool
) -> Iterator[Task]:
    """All processes, in order.

    Args:
        names: of scans.
        runners: of :data:`RUNNERS`.
        budget: CPU seconds of every peer on every scan; None for :data:`BUDGETS`.
        quick: small scans, few seconds and epochs.
    """
    for name in names:
        usual = QUICK_BUDGET if quick else BUDGETS.get(name, OTHER_BUDGET)
        for runner in runners:
            if not _runs_on(name, runner):
                continue
            yield Task(
                name,
                runner,
                patterns=QUICK_PATTERNS if quick else scans.PATTERNS,
                budget=budget or usual,
                epochs=QUICK_EPOCHS if quick else EPOCHS.get(runner, methods.EPOCHS),
            )


def _runs_on(name: str, runner: str) -> bool:
    if name in scans.MEASURED:
        # the others are set up for one mode here, and the gold balls have two
        return name in ON.get(runner, set()) or (runner in peers.PEERS and name == "siemens_star")
    if name.endswith(scans.WRONG_POSITIONS):
        return runner in ("solver", "network")  # nor are the others to find positions
    if runner == "patches":
        return name in scans.SIMULATED
    return runner not in ONLY_MEASURED


def curves(task: Task, judge: Judge, folder: Path, *, fresh: bool, note: Note) -> list[Curve]:
    """Run a task, unless that was done before, and score it.

    Args:
        task: what to run.
        judge: of its scan.
        folder: where results are kept.
        fresh: run it again in any case.
        note: told how it stands.

    Returns:
        A curve per method; without points and with a reason where it failed. A failure is not
        kept, the next benchmark tries again.
    """
    place = folder / f"{task.scan}-{task.runner}-{task.key()}"
    bare = [Curve(task.scan, name, (), judge.floor, judge.noise) for name in task.methods]
    try:
        if fresh or not place.is_dir():
            partial = place.with_suffix(".part")
            shutil.rmtree(partial, ignore_errors=True)
            task.run(partial, lambda cpu: note(f"{cpu:.1f} CPU s"))
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
    except processes.FailedError as error:
        return [replace(curve, failure=str(error)) for curve in bare]
    note("scoring")
    return [_scored(curve, place, judge, task.settings()) for curve in bare]


def _scored(curve: Curve, place: Path, judge: Judge, settings: dict[str, Any]) -> Curve:
    """The curve of a method from its snapshots; their scores are kept beside them."""
    folder = place / curve.method
    kept, key = folder / "scores.json", _scoring_key()
    saved = json.loads(kept.read_text()) if kept.is_file() else {}
    if saved.get("key") == key:
        points = tuple(Point(**point) for point in saved["points"])
    else:
        points = score_snapshots(folder, judge)
        saved = {"key": key, "points": [asdict(point) for point in points]}
        kept.write_text(json.dumps(saved, indent=1))
    (about,) = place.rglob("about.json")
    return replace(
        curve,
        points=points,
        picture=last_object(folder, judge),
        truth=judge.truth,
        about=json.loads(about.read_text()) | {"settings": settings},
    )


def _scoring_key() -> str:
    report = scans.ROOT / "ptycho" / "report"
    files = [report / name for name in ("align.py", "correlation.py", "frames.py", "metrics.py")]
    return _digest("", *files, _HERE / "curves.py")


def _digest(text: str, *files: Path) -> str:
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
