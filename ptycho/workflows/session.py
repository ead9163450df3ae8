"""One run while it lasts: its folder, its terminal, its device, its dashboard."""

import contextlib
import logging
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from ptycho.config.choices import Resume, Task, UncertaintyMethod
from ptycho.config.config import PyTorchExecutionConfig, RunConfig, UserError
from ptycho.config.fields import PrunedError
from ptycho.config.signals import ENDING, orderly_end
from ptycho.config.validate import leaves
from ptycho.data.lazy import LazyAmplitude, watched
from ptycho.data.reconstruction import Reconstruction
from ptycho.data.scan import Scan
from ptycho.report.console import console, progress, put_away, ticking
from ptycho.report.environment import environment, uncommitted
from ptycho.report.figures import save_picture
from ptycho.report.files import plain, plain_config, write_json, write_reconstruction, write_yaml
from ptycho.report.folder import State
from ptycho.report.instrument import describe, instrument_figures, save_instrument
from ptycho.report.metrics import FLOORS, Figures, score
from ptycho.report.mlflow import Dashboard, run_name, store_uri
from ptycho.report.mlflow_files import keep_files, register_bundle
from ptycho.report.singles import AMPLITUDE, PHASE, save_singles
from ptycho.report.table import doubts, stage_table
from ptycho.training.cluster import global_rank, local_rank
from ptycho.workflows.build import make_freedom
from ptycho.workflows.crew import tell_crew
from ptycho.workflows.judged import figures_of, judged
from ptycho.workflows.problem import Problem, pick_device, pose, with_masked_probe
from ptycho.workflows.ranks import other_ranks
from ptycho.workflows.status import Status, claimed, recorded
from ptycho.workflows.surveying import surveyed

LAST = Path("checkpoints") / "last.ckpt"
"""Where a training stands, below the folder of its run."""

_FEWEST = 16  # patterns of which two halves can be made


