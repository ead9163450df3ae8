"""Sweeps by the real command: killed, interrupted, shared by several processes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from ptycho.report.folder import read_jobs, read_sweep
from tests.sweeps import trials
from tests.test_run import REPOSITORY

pytestmark = pytest.mark.slow

STORM_SECONDS = float(os.environ.get("PTYCHO_STORM_SECONDS", "20"))
"""How long four processes work on one study; 300 for the whole test."""

SMALL = (
    "trainer=smoke", "model.N=32", "trainer.batch_size=16", "trainer.warmup_steps=1",
    "model.lift_coarse_iterations=3", "refine.iterations=2", "refine.poisson_iterations=1",
    "data.synthetic.n_patterns=64", "data.synthetic.step=4", "data.synthetic.probe_radius=6",
    "execution.enable_progress_bar=false", "hydra.sweep.dir=sweep",
)  # fmt: skip
SEARCH = (
    "sweep=tpe", "sweep.startup_trials=2", "sweep.min_epochs=2", "trainer.nepochs=6",
    "trainer.learning_rate=tag(log,interval(1e-5,3e-3))", "trainer.tv_weight=interval(0,0.05)",
)  # fmt: skip
UNPRUNED = (*(one for one in SEARCH if "min_epochs" not in one), "sweep.pruner=none")


def begin(folder: Path, *arguments: str, log: str = "log") -> subprocess.Popen[bytes]:
    """Start ``python -m ptycho.run -m`` in a folder; what it prints goes to a file there."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    with (folder / f"{log}.out").open("ab") as out, (folder / f"{log}.err").open("ab") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "ptycho.run", "-m", *SMALL, *arguments],
            cwd=folder, env=environment, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip


