"""The processes of one training that share its batches (DDP).

They are started here, from the settings that the first one recorded, unless a batch system or
``torchrun`` started them: whatever was typed, and whatever a sweep drew, all train the same.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ptycho.config.config import HardwareConfig, UserError
from ptycho.config.process import exit_codes, gentle_threads
from ptycho.config.signals import interruption
from ptycho.training.cluster import place

_PATIENCE = 20.0
"""Seconds that the first process is given to end by itself when another one died."""
_LAST_FILES = 600.0
"""Seconds that the others are given to end when the first one is through."""


@contextlib.contextmanager
def other_ranks(hardware: HardwareConfig, folder: Path) -> Iterator[None]:
    """Have the other processes of this machine work on the run while the block lasts.

    Args:
        hardware: how many.
        folder: of the run, with its ``config.resolved.yaml``.

    Raises:
        UserError: one of them failed.
    """
    count = _processes(hardware)
    if count == 1 or _started_elsewhere():
        yield
        return
    shared = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count), "NODE_RANK": "0",
    }  # fmt: skip
    words = [sys.executable, "-m", "ptycho.workflows.ranks", str(folder)]
    others = [
        subprocess.Popen(words, env=os.environ | shared | {"LOCAL_RANK": str(rank)})
        for rank in range(1, count)
    ]
    before = {name: os.environ.get(name) for name in (*shared, "LOCAL_RANK")}
    os.environ.update(shared | {"LOCAL_RANK": "0"})
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(others, over), daemon=True)
    watch.start()
    try:
        yield
        _wait(others)
    except RuntimeError as error:
        dead = [one.poll() for one in others if one.poll()]
        if dead and interruption(error) is None:
            raise UserError(
                f"another process of this training ended with exit code {dead[0]}; what it said "
                "stands above."
            ) from error
        raise
    finally:
        over.set()
        _end(others)
        _leave_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _leave_group() -> None:
    """Forget these processes: another run of this one, in a sweep, has others."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _processes(hardware: HardwareConfig) -> int:
    if hardware.strategy != "ddp":
        return 1
    if isinstance(hardware.devices, int):
        return hardware.devices
    import torch

    from ptycho.workflows.problem import pick_device

    return torch.cuda.device_count() if pick_device(hardware.accelerator).type == "cuda" else 1


def _started_elsewhere() -> bool:
    """Whether somebody else has started the other processes, and this one among them."""
    return "LOCAL_RANK" in os.environ or place() is not None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _watch(others: list[subprocess.Popen[Any]], over: threading.Event) -> None:
    """When one process dies the rest would wait for it: have them end, too."""
    while not over.wait(0.2):
        if any(one.poll() not in (None, 0) for one in others):
            for one in others:
                if one.poll() is None:
                    one.terminate()
            # losing its peer ends the first one as a rule; else it is told, as a batch system would
            if not over.wait(_PATIENCE):
                os.kill(os.getpid(), signal.SIGTERM)
            return


def _wait(others: list[subprocess.Popen[Any]]) -> None:
    until = time.monotonic() + _LAST_FILES
    for rank, one in enumerate(others, 1):
        code = one.wait(max(until - time.monotonic(), 0.1))
        if code:
            raise UserError(f"process {rank} of this training ended with exit code {code}.")


def _end(others: list[subprocess.Popen[Any]]) -> None:
    for one in others:
        if one.poll() is None:
            one.terminate()
    for one in others:
        try:
            one.wait(10)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def main() -> None:
    """Work on the run of a folder as one of its other processes."""
    gentle_threads()
    folder = Path(sys.argv[1])
    with exit_codes():
        from ptycho.workflows.factory import run_from
        from ptycho.workflows.launch import launch

        settings = yaml.safe_load((folder / "config.resolved.yaml").read_text("utf-8"))
        try:
            launch(run_from(settings), folder, [])
        except RuntimeError as error:
            if "onnection" not in str(error):
                raise
            sys.exit(1)  # the first process is gone, and says itself why


if __name__ == "__main__":
    main()
