"""Checkpoints that are there whole or not at all, and what they say."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside a checkpoint and puts it in place when all is on the disk.

    A process may be killed at any moment, and the one before is then still there.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write it and take the place of the one before."""
        whole = Path(path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        part = whole.with_name(f".{whole.name}.part")
        with undisturbed():
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, whole)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold signals back while the block lasts; their handlers are called behind it.

    A handler that ends the process by an exception, as ours and submitit's do, would end
    ``torch.save`` by another one, about a file that is not whole.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    held: list[tuple[int, FrameType | None]] = []
    before = {one: signal.getsignal(one) for one in _ENDING}
    handlers = {one: handler for one, handler in before.items() if callable(handler)}
    for one in handlers:
        signal.signal(one, lambda *what: held.append(what))
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        for number, frame in held:
            handlers[signal.Signals(number)](number, frame)


def epochs_done(path: Path | None) -> int:
    """Whole epochs that a checkpoint knows of; 0 without one."""
    if path is None:
        return 0
    return int(torch.load(path, map_location="cpu", weights_only=True)["epoch"]) + 1
