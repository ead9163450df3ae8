"""What a sweep is going to do, and its ``sweep.json``: written once, compared at every restart."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from ptycho.config.config import RunConfig, UserError
from ptycho.config.space import Space
from ptycho.config.sweep_rules import directions
from ptycho.report.files import write_json
from ptycho.report.folder import STATUS, SWEEP, read_run, read_sweep

_MAY_CHANGE = ("sweep.n_trials", "sweep.workers", "execution.threads", "execution.resume",
               "execution.enable_progress_bar", "execution.quiet", "launcher")  # fmt: skip
"""Settings that another start of the same sweep may have otherwise."""

_THREADS = "execution.threads="  # other threads round otherwise, so it is another run

_COMPARED = {
    "sampler": "sweep.sampler", "metric": "sweep.metric", "direction": "sweep.direction",
    "pruner": "sweep.pruner", "params": "what is varied", "overrides": "what was typed",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One job of a sweep."""

    number: int
    texts: tuple[str, ...]
    """Overrides of what is varied."""


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to do."""

    folder: Path
    run: RunConfig
    """Settings that its jobs begin from."""
    space: Space
    batch: int | None = 1
    """Jobs that are handed to the launcher together; None: all."""
    sharing: int = 1
    """How many of them the launcher runs on this machine at once."""
    command: tuple[str, ...] = ()
    """The command line, without the program."""

    @property
    def lock(self) -> FileLock:
        """Held while the study or ``sweep.json`` is read and changed."""
        return FileLock(self.folder / ".study.lock")

    def overrides(self, job: Job) -> list[str]:
        """Everything that is typed for a job; one that was begun keeps its threads."""
        before = read_run(self.folder / str(job.number)).overrides
        fixed = [*self.space.fixed]
        if before:
            fixed = [one for one in fixed if not one.startswith(_THREADS)]
            fixed += [one for one in before if one.startswith(_THREADS)]
        resume = [] if self._typed("execution.resume") else ["execution.resume=auto"]
        return [*fixed, *job.texts, *resume]

    @property
    def threads(self) -> list[str]:
        """The override that says how many threads a job has; none where nothing says so."""
        return [one for one in self.space.fixed if one.startswith(_THREADS)]

    def _typed(self, name: str) -> bool:
        return any(line.lstrip("+").partition("=")[0] == name for line in self.space.fixed)

    def with_threads(self, count: int) -> "Plan":
        """The same, every job with so many threads, unless that was typed."""
        if self._typed("execution.threads"):
            return self
        fixed = (*self.space.fixed, f"{_THREADS}{count}")
        return replace(self, space=Space(fixed, self.space.dimensions))


def begin(plan: Plan) -> dict[str, Any]:
    """Write ``sweep.json``, or see that it is of this very sweep; to be called under the lock.

    Returns:
        What stands in it.

    Raises:
        UserError: the folder holds another sweep, or jobs of none.
    """
    if plan.run.sweep.sampler.draws and any(sign in str(plan.folder) for sign in "?%"):
        raise UserError(
            f"hydra.sweep.dir={plan.folder} holds one of ? %, which the database of a study cannot "
            "have in its name; choose another folder."
        )
    wanted = _content(plan)
    before = read_sweep(plan.folder)
    if not before:
        _refuse_jobs_of_none(plan.folder)
        write_json(plan.folder / SWEEP, wanted)
        return wanted
    differing = [name for name in _COMPARED if _said(before, name) != _said(wanted, name)]
    if differing:
        name = differing[0]
        was, now = _said(before, name), _said(wanted, name)
        if isinstance(was, list):
            was, now = [x for x in was if x not in now], [x for x in now if x not in was]
        raise UserError(
            f"{plan.folder} holds another sweep: {_COMPARED[name]} was "
            f"{_show(was)} and is {_show(now)}. Type what it was "
            "begun with, or name another folder with hydra.sweep.dir=FOLDER."
        )
    if before["n_trials"] != wanted["n_trials"]:
        before |= {name: wanted[name] for name in ("n_trials", "command", "cwd")}
        write_json(plan.folder / SWEEP, before)
    return before


def _content(plan: Plan) -> dict[str, Any]:
    sweep, logger = plan.run.sweep, plan.run.logger
    draws = sweep.sampler.draws
    return {
        "version": 1,
        "sampler": sweep.sampler.value,
        "metric": list(sweep.metric),
        "direction": [one.value for one in directions(sweep)],
        "n_trials": sweep.n_trials if draws else None,
        "params": plan.space.params,
        "study": _study_name(plan) if draws else None,
        "storage": storage_url(plan.folder, sweep.storage) if draws else None,
        "pruner": sweep.pruner.value,
        "epochs": _most_epochs(plan),
        "parent_run_id": None,
        "tracking_uri": None,
        "experiment": logger.experiment,
        "overrides": list(plan.space.fixed),
        "command": list(plan.command),
        "cwd": str(Path.cwd()),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def storage_url(folder: Path, storage: str | None) -> str:
    """Where a study is kept."""
    return storage or f"sqlite:///{(folder / 'study.db').absolute()}"


def _study_name(plan: Plan) -> str:
    """Another one for every folder: a storage may hold the studies of many."""
    known = read_sweep(plan.folder).get("study")
    return known or f"{plan.folder.name}-{uuid4().hex[:8]}"


def _most_epochs(plan: Plan) -> int:
    """The longest training of any trial, which is what hyperband counts in."""
    named = {"trainer.nepochs", "adapt.epochs"}
    for one in plan.space.dimensions:
        if one.name in named:
            return int(max([one.high, *(float(value) for value in one.values if value)]))
    adapts = plan.run.task == "adapt"
    return plan.run.adapt.epochs if adapts else plan.run.trainer.nepochs


def _refuse_jobs_of_none(folder: Path) -> None:
    held = [one for one in folder.iterdir() if one.name.isdigit() and (one / STATUS).exists()]
    if held:
        raise UserError(
            f"{folder} holds jobs of an earlier sweep but no {SWEEP}, so that it cannot be gone on "
            "with; name another folder with hydra.sweep.dir=FOLDER."
        )


def _said(content: dict[str, Any], name: str) -> Any:
    value = content.get(name)
    return [*_compared(value or [])] if name == "overrides" else value


def _compared(lines: list[str]) -> Iterator[str]:
    for line in sorted(lines):
        if line.lstrip("+").partition("=")[0] not in _MAY_CHANGE:
            yield line


def _show(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name}={text}" for name, text in value.items()]
    if isinstance(value, list):
        return " ".join(map(str, value)) or "nothing more"
    return str(value)
