"""What may be asked of the files of a scan.

Standard library only; part of :mod:`ptycho.config.validate`.
"""

from collections.abc import Iterator
from dataclasses import fields

from ptycho.config.choices import DataFormat, DataSource
from ptycho.config.config import DataConfig, KeysConfig, PreprocessConfig, RunConfig

_OF_FILES = ("geometry", "positions", "preprocess")
_OF_BEAMS = ("geometry.energy_ev", "geometry.pixel_size_m")  # simulated ones as well


def file_faults(run: RunConfig) -> Iterator[str]:
    """Settings of the group ``data`` that contradict each other or would not be read."""
    data = run.data
    if data.source == DataSource.synthetic and not data.test_data_file:
        yield from _unread_faults(data)
    yield from _preprocess_faults(data.preprocess)


def _unread_faults(data: DataConfig) -> Iterator[str]:
    """How a file is read, where none is."""
    usual = DataConfig()
    for group in _OF_FILES:
        config, default = getattr(data, group), getattr(usual, group)
        for item in fields(config):
            value = getattr(config, item.name)
            if f"{group}.{item.name}" in _OF_BEAMS:
                continue
            if value != getattr(default, item.name):
                yield (
                    f"data.{group}.{item.name}={str(value).lower()} says how a file is read, "
                    "and data.source=synthetic reads none. Leave it out."
                )


def reading_faults(run: RunConfig) -> Iterator[str]:
    """Sentences about settings of reading where nothing is read, or that name nothing."""
    data = run.data
    simulated = data.source == DataSource.synthetic
    if simulated and data.format != DataFormat.auto and not data.test_data_file:
        yield (
            f"data.format={data.format} says how a file is read, "
            "and data.source=synthetic reads none. Leave it out."
        )
    path = data.positions_file
    if path == "":
        yield "data.positions_file must name a file, got nothing; leave it out to use none."
    elif path and simulated:
        yield (
            f"data.positions_file={path} belongs to a file of patterns, data.train_data_file, "
            "and data.source=synthetic reads none. Leave it out."
        )
    elif path and path == data.train_data_file:
        yield f"data.positions_file is data.train_data_file itself, {path}; leave it out."
    yield from _key_faults(data, reads=not simulated or bool(data.test_data_file))


def _key_faults(data: DataConfig, *, reads: bool) -> Iterator[str]:
    """Names of datasets where none are looked up, or that do not go together."""
    named = {item.name: getattr(data.keys, item.name) for item in fields(KeysConfig)}
    follows = named.pop("follow_links")
    named = {name: key for name, key in named.items() if key is not None}
    first = next(iter(named), None)
    if not reads and (follows or first):
        said = f"{first}={named[first]}" if first else "follow_links=true"
        yield (
            f"data.keys.{said} says how a file is read, and data.source=synthetic reads none. "
            "Leave it out."
        )
        return
    for name, key in named.items():
        if not key.strip("/. "):
            yield f"data.keys.{name} must name a dataset, got {key!r}; leave it out to use none."
    if first and data.format not in (DataFormat.auto, DataFormat.hdf5):
        yield (
            f"data.keys.{first} names a dataset for data.format=hdf5, and data.format is "
            f"{data.format}, which knows its own; leave one of them out."
        )
    elif first and "patterns" not in named:
        yield f"data.keys.{first} needs data.keys.patterns: where the patterns are."
    if follows and not data.format.has_links:
        yield (
            "data.keys.follow_links=true is for formats with links (cxi, fold_slice, hdf5), and "
            f"data.format is {data.format}; leave one of them out."
        )
    apart = [name for name in ("positions_y", "positions_x") if name in named]
    if apart and "positions" in named:
        yield f"data.keys.positions and data.keys.{apart[0]} say the same; leave one of them out."
    elif len(apart) == 1:
        other = "positions_x" if apart[0] == "positions_y" else "positions_y"
        yield f"data.keys.{apart[0]} needs data.keys.{other}, too."


def _preprocess_faults(how: PreprocessConfig) -> Iterator[str]:
    """What is to be done to patterns and cannot be, whatever they are."""
    for name in ("background_file", "bad_pixels_file"):
        if getattr(how, name) == "":
            yield f"data.preprocess.{name} must name a file, got nothing; leave it out."
    if how.background is not None and how.background_file is not None:
        yield (
            f"data.preprocess.background={how.background:g} and background_file both say what is "
            "subtracted; leave one of them out."
        )
    for name in ("center_y", "center_x"):
        if how.find_center and getattr(how, name) is not None:
            yield (
                f"data.preprocess.{name}={getattr(how, name):g} says where the beam is, and "
                "data.preprocess.find_center=true looks for it; leave one of them out."
            )
    for low, high, words in (
        ("minimum", "maximum", "no count is left between them"),
        ("drop_below", "drop_above", "no frame is left between them"),
    ):
        least, most = getattr(how, low), getattr(how, high)
        if least is not None and most is not None and least > most:
            yield (
                f"data.preprocess.{low}={least:g} is more than data.preprocess.{high}={most:g}: "
                f"{words}."
            )
