"""Many runs: what is left of them is handed to a launcher until nothing is.

Hydra composes the settings and launches the jobs; everything between is here. What happened to a
job is read from its folder, not from what came back: that holds when a launcher died, too.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from shlex import quote
from signal import SIGTERM
from typing import Protocol

from rich.console import Console

from ptycho.config.config import UserError
from ptycho.config.process import INTERRUPTED
from ptycho.config.signals import orderly_end
from ptycho.report.console import console
from ptycho.report.files import write_json
from ptycho.report.folder import STATUS, SWEEP, RunFolder, State, read_jobs, read_run, read_sweep
from ptycho.report.jobs_table import jobs_table, outcome_line, write_front
from ptycho.report.ranking import values_of
from ptycho.workflows.claims import Claims
from ptycho.workflows.grid import Grid
from ptycho.workflows.helpers import Helpers, is_helper, orphaned, threads_each
from ptycho.workflows.plan import Job, Plan, begin

Launch = Callable[[Sequence[tuple[int, list[str]]]], Sequence[Exception | None]]
"""Runs jobs (number and overrides); what each raised. May itself raise when a launcher dies."""


class SweepFailedError(UserError):
    """Some jobs of a sweep failed; the others were done."""


class Source(Protocol):
    """Where jobs come from."""

    total: int

    def take(self, most: int | None) -> list[Job]:
        """Take the next jobs, at most so many; none when nothing is left for this process."""

    def settle(self, job: Job, run: RunFolder) -> None:
        """A job is over; its folder says how."""

    def give_back(self) -> None:
        """Leave what was taken to others."""

    @property
    def over(self) -> bool:
        """Whether no process has anything left to do."""


def conduct(plan: Plan, launch: Launch) -> None:
    """Run every job of a sweep that is left, then say how all of them ended.

    Args:
        plan: what to do.
        launch: runs jobs.

    Raises:
        SweepFailedError: some failed.
        SystemExit: with 130 or 143 after Ctrl-C or SIGTERM.
    """
    terminal = console(quiet=plan.run.execution.quiet)
    plan.folder.mkdir(parents=True, exist_ok=True)
    workers = plan.run.sweep.workers
    if workers * plan.sharing > 1:
        plan = plan.with_threads(threads_each(workers * plan.sharing))
    with plan.lock:
        begin(plan)
        _open_parent(plan)
    claims = Claims(plan.folder)
    source = _source(plan, claims)
    terminal.print(_opening(plan, source), markup=False, highlight=False)
    try:
        command = [*plan.command, *plan.threads]
        with orderly_end(SIGTERM), Helpers(workers - 1, plan.folder, command, plan.run) as helpers:
            _work(plan, source, launch, terminal)
            for code in helpers.wait():
                said = f"a helper ended with exit code {code}; its log is in {plan.folder}."
                terminal.print(said, markup=False)
            _work(plan, source, launch, terminal)  # what a helper may have left
    except (KeyboardInterrupt, SystemExit) as error:
        if not is_helper():
            terminal.print(jobs_table(read_jobs(plan.folder), read_sweep(plan.folder)))
        _say_how_to_go_on(plan)
        _close_parent(plan, stopped=True)
        raise SystemExit(error.code if isinstance(error, SystemExit) else INTERRUPTED) from None
    finally:
        source.give_back()
    _close(plan, source, terminal)


def _source(plan: Plan, claims: Claims) -> Source:
    if not plan.run.sweep.sampler.draws:
        return Grid(plan, claims)
    from ptycho.workflows.study import Study

    return Study(plan, claims)


def _opening(plan: Plan, source: Source) -> str:
    done = sum(one.state is not None and one.state.over for one in read_jobs(plan.folder))
    jobs = "trials" if plan.run.sweep.sampler.draws else "jobs"
    said = f"sweep of {source.total} {jobs} in {plan.folder}"
    if done:
        said += f", {done} of them done before"
    preset = plan.run.sweep.params
    used = [name for name in preset if name in plan.space.params]
    if used and len(used) < len(preset):
        kept = ", ".join(name for name in preset if name not in used)
        said += f"\nnot varied, as one value was typed: {kept}"
    elif preset and plan.space.params != preset:
        said += "\nvaried is what was typed; sweep.params is left aside: " + ", ".join(preset)
    return said


def _work(plan: Plan, source: Source, launch: Launch, terminal: Console) -> None:
    while not orphaned() and (jobs := source.take(plan.batch)):
        for job in jobs:
            said = f"job {job.number} of {source.total}: {' '.join(job.texts)}"
            terminal.print(said, markup=False, highlight=False)
        _run(plan, jobs, launch)
        for job in jobs:
            run = read_run(plan.folder / str(job.number))
            source.settle(job, run)
            said = outcome_line(run, plan.run.sweep.metric)
            terminal.print(said, markup=False, highlight=False)


def _run(plan: Plan, jobs: list[Job], launch: Launch) -> None:
    """Run jobs; those that end without a word of their own are written down as failed."""
    died = "its process ended without a word: killed, or out of memory?"
    errors: Sequence[Exception | None] = [None] * len(jobs)
    try:
        errors = launch([(job.number, plan.overrides(job)) for job in jobs])
    except Exception as error:  # whatever a launcher raises when its processes die
        died = f"the launcher gave up: {type(error).__name__}: {_sentence(error)}"
        print(f"ptycho: {died}", file=sys.stderr)
    for job, raised in zip(jobs, errors, strict=True):
        run = read_run(plan.folder / str(job.number))
        if raised is not None and not isinstance(raised, UserError | OSError):
            traceback.print_exception(raised)
        if run.state in (None, State.running) and not run.alive:
            run.path.mkdir(exist_ok=True)
            said = died if raised is None else _sentence(raised)
            write_json(run.path / STATUS, run.status | {"state": State.failed, "error": said})


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _say_how_to_go_on(plan: Plan) -> None:
    if is_helper():
        return
    print(
        f"ptycho: the sweep was interrupted; `ptycho resume {quote(str(plan.folder))}` goes on "
        "with it.",
        file=sys.stderr,
    )


def _close(plan: Plan, source: Source, terminal: Console) -> None:
    """Print the table of all jobs and, when nothing is left to do, write the report."""
    if is_helper():
        return
    runs = read_jobs(plan.folder)
    record = read_sweep(plan.folder)
    terminal.print(jobs_table(runs, record))
    terminal.print(f"sweep: {plan.folder}", markup=False, highlight=False)
    if source.over:
        if len(record["metric"]) > 1:
            front = write_front(plan.folder, runs, record)
            terminal.print(f"Pareto set: {front}", markup=False, highlight=False)
        _write_report(plan, terminal)
        _close_parent(plan)
    failed = {run.number: reason for run in runs if (reason := _reason(run, record["metric"]))}
    if failed:
        raise SweepFailedError(
            f"{len(failed)} of {source.total} jobs failed:",
            *(f"job {number}: {reason}" for number, reason in failed.items()),
        )


def _reason(run: RunFolder, metric: Sequence[str]) -> str | None:
    """Why a job counts as failed; None for one that does not."""
    if run.state == State.failed:
        return str(run.status.get("error", "no reason is known"))
    if run.state == State.finished and not values_of(run, metric):
        missing = [name for name in metric if name not in (run.status.get("metric") or {})]
        return f"it says nothing of {', '.join(missing or metric)}"
    if run.state == State.interrupted and not run.alive:
        return f"it was interrupted and did not go on; what it said stands above ({run.path})"
    return None


# --- what the dashboard and the report add -------------------------------------------------


def _open_parent(plan: Plan) -> None:
    """Make the dashboard's run of the whole sweep, before any job asks for it."""
    record = read_sweep(plan.folder)
    if not plan.run.logger.backend.uses_mlflow or (is_helper() and record["parent_run_id"]):
        return
    from ptycho.report.mlflow_sweep import open_parent  # loads MLflow, which takes a second

    run_id, uri = open_parent(plan.folder, plan.run, record)
    write_json(plan.folder / SWEEP, record | {"parent_run_id": run_id, "tracking_uri": uri})


def _close_parent(plan: Plan, stopped: bool = False) -> None:
    if not plan.run.logger.backend.uses_mlflow or is_helper():
        return
    from ptycho.report.mlflow_sweep import close_parent

    close_parent(plan.folder, stopped)


def _write_report(plan: Plan, terminal: Console) -> None:
    """Make the page of the sweep; a sweep that is done is not undone by a page that fails."""
    from ptycho.report.sweep_report import write_report  # loads Matplotlib

    try:
        page = write_report(plan.folder)
    except Exception as error:  # whatever a picture may find
        print(f"ptycho: no report: {_sentence(error)}", file=sys.stderr)
    else:
        terminal.print(f"report: {page}", markup=False, highlight=False)
