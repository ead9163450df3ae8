"""Settings that say how files are read, where that goes wrong."""

from typing import Any

import pytest

from ptycho.config.choices import DataFormat, DataSource
from ptycho.config.config import DataConfig, RunConfig
from ptycho.config.validate import faults

NAMED = {"patterns": "entry/data/data", "positions": "points"}


def reading(format_: DataFormat = DataFormat.auto, **keys: Any) -> RunConfig:
    """A run on a file, with named datasets."""
    data = DataConfig(source=DataSource.file, train_data_file="x.h5", format=format_)
    for name, key in keys.items():
        setattr(data.keys, name, key)
    return RunConfig(data=data)


def test_named_datasets_are_possible() -> None:
    assert not faults(reading(**NAMED))
    assert not faults(reading(DataFormat.hdf5, follow_links=True, **NAMED))
    assert not faults(reading(DataFormat.cxi, follow_links=True))


@pytest.mark.parametrize(
    ("format_", "keys", "words"),
    [
        ("auto", {"positions": "p"}, "data.keys.positions needs data.keys.patterns: where the"),
        ("npz", NAMED, "patterns names a dataset for data.format=hdf5, and data.format is npz, wh"),
        ("npz", {"follow_links": True}, "follow_links=true is for formats with links (cxi, fold"),
        ("auto", NAMED | {"probe": " / "}, "data.keys.probe must name a dataset, got ' / '; leave"),
        ("auto", NAMED | {"positions_y": "y"}, "positions and data.keys.positions_y say the same"),
        ("auto", {"patterns": "a", "positions_x": "x"}, "positions_x needs data.keys.positions_y"),
    ],
)
def test_what_is_refused(format_: str, keys: dict[str, Any], words: str) -> None:
    (fault,) = faults(reading(DataFormat(format_), **keys))
    assert words in fault


@pytest.mark.parametrize("keys", [NAMED, {"follow_links": True}])
def test_a_simulated_scan_has_no_datasets(keys: dict[str, Any]) -> None:
    run = RunConfig(data=DataConfig(nphotons=1e5))
    for name, key in keys.items():
        setattr(run.data.keys, name, key)
    (fault,) = faults(run)
    assert "says how a file is read, and data.source=synthetic reads none. Leave it out." in fault
