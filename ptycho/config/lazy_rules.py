"""Refuses settings of scans that stay in their file, and of further scans, that do not fit."""

from collections.abc import Iterator

from ptycho.config.choices import DataSource, Lazy, Task
from ptycho.config.config import RunConfig


def lazy_faults(run: RunConfig) -> Iterator[str]:
    """Everything that is wrong with ``data.lazy`` and ``data.further_data_files``."""
    data, method = run.data, run.uncertainty.method
    reads = data.source == DataSource.file or data.test_data_file or data.further_data_files
    if data.lazy != Lazy.auto and not reads:
        yield (
            f"data.lazy={data.lazy} says how a file is read, and data.source=synthetic reads none. "
            "Leave it out."
        )
    if data.lazy == Lazy.always and data.source == DataSource.file and method.draws:
        yield (
            f"uncertainty.method={method} draws whole scans in memory, and data.lazy=always leaves "
            "this one in its file; use uncertainty.method=halves or fisher, or data.lazy=never."
        )
    yield from _further_faults(run)


def _further_faults(run: RunConfig) -> Iterator[str]:
    data, files = run.data, run.data.further_data_files
    if not files:
        return
    named = f"data.further_data_files={files}"
    if run.task != Task.train:
        yield f"{named} are for task=train, and this is task={run.task}. Leave them out."
    elif run.model.architecture.predicts_patches:
        yield (
            f"{named} teach networks that correct an object, and "
            f"model.architecture={run.model.architecture} predicts patches; leave them out."
        )
    if any(not name for name in files):
        yield f"{named} must name scans, and one name is empty; leave it out."
    everything = [*files, *([data.train_data_file] if data.train_data_file else [])]
    for name in sorted({one for one in everything if one and everything.count(one) > 1}):
        yield f"{name} is named twice as a scan to train on; leave it out of {named}."
