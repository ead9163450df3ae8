import os

import numpy as np
import pytest

from ptycho.config.choices import DataFormat
from ptycho.data.formats.npz import write_npz
from ptycho.data.formats.registry import FORMATS, Reading, frame_shape, measure, recognised
from ptycho.data.frames import ArrayFrames
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError
from tests.runs import tiny_scan

LOSSLESS = [one.name for one in FORMATS.values() if one.write and one.measure]


@pytest.fixture(scope="module")
def scan():
    return tiny_scan(patch_size=16, n_patterns=16)


def test_every_format_can_be_chosen():
    readable = {name for name, one in FORMATS.items() if one.measure}
    assert {str(one) for one in DataFormat} == {"auto", *readable}


@pytest.mark.parametrize("name", LOSSLESS)
def test_what_a_format_writes_it_recognises_whatever_its_name(tmp_path, scan, name):
    FORMATS[name].write(tmp_path / "x", scan)
    assert recognised(tmp_path / "x").name == name
    again = prepare(measure(tmp_path / "x"))
    np.testing.assert_array_equal(again.amplitude, scan.amplitude)
    np.testing.assert_allclose(again.positions, scan.positions, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_size_is_known_without_reading_patterns(tmp_path, scan, name, monkeypatch):
    FORMATS[name].write(tmp_path / "x", scan)

    def read(*_):
        raise AssertionError("patterns were read")

    monkeypatch.setattr(Hdf5Frames, "read", read)
    monkeypatch.setattr(ArrayFrames, "__init__", read)
    assert frame_shape(tmp_path / "x") == (16, 16)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY"])
def test_rubbish_is_no_scan(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(
        DataError, match=r"x: (not an? \w+ file|an HDF5 file that|not a scan in any known format)"
    ):
        measure(tmp_path / "x")


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone: no such file"):
        measure(tmp_path / "gone")
    with pytest.raises(DataError, match="not a scan in any known format"):
        measure(tmp_path)
    with pytest.raises(DataError, match="is a folder, and no scan of the format npz"):
        measure(tmp_path, "npz")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe\.npz: neither a file nor a folder, but a pipe"):
        measure(tmp_path / "pipe.npz")


def test_a_file_of_another_format_than_told_is_named(tmp_path, scan):
    FORMATS["cxi"].write(tmp_path / "x", scan)
    with pytest.raises(DataError, match=r"x is CXI.*, not PtychoPINN .*type data=file"):
        measure(tmp_path / "x", "npz")
    # what is of none may be a damaged one of the format that was told
    (tmp_path / "y").write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match="not an NPZ file, or cut short"):
        measure(tmp_path / "y", "npz")


def test_positions_that_would_not_be_read_are_refused(tmp_path, scan):
    write_npz(tmp_path / "x", scan)
    how = Reading(positions_file=tmp_path / "p.h5")
    with pytest.raises(DataError, match=r"p\.h5: its positions would not be read, .*x is Ptycho"):
        measure(tmp_path / "x", how=how)
