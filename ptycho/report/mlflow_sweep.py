"""The parent of a sweep in the MLflow dashboard, and which of its children is the best."""

import logging
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from ptycho.config.config import RunConfig
from ptycho.report.files import write_json
from ptycho.report.folder import SWEEP, RunFolder, read_jobs, read_sweep
from ptycho.report.mlflow import JOB, PARENT, Dashboard, store_uri
from ptycho.report.mlflow_calls import SQLITE, Sender, translated
from ptycho.report.mlflow_note import aim, count, killed, table
from ptycho.report.outbox import UNSENT, AwayError, RefusedError, read_unsent
from ptycho.report.ranking import Ranked, ranked

log = logging.getLogger(__name__)

BEST, PARETO, BEST_CHILD = "ptycho.best", "ptycho.pareto", "ptycho.best_child"
NOTE = "mlflow.note.content"
_FILES = (
    "report.html", "report.csv", "report/report.html", "report/report.csv",
    "report/parallel.png", SWEEP,
)  # fmt: skip
_ATTEMPTS = 3


def open_parent(
    sweep_dir: Path, run: RunConfig, sweep: dict[str, Any]
) -> tuple[str | None, str | None]:
    """Make database, experiment and parent run before the jobs start, or go on with a parent.

    Args:
        sweep_dir: folder of the sweep.
        run: settings that its jobs have in common.
        sweep: what is in ``sweep.json``, or is going to be.

    Returns:
        The parent's run id, None while the server does not answer; and where it is. Both None
        when the settings name no dashboard.

    Raises:
        DashboardError: when the address holds no such server or database.
    """
    if not run.logger.backend.uses_mlflow:
        return None, None
    known = {**read_sweep(sweep_dir), **sweep}
    uri = known.get("tracking_uri") or store_uri(Path(run.paths.outputs), run.logger.tracking_uri)
    board = Dashboard(
        str(uri), Path(run.paths.outputs), run.logger.experiment,
        run.logger.run_name or sweep_dir.name, _tags(sweep_dir, known),
        folder=sweep_dir, run_id=known.get("parent_run_id"),
    )  # fmt: skip
    board.log_params(_params(known))
    board.leave()
    return board.run_id, str(uri)


def close_parent(sweep_dir: Path, stopped: bool = False) -> None:
    """Show on the parent what became of the jobs, mark the best, and close it.

    A server that does not answer is told in one sentence; ``ptycho sync`` does it later.

    Args:
        sweep_dir: folder of the sweep.
        stopped: whether the sweep was told to end before all jobs were done.
    """
    if not bring_up_to_date(sweep_dir, stopped=stopped):
        log.warning(
            "the parent of this sweep in the MLflow dashboard could not be brought up to date; "
            "do it later with: ptycho sync %s", sweep_dir,
        )  # fmt: skip


def bring_up_to_date(sweep_dir: Path, uri: str | None = None, stopped: bool = False) -> bool:
    """Do what :func:`close_parent` does.

    Args:
        sweep_dir: folder of the sweep.
        uri: where its server is now; None: where it was.
        stopped: whether the sweep was told to end before all jobs were done.

    Returns:
        Whether the server took it; also when the sweep has no dashboard.
    """
    sweep = read_sweep(sweep_dir)
    uri = uri or sweep.get("tracking_uri")
    if not uri:
        return True
    for attempt in range(_ATTEMPTS):
        try:
            parent = _parent(sweep_dir, sweep, uri)
            with translated(uri):
                _Parent(sweep_dir, sweep, uri, parent).show(stopped)
            return True
        except (AwayError, RefusedError) as error:
            busy = isinstance(error, AwayError) and uri.startswith(SQLITE)
            if not busy or attempt == _ATTEMPTS - 1:
                log.warning("the MLflow dashboard at %s: %s", uri, error)
                return False
    raise AssertionError