def until(found: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for a file."""
    for _ in range(2400):
        if found.exists():
            return
        assert process.poll() is None, "it ended too early"
        time.sleep(0.05)
    raise AssertionError(f"{found} did not come")


def bits(run: Path) -> dict[str, str]:
    """Hashes of all files of a run."""
    return {
        str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(run.rglob("*"))
        if file.is_file()
    }


def runs_in_the_dashboard(folder: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{folder}/outputs/mlflow/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'ptycho'")
    return [*client.search_runs([experiment.experiment_id], max_results=5000)]


def children(folder: Path) -> list[Any]:
    """Runs of the dashboard that belong to the sweep."""
    parent = read_sweep(folder / "sweep")["parent_run_id"]
    assert parent
    return [
        one
        for one in runs_in_the_dashboard(folder)
        if one.data.tags.get("mlflow.parentRunId") == parent
    ]


def test_a_search_that_is_killed_goes_on(tmp_path: Path):
    asked = (*SEARCH, "sweep.n_trials=12")
    sweep = tmp_path / "sweep"
    first = begin(tmp_path, *asked)
    until(sweep / "5" / "status.json", first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {number: bits(sweep / str(number)) for number in range(5)}
    assert len(trials(sweep)) == 6
    again = begin(tmp_path, *asked)
    assert again.wait(300) == 0, (tmp_path / "log.err").read_text()
    found = trials(sweep)
    assert len(found) == 12
    assert all(one.state.is_finished() for one in found)
    names = Counter(one.state.name for one in found)
    assert names["PRUNED"] >= 1
    assert names["COMPLETE"] >= 2
    assert set(names) == {"PRUNED", "COMPLETE"}
    for number, files in before.items():
        assert bits(sweep / str(number)) == files, f"job {number} was written to again"
    runs = read_jobs(sweep)
    assert [run.number for run in runs] == [*range(12)]
    assert {run.state for run in runs} == {"finished", "pruned"}
    assert runs[5].status["attempts"] == 2
    assert {one.info.run_id for one in children(tmp_path)} == {
        run.status["mlflow_run_id"] for run in runs
    }
    assert len(runs_in_the_dashboard(tmp_path)) == 13  # and their parent
    assert (sweep / "report.html").is_file()


def test_four_processes_share_a_study_and_a_dashboard(tmp_path: Path):
    asked = (*SEARCH, "sweep.n_trials=5000", "sweep.startup_trials=20")
    four = [begin(tmp_path, *asked, log=f"log{number}") for number in range(4)]
    began = time.time()
    until(tmp_path / "sweep" / "9", four[0])
    time.sleep(max(0.0, began + STORM_SECONDS - time.time()))
    assert [one.poll() for one in four] == [None] * 4, errors(tmp_path)
    for one in four:
        one.send_signal(signal.SIGTERM)
    assert [one.wait(120) for one in four] == [143] * 4, errors(tmp_path)
    sweep = tmp_path / "sweep"
    begun = len(trials(sweep))
    assert begun >= 10
    last = begin(tmp_path, *asked[:-2], f"sweep.n_trials={begun}", "sweep.startup_trials=20")
    assert last.wait(200) == 0, errors(tmp_path)
    found, runs = trials(sweep), read_jobs(sweep)
    assert [run.number for run in runs] == [*range(begun)]
    told = {"COMPLETE": "finished", "PRUNED": "pruned"}
    assert [told[one.state.name] for one in found] == [str(run.state) for run in runs]
    assert sum(run.status["attempts"] > 1 for run in runs) <= 4  # those that were interrupted
    identities = {run.status["mlflow_run_id"] for run in runs}
    assert len(identities) == begun
    logged = {one.info.run_id: one for one in children(tmp_path)}
    assert identities == logged.keys()
    assert all("train/loss" in one.data.metrics for one in logged.values())
    said = errors(tmp_path)
    assert "lock" not in said
    assert "Traceback" not in said
    print(f"{begun} trials by 4 processes in {STORM_SECONDS:.0f} s: "
          f"{json.dumps(Counter(str(run.state) for run in runs))}")  # fmt: skip


def errors(folder: Path) -> str:
    return "".join(file.read_text() for file in sorted(folder.glob("log*.err")))


@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_workers_end_with_the_one_that_started_them(tmp_path: Path, sent: str, code: int):
    asked = (*UNPRUNED, "sweep.n_trials=6", "sweep.workers=2", "logger=none")
    first = begin(tmp_path, *asked, "trainer.nepochs=400")
    sweep = tmp_path / "sweep"
    until(sweep / "0" / "metrics.csv", first)
    until(sweep / "1" / "metrics.csv", first)
    first.send_signal(getattr(signal, sent))
    assert first.wait(60) == code
    assert [str(run.state) for run in read_jobs(sweep)] == ["interrupted"] * 2
    assert not [run for run in read_jobs(sweep) if run.alive]
    said = errors(tmp_path)
    assert said.count(f"`ptycho resume {sweep}` goes on with it") == 1
    assert "Traceback" not in said


def test_workers_do_what_was_asked_for_in_all(tmp_path: Path):
    asked = (*UNPRUNED, "sweep.n_trials=5", "sweep.workers=2", "logger=none")
    assert begin(tmp_path, *asked).wait(200) == 0, errors(tmp_path)
    sweep = tmp_path / "sweep"
    assert [str(run.state) for run in read_jobs(sweep)] == ["finished"] * 5
    assert len({run.status["pid"] for run in read_jobs(sweep)}) == 2
    printed = (tmp_path / "log.out").read_text()
    assert "sweep of 5 trials" in printed
    assert "job " in (sweep / "helper_1.log").read_text()


@pytest.mark.parametrize("search", [False, True])
def test_joblib_runs_jobs_side_by_side(tmp_path: Path, search: bool):
    several = (
        (*SEARCH, "sweep.n_trials=4") if search else ("seed=0,1", "trainer.learning_rate=1e-3,1")
    )
    done = begin(tmp_path, "launcher=joblib", *several, "logger=none")
    code = done.wait(200)
    runs = read_jobs(tmp_path / "sweep")
    assert len(runs) == 4
    assert len({run.status["pid"] for run in runs}) == 2
    if search:
        assert code == 0, errors(tmp_path)
        return
    assert code == 2
    assert [str(run.state) for run in runs] == ["finished", "failed"] * 2
    said = errors(tmp_path)
    assert "ptycho: job 1 failed: training stopped in epoch 0: " in said
    assert "ptycho: 2 of 4 jobs failed:" in said
    assert "Traceback" not in said
