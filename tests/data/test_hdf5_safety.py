"""Nothing outside a file is opened, nothing absurd is read, damaged lists are not walked."""

import shutil
import struct
import sys

import h5py
import numpy as np
import pytest

from ptycho.data import hdf5_filters
from ptycho.data.archive import opened_hdf5
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.hdf5_opening import is_hdf5, open_hdf5
from ptycho.data.hdf5_safety import find_dataset
from ptycho.data.scan import DataError


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        file["a/b"] = np.arange(5.0)
        file["a/same"] = h5py.SoftLink("b")
        file["through"] = h5py.SoftLink("/a/same")
        file["a/self"] = file["a"]
        file["out"] = h5py.SoftLink("/elsewhere/y")
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
        file["text"] = "words"
        file["empty"] = h5py.Empty("f8")
        file["reference"] = np.array([file["a"].ref], h5py.ref_dtype)
        file["nested"] = h5py.SoftLink("/a/b/c")
        layout = h5py.VirtualLayout((5,), "f8")
        layout[:] = h5py.VirtualSource(file["a/b"])
        file.create_virtual_dataset("virtual", layout)
        layout = h5py.VirtualLayout((5,), "f8")
        layout[:] = h5py.VirtualSource(".", "out", (5,))
        file.create_virtual_dataset("sly", layout)
        layout = h5py.VirtualLayout((5,), "f8")
        layout[:] = h5py.VirtualSource(".", "mirror", (5,))
        file.create_virtual_dataset("mirror", layout)
        for name, shape, chunks in (
            ("hundred", (10**6, 10**4, 10**4), (1, 10**3, 10**3)),
            ("never", (10**4, 10**3, 10**3), (1, 10**3, 10**3)),
            ("chunky", (4, 20000, 20000), (1, 20000, 20000)),
        ):
            file.create_dataset(name, shape, "f4", chunks=chunks)
        file.create_dataset("promise", (100, 1000, 1000), "f4", compression="gzip")
        file.attrs["said"] = "something"
    return tmp_path / "x"


@pytest.mark.parametrize("key", ["a/b", "through", "a/same", "/a/self/self/b", "virtual"])
def test_links_inside_are_followed(path, key):
    with opened_hdf5(path) as archive:
        np.testing.assert_array_equal(archive.read(key, "f", "numbers"), np.arange(5.0))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("out", "out is a link to another file, /etc/passwd, which is not followed"),
        ("nested", "leads nowhere"),
        ("sly", "sly is a link to another file, /etc/passwd"),
        ("mirror", "mirror is a link that leads in a circle"),
        ("hundred", r"larger than any scan \(364 TiB\)"),
        ("never", r"never promises 37.3 GiB .* next to nothing of it was ever written"),
        ("chunky", r"comes in chunks of 1.49 GiB, .*h5repack -l CHUNK=1x20000x20000"),
        ("promise", r"promise promises 381 MiB in the shape \(100, 1000, 1000\), and next to"),
        ("text", "must hold numbers, got text, references or objects"),
        ("reference", "must hold numbers, got text, references or objects"),
        ("empty", "empty is empty"),
        ("gone", "gone is missing; the file holds a/b, chunky, "),
        ("a", "must be an array, got a group"),
    ],
)
def test_what_is_refused(path, key, words):
    with opened_hdf5(path) as archive, pytest.raises(DataError, match=words) as refusal:
        archive.read(key, "iuf", "numbers")
    assert "\n" not in str(refusal.value)


def test_a_packed_chunk_must_not_be_larger_than_what_it_holds(tmp_path):
    """Deflate makes a thousand bytes of one, however many the chunk should have."""
    import zlib

    bomb = zlib.compress(bytes(2 * 10**8), 9)
    with h5py.File(tmp_path / "x", "w") as file:
        packed = file.create_dataset("b", (100,), "f4", chunks=(100,), compression="gzip")
        packed.id.write_direct_chunk((0,), bomb)
    with open_hdf5(tmp_path / "x") as file, pytest.raises(DataError, match="has a packed chunk of"):
        find_dataset(file, tmp_path / "x", "b")


