"""What the settings say about reading the file of a scan."""

from dataclasses import fields
from pathlib import Path

from ptycho.config.config import DataConfig, KeysConfig
from ptycho.data.formats.registry import Reading


def reading_of(path: str, data: DataConfig, patches: bool = False) -> Reading:
    """What the reader of a file has to be told.

    Args:
        path: the file. Positions and probe in files of their own belong to
            ``data.train_data_file``, not to a second scan.
        data: settings.
        patches: whether object patches are wanted.
    """
    mine = path == data.train_data_file
    keys = {one.name: getattr(data.keys, one.name) for one in fields(KeysConfig)}
    follow = keys.pop("follow_links")
    return Reading(
        patches=patches,
        positions_file=Path(data.positions_file) if mine and data.positions_file else None,
        keys={name: key for name, key in keys.items() if key is not None},
        follow_links=follow,
    )