class _Parent:
    """What is written on the parent and its children."""

    def __init__(self, folder: Path, sweep: dict[str, Any], uri: str, run_id: str) -> None:
        self.folder, self.sweep, self.uri, self.run_id = folder, sweep, uri, run_id
        self.sender = Sender(uri, run_id, folder)
        self.client = self.sender.client
        metric = sweep.get("metric", [])
        self.names: list[str] = [metric] if isinstance(metric, str) else list(metric)
        direction = sweep.get("direction", [])
        self.directions = [direction] if isinstance(direction, str) else list(direction)

    def show(self, stopped: bool) -> None:
        jobs = read_jobs(self.folder)
        children = self._children(jobs)
        judged = ranked(jobs, self.names, self.directions)
        self._mark(judged, children)
        counts = count(jobs)
        self._figures(judged, counts, children)
        words = table(judged, self.names, self.directions, list(self.sweep.get("params", {})))
        self.client.set_tag(self.run_id, NOTE, words)
        for name in _FILES:
            if (self.folder / name).is_file():
                self.client.log_artifact(self.run_id, str(self.folder / name))
        self.client.set_terminated(self.run_id, self._status(counts, stopped))

    def _children(self, jobs: list[RunFolder]) -> dict[int, Any]:
        """Runs by number of the job; those that began without a parent are given one."""
        wanted = {one.status.get("mlflow_run_id"): one for one in jobs}
        place = self.client.get_run(self.run_id).info.experiment_id
        filed = f"tags.`{PARENT}` = '{self.run_id}'"
        found: dict[int, Any] = {}
        token = None
        while True:
            page = self.client.search_runs([place], filed, page_token=token)
            for run in page:  # the newest first: an earlier attempt does not count
                found.setdefault(int(run.data.tags.get(JOB, -1)), run)
            token = page.token
            if not token:
                break
        for run_id, job in wanted.items():
            known = found.get(job.number)
            if run_id is None or (known is not None and known.info.run_id == run_id):
                continue
            with suppress(RefusedError), translated(self.uri):  # somebody may have deleted it
                run = self.client.get_run(run_id)
                if run.data.tags.get(PARENT) != self.run_id:
                    self.client.set_tag(run_id, PARENT, self.run_id)
                    self.client.set_tag(run_id, JOB, str(job.number))
                found[job.number] = run
        for job in jobs:
            run = found.get(job.number)
            if killed(job) and run is not None and run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")
        return found

    def _mark(self, judged: list[Ranked], children: dict[int, Any]) -> None:
        several = len(self.names) > 1
        best = judged[0].job.number if judged and judged[0].values else None
        self._move(BEST, {best} - {None}, children)
        front = {one.job.number for one in judged if one.on_front} if several else set()
        self._move(PARETO, front, children)
        if best in children:
            self.client.set_tag(self.run_id, BEST_CHILD, children[best].info.run_id)
            self.client.set_tag(self.run_id, f"{BEST_CHILD}.job", str(best))

    def _move(self, tag: str, to: set[Any], children: dict[int, Any]) -> None:
        for number, run in children.items():
            has = tag in run.data.tags
            if number in to and not has:
                self.client.set_tag(run.info.run_id, tag, "true")
            elif number not in to and has:
                self.client.delete_tag(run.info.run_id, tag)

    def _figures(
        self, judged: list[Ranked], counts: Counter[str], children: dict[int, Any]
    ) -> None:
        figures: dict[str, float] = {f"jobs/{state}": float(n) for state, n in counts.items()}
        if judged and judged[0].values:
            best = judged[0].job
            child = children.get(best.number)
            known = child.data.metrics if child is not None else {}
            final = (name for name in known if "/" in name and not name.startswith("train/"))
            figures |= {name: known[name] for name in final}
            figures |= {name: float(value) for name, value in best.status["metric"].items()}
        now = int(time.time() * 1000)
        self.sender({"do": "metrics", "metrics": [(k, v, now, 0) for k, v in figures.items()]})

    def _status(self, counts: Counter[str], stopped: bool) -> str:
        wanted = self.sweep.get("n_trials")
        begun = sum(counts.values())
        if stopped or counts["interrupted"] or counts["running"] or (wanted and begun < wanted):
            return "KILLED"
        return "FINISHED" if counts["finished"] else "FAILED"


def _parent(folder: Path, sweep: dict[str, Any], uri: str) -> str:
    """The parent's run id; a parent that could not be made when the sweep began is made now."""
    kept = read_unsent(folder / UNSENT)
    if kept.calls:
        sender = Sender(uri, sweep.get("parent_run_id") or kept.head.get("run_id"), folder)
        for call in kept.calls:
            sender(call)
        (folder / UNSENT).unlink()
        if sender.run_id and sender.run_id != sweep.get("parent_run_id"):
            sweep |= {"parent_run_id": sender.run_id, "tracking_uri": uri}
            write_json(folder / SWEEP, sweep)
    if not sweep.get("parent_run_id"):
        raise RefusedError(f"{folder / SWEEP} names no parent run")
    return str(sweep["parent_run_id"])


def _tags(folder: Path, sweep: dict[str, Any]) -> dict[str, str]:
    names, aims = sweep.get("metric", []), sweep.get("direction", [])
    command = sweep.get("command") or []
    return {
        "ptycho.sweep": str(folder.absolute()),
        "ptycho.sampler": str(sweep.get("sampler")),
        "ptycho.pruner": str(sweep.get("pruner")),
        "ptycho.metric": ", ".join(map(aim, names, aims)),
        "ptycho.command": command if isinstance(command, str) else " ".join(command),
    }


def _params(sweep: dict[str, Any]) -> dict[str, Any]:
    fixed = sweep.get("overrides") or []
    space = dict(sweep.get("params", {}))
    more = {"sweep.n_trials": sweep["n_trials"]} if sweep.get("n_trials") else {}
    return space | more | ({"overrides": " ".join(fixed)} if fixed else {})