def test_damaged_texts_are_not_walked(path):
    """An object of no size leads to itself, and HDF5 would follow it for ever."""
    content = bytearray(path.read_bytes())
    heap = content.find(b"GCOL\x01\0\0\0")
    with opened_hdf5(path) as archive:
        assert archive.text("said") == "something"
    content[heap + 16 : heap + 18] = b"\0\0"
    content[heap + 24 : heap + 32] = bytes(8)
    path.write_bytes(content)
    with opened_hdf5(path) as archive, pytest.raises(DataError, match="its global heap"):
        archive.text("said")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 1024])
def test_a_file_that_is_shorter_than_it_says(tmp_path, libver, userblock):
    path = tmp_path / "x"
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as file:
        file["x"] = np.arange(1000)
    whole = path.read_bytes()
    assert is_hdf5(path)
    open_hdf5(path).close()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=rf"cut short \(it says {len(whole)} bytes and has"):
        open_hdf5(path)
    path.write_bytes(whole[: userblock + 12])
    with pytest.raises(DataError, match=r"an HDF5 file that .* or was cut short \(\d+ bytes\)"):
        open_hdf5(path)


@pytest.mark.parametrize("swmr", [True, False])
def test_a_file_that_is_still_being_written(tmp_path, swmr):
    """HDF5 would advise to run h5clear, on a file that its writer still has open."""
    with h5py.File(tmp_path / "live", "w", libver="latest") as file:
        file["x"] = np.arange(1000)
        if swmr:
            file.swmr_mode = True
        file.flush()
        shutil.copy(tmp_path / "live", tmp_path / "seen")
        words = r"seen: an HDF5 file that is still being written, was not .* cut short; wait until"
        with pytest.raises(DataError, match=words) as refused:
            open_hdf5(tmp_path / "seen")
    assert "h5clear" not in str(refused.value)


def packed(path, code):
    """A dataset that says it is compressed by a filter."""
    with h5py.File(path, "w") as file:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_chunk((1, 4, 4))
        how.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (0, 2))
        space = h5py.h5s.create_simple((3, 4, 4))
        made = h5py.h5d.create(file.id, b"dp", h5py.h5t.NATIVE_UINT32, space, how)
        made.write_direct_chunk((0, 0, 0), bytes(24), 0)
    return path


@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize(("code", "name"), [(32008, r" \(bitshuffle\)"), (32099, "")])
def test_a_filter_that_is_missing_is_named(tmp_path, monkeypatch, code, name, virtual):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)  # as if it were not installed
    path = packed(tmp_path / "x", code)
    if virtual:
        with h5py.File(path, "a") as file:
            layout = h5py.VirtualLayout((3, 4, 4), "u4")
            layout[:] = h5py.VirtualSource(".", "dp", (3, 4, 4))
            file.create_virtual_dataset("seen", layout)
    words = rf"is compressed by the HDF5 filter {code}{name}, which .*pip install hdf5plugin, or"
    with pytest.raises(DataError, match=words):
        Hdf5Frames(path, "seen" if virtual else "dp")


def test_a_package_of_filters_is_asked(tmp_path, monkeypatch):
    path, known = packed(tmp_path / "x", 32008), set()
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code in known)

    def load(name):
        known.add(32008)
        return name

    monkeypatch.setattr(hdf5_filters, "import_module", load)
    assert Hdf5Frames(path, "dp").shape == (3, 4, 4)


def test_other_superblocks(tmp_path):
    signature = b"\x89HDF\r\n\x1a\n"
    for rest in (b"\x07" + bytes(90), b"\x02\x03" + bytes(90), struct.pack("<B", 0)):
        (tmp_path / "x").write_bytes(signature + rest)
        with pytest.raises(DataError):
            open_hdf5(tmp_path / "x")
    assert not is_hdf5(tmp_path / "gone")
