"""How much each swept setting matters, by Optuna's analysis of variance."""

import math
import warnings
from importlib.util import find_spec
from typing import Any

from ptycho.report.sweep_rows import Job, Metric, Sweep, are_numbers, span_sizes

_FEWEST = 4
"""Trials that differ from which anything can be said."""


def importance(sweep: Sweep, metric: Metric) -> dict[str, float] | str:
    """Shares of the variance of a metric, largest first, or a sentence on why there are none.

    fANOVA (Hutter et al. 2014, ICML) on random forests where scikit-learn is there, else
    PED-ANOVA (Watanabe et al. 2023, doi:10.24963/ijcai.2023/488).
    """
    jobs = [job for job in sweep.judged if all(name in job.settings for name in sweep.swept)]
    varied = [name for name in sweep.swept if len({_level(job, name) for job in jobs}) > 1]
    distinct = {tuple(_level(job, name) for name in varied) for job in jobs}
    least = max(_FEWEST, len(sweep.swept) + 2)
    if find_spec("optuna") is None:
        return "It needs the package optuna: pip install 'ptycho[sweep]'."
    if len(sweep.swept) < 2:
        return "Only where two or more settings were varied can they be weighed."
    if len(distinct) < least:
        return f"It needs {least} finished jobs with different settings; so far {len(distinct)}."
    if len(varied) < 2:
        return "Only one of the settings had several values among the finished jobs."
    values = [job.metrics[metric.name] for job in jobs]
    if max(values) - min(values) <= 1e-9 * max(map(abs, values)):
        return f"{metric.name} came out the same in all jobs."
    return _evaluate(jobs, varied, values, metric)


def method() -> str:
    """The method by which :func:`importance` weighs."""
    return "fANOVA" if find_spec("sklearn") else "PED-ANOVA"


def _level(job: Job, name: str) -> Any:
    value = job.settings[name]
    return tuple(value) if isinstance(value, list) else value


def _evaluate(
    jobs: list[Job], varied: list[str], values: list[float], metric: Metric
) -> dict[str, float] | str:
    import optuna

    spaces = {name: _distribution([_level(job, name) for job in jobs]) for name in varied}
    talkative = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    optuna.logging.set_verbosity(talkative)
    for job, value in zip(jobs, values, strict=True):
        params = {name: spaces[name][1](_level(job, name)) for name in varied}
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions={name: spaces[name][0] for name in varied},
                value=metric.cost(value),
            )
        )
    kinds = optuna.importance
    judge = (
        kinds.FanovaImportanceEvaluator(seed=0)
        if method() == "fANOVA"
        else kinds.PedAnovaImportanceEvaluator()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = kinds.get_param_importances(study, evaluator=judge)
    if not all(math.isfinite(share) for share in shares.values()):
        return "The jobs do not tell the settings apart."
    return {name: float(shares[name]) for name in sorted(shares, key=lambda name: -shares[name])}


def _distribution(levels: list[Any]) -> Any:
    """An Optuna distribution that holds the values, and what turns a value into one of it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if are_numbers(levels):
        low, high = min(levels), max(levels)
        return FloatDistribution(low, high, log=span_sizes(levels)), float
    names = list(dict.fromkeys(map(str, levels)))
    return CategoricalDistribution(names), str
