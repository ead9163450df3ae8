import shlex

import h5py
import numpy as np
import pytest

from ptycho.data.formats.registry import Reading, measure, recognised
from ptycho.data.geometry import Geometry
from ptycho.data.scan import DataError
from tests.data.formats.samples import BAD, COUNTS, OBJECT, POSITIONS, PROBE, N, sample

KEYS = {"patterns": "entry/data/data", "positions": "points"}


@pytest.fixture
def save(tmp_path):
    """Patterns at ``entry/data/data``, and what else is said."""

    def write(units=None, **arrays):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            for key, one in ({"points": POSITIONS} | arrays).items():
                file[key] = one
            if "entry/data/data" not in file:
                file["entry/data/data"] = COUNTS
            for key, said in (units or {}).items():
                file[key].attrs["units"] = said
        return tmp_path / "x.h5"

    return write


def read(path, **keys):
    return measure(path, how=Reading(keys=KEYS | keys))


def test_everything_that_can_be_named(tmp_path):
    whole = sample("hdf5", tmp_path)
    found = measure(whole.path, how=whole.how)
    assert recognised(whole.path).name == "hdf5"
    np.testing.assert_array_equal(found.frames.read(slice(None)), COUNTS)
    np.testing.assert_array_equal(found.positions, POSITIONS)
    np.testing.assert_array_equal(found.probe, PROBE)
    np.testing.assert_array_equal(found.obj, OBJECT)
    np.testing.assert_array_equal(found.bad_pixels, BAD)
    assert found.geometry == Geometry(8000.0, 0.5, pytest.approx(75e-6))


@pytest.mark.parametrize(
    ("said", "factor", "unit"),
    [("um", 1e-6, "m"), ("µm", 1e-6, "m"), ("nm", 1e-9, "m"), (b"mm", 1e-3, "m"), ("px", 1, "px"),
     ("Pixels", 1, "px"), (None, 1, "px")],
)  # fmt: skip
def test_positions_are_in_the_unit_that_the_dataset_says(save, said, factor, unit):
    found = read(save(units={"points": said} if said else None))
    np.testing.assert_allclose(found.positions, POSITIONS * factor, rtol=1e-12)
    assert found.unit == unit


def test_without_a_unit_their_size_decides(save):
    assert read(save(points=POSITIONS * 1e-8)).unit == "m"
    assert read(save(points=POSITIONS.T.copy())).positions.shape == (N, 2)


def test_y_and_x_may_be_apart_and_in_another_file(save, tmp_path):
    with h5py.File(tmp_path / "where.h5", "w") as file:
        file["y"], file["x"] = POSITIONS.T
    keys = {"patterns": KEYS["patterns"], "positions_y": "y", "positions_x": "x"}
    how = Reading(keys=keys, positions_file=tmp_path / "where.h5")
    np.testing.assert_array_equal(measure(save(), how=how).positions, POSITIONS)


def test_links_are_followed_only_when_told_and_only_beside(save, tmp_path):
    """A master file and its data, as detectors write them."""
    path = save()
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["points"] = POSITIONS
        file["entry/data/data"] = h5py.ExternalLink("x.h5", "/entry/data/data")
    with pytest.raises(DataError, match=r"link to another file, x.h5, .*follow_links=true"):
        read(tmp_path / "master.h5")
    how = Reading(keys=KEYS, follow_links=True)
    found = measure(tmp_path / "master.h5", how=how)
    np.testing.assert_array_equal(found.frames.read(np.array([4, 1])), COUNTS[[4, 1]])
    found.frames.close()
    (tmp_path / "deeper").mkdir()
    path.rename(tmp_path / "deeper" / "x.h5")
    with h5py.File(tmp_path / "master.h5", "r+") as file:
        del file["entry/data/data"]
        file["entry/data/data"] = h5py.ExternalLink("deeper/x.h5", "/entry/data/data")
    with pytest.raises(DataError, match=r"deeper/x.h5, which is not in the same folder"):
        measure(tmp_path / "master.h5", how=how)


