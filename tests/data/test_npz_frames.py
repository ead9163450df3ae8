import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ptycho.data.npz_frames import NpzFrames
from ptycho.data.scan import DataError

COUNTS = np.random.default_rng(0).integers(0, 99, (40, 6, 5)).astype(np.uint16)
ROWS = [
    slice(3, 9), slice(None), slice(30, 99), slice(9, 3), slice(1, 30, 4), np.array([5]),
    np.array([8, 7, 7, 30, 31, 0, 39]), np.zeros(0, np.int64),
]  # fmt: skip


def saved(folder, array, save=np.savez):
    path = folder / "scan.npz"
    save(path, other=np.arange(7), diffraction=array, last=np.ones(3))
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("layout", "array", "whole"),
    [
        ("nyx", COUNTS, None),
        ("nyx", np.asfortranarray(COUNTS), "has its frames last"),
        ("yxn", np.moveaxis(COUNTS, 0, -1).copy(), "has its frames last"),
        ("yxn", np.asfortranarray(np.moveaxis(COUNTS, 0, -1)), None),
        ("nyx", COUNTS.astype(">f8"), None),
        ("nyx", COUNTS > 50, None),
    ],
)
def test_rows_are_those_of_the_array(tmp_path, layout, array, whole, save):
    frames = NpzFrames(saved(tmp_path, array, save), "diffraction", layout)
    wanted = np.moveaxis(array, -1, 0) if layout == "yxn" else array
    assert frames.shape == wanted.shape
    assert frames.dtype == wanted.dtype
    assert frames.whole == (whole if save is np.savez else "is compressed")
    for one in (frames, pickle.loads(pickle.dumps(frames))):
        for rows in ROWS:
            np.testing.assert_array_equal(one.read(rows), wanted[rows])
        one.close()
        np.testing.assert_array_equal(one.read(slice(2)), wanted[:2])


def test_threads_share_a_file(tmp_path):
    frames = NpzFrames(saved(tmp_path, COUNTS), "diffraction")
    with ThreadPoolExecutor(4) as pool:
        for row, found in enumerate(pool.map(lambda i: frames.read(slice(i, i + 1)), range(40))):
            np.testing.assert_array_equal(found[0], COUNTS[row])


def test_damage_is_found_when_all_rows_were_read_in_order(tmp_path):
    counts = np.random.default_rng(1).integers(0, 99, (40, 60, 50)).astype(np.uint16)
    path = saved(tmp_path, counts)  # more than a ZIP file is read ahead
    content = bytearray(path.read_bytes())
    at = content.index(counts[20].tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    frames = NpzFrames(path, "diffraction")
    frames.read(slice(20, 40))  # nothing tells
    for _ in range(2):
        frames.read(slice(0, 30))
        with pytest.raises(DataError, match=r"diffraction cannot be read, .*its checksum is wrong"):
            frames.read(slice(30, 40))
    frames.read(slice(0, 30))
    frames.read(slice(10, 20))
    with pytest.raises(DataError, match="checksum"):
        frames.read(slice(30, 40))  # others in between leave the order as it is


def test_files_that_end_too_early_are_refused(tmp_path):
    path = saved(tmp_path, COUNTS)
    frames = NpzFrames(path, "diffraction")
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(DataError, match="was changed, moved or removed"):
        frames.read(slice(None))
    with pytest.raises(DataError, match="cannot be read, the file is damaged or cut short"):
        NpzFrames(path, "diffraction")


def test_a_header_that_lies_is_refused(tmp_path):
    path = tmp_path / "scan.npz"
    np.save(tmp_path / "a.npy", COUNTS)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("diffraction.npy", (tmp_path / "a.npy").read_bytes()[:-4])
    with pytest.raises(DataError, match="its length is not what its header says"):
        NpzFrames(path, "diffraction")


def test_a_file_that_was_changed_is_not_read_on(tmp_path):
    path = saved(tmp_path, COUNTS)
    frames = NpzFrames(path, "diffraction")
    copy = pickle.dumps(frames)
    frames.read(np.array([3, 1]))
    os.utime(path, ns=(1, 1))
    for one in (frames, pickle.loads(copy)):
        with pytest.raises(DataError, match="was changed, moved or removed since"):
            one.read(np.array([3, 1]))
