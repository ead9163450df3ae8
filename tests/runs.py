"""Tiny runs: a scan of 64 patterns that trains and reconstructs in a fraction of a second."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.config.config import RunConfig
from ptycho.data.scan import Scan
from ptycho.data.simulate import simulate
from ptycho.data.synthetic import objects
from ptycho.data.tiles import Lifted, TileDataset
from ptycho.report import environment
from ptycho.workflows import build, lessons, session, stages, uncertainty
from ptycho.workflows.factory import execution_config, training_payload
from ptycho.workflows.launch import launch
from ptycho.workflows.problem import Problem, pose
from ptycho.workflows.session import Session, open_session

CPU = torch.device("cpu")

# nearly all tiny scans show the same two photographs; to read and shrink them is half of the work
objects._photograph = functools.lru_cache(64)(objects._photograph)

TINY: dict[str, Any] = {
    "data.nphotons": 1e5,
    "data.synthetic.n_patterns": 64,
    "data.synthetic.step": 4.0,
    "data.synthetic.probe_radius": 6.0,
    "model.N": 32,
    "trainer.accelerator": "cpu",
    "trainer.nepochs": 2,
    "trainer.batch_size": 16,
    "trainer.warmup_steps": 1,
    "execution.enable_progress_bar": False,
    "solver.coarse_iterations": 4,
    "solver.iterations": 3,
    "solver.poisson_iterations": 2,
    "refine.iterations": 2,
    "refine.poisson_iterations": 1,
    "model.lift_coarse_iterations": 3,
    "logger.backend": "none",
}


def tiny_run(**changes: Any) -> RunConfig:
    """Settings of a tiny run; ``trainer__nepochs=3`` changes ``trainer.nepochs``."""
    run = RunConfig()
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    for name, value in (TINY | dotted).items():
        put(run, name, value)
    return run


def put(run: RunConfig, name: str, value: Any) -> None:
    """Set one setting by its full name."""
    node: Any = run
    *groups, last = name.split(".")
    for group in groups:
        node = getattr(node, group)
    assert hasattr(node, last), name
    setattr(node, last, value)


def tiny_scan(**changes: Any) -> Scan:
    """A simulated scan of 64 patterns of 32 x 32."""
    arguments: dict[str, Any] = {
        "kind": "natural", "n_patterns": 64, "patch_size": 32, "photons": 1e5,
        "step": 4.0, "probe_radius": 6.0,
    }  # fmt: skip
    return simulate(**(arguments | changes))


def scan_at(positions: Any, size: int = 16, modes: int = 1) -> Scan:
    """A scan of noise at given positions."""
    rng = np.random.default_rng(0)
    positions = np.asarray(positions, dtype=np.float64)
    probe = rng.normal(size=(modes, size, size, 2)) @ [1, 1j]
    amplitude = rng.uniform(0.1, 1, (len(positions), size, size))
    return Scan(amplitude.astype(np.float32), positions, probe.astype(np.complex64))


def lifted(problem: Problem, run: RunConfig | None = None) -> Lifted:
    """The first answer of a problem."""
    run = run or tiny_run()
    with quiet() as bars:
        return stages.lift(problem, run.model, build.make_recipe(run.solver), bars)


def tiles_of(problem: Problem, n_patterns: int = 16, first: Lifted | None = None) -> TileDataset:
    """The tiles of a problem."""
    return lessons.tiles(problem, first or lifted(problem), n_patterns)


def tiny_problem(**changes: Any) -> Problem:
    """A tiny scan on its canvas."""
    return pose(tiny_scan(**changes), CPU)


@contextlib.contextmanager
def quiet() -> Iterator[Any]:
    """A progress display that shows nothing."""
    from ptycho.report.console import console, progress

    yield progress(False, console(quiet=True))


@contextlib.contextmanager
def session_of(run: RunConfig, folder: Path) -> Iterator[Session]:
    """An open session of a run, as :func:`launch` makes it, but for the question to git."""
    payload = training_payload(run, folder)
    with pytest.MonkeyPatch.context() as patch:
        ask_no_git(patch)
        with open_session(payload.run, execution_config(payload.run), folder, []) as opened:
            yield opened


def ask_no_git(patch: pytest.MonkeyPatch) -> None:
    """Record nothing of the code: git takes as long as a tiny training."""
    patch.setattr(session, "uncommitted", lambda: "")
    patch.setattr(environment, "git_state", lambda _: None)


def launched(folder: Path, *, pictures: bool = False, git: bool = False, **changes: Any) -> Path:
    """Do a tiny run, with pictures and git's record only where asked for; returns its folder."""
    with pytest.MonkeyPatch.context() as patch:
        if not pictures:
            draw_nothing(patch)
        if not git:
            ask_no_git(patch)
        launch(tiny_run(**changes), folder, ["typed=this"])
    return folder


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Leave files that are no pictures: drawing takes twice as long as a tiny run."""

    def leave(*arguments: Any) -> None:
        for path in arguments:
            if isinstance(path, Path):
                path.write_bytes(b"png")

    for name in ("save_picture", "save_singles", "save_instrument"):
        patch.setattr(session, name, leave)
    patch.setattr(uncertainty, "save_uncertainty", leave)


def dashboard_of(told: list[Any]) -> type:
    """A dashboard that writes what it is told to a list."""

    class Board:
        run_id = uri = address = None

        def __init__(
            self, uri: str, outputs: Path, experiment: str, name: str, *_: Any, **__: Any
        ) -> None:
            told.extend((uri, outputs, experiment, name))

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    return Board
