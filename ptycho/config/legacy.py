"""The dictionary that older programs read: filled one way, never read back by the core.

Standard library only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

cfg: dict[str, Any] = {}
"""What :mod:`ptycho.params` shows: the settings of the run in progress under their old names."""

KEY_MAPPINGS: dict[str, str] = {
    "object_big": "object.big",
    "probe_big": "probe.big",
    "probe_mask": "probe.mask",
    "probe_trainable": "probe.trainable",
    "intensity_scale_trainable": "intensity_scale.trainable",
    "positions_provided": "positions.provided",
    "output_dir": "output_prefix",
    "train_data_file": "train_data_file_path",
    "test_data_file": "test_data_file_path",
}
"""Field names whose old name differs."""


def get(key: str) -> Any:
    """Value of an old key; ``KeyError`` when it was never set."""
    return cfg[key]


def set(key: str, value: Any) -> None:
    """Set an old key."""
    cfg[key] = value


def update_legacy_dict(target: dict[str, Any], config: Any) -> None:
    """Write a config into the old dictionary.

    Fields of the config and of its ``model`` go in flat, under their old names; ``None`` is
    skipped, paths and choices become strings. Unknown keys of the dictionary stay.

    Args:
        target: the dictionary, usually ``ptycho.params.cfg``.
        config: a dataclass such as ``TrainingConfig`` or ``InferenceConfig``.
    """
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name == "model" and is_dataclass(value):
            update_legacy_dict(target, value)
        elif value is not None and not is_dataclass(value):
            target[KEY_MAPPINGS.get(item.name, item.name)] = _plain(value)


@contextmanager
def legacy_params() -> Iterator[dict[str, Any]]:
    """The old dictionary for one run: emptied on entry, as it was before on exit.

    Several jobs of a sweep share one process; none may see another's settings.
    """
    before = dict(cfg)
    cfg.clear()
    try:
        yield cfg
    finally:
        cfg.clear()
        cfg.update(before)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
