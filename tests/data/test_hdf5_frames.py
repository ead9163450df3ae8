import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from ptycho.data.frames import ArrayFrames, ChosenFrames
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.scan import DataError

COUNTS = np.random.default_rng(0).integers(0, 99, (40, 6, 5)).astype(np.uint16)


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("a/patterns", data=COUNTS, chunks=(7, 6, 5), compression="lzf")
        file["last"] = np.moveaxis(COUNTS, 0, -1)
        file["flat"] = COUNTS[0]
        file["words"] = np.full((2, 2, 2), b"no")
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/secret")
        file["nowhere"] = h5py.SoftLink("/gone")
        file["circle"] = h5py.SoftLink("/circle")
        file["round"] = h5py.SoftLink("/elsewhere/x")
        file["here"] = h5py.SoftLink("a/patterns")
        file.create_dataset("out", (2, 2, 2), "u1", external=[("/etc/passwd", 0, 8)])
        layout = h5py.VirtualLayout((10**7, 10**4, 10**4), "u1")
        file.create_virtual_dataset("vast", layout)
        layout = h5py.VirtualLayout((2, 6, 5), "u2")
        layout[:] = h5py.VirtualSource("other.h5", "x", (2, 6, 5))
        file.create_virtual_dataset("virtual", layout)
    return tmp_path / "scan.h5"


ROWS = [
    slice(3, 9), slice(None), slice(30, 99), slice(9, 3), slice(1, 30, 4), slice(20, 3, -2),
    np.array([5]), np.array([8, 7, 7, 30, 31, 0, 39, -1]), np.zeros(0, np.int64),
]  # fmt: skip


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_rows_are_those_of_numpy(path, rows):
    frames = Hdf5Frames(path, "a/patterns")
    assert frames.shape == COUNTS.shape
    assert frames.dtype == np.uint16
    np.testing.assert_array_equal(frames.read(rows), COUNTS[rows])
    last = Hdf5Frames(path, "last", axes=(2, 0, 1))
    np.testing.assert_array_equal(last.read(rows), COUNTS[rows])
    np.testing.assert_array_equal(Hdf5Frames(path, "here").read(rows), COUNTS[rows])
    turned = Hdf5Frames(path, "a/patterns", axes=(0, 2, 1))
    np.testing.assert_array_equal(turned.read(rows), COUNTS[rows].transpose(0, 2, 1))


def test_chosen_frames_are_those_that_were_chosen(path):
    which = np.array([4, 5, 6, 1, 39])
    for frames in (Hdf5Frames(path, "a/patterns"), ArrayFrames(COUNTS, path, "x")):
        some = ChosenFrames(frames, which)
        assert some.shape == (5, 6, 5)
        for rows in (slice(0, 3), slice(None), np.array([4, 0, 0])):
            np.testing.assert_array_equal(some.read(rows), COUNTS[which][rows])


def test_it_can_be_closed_pickled_and_read_by_threads(path):
    frames = Hdf5Frames(path, "a/patterns")
    frames.close()
    np.testing.assert_array_equal(frames.read(slice(2)), COUNTS[:2])
    again = pickle.loads(pickle.dumps(frames))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: again.read(np.array([row])), range(40)))
    np.testing.assert_array_equal(np.concatenate(found), COUNTS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_opens_the_file_itself(path):
    frames = Hdf5Frames(path, "a/patterns")
    frames.read(slice(1))
    child = os.fork()
    if not child:
        same = (frames.read(slice(5, 9)) == COUNTS[5:9]).all()
        frames.close()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(frames.read(slice(5, 9)), COUNTS[5:9])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("gone", "gone is missing"),
        ("a/gone", "a/gone is missing"),
        ("a/patterns/more", "is missing"),
        ("a", "must be an array, got a group"),
        ("flat", r"must be patterns \(n, H, W\), got \(6, 5\)"),
        ("words", "must hold real counts or amplitudes"),
        ("nowhere", "nowhere is a link that leads nowhere"),
        ("circle", "is a link that leads in a circle"),
        ("round", "a link to another file"),
        ("elsewhere", r"a link to another file, other.h5, which is not followed"),
        ("elsewhere/deeper", "a link to another file"),
        ("out", "keeps its numbers in another file, /etc/passwd"),
        ("virtual", "keeps its numbers in another file, other.h5"),
        ("vast", "is larger than any scan"),
    ],
)
def test_what_is_refused(path, key, words):
    with pytest.raises(DataError, match=rf"scan\.h5: .*{words}"):
        Hdf5Frames(path, key)


def test_a_damaged_file_is_refused_when_it_is_read(path, tmp_path):
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file["a/patterns"].id.get_chunk_info(2)
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(content)
    frames = Hdf5Frames(path, "a/patterns")
    np.testing.assert_array_equal(frames.read(slice(7)), COUNTS[:7])
    with pytest.raises(DataError, match="patterns cannot be read, the file is damaged"):
        frames.read(slice(None))
    frames.close()
    path.write_bytes(content[:300])
    with pytest.raises(DataError, match=r"an HDF5 file that .* or was cut short"):
        Hdf5Frames(path, "a/patterns")


@pytest.mark.parametrize("chunks", [None, (1, 6, 5), (4, 3, 5)])
@pytest.mark.parametrize("fill", [0, 7])
@pytest.mark.parametrize("written", [40, 20, 0])
def test_what_nobody_wrote_is_no_measurement(tmp_path, chunks, fill, written):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        there = file.create_dataset("x", COUNTS.shape, "u2", chunks=chunks, fillvalue=fill)
        if written:
            there[:written] = COUNTS[:written]
    # a file in one piece is filled up as soon as anything is written
    if fill and (written == 0 or (written < 40 and chunks)):
        with pytest.raises(DataError, match=r"not written to its end: .* would be read as 7;"):
            Hdf5Frames(tmp_path / "x.h5", "x")
        return
    read = Hdf5Frames(tmp_path / "x.h5", "x").read(slice(None))
    np.testing.assert_array_equal(read[:written], COUNTS[:written])
    assert (read[written:] == fill).all()


def test_small_frames_beside_their_header_are_whole(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_layout(h5py.h5d.COMPACT)
        how.set_fill_value(np.array(7, "u2"))
        space = h5py.h5s.create_simple((2, 6, 5))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.STD_U16LE, space, how)
        h5py.Dataset(made)[:] = COUNTS[:2]
    np.testing.assert_array_equal(Hdf5Frames(tmp_path / "x.h5", "x").read(slice(None)), COUNTS[:2])


def test_a_file_that_took_its_place_is_refused(path):
    frames = Hdf5Frames(path, "a/patterns")
    frames.close()
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="was changed, moved or removed"):
        frames.read(slice(1))


def test_a_file_that_was_changed_is_not_read_on(path):
    frames = Hdf5Frames(path, "a/patterns")
    frames.read(slice(3))
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="was changed, moved or removed since"):
        frames.read(slice(3))
