"""Settings of many runs: what is varied, what they are judged by, when one is given up."""

from dataclasses import dataclass, field

from ptycho.config.choices import Direction, Pruner, SweepSampler
from ptycho.config.fields import setting


@dataclass(kw_only=True)
class SweepConfig:
    """Many runs and what they are judged by; conf/sweep."""

    sampler: SweepSampler = SweepSampler.grid
    """Chooses the settings of the next trial: ``grid`` (all combinations), ``random``, ``tpe``,
    or ``nsga2`` for several metrics."""
    metric: list[str] = field(default_factory=lambda: ["C"])
    """What a run is judged by and returns: a figure of its last stage (``C``), of any
    (``network/R``), or of the run: ``seconds``, ``photons`` (dose of a pattern), ``train/loss``,
    ``train/patterns_per_s``."""
    direction: list[Direction] = field(default_factory=list)
    """``min`` or ``max`` for each metric; empty: what is usual for each."""
    n_trials: int | None = setting(None, at_least=1)
    """Trials of the whole sweep, restarts and other processes included; not for ``grid``."""
    params: dict[str, str] = field(default_factory=dict)
    """What is varied where the command line says nothing of it: NAME: ``interval(1e-4,1e-2)``,
    ``tag(log,interval(1e-4,1e-2))``, ``range(1,5)`` or ``choice(1,2,3)``."""
    pruner: Pruner = Pruner.none
    """Gives up trials that fall behind, by the epoch: ``median`` or ``hyperband``."""
    min_epochs: int = setting(3, at_least=1)
    """Epochs that every trial is given before it may be pruned."""
    startup_trials: int = setting(5, at_least=1)
    """Trials drawn at random, and finished, before any is modelled or pruned."""
    seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """Seed of what is drawn."""
    workers: int = setting(1, at_least=1, at_most=256)
    """Processes that draw and run trials of one study side by side; not for ``grid``, whose
    jobs the launcher runs side by side (``launcher=joblib``)."""
    storage: str | None = None
    """Optuna storage of the study; empty: SQLite in the folder of the sweep."""
