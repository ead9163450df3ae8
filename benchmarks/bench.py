"""What the parts of the throughput benchmark work on: one scan in a file, one open session."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from torch import nn

from benchmarks import ancestor
from benchmarks.clock import PRECISIONS, Clock
from ptycho.config.choices import DataSource, LoggerBackend
from ptycho.config.config import InstrumentConfig, RunConfig, SyntheticConfig
from ptycho.config.legacy import legacy_params
from ptycho.config.store import preset
from ptycho.data.scan import Scan
from ptycho.data.simulate import simulate
from ptycho.data.tiles import Lifted, TileDataset
from ptycho.physics.solver import Recipe
from ptycho.workflows import build, stages
from ptycho.workflows.factory import training_payload
from ptycho.workflows.preflight import check_surroundings
from ptycho.workflows.problem import Problem, pose
from ptycho.workflows.reconstruct import network_on
from ptycho.workflows.session import Session, open_session

PHOTONS = 1e5
"""Per pattern, as in the built-in scan."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    repeats: int
    """Of every figure."""
    shortest: float
    """Seconds of a repeat."""
    patterns: int
    """In the scan that is timed."""
    epochs: int
    """Of every repeat of training; the first is a warm-up and is left out."""
    batches: int | None
    """Of every epoch; all when None."""
    patterns_in_memory: int
    """In the scan whose peak memory is measured."""
    memory_settings: tuple[str, ...]
    """Of the runs whose peak memory is measured, where they differ from the defaults."""


QUICK = Effort(
    repeats=5, shortest=0.1, patterns=24**2, epochs=2, batches=4,
    patterns_in_memory=45**2, memory_settings=("logger=none",),
)  # fmt: skip
FULL = Effort(
    repeats=5, shortest=0.5, patterns=45**2, epochs=3, batches=None,
    patterns_in_memory=142**2, memory_settings=(),
)  # fmt: skip


@dataclass
class Bench:
    """Everything the parts share; made once, when it is first needed."""

    session: Session
    effort: Effort

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.session.device

    @property
    def clock(self) -> Clock:
        """Seconds on the wall."""
        return Clock(self.device)

    @property
    def run(self) -> RunConfig:
        """The package's default settings, but for the scan."""
        return self.session.run

    @cached_property
    def recipe(self) -> Recipe:
        """The solver's."""
        return build.make_recipe(self.run.solver)

    def free(self, instrument: str) -> Problem:
        """The scan where ``instrument=NAME`` is found, too."""
        found = preset(InstrumentConfig(), "instrument", instrument)
        freedom, modes = build.make_freedom(found), found.probe_modes or 1
        return pose(self.problem.scan, self.device, freedom=freedom, modes=modes)

    def read(self) -> Scan:
        """The scan, from its file."""
        return build.make_scan(self.run.data, self.run.model.N or 0)

    @cached_property
    def problem(self) -> Problem:
        """The scan on its canvas."""
        return pose(self.read(), self.device)

    def lift(self, problem: Problem) -> Lifted:
        """The network's input."""
        return stages.lift(problem, self.run.model, self.recipe, self.session.bars)

    @cached_property
    def lifted(self) -> Lifted:
        """The network's input, made once."""
        return self.lift(self.problem)

    @cached_property
    def tiles(self) -> TileDataset:
        """The training batches."""
        from ptycho.workflows.lessons import tiles

        return tiles(self.problem, self.lifted, self.run.trainer.batch_size)

    def network(self) -> nn.Module:
        """An untrained network, placed as for training."""
        return network_on(build.make_network(self.run.model), self.device)

    @cached_property
    def groups(self) -> ancestor.Groups:
        """The same scan as the ancestor's layout sees it."""
        problem = self.problem
        return ancestor.group(problem.amplitude, problem.positions, problem.probe)

    @cached_property
    def patch_run(self) -> RunConfig:
        """The same with ``model=pinn``."""
        return preset(self.run, "model", "pinn")

    @cached_property
    def patch_lifted(self) -> Lifted | None:
        """The input of that network, made once."""
        from ptycho.workflows import patches

        session = replace(self.session, run=self.patch_run)
        return patches.lift(session, self.problem, self.recipe)[1]

    def training_session(self, precision: str, run: RunConfig) -> Session:
        """The session of one short training in ``fp32`` or ``bf16``, in a folder of its own."""
        name, effort = PRECISIONS[precision], self.effort
        trainer = replace(run.trainer, nepochs=effort.epochs, precision=name)
        execution = replace(
            self.session.execution, precision=name, limit_train_batches=effort.batches
        )
        folder = Path(mkdtemp(prefix=f"{precision}_", dir=self.session.folder))
        run = replace(run, trainer=trainer)
        return replace(self.session, run=run, execution=execution, folder=folder)


def default_run(accelerator: str, threads: int | None, scan_file: Path) -> RunConfig:
    """The package's settings as they are, on a scan, quietly."""
    run = RunConfig()
    run.data.source = DataSource.file
    run.data.train_data_file = str(scan_file)
    run.trainer = replace(run.trainer, accelerator=accelerator)  # type: ignore[arg-type]
    run.execution.threads = threads
    run.execution.enable_progress_bar = False
    run.logger.backend = LoggerBackend.none
    return run


@contextmanager
def open_bench(run: RunConfig, folder: Path, effort: Effort) -> Iterator[Bench]:
    """A bench whose process is set up as a run sets it up."""
    with legacy_params():
        payload = training_payload(run, folder)
        check_surroundings(payload.run)
        with open_session(payload.run, payload.execution, folder, []) as session:
            yield Bench(session, effort)


def write_counts(path: Path, n_patterns: int) -> int:
    """Simulate a scan and write it as a detector would: counts in 16 bits.

    Returns:
        Patterns in it: whole rows of a square raster, at most ``n_patterns``.
    """
    usual = SyntheticConfig()
    scan = simulate(
        kind=usual.object, n_patterns=n_patterns, patch_size=ancestor.SIZE, photons=PHOTONS,
        step=usual.step, jitter=usual.jitter, probe_radius=usual.probe_radius, seed=usual.seed,
    )  # fmt: skip
    counts = np.empty(scan.amplitude.shape, np.uint16)
    for frame, amplitude in zip(counts, scan.amplitude, strict=True):
        frame[:] = np.rint(np.square(amplitude)).clip(max=np.iinfo(np.uint16).max)
    np.savez(
        path, diffraction=counts, xcoords=scan.positions[:, 1], ycoords=scan.positions[:, 0],
        probeGuess=scan.probe[0],
    )  # fmt: skip
    return len(counts)
