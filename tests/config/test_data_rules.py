from typing import Any

import pytest

from ptycho.config.data_config import SyntheticConfig
from ptycho.config.validate import faults
from tests.runs import tiny_run

FILE = {"data__source": "file", "data__train_data_file": "d.h5", "data__nphotons": None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data__format": "slac"}, "data.format=slac says how a file is read, and data.source=syn"),
        ({"data__positions_file": "p.h5"}, "data.positions_file=p.h5 belongs to a file of patte"),
        ({"data__probe_file": ""}, "data.probe_file must name a file, got nothing; leave it out"),
        (FILE | {"data__positions_file": "d.h5"}, "data.positions_file is data.train_data_file it"),
        (FILE | {"data__format": "h6"}, "data.format must be one of auto, npz"),
    ],
)
def test_what_would_not_be_read_is_refused(changes: dict[str, Any], words: str) -> None:
    assert [fault for fault in faults(tiny_run(**changes)) if fault.startswith(words)]


def test_what_is_read_is_not() -> None:
    second = {"data__test_data_file": "t.npz", "data__format": "npz"}
    assert not faults(tiny_run(**second))
    run = tiny_run(**FILE, data__positions_file="p.h5", data__format="ptychodus")
    run.data.synthetic = SyntheticConfig()
    assert not faults(run)
