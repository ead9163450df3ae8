"""Sweeps that draw their trials: the only file that knows Optuna.

Several processes may work on one study. Whatever they do to it they do under the lock of the
sweep's folder; a trial belongs to the process that holds its claim, and to nobody when that died.
"""

import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ptycho.config.choices import Direction, Pruner, SweepSampler
from ptycho.config.config import RunConfig, SweepConfig, UserError
from ptycho.config.space import Dimension, Value
from ptycho.report.files import write_json
from ptycho.report.folder import STATUS, RunFolder, State, read_run, read_sweep
from ptycho.workflows.claims import Claims
from ptycho.workflows.plan import Job, Plan, storage_url

MOST_DEATHS = 3
"""How often in a row a trial may end without a word, and no further, before it counts as failed."""

_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_PATIENCE = 120.0  # seconds that SQLite waits for another process

Report = Callable[[int, float], bool]
"""Tells what a trial is worth after so many epochs; whether it is given up."""


class Study:
    """Hands out trials, as many as were asked for in all, and tells how they ended.

    Args:
        plan: of the sweep; its ``sweep.json`` has been written.
        claims: of this process.

    Raises:
        UserError: the storage cannot be opened.
    """

    def __init__(self, plan: Plan, claims: Claims) -> None:
        self.plan, self.claims = plan, claims
        self.total = plan.run.sweep.n_trials or 0
        self._seen: set[int] = set()
        with plan.lock:
            self._study = _opened(plan.folder, plan.run.sweep, create=True)

    def take(self, most: int | None) -> list[Job]:
        """Take the next trials, at most so many: those that were left first, then new ones."""
        found: list[Job] = []
        with self.plan.lock:
            trials = self._study.get_trials(deepcopy=False)
            for trial in trials:
                if len(found) != most and not trial.state.is_finished() and self._left(trial):
                    found.append(self._job(trial.number, trial._trial_id))
            number = len(trials)
            while len(found) != most and number < self.total:
                identity = self._study._storage.create_new_trial(self._study._study_id)
                self.claims.take(number)
                found.append(self._job(number, identity))
                number += 1
        return found

    def settle(self, job: Job, run: RunFolder) -> None:
        """A trial is over, and its folder says how; one that was interrupted goes on later."""
        with self.plan.lock:
            self._tell(job.number, run)
            self.claims.drop(job.number)

    def give_back(self) -> None:
        """Leave the trials that were taken to others."""
        self.claims.drop_all()

    @property
    def over(self) -> bool:
        """Whether no process has anything left to do."""
        with self.plan.lock:
            trials = self._study.get_trials(deepcopy=False)
        return len(trials) >= self.total and all(one.state.is_finished() for one in trials)

    def _left(self, trial: FrozenTrial) -> bool:
        """Whether a trial was left behind by a process that died, and is to be done again."""
        number = trial.number
        if number in self._seen or not self.claims.take(number):
            return False
        run = read_run(self.plan.folder / str(number))
        if run.alive:  # a batch system works on it, though who asked for it is gone
            self.claims.drop(number)
            return False
        if run.deaths >= MOST_DEATHS:
            said = f"its process died {MOST_DEATHS} times in a row: killed, or out of memory?"
            write_json(run.path / STATUS, run.status | {"state": "failed", "error": said})
            run = read_run(run.path)
        if run.state is not None and run.state.over:
            self._tell(number, run)
            self.claims.drop(number)
            return False
        return True

    def _job(self, number: int, identity: int) -> Job:
        """A trial with what it draws, as far as that was not drawn before its process died."""
        self._seen.add(number)
        self._study.sampler = _sampler(self.plan.run.sweep, number)
        trial = optuna.Trial(self._study, identity)
        every = self.plan.space.dimensions
        return Job(number, tuple(one.typed(_drawn(trial, one)) for one in every))

    def _tell(self, number: int, run: RunFolder) -> None:
        state, values = outcome(run, self.plan.run.sweep.metric)
        if state is not None:
            self._study.tell(number, values, TrialState[state], skip_if_finished=True)