@dataclass
class Session:
    """What the workflows share besides settings."""

    run: RunConfig
    execution: PyTorchExecutionConfig
    folder: Path
    first: bool
    """Whether this is the process that writes (rank 0)."""
    device: torch.device
    terminal: Console
    bars: Progress
    status: Status | None = None
    """What the folder says of the run; None on processes other than the first."""
    checkpoint: Path | None = None
    """Where an earlier process left the training; None: it begins."""
    dashboard: Dashboard | None = None
    surroundings: dict[str, Any] = field(default_factory=dict)
    """Code, packages and machine, asked for once."""
    began: float = field(default_factory=time.perf_counter)
    photons: float = math.nan
    """Of a pattern of the scan."""
    metrics: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """A file of this run; listed at the end and kept in the dashboard."""
        file = self.folder / name
        self.files.append(file)
        return file

    def pose(self, scan: Scan) -> Problem:
        """A scan laid out on this run's device, some patterns held out as the settings say."""
        if self.run.model.probe_mask:
            scan = with_masked_probe(scan)
        scan = surveyed(scan)
        instrument = self.run.instrument
        problem = pose(
            scan,
            self.device,
            self.run.data.holdout_fraction,
            make_freedom(instrument),
            instrument.probe_modes or 1,
        )
        _refuse_to_halve(self.run.uncertainty.method, problem)
        _refuse_to_draw(self.run.uncertainty.method, problem)
        return problem

    def describe(self, problem: Problem, labels: str | None = None) -> None:
        """Record what the run works on and with, before the long work.

        Args:
            problem: the scan.
            labels: where the labels come from that are learnt; None: none are.
        """
        scan, size = problem.scan, problem.scan.patch_size
        self.photons = scan.photons
        content = self.surroundings | {
            "data_sha256": scan.sha256,
            "data": {"label": scan.label, "patterns": len(scan), "N": scan.patch_size,
                     "modes": len(scan.probe), "photons": scan.photons,
                     "held_out": len(problem.held_out), "labels": labels, **scan.notes},
        }  # fmt: skip
        self._refuse_other_data(content["data_sha256"])
        write_json(self.path("env.json"), content)
        if self.dashboard is not None:
            self.dashboard.tag({"ptycho.data_sha256": content["data_sha256"]})
        self.terminal.print(
            f"{scan.label}: {_count(len(scan), 'pattern')} of {size} x {size}, "
            f"{scan.photons:.3g} photons each{_but(problem.held_out)}; "
            f"canvas {problem.shape[0]} x {problem.shape[1]}; "
            f"{self.device}, {_count(torch.get_num_threads(), 'thread')}{self._processes()}",
            markup=False,
        )
        if "count" in scan.notes:
            self.terminal.print(scan.notes["count"], markup=False)
        if "prepared" in scan.notes:
            self.terminal.print(f"prepared: {scan.notes['prepared']}", markup=False)
        if labels:
            self.terminal.print(f"labels: {labels}", markup=False)
        if "reading" in scan.notes and isinstance(scan.amplitude, LazyAmplitude):
            self.terminal.print(scan.notes["reading"], markup=False)

    def _refuse_other_data(self, sha256: str) -> None:
        before = self.status.past.environment.get("data_sha256") if self.status else None
        if self.checkpoint is not None and before not in (None, sha256):
            raise UserError(
                f"{self.folder} was begun on other data than {self.run.data.label} holds now, and "
                "a training cannot go on with them; start a new run without execution.resume=auto."
            )

    def _processes(self) -> str:
        count = self.execution.devices
        several = self.execution.strategy == "ddp" and isinstance(count, int) and count > 1
        return f" in each of {count} processes" if several else ""

    def report(
        self, problem: Problem, reconstruction: Reconstruction, prefix: str = ""
    ) -> dict[str, Figures]:
        """Score a reconstruction, write its arrays and its picture, print its table."""
        put_away(self.bars)
        _refuse_nonsense(reconstruction)
        problem = problem.found_in(reconstruction)
        figures = score(reconstruction, problem.experiment, problem.amplitude)
        write_reconstruction(self.path(f"{prefix}reconstruction.npz"), reconstruction)
        save_picture(reconstruction, figures, self.path(f"{prefix}reconstruction.png"))
        if self.run.task == Task.reconstruct:
            save_singles(reconstruction, *(self.path(prefix + one) for one in (AMPLITUDE, PHASE)))
        self.metrics[f"{prefix}stages"] = figures
        self.terminal.print(stage_table(figures))
        self._report_instrument(problem, reconstruction, prefix)
        for doubt in doubts(figures):
            self.terminal.print(doubt, style="yellow", markup=False)
            if self.terminal.quiet and self.first:  # a warning is told all the same
                print(f"ptycho: {self.folder}: {doubt}", file=sys.stderr)
        if self.dashboard is not None:
            self.dashboard.log_metrics(_flat_names(figures, prefix))
        return figures

    def _report_instrument(self, problem: Problem, found: Reconstruction, prefix: str) -> None:
        if problem.home is None or not problem.freedom.any:
            return
        home = problem.home
        came = replace(found, positions=home.positions.numpy())
        if problem.freedom.probe:  # else a network may have learnt its brightness, no more
            came = replace(came, probe=home.probe.cpu().numpy())
        figures = instrument_figures(came, found, problem.freedom.max_shift)
        self.metrics[f"{prefix}instrument"] = figures
        said = describe(figures)
        given = len(problem.scan.probe)
        save_instrument(came, found, said, self.path(f"{prefix}instrument.png"), given)
        self.terminal.print(f"instrument: {said}", markup=False)

    def finish(self) -> None:
        """Write the last files and say where everything is."""
        write_json(self.path("metrics.json"), self.metrics)
        if self.status is not None:
            figures = figures_of(self.metrics, self.status.seconds, self.photons)
            self.status.more["metric"] = judged(self.run.sweep.metric, figures)
        if self.dashboard is not None:
            keep_files(self.dashboard, self.folder, self.files)
            if name := self.run.logger.register_model:
                said = register_bundle(self.dashboard, name, self.folder, self.run, self.metrics)
                self.terminal.print(said, markup=False)
        self.terminal.print(f"finished in {time.perf_counter() - self.began:.0f} s:")
        for file in self.files:
            if file.suffix in (".png", ".npz", ".zip"):
                self.terminal.print(f"  {file}", markup=False)
        if self.dashboard is not None and self.dashboard.address:
            self.terminal.print(f"  {self.dashboard.address}", markup=False)


def sow(seed: int) -> None:
    """Set every generator that belongs to nobody."""
    for one in (random.seed, np.random.seed, torch.manual_seed):
        one(seed)


def _refuse_to_halve(method: UncertaintyMethod, problem: Problem) -> None:
    """Before the long work, refuse a scan of which no two halves can be made."""
    patterns = len(problem.scan) - len(problem.held_out)
    if method.splits and patterns < _FEWEST:
        raise UserError(
            f"{problem.scan.label}: uncertainty.method={method} reconstructs two halves of the "
            f"scan and needs at least {_FEWEST} patterns, got {patterns} that are not held out; "
            "use uncertainty.method=bootstrap."
        )


def _refuse_to_draw(method: UncertaintyMethod, problem: Problem) -> None:
    """Before the long work, refuse to draw scans that memory does not hold."""
    if method.draws and isinstance(problem.scan.amplitude, LazyAmplitude):
        raise UserError(
            f"{problem.scan.label}: uncertainty.method={method} draws whole scans in memory, and "
            "this one is so large that it stays in its file; use uncertainty.method=halves or "
            "fisher, or data.lazy=never."
        )


def _refuse_nonsense(reconstruction: Reconstruction) -> None:
    for stage in reconstruction.stages:
        if not np.isfinite(stage.obj).all():
            raise UserError(
                f"{reconstruction.label}: the stage {stage.name!r} ended in values that are no "
                "numbers; nothing was written. Are the amplitudes or the settings extreme? "
                "Try the defaults, or a lower trainer.learning_rate."
            )


def _but(held_out: NDArray[np.int64]) -> str:
    return f", {len(held_out)} held out" if len(held_out) else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def _flat_names(figures: dict[str, Figures], prefix: str) -> dict[str, float]:
    return {
        f"{prefix}{stage}/{name}": value
        for stage, row in figures.items()
        if stage not in FLOORS
        for name, value in row.items()
    }


