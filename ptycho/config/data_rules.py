"""Refuses impossible settings of the group ``data`` that say how files are read.

Standard library only; part of :mod:`ptycho.config.validate`.
"""

from collections.abc import Iterator

from ptycho.config.choices import DataFormat, DataSource
from ptycho.config.config import RunConfig


def reading_faults(run: RunConfig) -> Iterator[str]:
    """Sentences about settings of reading where nothing is read, or that name nothing."""
    data = run.data
    simulated = data.source == DataSource.synthetic
    if simulated and data.format != DataFormat.auto and not data.test_data_file:
        yield (
            f"data.format={data.format} says how a file is read, "
            "and data.source=synthetic reads none. Leave it out."
        )
    for name in ("positions_file", "probe_file"):
        path = getattr(data, name)
        if path is None:
            continue
        if not path:
            yield f"data.{name} must name a file, got nothing; leave it out to use none."
        elif simulated:
            yield (
                f"data.{name}={path} belongs to a file of patterns, data.train_data_file, "
                "and data.source=synthetic reads none. Leave it out."
            )
        elif path == data.train_data_file:
            yield f"data.{name} is data.train_data_file itself, {path}; leave it out."