def outcome(run: RunFolder, metric: list[str]) -> tuple[str | None, list[float] | None]:
    """What is told of a run: the state's name and the values; no state: it is not over.

    A finished run without a finite value for each metric counts as failed.
    """
    if run.state is None or not run.state.over:
        return None, None
    if run.state == State.pruned:
        return "PRUNED", None
    found = run.status.get("metric") or {}
    values = [found.get(name) for name in metric]
    numbers = [float(one) for one in values if isinstance(one, int | float) and math.isfinite(one)]
    if run.state == State.failed or len(numbers) < len(metric):
        return "FAIL", None
    return "COMPLETE", numbers


def reporter(folder: Path, run: RunConfig) -> Report:
    """What a running trial reports to.

    Args:
        folder: of the run; its name is the number of the trial.
        run: its settings.
    """
    sweep, number = run.sweep, int(folder.name)
    lock = FileLock(folder.parent / ".study.lock")
    with lock:
        study = _opened(folder.parent, sweep)
        identity = study.get_trials(deepcopy=False)[number]._trial_id
    better = directions_of(folder.parent)[0]

    def report(epoch: int, loss: float) -> bool:
        with lock:
            if study._storage.get_trial(identity).state.is_finished():
                return False  # it was told already, and is done again by its folder
            value = -loss if better == Direction.max else loss
            study._storage.set_trial_intermediate_value(identity, epoch, value)
            trials = study.get_trials(deepcopy=False)
            done = sum(one.state == TrialState.COMPLETE for one in trials)
            if epoch < sweep.min_epochs or done < sweep.startup_trials:
                return False
            return study.pruner.prune(study, study._storage.get_trial(identity))

    return report


def directions_of(folder: Path) -> list[Direction]:
    """One for each metric of a sweep, as its ``sweep.json`` says."""
    return [Direction(one) for one in read_sweep(folder)["direction"]]


def _opened(folder: Path, sweep: SweepConfig, create: bool = False) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").propagate = False
    record = read_sweep(folder)
    url = storage_url(folder, sweep.storage)
    local = url.startswith("sqlite")
    engine: dict[str, Any] = {"connect_args": {"timeout": _PATIENCE}} if local else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is experimental there is tested here
            storage = optuna.storages.RDBStorage(url, engine_kwargs=engine)
            if create:
                return optuna.create_study(
                    storage=storage,
                    study_name=record["study"],
                    load_if_exists=True,
                    directions=[_DIRECTIONS[one] for one in record["direction"]],
                    pruner=_pruner(sweep, record["epochs"]),
                )
            pruner = _pruner(sweep, record["epochs"])
            return optuna.load_study(study_name=record["study"], storage=storage, pruner=pruner)
    except (UserError, OSError):
        raise
    except Exception as error:  # whatever the database's driver raises
        said = " ".join(str(error).split())[:300]
        raise UserError(
            f"sweep.storage={url}: the study cannot be opened ({type(error).__name__}: {said})."
        ) from error


def _drawn(trial: optuna.Trial, one: Dimension) -> Value:
    if one.values:
        return trial.suggest_categorical(one.name, one.values)
    if one.whole:
        low, high, step = int(one.low), int(one.high), int(one.step or 1)
        return trial.suggest_int(one.name, low, high, log=one.log, step=step)
    return trial.suggest_float(one.name, one.low, one.high, log=one.log, step=one.step)


def _sampler(sweep: SweepConfig, number: int) -> optuna.samplers.BaseSampler:
    """What draws one trial; its seed is the trial's, whichever process draws it, and when."""
    seed = int(np.random.SeedSequence((sweep.seed, number)).generate_state(1)[0])
    if sweep.sampler == SweepSampler.random:
        return optuna.samplers.RandomSampler(seed)
    if sweep.sampler == SweepSampler.nsga2:
        return optuna.samplers.NSGAIISampler(population_size=sweep.startup_trials, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(
            n_startup_trials=sweep.startup_trials, seed=seed, multivariate=True
        )


def _pruner(sweep: SweepConfig, epochs: int) -> optuna.pruners.BasePruner:
    if sweep.pruner == Pruner.median:
        return optuna.pruners.MedianPruner(sweep.startup_trials, sweep.min_epochs)
    if sweep.pruner == Pruner.hyperband:
        return optuna.pruners.HyperbandPruner(sweep.min_epochs, max(epochs, sweep.min_epochs))
    return optuna.pruners.NopPruner()