@contextlib.contextmanager
def open_session(
    run: RunConfig,
    execution: PyTorchExecutionConfig,
    folder: Path,
    overrides: list[str],
    status: Status | None = None,
) -> Iterator[Session]:
    """Set the process up as the settings say, and put it back afterwards.

    The run folder records the settings at once and ``status.json`` always says how it
    stands: running, finished, failed, interrupted or pruned.

    Args:
        run: settings.
        execution: how to run.
        folder: where the run writes.
        overrides: what was typed, for the record.
        status: of the folder, where that was claimed before.
    """
    first = global_rank(execution) == 0
    if execution.quiet:
        execution = replace(execution, enable_progress_bar=False)
    terminal = console(quiet=execution.quiet or not first)
    bars = progress(execution.enable_progress_bar and first, terminal)
    session = Session(run, execution, folder, first, _device(run), terminal, bars)
    if execution.resume == Resume.auto and (folder / LAST).is_file():
        session.checkpoint = folder / LAST
    with contextlib.ExitStack() as stack:
        stack.callback(bars.stop)
        stack.enter_context(watched(partial(ticking, bars, "look at all patterns")))
        stack.enter_context(_as_the_settings_say(run, execution))
        if first:
            session.status = status or stack.enter_context(claimed(run, folder))
        stack.enter_context(orderly_end(*ENDING))
        stack.enter_context(_dashboard_closed(session))
        if session.status is not None:
            stack.enter_context(recorded(session.status))
            _record_settings(session, overrides)
            tell_crew(run, folder)
        stack.enter_context(other_ranks(execution, folder))
        yield session


@contextlib.contextmanager
def _as_the_settings_say(run: RunConfig, execution: PyTorchExecutionConfig) -> Iterator[None]:
    """Threads, determinism, log and seeds of this process, put back afterwards."""
    threads = torch.get_num_threads()
    deterministic = torch.get_deterministic_debug_mode()
    torch.set_num_threads(execution.threads or threads)
    # as use_deterministic_algorithms, which takes two seconds to load the compiler
    torch.set_deterministic_debug_mode("error" if execution.deterministic else "default")
    # nothing here reads memory it has not written, and filling it first costs a fifth of the time
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False
    told = logging.getLogger("ptycho")
    level = told.level
    if execution.quiet:
        told.setLevel(logging.WARNING)
    sow(run.seed)
    try:
        yield
    finally:
        told.setLevel(level)
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(deterministic)
        memory.fill_uninitialized_memory = filled


@contextlib.contextmanager
def _dashboard_closed(session: Session) -> Iterator[None]:
    """Close the run in the dashboard however the block ends, after its files tell it."""

    def close(status: str, **tags: str) -> None:
        if session.dashboard is not None:
            if tags:
                session.dashboard.tag(tags)
            session.dashboard.finish(status)
            told, known = session.status, session.dashboard.run_id
            if told and told.state and told.more.get("mlflow_run_id") != known:
                told.write(told.state, mlflow_run_id=known)  # the server answered late

    try:
        yield
    except PrunedError:
        close("KILLED", **{"ptycho.state": "pruned"})
        raise
    except (KeyboardInterrupt, SystemExit):
        close("KILLED")
        raise
    except BaseException:
        close("FAILED")
        raise
    close("FINISHED")


def _record_settings(session: Session, overrides: list[str]) -> None:
    run = session.run
    session.surroundings = environment(session.device, run.seed)
    write_yaml(session.path("config.resolved.yaml"), plain_config(run))
    content = "".join(f"{line}\n" for line in overrides)
    session.path("overrides.txt").write_text(content, encoding="utf-8")
    if changes := uncommitted():
        session.path("changes.diff").write_text(changes, encoding="utf-8")
    if not run.logger.backend.uses_mlflow:
        return
    outputs = Path(run.paths.outputs)
    session.dashboard = Dashboard(
        store_uri(outputs, run.logger.tracking_uri, session.folder),
        outputs,
        run.logger.experiment,
        run.logger.run_name or run_name(session.folder, overrides),
        _tags(session),
        folder=session.folder,
        run_id=session.status.more.get("mlflow_run_id") if session.status else None,
    )
    if session.status is not None:
        where = {"mlflow_run_id": session.dashboard.run_id, "tracking_uri": session.dashboard.uri}
        session.status.write(State.running, **where)
    session.dashboard.log_params({name: plain(value) for name, value, *_ in leaves(run)})


def _tags(session: Session) -> dict[str, str]:
    git = session.surroundings["git"] or {}
    return {
        "ptycho.task": session.run.task.value,
        "ptycho.data": session.run.data.label,
        "ptycho.folder": str(session.folder.absolute()),
        "ptycho.command": " ".join(session.surroundings["command"]),
        "mlflow.source.git.commit": str(git.get("sha")),
        "ptycho.git_dirty": str(git.get("dirty")),
    }


def _device(run: RunConfig) -> torch.device:
    device = pick_device(run.trainer.accelerator)
    return torch.device("cuda", local_rank(run.trainer)) if device.type == "cuda" else device
