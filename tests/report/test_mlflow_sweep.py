"""The parent of a sweep and its children, read back with MLflow's own client."""

import json
from pathlib import Path
from typing import Any

import pytest

from ptycho.config.config import RunConfig
from ptycho.config.validate import check
from ptycho.report.folder import read_sweep
from ptycho.report.mlflow import run_name
from ptycho.report.mlflow_sweep import bring_up_to_date, close_parent, open_parent
from tests.runs import launched, tiny_run

pytestmark = pytest.mark.filterwarnings("ignore")

SWEEP: dict[str, Any] = {
    "version": 1, "sampler": "tpe", "metric": ["C"], "direction": ["max"], "n_trials": 3,
    "params": {"trainer.learning_rate": "interval(1e-4,1e-2)"}, "pruner": "none",
    "experiment": "ptycho", "overrides": ["trainer=smoke"], "command": ["ptycho", "-m"],
}  # fmt: skip


def client(outputs: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{outputs}/mlflow/mlflow.db")


def base(outputs: Path, **changes: Any) -> RunConfig:
    return check(
        tiny_run(task="solve", logger__backend="mlflow", paths__outputs=str(outputs), **changes)
    )


def begin(folder: Path, outputs: Path, **changes: Any) -> dict[str, Any]:
    """Open the parent as the sweeper does."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep = SWEEP | changes
    parent, uri = open_parent(folder, base(outputs), sweep)
    sweep |= {"parent_run_id": parent, "tracking_uri": uri}
    (folder / "sweep.json").write_text(json.dumps(sweep))
    return sweep


def job(sweep: Path, number: int, outputs: Path, **changes: Any) -> Path:
    return launched(
        sweep / str(number), task="solve", logger__backend="mlflow", paths__outputs=str(outputs),
        **changes,
    )  # fmt: skip


def say(folder: Path, **status: Any) -> None:
    """Put into status.json what the run would say of itself."""
    file = folder / "status.json"
    file.parent.mkdir(exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | status))


def children(outputs: Path, parent: str) -> dict[str, Any]:
    store = client(outputs)
    place = store.get_run(parent).info.experiment_id
    found = store.search_runs([place], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {run.data.tags["ptycho.job"]: run for run in found}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all: making it takes a second."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture
def sweep(tmp_path: Path, outputs: Path) -> Path:
    folder = tmp_path / "sweeps" / "mine"
    begin(folder, outputs)
    return folder


def test_parent_stands_before_any_job(sweep: Path, outputs: Path) -> None:
    parent = client(outputs).get_run(read_sweep(sweep)["parent_run_id"])
    assert parent.info.run_name == "mine"
    assert parent.info.status == "RUNNING"
    assert parent.data.params == {
        "trainer.learning_rate": "interval(1e-4,1e-2)", "sweep.n_trials": "3",
        "overrides": "trainer=smoke",
    }  # fmt: skip
    assert parent.data.tags["ptycho.sweep"] == str(sweep)
    assert parent.data.tags["ptycho.sampler"] == "tpe"
    assert parent.data.tags["ptycho.metric"] == "C (max)"
    assert "mlflow.parentRunId" not in parent.data.tags


def test_jobs_find_their_parent_whatever_the_environment_says(
    sweep: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    job(sweep, 0, outputs)
    launched(
        sweep / "no_job", task="solve", logger__backend="mlflow", paths__outputs=str(outputs),
        logger__tracking_uri=read_sweep(sweep)["tracking_uri"],
    )  # fmt: skip
    (child,) = children(outputs, read_sweep(sweep)["parent_run_id"]).values()
    assert child.info.run_name == "mine/0"
    assert child.info.status == "FINISHED"
    assert child.data.metrics["solver/C"] > 0.5


def test_jobs_are_called_by_what_varies(sweep: Path) -> None:
    given = ["trainer=smoke", "trainer.learning_rate=0.00123456", "seed=3"]
    assert run_name(sweep / "7", given) == "7: learning_rate=0.001235"
    assert run_name(sweep / "7", ["seed=3"]) == "mine/7"
    assert run_name(sweep / "other", given) == "other"


def test_the_best_child_is_marked_and_the_mark_moves(sweep: Path, outputs: Path) -> None:
    parent = read_sweep(sweep)["parent_run_id"]
    for number, value in ((0, 0.7), (1, 0.8)):
        say(job(sweep, number, outputs), metric={"C": value})
    say(sweep / "2", state="failed", error="no | good")
    close_parent(sweep)
    found = children(outputs, parent)
    assert "ptycho.best" not in found["0"].data.tags
    assert found["1"].data.tags["ptycho.best"] == "true"
    told = client(outputs).get_run(parent)
    assert told.info.status == "FINISHED"
    assert told.data.tags["ptycho.best_child"] == found["1"].info.run_id
    assert told.data.metrics["C"] == 0.8
    assert told.data.metrics["solver/R"] == found["1"].data.metrics["solver/R"]
    assert told.data.metrics["jobs/finished"] == 2
    assert told.data.metrics["jobs/failed"] == 1
    lines = told.data.tags["mlflow.note.content"].replace("\u2003", "").splitlines()
    assert lines[0] == "3 jobs (2 finished, 1 failed), best first: C (max)."
    assert lines[2] == "| job | state | C | trainer.learning_rate | seconds |"
    assert lines[4].startswith("| **1** | **finished** | **0.8** | **0.002** |")
    assert [line.split(" | ")[0] for line in lines[5:]] == ["| 0", "| 2"]

    assert begin(sweep, outputs, n_trials=4)["parent_run_id"] == parent, "reopened"
    assert client(outputs).get_run(parent).info.status == "RUNNING"
    say(job(sweep, 3, outputs), metric={"C": 0.9})
    close_parent(sweep)
    found = children(outputs, parent)
    assert {n for n, run in found.items() if "ptycho.best" in run.data.tags} == {"3"}
    told = client(outputs).get_run(parent)
    assert told.data.tags["ptycho.best_child"] == found["3"].info.run_id
    assert told.data.tags["ptycho.changed"] == "sweep.n_trials=4"
    assert told.data.metrics["C"] == 0.9


def test_several_metrics_mark_their_front(tmp_path: Path, outputs: Path) -> None:
    sweep = tmp_path / "sweeps" / "pareto"
    parent = begin(sweep, outputs, metric=["C", "seconds"], direction=["max", "min"])
    for number, values in enumerate(((0.7, 2.0), (0.9, 9.0), (0.6, 3.0))):
        say(job(sweep, number, outputs), metric=dict(zip(("C", "seconds"), values, strict=True)))
    close_parent(sweep)
    found = children(outputs, parent["parent_run_id"])
    assert {n for n, run in found.items() if "ptycho.pareto" in run.data.tags} == {"0", "1"}
    assert {n for n, run in found.items() if "ptycho.best" in run.data.tags} == {"1"}
    note = client(outputs).get_run(parent["parent_run_id"]).data.tags["mlflow.note.content"]
    assert "best first: C (max), seconds (min)." in note
    assert note.count("finished, Pareto") == 2


def test_killed_jobs_are_closed_and_so_is_their_parent(sweep: Path, outputs: Path) -> None:
    parent = read_sweep(sweep)["parent_run_id"]
    say(job(sweep, 0, outputs), metric={"C": 0.7})
    say(job(sweep, 1, outputs), state="running")
    lost = children(outputs, parent)["1"].info.run_id
    client(outputs).update_run(lost, status="RUNNING")
    close_parent(sweep)
    assert client(outputs).get_run(lost).info.status == "KILLED"
    told = client(outputs).get_run(parent)
    assert told.info.status == "KILLED"
    assert told.data.metrics["jobs/interrupted"] == 1


def test_nothing_finished_is_a_failure(sweep: Path, outputs: Path) -> None:
    for number in range(3):
        say(sweep / str(number), state="failed", error="no")
    close_parent(sweep)
    told = client(outputs).get_run(read_sweep(sweep)["parent_run_id"])
    assert told.info.status == "FAILED"
    assert "ptycho.best_child" not in told.data.tags


def test_the_report_becomes_an_artifact(sweep: Path, outputs: Path) -> None:
    (sweep / "report").mkdir()
    for name in ("report.html", "report.csv", "report/parallel.png"):
        (sweep / name).write_text(name)
    close_parent(sweep)
    parent = read_sweep(sweep)["parent_run_id"]
    kept = {one.path for one in client(outputs).list_artifacts(parent)}
    assert kept == {"report.html", "report.csv", "parallel.png", "sweep.json"}


def test_a_sweep_without_dashboard_is_left_alone(tmp_path: Path) -> None:
    assert open_parent(tmp_path, check(tiny_run()), SWEEP) == (None, None)
    (tmp_path / "sweep.json").write_text(json.dumps(SWEEP))
    close_parent(tmp_path)
    assert not (tmp_path / "mlflow").exists()


def test_a_parent_that_could_not_be_opened_is_made_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = tmp_path / "sweeps" / "late"
    sweep.mkdir(parents=True)
    away = "http://127.0.0.1:1"
    run = base(tmp_path, logger__tracking_uri=away)
    assert open_parent(sweep, run, SWEEP) == (None, away)
    told = SWEEP | {"parent_run_id": None, "tracking_uri": away}
    (sweep / "sweep.json").write_text(json.dumps(told))
    close_parent(sweep)
    assert f"ptycho sync {sweep}" in caplog.text
    outputs = tmp_path / "there"
    status = json.loads((job(tmp_path / "elsewhere", 0, outputs) / "status.json").read_text())
    (run_id,) = [one.info.run_id for one in client(outputs).search_runs(["1"])]
    say(sweep / "0", **(status | {"metric": {"C": 1.0}, "mlflow_run_id": run_id}))
    assert bring_up_to_date(sweep, f"sqlite:///{outputs}/mlflow/mlflow.db")
    parent = read_sweep(sweep)["parent_run_id"]
    (child,) = children(outputs, parent).values()
    assert child.info.run_id == run_id
    assert child.data.tags["ptycho.best"] == "true"
