"""Which job of a sweep is best."""

from pathlib import Path
from typing import Any

from ptycho.report.folder import RunFolder
from ptycho.report.mlflow_note import table
from ptycho.report.ranking import pareto, ranked


def job(number: int, state: str = "finished", **metric: Any) -> RunFolder:
    return RunFolder(Path(str(number)), status={"state": state, "metric": metric or None})


def order(jobs: list[RunFolder], metric: list[str], direction: list[str]) -> list[int]:
    return [one.job.number for one in ranked(jobs, metric, direction)]


def test_the_best_comes_first_and_what_has_no_figure_last() -> None:
    jobs = [job(0, C=0.5), job(1, "failed"), job(2, C=0.9), job(3, C=None), job(4, C=float("nan"))]
    assert order(jobs, ["C"], ["max"]) == [2, 0, 1, 3, 4]
    assert order(jobs, ["C"], ["min"]) == [0, 2, 1, 3, 4]
    assert order([job(1, "pruned", C=1.0), job(0, C=0.1)], ["C"], ["max"]) == [0, 1]


def test_of_several_metrics_the_front_comes_first() -> None:
    jobs = [
        job(0, C=0.9, seconds=9.0),
        job(1, C=0.8, seconds=9.5),  # beaten in both
        job(2, C=0.5, seconds=1.0),
        job(3, C=0.5, seconds=1.0),  # as good as 2
    ]
    found = ranked(jobs, ["C", "seconds"], ["max", "min"])
    assert [one.job.number for one in found] == [0, 2, 3, 1]
    assert [one.on_front for one in found] == [True, True, True, False]


def test_nothing_beats_itself() -> None:
    assert pareto({}) == frozenset()
    assert pareto({1: (0.0, 1.0), 2: (0.0, 1.0), 3: (0.0, 2.0)}) == {1, 2}


def test_a_job_without_figures_stands_in_the_note() -> None:
    found = ranked([job(0, "failed"), job(1, C=0.5)], ["C"], ["max"])
    assert [
        line.replace("\u2003", "") for line in table(found, ["C"], ["max"], []).splitlines()[-2:]
    ] == [
        "| **1** | **finished** | **0.5** |  |",
        "| 0 | failed |  |  |",
    ]
