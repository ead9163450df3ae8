"""Sweeps without runs: a job is worth what its settings say."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

from ptycho.config.config import RunConfig
from ptycho.config.typed_space import read_space
from ptycho.config.validate import check
from ptycho.report.folder import State, read_run
from ptycho.workflows.plan import Plan
from tests.runs import tiny_run

RATE = "trainer.learning_rate"
RATES = {RATE: "interval(0.001,0.1)"}
DRAWN: dict[str, Any] = {"sweep.sampler": "random", "sweep.n_trials": 6, "sweep.params": RATES}


def planned(folder: Path, *typed: str, batch: int | None = 1, **changes: Any) -> Plan:
    """The plan of a sweep over what was typed."""
    run = check(tiny_run(**changes))
    return Plan(folder, run, read_space(typed, run.sweep), batch)


def worth(overrides: dict[str, str]) -> dict[str, float]:
    """Figures of a job: best at a rate of 0.03, and the slower the further away."""
    rate = float(overrides.get(RATE, 0.01))
    miss = abs(rate - 0.03)
    return {"C": 1 - miss, "R": miss, "seconds": 1 / rate, "train/loss": miss}


class Jobs:
    """What stands for a launcher and its jobs.

    Args:
        folder: of the sweep.
        run: settings of its jobs.
        fail: the job that raises, if any.
    """

    def __init__(
        self, folder: Path, run: RunConfig, fail: Callable[[int], Exception | None] | None = None
    ) -> None:
        self.folder, self.run = folder, run
        self.fail = fail or (lambda number: None)
        self.done: list[tuple[int, list[str]]] = []
        self.batches: list[int] = []

    def __call__(self, jobs: Sequence[tuple[int, list[str]]]) -> list[Exception | None]:
        """Do every job."""
        self.batches.append(len(jobs))
        return [self.do(number, overrides) for number, overrides in jobs]

    def do(self, number: int, overrides: list[str]) -> Exception | None:
        """One job; what it raised."""
        self.done.append((number, overrides))
        error = self.fail(number)
        path = self.folder / str(number)
        path.mkdir(exist_ok=True)
        (path / "overrides.txt").write_text("".join(f"{line}\n" for line in overrides))
        figures = worth(dict(line.split("=", 1) for line in overrides))
        status: dict[str, Any] = {"state": State.finished, "seconds": 1.0}
        status["metric"] = {name: figures[name] for name in self.run.sweep.metric}
        if error is not None:
            status = {"state": State.failed, "error": str(error)}
        elif self.run.sweep.pruner != "none" and (epoch := self.given_up(path, figures["R"])):
            status = {"state": State.pruned, "epoch": epoch}
        (path / "status.json").write_text(json.dumps(status))
        return error

    def given_up(self, path: Path, loss: float) -> int | None:
        """The epoch after which it is given up; None: never."""
        from ptycho.workflows.study import reporter

        report = reporter(path, self.run)
        return next((epoch for epoch in range(1, 10) if report(epoch, loss)), None)


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """What the study of a sweep says."""
    record = json.loads((folder / "sweep.json").read_text())
    return optuna.load_study(study_name=record["study"], storage=record["storage"]).trials


def states(folder: Path) -> list[str]:
    """How every job ended."""
    numbered = sorted(int(one.name) for one in folder.iterdir() if one.name.isdigit())
    return [str(read_run(folder / str(number)).state) for number in numbered]
