"""The fake does what it is used for: what SLURM's manual pages say of these commands."""

import re
from pathlib import Path

import pytest

from tests.fakeslurm.cluster import Cluster, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

SLEEPER = """#!/bin/bash
#SBATCH --job-name=sleeper
#SBATCH --signal=USR1@60
srun --output=%j_%t.out bash -c \\
  'trap "echo told; exit 3" USR1; for i in {1..999}; do sleep 0.05; done'
"""


def script(folder: Path, text: str) -> str:
    (folder / "job.sh").write_text(text)
    return str(folder / "job.sh")


def submit(cluster: Cluster, folder: Path, text: str, *options: str) -> str:
    said = cluster.do("sbatch", *options, script(folder, text), cwd=folder)
    match = re.fullmatch(r"Submitted batch job (\d+)\n", said)
    assert match
    return match[1]


def test_tasks_of_an_array_know_who_they_are(cluster: Cluster, tmp_path: Path) -> None:
    text = (
        "#!/bin/bash\n#SBATCH --array=0-2%2\n#SBATCH --output=%A_%a.txt\n"
        "echo $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_JOB_ID ${SLURM_RESTART_COUNT-none}\n"
    )
    number = int(submit(cluster, tmp_path, text))
    for task in range(3):
        assert cluster.ended(f"{number}_{task}") == "COMPLETED"
        said = (tmp_path / f"{number}_{task}.txt").read_text()
        assert said == f"{number} {task} {number + task} none\n"
    said = cluster.do("sacct", "-o", "JobID,State", "--parsable2", "-j", str(number), cwd=tmp_path)
    assert f"{number}_1|COMPLETED|localhost" in said


def test_srun_places_its_tasks_on_nodes(cluster: Cluster, tmp_path: Path) -> None:
    words = ["srun", "--nodes=2", "--ntasks-per-node=2", "--output=%t.txt", "bash", "-c"]
    names = ("PROCID", "NODEID", "LOCALID", "NTASKS", "NNODES", "STEP_NUM_TASKS", "STEP_ID")
    asked = " ".join(f"$SLURM_{name}" for name in names)
    cluster.do(*words, f"echo {asked}", cwd=tmp_path)
    said = [(tmp_path / f"{rank}.txt").read_text() for rank in range(4)]
    assert said == ["0 0 0 4 2 4 0\n", "1 0 1 4 2 4 0\n", "2 1 0 4 2 4 0\n", "3 1 1 4 2 4 0\n"]


def test_a_batch_script_is_no_step(cluster: Cluster, tmp_path: Path) -> None:
    text = "#!/bin/bash\necho $SLURM_PROCID $SLURM_NTASKS ${SLURM_STEP_ID-none}\n"
    job = submit(cluster, tmp_path, text, "--ntasks=2")
    assert cluster.ended(job) == "COMPLETED"
    assert (tmp_path / f"slurm-{job}.out").read_text() == "0 2 none\n"


def test_a_preempted_job_is_requeued_once(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, SLEEPER)
    wait_until(lambda: (cluster.jobs / job / "step.0").exists())
    cluster.do("fakeslurm", "preempt", job, cwd=tmp_path)
    wait_until(lambda: "started 1" in cluster.events(job))
    assert [event for event in cluster.events(job) if "requeue" in event] == ["requeue by slurm"]
    cluster.do("scancel", job, cwd=tmp_path)
    assert cluster.ended(job) == "CANCELLED"


def test_a_job_that_ends_while_it_may_is_not_requeued(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, SLEEPER)
    wait_until(lambda: (cluster.jobs / job / "step.0").exists())
    cluster.do("fakeslurm", "preempt", job, "--user-signal", "--grace=20", cwd=tmp_path)
    assert cluster.ended(job) == "FAILED"
    assert cluster.events(job)[2:] == ["preempted", "signal USR1", "ended 3"]


def test_the_signal_that_was_asked_for_comes_before_the_limit(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.env["FAKESLURM_MINUTE"] = "1"
    job = submit(cluster, tmp_path, SLEEPER, "--time=3")
    assert cluster.ended(job) == "FAILED"
    assert cluster.events(job) == ["submitted", "started 0", "signal USR1", "ended 3"]
    assert (tmp_path / f"{job}_0.out").read_text() == "told\n"


def test_the_limit_ends_a_job(cluster: Cluster, tmp_path: Path) -> None:
    cluster.env["FAKESLURM_MINUTE"] = "1"
    job = submit(cluster, tmp_path, "#!/bin/bash\nsleep 60\n", "--time=1")
    assert cluster.ended(job) == "TIMEOUT"


def test_options_that_sbatch_lacks_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    started = cluster.start("sbatch", "--gpu=1", script(tmp_path, "#!/bin/bash\n"), cwd=tmp_path)
    assert "unrecognized option '--gpu=1'" in started.communicate()[1]
    assert started.returncode == 1
