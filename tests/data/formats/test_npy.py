import os
import pickle

import numpy as np
import pytest

from ptycho.data.formats.npy import NpyFrames
from ptycho.data.formats.registry import Reading, measure, recognised
from ptycho.data.frames import stamp
from ptycho.data.scan import DataError
from tests.data.formats.samples import COUNTS, POSITIONS, N


@pytest.fixture
def patterns(tmp_path):
    np.save(tmp_path / "x", COUNTS)
    return tmp_path / "x.npy"


@pytest.fixture
def rows(tmp_path):
    """A file of positions with some text."""

    def write(text, name="where"):
        (tmp_path / name).write_text(text)
        return Reading(positions_file=tmp_path / name)

    return write


def lines(positions, sign):
    return "".join(f"{a!r}{sign}{b!r}\n" for a, b in positions.tolist())


def test_csv_has_y_first_and_txt_has_x_first(patterns, rows):
    assert recognised(patterns).name == "npy"
    for text in (lines(POSITIONS, ","), lines(POSITIONS[:, ::-1], " "), lines(POSITIONS, ", ")):
        found = measure(patterns, how=rows(text))
        np.testing.assert_array_equal(found.positions, POSITIONS)
        assert found.unit == "px"
    found = measure(patterns, how=rows(lines(POSITIONS * 1e-8, ",")))
    assert (found.unit, found.notes["partner"]) == ("m", "rows read as y,x in metres")


def test_the_number_of_a_row_is_that_of_its_pattern(patterns, rows):
    """Comments and empty lines are counted; patterns without a row are left out, and rows without
    a pattern."""
    text = "#0,0\n1,2\n\n3,4\n5,6\n7,8\n9,9\n9,9\n"
    found = measure(patterns, how=rows(text))
    np.testing.assert_array_equal(found.positions, [[1, 2], [3, 4], [5, 6], [7, 8]][:4])
    np.testing.assert_array_equal(found.frames.read(slice(None)), COUNTS[[1, 3, 4, 5]])
    assert found.notes["pairing"] == (
        "2 patterns without a position, left out; 2 positions without a pattern, left out"
    )


@pytest.mark.parametrize("header", ["# y,x\n", "# scan 7\n\n# um, um\n", "\n"])
def test_a_header_is_no_row(patterns, rows, header):
    found = measure(patterns, how=rows(header + lines(POSITIONS, ",")))
    np.testing.assert_array_equal(found.positions, POSITIONS)
    assert "pairing" not in found.notes
    text = header + "#0,0\n# aborted\n1,2\n# failed\n3,4\n5,6\n"
    found = measure(patterns, how=rows(text))
    np.testing.assert_array_equal(found.frames.read(slice(None)), COUNTS[[2, 4, 5]])


def test_positions_may_be_an_array(patterns, tmp_path):
    np.save(tmp_path / "where.npy", POSITIONS)
    found = measure(patterns, how=Reading(positions_file=tmp_path / "where.npy"))
    np.testing.assert_array_equal(found.positions, POSITIONS)


def test_patterns_stay_in_their_file(patterns):
    frames = pickle.loads(pickle.dumps(NpyFrames(patterns)))
    np.testing.assert_array_equal(frames.read(np.array([5, 0, 0])), COUNTS[[5, 0, 0]])
    frames.close()
    np.testing.assert_array_equal(frames.read(slice(2)), COUNTS[:2])
    assert len(pickle.dumps(NpyFrames(patterns))) < 1000 < os.path.getsize(patterns)


def test_a_file_that_was_changed_or_cut_is_not_read_on(patterns):
    frames = NpyFrames(patterns)
    copy = pickle.dumps(frames)
    frames.read(slice(2))
    os.truncate(patterns, patterns.stat().st_size - 10)
    for one in (frames, pickle.loads(copy)):
        with pytest.raises(DataError, match="array was changed, moved or removed since this run"):
            one.read(slice(2))
    frames._stamp = stamp(patterns)  # as if it were cut between the two looks at it
    np.testing.assert_array_equal(frames.read(slice(1, 3)), COUNTS[1:3])
    with pytest.raises(DataError, match=r"the array cannot be read, .* \(it ends too early\)"):
        frames.read(slice(N))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_any_layout_and_version_of_an_array_is_read(tmp_path, version):
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(COUNTS.astype(">f8")), version)
    turned = NpyFrames(tmp_path / "x.npy")
    assert turned.whole == "has its frames last (Fortran order)"
    for one in (turned, pickle.loads(pickle.dumps(turned))):
        np.testing.assert_array_equal(one.read(np.array([3, 0])), COUNTS[[3, 0]])
        one.close()


def test_several_arrays_are_not_one(tmp_path):
    np.savez(tmp_path / "scan.npz", COUNTS)
    with pytest.raises(DataError, match=r"\(NPZ\), not bare patterns .*data.format=auto"):
        measure(tmp_path / "scan.npz", "npy")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds not a single position"),
        ("y,x\n1,2\n", r"line 1 is no pair of numbers, got 'y,x'; .* comments begin with #"),
        ("1,2\n3\n", "line 2 is no pair of numbers, got '3'"),
        ("1,2\n" + "9" * 9999, "line 2 is no pair of numbers"),
        ("0,1,2\n1,3,4\n", r"line 1 is no pair of numbers, got '0,1,2', which has 3 values; a "),
        ("# y x\n1 2 0.5\n", "line 2 is no pair of numbers, got '1 2 0.5', which has 3 values"),
        ("22,1,21,8\n", "line 1 is no pair .* has 4 values; a line is y,x or x y .*decimal points"),
        ("22,1 21,8\n", "line 1 is no pair"),
        ("1,2,\n", "line 1 is no pair"),
        ("1;2\n", "line 1 is no pair"),
        ("1, 2\n3, 4\n5 6\n", "line 3 has blanks between .* '5 6', and those before have a comma"),
        ("1\t2\n3,4\n", "line 2 has a comma between its numbers, '3,4', .* not mixed"),
        ("1,nan\n" * N, "holds NaN or infinity"),
        ("1,2\n" * N, "says the same position for every pattern"),
        ("# 9 9\n" * 50 + "1,2\n3,4\n", "numbers the patterns 50 to 51, and .* has 0 to 5"),
    ],
)
def test_what_are_no_positions(patterns, rows, text, words):
    with pytest.raises(DataError, match=rf"where: .*{words}"):
        measure(patterns, how=rows(text))


def test_no_text_at_all(patterns, rows, tmp_path):
    how = rows("")
    (tmp_path / "where").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="neither text nor any format with positions"):
        measure(patterns, how=how)
    with pytest.raises(FileNotFoundError, match=r"gone: no such file; check data\.positions_file"):
        measure(patterns, how=Reading(positions_file=tmp_path / "gone"))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (COUNTS[0], r"the array must be patterns \(n, H, W\), got \(8, 8\)"),
        (COUNTS * 1j, "must hold real counts or amplitudes, got complex128"),
        (np.array([None]), "is a pickled object, never opened here"),
        (COUNTS[:0], "must be patterns"),
    ],
)
def test_what_are_no_patterns(tmp_path, rows, array, words):
    np.save(tmp_path / "x", array)
    with pytest.raises(DataError, match=words):
        measure(tmp_path / "x.npy", how=rows("1,2"))


def test_patterns_alone_are_no_scan(patterns):
    with pytest.raises(DataError, match=r"name the file of the positions, data\.positions_f"):
        measure(patterns)
    patterns.write_bytes(patterns.read_bytes()[:-10])
    with pytest.raises(DataError, match="not an NPY file, or cut short"):
        measure(patterns)
