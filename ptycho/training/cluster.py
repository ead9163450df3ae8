"""Where ``srun`` or ``torchrun`` put this process among those that train together.

Reads environment variables only; Lightning is loaded where its objects are made.
"""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ptycho.config.config import HardwareConfig

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

_BY_HAND = ("bash", "interactive")  # names of SLURM jobs in which somebody types commands


class Place(NamedTuple):
    """A process among the processes of one training, which somebody else has started."""

    by: str
    """``srun`` or ``torchrun``."""
    rank: int
    """Among all."""
    local_rank: int
    """Among those of its node."""
    node: int
    """Number of its node."""
    processes: int
    """On all nodes."""
    nodes: int

    @property
    def per_node(self) -> int:
        """Processes of a node."""
        return self.processes // self.nodes


def place(env: Mapping[str, str] = os.environ) -> Place | None:
    """Where this process was put; None: it was started alone.

    A batch script has some of SLURM's variables, too: only ``srun`` sets ``SLURM_STEP_ID``.
    """
    if "TORCHELASTIC_RUN_ID" in env:  # first: torchrun is started by srun as well
        names = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "GROUP_WORLD_SIZE")
        return Place("torchrun", *(int(env[name]) for name in names))
    count = int(env.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_STEP_ID" not in env or count == 1 or env.get("SLURM_JOB_NAME") in _BY_HAND:
        return None
    rank, local, node = (int(env[f"SLURM_{name}"]) for name in ("PROCID", "LOCALID", "NODEID"))
    return Place("srun", rank, local, node, count, int(env.get("SLURM_STEP_NUM_NODES", "1")))


def global_rank(hardware: HardwareConfig, env: Mapping[str, str] = os.environ) -> int:
    """0 in the process that writes; a stray variable means nothing to a run of one process."""
    if hardware.strategy != "ddp":
        return 0
    here = place(env)
    return here.rank if here else int(env.get("LOCAL_RANK", "0"))


def local_rank(hardware: HardwareConfig, env: Mapping[str, str] = os.environ) -> int:
    """Number of this process on its machine, which is that of its GPU."""
    if hardware.strategy != "ddp":
        return 0
    here = place(env)
    return here.local_rank if here else int(env.get("LOCAL_RANK", "0"))


def environments(hardware: HardwareConfig) -> "list[ClusterEnvironment]":
    """The plugin that tells Lightning's Trainer who started the processes.

    Lightning is not left to find out: it takes any job of SLURM for one task of many, and would
    requeue a preempted one itself, which submitit, SLURM or the batch script does already.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    here = place() if hardware.strategy == "ddp" else None
    if here is None:
        return [LightningEnvironment()]
    if here.by == "torchrun":
        return [TorchElasticEnvironment()]
    os.environ |= {  # of this step; srun hands on those of the whole job, or none
        "SLURM_NTASKS": str(here.processes),
        "SLURM_NTASKS_PER_NODE": str(here.per_node),
        "SLURM_NNODES": str(here.nodes),
    }
    return [SLURMEnvironment(auto_requeue=False)]


def place_faults(hardware: HardwareConfig) -> Iterator[str]:
    """Sentences about processes that are fewer or more than the settings say."""
    here, nodes = place(), hardware.num_nodes
    if hardware.strategy != "ddp":
        if here and here.by == "torchrun" and here.processes > 1:
            yield (
                f"torchrun started {here.processes} processes, and trainer.strategy="
                f"{hardware.strategy} needs one: add trainer=ddp, or start it without torchrun."
            )
        return
    if here is None:
        if nodes > 1:
            yield (
                f"trainer.num_nodes={nodes}: the processes of several machines are started by srun "
                "or torchrun, and this one was not; docs/clusters.md shows how."
            )
        return
    if here.processes % here.nodes:
        yield (
            f"{here.by} started {here.processes} processes on {here.nodes} nodes; every node needs "
            "as many as every other one."
        )
        return
    if here.nodes != nodes:
        yield (
            f"{here.by} started processes on {here.nodes} nodes, and trainer.num_nodes={nodes}; "
            f"type trainer.num_nodes={here.nodes}."
        )
    if hardware.devices not in ("auto", here.per_node):
        yield (
            f"{here.by} started {here.per_node} processes on each node, and trainer.devices="
            f"{hardware.devices}; type trainer.devices={here.per_node}, or leave it out."
        )
