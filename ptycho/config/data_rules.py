"""What may be asked of the files of a scan.

Standard library only; part of :mod:`ptycho.config.validate`.
"""

from collections.abc import Iterator
from dataclasses import fields

from ptycho.config.choices import DataSource
from ptycho.config.config import DataConfig, PreprocessConfig, RunConfig

_OF_FILES = ("geometry", "positions", "preprocess")


def file_faults(run: RunConfig) -> Iterator[str]:
    """Settings of the group ``data`` that contradict each other or would not be read."""
    data = run.data
    if data.source == DataSource.synthetic and not data.test_data_file:
        yield from _unread_faults(data)
    yield from _preprocess_faults(data.preprocess)
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
