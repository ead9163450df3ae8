"""What may be asked of the files of a scan.

Standard library only; part of :mod:`ptycho.config.validate`.
"""

from collections.abc import Iterator
from dataclasses import fields

from ptycho.config.choices import DataSource
from ptycho.config.config import DataConfig, RunConfig

_OF_FILES = ("geometry", "positions", "preprocess")


def file_faults(run: RunConfig) -> Iterator[str]:
    """Settings of the group ``data`` that contradict each other or would not be read."""
    data = run.data
    if data.source == DataSource.synthetic and not data.test_data_file:
        yield from _unread_faults(data)
    if data.geometry.near_field:
        yield (
            "data.geometry.near_field=true: patterns of the near field are not supported, only "
            "those of the far field. Leave it out if they are."
        )


def _unread_faults(data: DataConfig) -> Iterator[str]:
    """How a file is read, where none is."""
    usual = DataConfig()
    for group in _OF_FILES:
        config, default = getattr(data, group), getattr(usual, group)
        for item in fields(config):
            value = getattr(config, item.name)
            if value != getattr(default, item.name):
                yield (
                    f"data.{group}.{item.name}={str(value).lower()} says how a file is read, "
                    "and data.source=synthetic reads none. Leave it out."
                )