def test_virtual_patterns_are_followed_only_when_told(save, tmp_path):
    save()
    layout = h5py.VirtualLayout(COUNTS.shape, COUNTS.dtype)
    layout[:] = h5py.VirtualSource("x.h5", "entry/data/data", COUNTS.shape)
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["points"] = POSITIONS
        file.create_virtual_dataset("entry/data/data", layout)
    with pytest.raises(DataError, match=r"keeps its numbers in another file, x.h5"):
        read(tmp_path / "master.h5")
    how = Reading(keys=KEYS, follow_links=True)
    frames = measure(tmp_path / "master.h5", how=how).frames
    np.testing.assert_array_equal(frames.read(slice(None)), COUNTS)
    frames.close()
    (tmp_path / "x.h5").unlink()
    with pytest.raises(DataError, match=r"another file, x.h5, which is missing"):
        measure(tmp_path / "master.h5", how=how)


@pytest.mark.parametrize(
    ("arrays", "keys", "words"),
    [
        ({}, {"patterns": "a"}, r"keys.patterns=a is not in it; it holds entry/data/data \(6,"),
        ({"points": POSITIONS[:5]}, {}, "points has 5 positions for the 6 patterns"),
        ({"points": POSITIONS.ravel()}, {}, r"points must be positions \(n, 2\) as y, x, got"),
        ({"e": np.zeros(0)}, {"energy": "e"}, "e is empty|energy"),
        ({"e": 1e-9}, {"energy": "e"}, "e says an energy of 1e-09 eV, which cannot be"),
        ({"z": -1.0}, {"distance": "z"}, "z must be metres between 0 and 10000, got -1"),
        ({"z": np.arange(3.0)}, {"distance": "z"}, "z must be one length in metres"),
        ({"p": PROBE * 0}, {"probe": "p"}, "p is zero everywhere"),
        ({"o": OBJECT * np.nan}, {"object": "o"}, "o holds NaN or infinity"),
        ({"o": OBJECT[:5, :5]}, {"object": "o"}, "outside the object of 5 x 5"),
        ({"b": PROBE}, {"bad_pixels": "b"}, "b must hold whole numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(save, arrays, keys, words):
    with pytest.raises(DataError, match=words):
        read(save(**arrays), **keys)


def test_units_that_are_none(save):
    with pytest.raises(DataError, match="points is in units of 'counts', which is no length"):
        read(save(units={"points": "counts"}))


@pytest.mark.parametrize(
    ("arrays", "proposed"),
    [
        ({"beam": PROBE}, "data.keys.positions=points data.keys.probe=beam"),
        (
            {"points": 1, "y/sy": POSITIONS[:, 0], "y/sx": POSITIONS[:, 1], "y/beam_energy": 8e3},
            "data.keys.positions_y=y/sy data.keys.positions_x=y/sx data.keys.energy=y/beam_energy",
        ),
        ({"points": 1, "entry/my motors": POSITIONS}, "data.keys.positions='entry/my motors'"),
        ({"entry/data/data": COUNTS.sum(0)}, None),
    ],
)
def test_an_unknown_layout_gets_a_proposal_that_may_be_typed(save, arrays, proposed):
    path = save(**arrays)
    with pytest.raises(DataError) as told:
        measure(path)
    _, _, words = str(told.value).partition(" Perhaps: ")
    if proposed is None:
        assert not words
        return
    assert words == f"data.keys.patterns=entry/data/data {proposed}"
    typed = dict(word.removeprefix("data.keys.").split("=", 1) for word in shlex.split(words))
    found = measure(path, how=Reading(keys=typed))
    np.testing.assert_array_equal(found.positions, POSITIONS)


def test_what_must_be_named(save):
    with pytest.raises(DataError, match=r"name its patterns, data.keys.patterns=.* holds ent"):
        measure(save())
    with pytest.raises(DataError, match="nothing says where its positions are"):
        measure(save(), how=Reading(keys={"patterns": "entry/data/data"}))
    with pytest.raises(DataError, match=r"data\.keys names datasets for data\.format=hdf5"):
        measure(save(), "npz", Reading(keys=KEYS))
    with pytest.raises(DataError, match=r"data\.keys\.follow_links=true is for files with links"):
        measure(save(), "npz", Reading(follow_links=True))
