"""Runs and sweeps on a fake SLURM: ended by it, requeued once, gone on with."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakeslurm.cluster import Cluster, wait_until
from tests.workflows.test_train import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

TINY = ["logger=none", *(one for one in COMMAND if not one.startswith("logger"))]
PTYCHO = [sys.executable, "-m", "ptycho.run"]
SWEEP = [*PTYCHO, "-m", *TINY, "launcher=slurm", "hydra.sweep.dir=sweep"]

SCRIPT = f"""#!/bin/bash
#SBATCH --job-name=scan
#SBATCH --time=60
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun python -m ptycho.run execution.resume=auto hydra.run.dir=runs/$SLURM_JOB_ID \\
  {" ".join(TINY)} trainer.nepochs=40
code=$?
case $code in
  138) scontrol requeue "$SLURM_JOB_ID" ;;  # told by USR1 that the time is nearly up
  143) sleep 600 ;;                         # told by TERM: SLURM requeues it, or ends it
esac
exit $code
"""


def status(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return content


def epochs(folder: Path) -> list[str]:
    return [line.split(",")[0] for line in (folder / "metrics.csv").read_text().split()[1:]]


def obj(folder: Path) -> Any:
    with np.load(folder / "reconstruction.npz") as file:
        return file["object"]


def requeues(cluster: Cluster, job: str) -> list[str]:
    return [event for event in cluster.events(job) if "requeue" in event]


def test_a_sweep_becomes_an_array_of_jobs(cluster: Cluster, tmp_path: Path) -> None:
    resources = ["timeout_min=60", "gpus_per_node=1", "partition=gpu", "mem_gb=8"]
    words = [f"hydra.launcher.{one}" for one in resources]
    setup = "hydra.launcher.setup=['export SEEN_BY_ALL=1']"
    cluster.do(*SWEEP, *words, setup, "seed=1,2", cwd=tmp_path)
    for number in ("0", "1"):
        assert status(tmp_path / "sweep" / number)["state"] == "finished"
        assert cluster.ended(f"1000_{number}") == "COMPLETED"
    (script,) = tmp_path.glob("sweep/.submitit/1000/*.sh")
    asked = re.findall(r"^#SBATCH --(\S+)", script.read_text(), re.MULTILINE)
    wanted = {
        "array=0-1%2", "time=60", "gpus-per-node=1", "partition=gpu", "mem=8GB", "nodes=1",
        "ntasks-per-node=1", "cpus-per-task=4", "signal=USR2@120", "requeue", "open-mode=append",
    }  # fmt: skip
    assert wanted <= set(asked)
    assert "\nexport SEEN_BY_ALL=1\n" in script.read_text()


@pytest.mark.parametrize(
    ("how", "who"),
    [(["--user-signal", "--grace=20"], "requeue by scontrol"), ([], "requeue by slurm")],
)
def test_a_preempted_job_of_a_sweep_goes_on(
    cluster: Cluster, tmp_path: Path, how: list[str], who: str
) -> None:
    many = 200  # seconds of training, of which SLURM's SIGTERM, that submitit ignores, leaves some
    # what is varied changes nothing, so that both end with the same bits
    varied = "execution.checkpoint_save_top_k=1,2"
    sweep = cluster.start(*SWEEP, f"trainer.nepochs={many}", varied, cwd=tmp_path)
    folder = tmp_path / "sweep" / "0"
    wait_until((folder / "checkpoints" / "last.ckpt").exists)
    cluster.do("fakeslurm", "preempt", "1000_0", *how, cwd=tmp_path)
    said = sweep.communicate()[1]
    assert sweep.returncode == 0, said
    assert requeues(cluster, "1000_0") == [who]
    assert requeues(cluster, "1000_1") == []
    assert (status(folder)["state"], status(folder)["attempts"]) == ("finished", 2)
    (log,) = tmp_path.glob("sweep/.submitit/1000_0/*log.out")
    assert re.search(rf"the training goes on after \d+ of {many} epochs", log.read_text())
    assert epochs(folder) == [str(epoch) for epoch in range(many)]
    assert np.array_equal(obj(folder), obj(tmp_path / "sweep" / "1"))
    assert {one.name for one in folder.parent.iterdir() if one.name.isdigit()} == {"0", "1"}


@pytest.mark.parametrize(
    ("how", "who"),
    [
        (["--user-signal", "--grace=20"], "requeue by scontrol"),  # by the script, told by USR1
        ([], "requeue by slurm"),
    ],
)
def test_a_preempted_batch_script_goes_on(
    cluster: Cluster, tmp_path: Path, how: list[str], who: str
) -> None:
    (tmp_path / "job.sh").write_text(SCRIPT)
    cluster.do("sbatch", "job.sh", cwd=tmp_path)
    folder = tmp_path / "runs" / "1000"
    wait_until((folder / "checkpoints" / "last.ckpt").exists)
    cluster.do("fakeslurm", "preempt", "1000", *how, cwd=tmp_path)
    assert cluster.ended("1000") == "COMPLETED"
    assert requeues(cluster, "1000") == [who]
    assert (status(folder)["state"], status(folder)["attempts"]) == ("finished", 2)
    assert epochs(folder) == [str(epoch) for epoch in range(40)]
    assert "the training goes on after" in (tmp_path / "slurm-1000.out").read_text()


@pytest.mark.parametrize("options", [["--ntasks=2"], ["--nodes=2", "--ntasks-per-node=1"]])
def test_tasks_of_srun_train_together(cluster: Cluster, tmp_path: Path, options: list[str]) -> None:
    both = ["trainer=ddp", "trainer.accelerator=cpu"]
    nodes = [f"trainer.num_nodes={2 if '--nodes=2' in options else 1}"]
    cluster.do("srun", *options, *PTYCHO, *TINY, *both, *nodes, cwd=tmp_path)
    (folder,) = (tmp_path / "outputs" / "runs").iterdir()
    assert status(folder)["state"] == "finished"
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["step", "2", "4"], "4 tiles, 2 for each task"


def test_tasks_of_a_job_of_a_sweep_train_together(cluster: Cluster, tmp_path: Path) -> None:
    both = ["trainer=ddp", "trainer.accelerator=cpu", "hydra.launcher.tasks_per_node=2"]
    cluster.do(*SWEEP, *both, "trainer.learning_rate=1e-3,3e-3", cwd=tmp_path)
    found = {}
    for number in ("0", "1"):
        folder = tmp_path / "sweep" / number
        assert status(folder)["state"] == "finished"
        rows = (folder / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[1] for row in rows] == ["step", "2", "4"]
        found[number] = obj(folder)
    assert not np.array_equal(found["0"], found["1"])


def test_tasks_that_do_not_fit_the_settings_are_refused_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    words = ["srun", "--ntasks=2", *PTYCHO, *TINY, "trainer=ddp", "trainer.accelerator=cpu"]
    started = cluster.start(*words, "trainer.devices=3", cwd=tmp_path)
    said = started.communicate()[1]
    assert started.returncode == 2
    assert said == (
        "ptycho: srun started 2 processes on each node, and trainer.devices=3; "
        "type trainer.devices=2, or leave it out.\n"
    )
    started = cluster.start(*words, "-m", "seed=1,2", cwd=tmp_path)
    assert "srun started the processes of one training" in started.communicate()[1]
    assert started.returncode == 2
    assert not (tmp_path / "outputs").exists()


def test_settings_that_are_refused_end_all_tasks(cluster: Cluster, tmp_path: Path) -> None:
    holds = tmp_path / "outputs" / "run"
    holds.mkdir(parents=True)
    (holds / "status.json").write_text('{"state": "finished"}')
    words = ["srun", "--ntasks=2", *PTYCHO, *TINY, "trainer=ddp", "trainer.accelerator=cpu"]
    started = cluster.start(*words, f"hydra.run.dir={holds}", cwd=tmp_path)
    said = started.communicate()[1]
    assert started.returncode == 2, said
    assert said.count("already holds a run") == 1
