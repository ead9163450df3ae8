"""Runs the jobs of ``-m``; Hydra loads this at every start, so what is heavy is imported late."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from ptycho.config.config import RunConfig

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="ptycho",
    node={"_target_": "hydra_plugins.ptycho_sweeper.PtychoSweeper"},
    provider="ptycho",
)


class PtychoSweeper(Sweeper):
    """Hands what Hydra composed to :mod:`ptycho.workflows.sweep`, and jobs to Hydra's launcher."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep the config and make the launcher that was configured."""
        self.context, self.composed = hydra_context, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job.

        Args:
            arguments: overrides as typed, without Hydra's own.
        """
        from ptycho.config.store import base_run
        from ptycho.config.typed_space import read_space
        from ptycho.workflows.plan import Plan
        from ptycho.workflows.sweep import conduct

        for name in ("hydra._internal.core_plugins", "hydra_plugins"):
            logging.getLogger(name).setLevel(logging.WARNING)  # the sweep says it in its own words
        run = base_run(self.composed)
        self.folder = Path(self.composed.hydra.sweep.dir).absolute()
        conduct(
            Plan(
                self.folder,
                run,
                read_space(arguments, run.sweep, self.context.config_loader),
                *self._shape(run),
                tuple(sys.argv[1:]),
            ),
            self._launch,
        )

    def _launch(self, jobs: Sequence[tuple[int, list[str]]]) -> list[Exception | None]:
        from ptycho.config.process import say_failed
        from ptycho.workflows.helpers import quoted

        where = f"hydra.sweep.dir={quoted(str(self.folder))}"
        lines = [[*overrides, where, f"hydra.sweep.subdir={number}"] for number, overrides in jobs]
        errors: dict[int, Exception | None] = {}
        for place, one in enumerate(lines):
            errors[place] = fault = self._fault(one)
            if fault is not None:
                say_failed(jobs[place][0], fault)
        good = [place for place, error in errors.items() if error is None]
        if good:
            first = jobs[good[0]][0]
            returned = self.launcher.launch([lines[one] for one in good], initial_job_idx=first)
            for place, one_ in zip(good, returned, strict=True):
                failed = one_.status == JobStatus.FAILED
                errors[place] = one_._return_value if failed else None
        return [errors[place] for place in range(len(lines))]

    def _fault(self, overrides: list[str]) -> Exception | None:
        """Why a job cannot be composed; looked for here, as a launcher would give up altogether."""
        from ptycho.config.config import ConfigError
        from ptycho.config.store import MENDABLE, base_run, sentence
        from ptycho.config.validate import check

        try:
            cfg = self.context.config_loader.load_sweep_config(self.composed, overrides)
            check(base_run(cfg))
        except MENDABLE as error:
            return error if isinstance(error, ConfigError) else ConfigError(sentence(error))
        return None

    def _shape(self, run: "RunConfig") -> tuple[int | None, int]:
        """Jobs to hand over together (None: all), and how many of them share this machine.

        Hydra's own launcher is given one at a time, so that what fails is told at once. Trials
        that are drawn go out in batches: the launcher returns when all of a batch are done.
        """
        from ptycho.config.choices import SweepSampler
        from ptycho.workflows.helpers import cores

        settings = self.composed.hydra.launcher
        if str(settings._target_).endswith("BasicLauncher"):
            return 1, 1
        here = OmegaConf.select(settings, "n_jobs")
        if here is not None and here < 0:  # as joblib counts: -1 all of them, -2 all but one
            here = max(cores() + 1 + here, 1)
        if not run.sweep.sampler.draws:
            return None, here or 1
        if here:
            return here, here
        away = OmegaConf.select(settings, "array_parallelism") or cores()
        learns = run.sweep.sampler != SweepSampler.random
        return min(away, run.sweep.startup_trials) if learns else away, 1
