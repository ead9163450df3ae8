"""Checkpoints that are there whole or not at all, and what they say."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO


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
        with part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, whole)


def epochs_done(path: Path | None) -> int:
    """Whole epochs that a checkpoint knows of; 0 without one."""
    if path is None:
        return 0
    return int(torch.load(path, map_location="cpu", weights_only=True)["epoch"]) + 1
