"""Who started the processes, read from what SLURM and torchrun leave in the environment."""

import os
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ptycho.config.config import HardwareConfig
from ptycho.training.cluster import (
    Place,
    environments,
    global_rank,
    local_rank,
    place,
    place_faults,
)

DDP = HardwareConfig(strategy="ddp")
ALONE = HardwareConfig()
# of a batch script: it has a rank, and the tasks of the whole job
BATCH = {
    "SLURM_JOB_ID": "71", "SLURM_JOB_NAME": "scan", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0", "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2",
}  # fmt: skip
STEP = BATCH | {
    "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_NODELIST": "n[07-08]",
}  # fmt: skip
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none", "RANK": "5", "LOCAL_RANK": "1", "GROUP_RANK": "2",
    "WORLD_SIZE": "6", "GROUP_WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2",
}  # fmt: skip


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts this process where some variables say."""

    def put(variables: dict[str, str]) -> None:
        for name in [*os.environ]:
            if name.startswith(("SLURM_", "TORCHELASTIC_", "MASTER_")):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    put({})
    return put


def test_a_process_knows_its_place() -> None:
    assert place({}) is None
    assert place(STEP) == Place("srun", rank=3, local_rank=1, node=1, processes=4, nodes=2)
    assert place(TORCHRUN) == Place("torchrun", rank=5, local_rank=1, node=2, processes=6, nodes=3)
    assert place(STEP | TORCHRUN) == place(TORCHRUN), "srun started the torchrun of each node"


@pytest.mark.parametrize(
    "variables",
    [
        BATCH,  # python without srun
        STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"},
        STEP | {"SLURM_JOB_NAME": "bash"},  # srun --pty bash
        STEP | {"SLURM_JOB_NAME": "interactive"},
        {"RANK": "1", "WORLD_SIZE": "2"},  # stray
    ],
)
def test_others_were_started_alone(variables: dict[str, str]) -> None:
    assert place(variables) is None
    assert global_rank(DDP, variables) == 0


def test_ranks_are_those_of_who_started_the_processes() -> None:
    assert (global_rank(DDP, STEP), local_rank(DDP, STEP)) == (3, 1)
    assert (global_rank(DDP, TORCHRUN), local_rank(DDP, TORCHRUN)) == (5, 1)
    # those that ptycho itself starts in a job of one task, whose SLURM_PROCID is 0 in all of them
    own = BATCH | {"SLURM_NTASKS": "1", "LOCAL_RANK": "2"}
    assert (global_rank(DDP, own), local_rank(DDP, own)) == (2, 2)
    for variables in (STEP, TORCHRUN, own):
        assert (global_rank(ALONE, variables), local_rank(ALONE, variables)) == (0, 0)


def test_lightning_requeues_nothing(inside: Any) -> None:
    inside(STEP)
    (found,) = environments(DDP)
    assert isinstance(found, SLURMEnvironment)
    assert not found.auto_requeue
    assert (found.global_rank(), found.local_rank(), found.node_rank()) == (3, 1, 1)
    assert found.world_size() == 4
    assert found.main_address == "n07"
    found.validate_settings(num_devices=2, num_nodes=2)


def test_lightning_hears_of_the_step_and_not_of_the_job(inside: Any) -> None:
    whole = {"SLURM_NTASKS": "16", "SLURM_NTASKS_PER_NODE": "8", "SLURM_NNODES": "2"}
    inside(STEP | whole | {"SLURM_STEP_NUM_NODES": "1", "SLURM_NODEID": "0", "SLURM_LOCALID": "3"})
    (found,) = environments(DDP)
    assert found.world_size() == 4
    found.validate_settings(num_devices=4, num_nodes=1)


def test_lightning_need_not_guess(inside: Any) -> None:
    inside(TORCHRUN)
    (found,) = environments(DDP)
    assert isinstance(found, TorchElasticEnvironment)
    (found,) = environments(ALONE)
    assert isinstance(found, LightningEnvironment)
    inside(BATCH | {"SLURM_NTASKS": "1"})  # in which ptycho starts a process for each GPU
    (found,) = environments(DDP)
    assert isinstance(found, LightningEnvironment)


def faults(**settings: Any) -> list[str]:
    return [*place_faults(HardwareConfig(**settings))]


def test_processes_that_fit_the_settings_are_welcome(inside: Any) -> None:
    assert faults() == faults(strategy="ddp", devices=8) == []
    inside(STEP)
    assert faults(strategy="ddp", devices=2, num_nodes=2) == []
    assert faults(strategy="ddp", num_nodes=2) == []
    assert faults() == [], "each task may be a run of its own"
    inside(TORCHRUN)
    assert faults(strategy="ddp", num_nodes=3) == []


def test_processes_that_do_not_are_refused(inside: Any) -> None:
    assert faults(strategy="ddp", num_nodes=2) == [
        "trainer.num_nodes=2: the processes of several machines are started by srun or torchrun, "
        "and this one was not; docs/clusters.md shows how."
    ]
    inside(STEP)
    assert faults(strategy="ddp", devices=4, num_nodes=1) == [
        "srun started processes on 2 nodes, and trainer.num_nodes=1; type trainer.num_nodes=2.",
        "srun started 2 processes on each node, and trainer.devices=4; type trainer.devices=2, or "
        "leave it out.",
    ]
    inside(STEP | {"SLURM_STEP_NUM_TASKS": "3"})
    (said,) = faults(strategy="ddp", num_nodes=2)
    assert said.startswith("srun started 3 processes on 2 nodes; every node needs as many")
    inside(TORCHRUN)
    assert faults() == [
        "torchrun started 6 processes, and trainer.strategy=auto needs one: add trainer=ddp, or "
        "start it without torchrun."
    ]


def test_nothing_is_loaded_to_know_it() -> None:
    import subprocess
    import sys

    code = "import sys, ptycho.training.cluster; print([*{'torch', 'lightning'} & {*sys.modules}])"
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert said.stdout == "[]\n", said.stderr
