"""Checkpoints that are there whole or not at all, and what they say."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ptycho.config.config import UserError
from ptycho.config.signals import undisturbed


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


class Checkpoints(ModelCheckpoint):
    """Keeps what it knows of its files when their folder was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the files of the same names in the folder as it is called now."""
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in paths if name in state_dict}
        known = state_dict.get("best_k_models", {})
        moved_known = {here(path): score for path, score in known.items()}
        super().load_state_dict(
            state_dict | moved | {"dirpath": self.dirpath, "best_k_models": moved_known}
        )


def epochs_done(path: Path | None) -> int:
    """Whole epochs that a checkpoint knows of; 0 without one.

    Raises:
        UserError: it cannot be read.
    """
    if path is None:
        return 0
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True)["epoch"]) + 1
    except Exception as error:  # readers of archives raise what they like
        raise UserError(
            f"{path} is damaged and the training cannot go on from it "
            f"({type(error).__name__}); delete it, and the training begins anew."
        ) from None
