"""Amplitudes that stay in their file are the same numbers, to the last bit."""

import contextlib
import logging
import multiprocessing
import pickle

import h5py
import numpy as np
import pytest
import torch

from ptycho.data import lazy
from ptycho.data.frames import ArrayFrames
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.lazy import LazyAmplitude, LazyTensor, as_measured, in_memory_if_small
from ptycho.data.scan import DataError, Scan
from ptycho.physics.forward import matched_scale
from ptycho.physics.likelihood import typical_amplitude
from ptycho.physics.mask import hidden_of, seen_share
from ptycho.physics.measured import Deferred, central, norms, only

CPU = torch.device("cpu")
N, SIDE = 37, 32
rng = np.random.default_rng(0)
COUNTS = rng.poisson(4, (N, SIDE, SIDE)).astype(np.uint16)
SHARED = rng.random((SIDE, SIDE)) < 0.1
OWN = rng.random((N, SIDE, SIDE)) < 0.1
PROBE = (rng.normal(size=(2, SIDE, SIDE, 2)) @ [1, 1j]).astype(np.complex64)
PLACES = rng.uniform(0, 50, (N, 2))


class Root:
    """Amplitudes of counts, as a preparation makes them; picklable."""

    def __init__(self, bad=None):
        self.bad = bad

    def __call__(self, frames, rows):
        found = np.sqrt(frames.read(rows), dtype=np.float32)
        if self.bad is not None:
            bad = self.bad if self.bad.ndim == 2 else self.bad[rows]
            found[np.broadcast_to(bad, found.shape)] = -0.0
        return found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("lazy") / "scan.h5"
    with h5py.File(file, "w") as opened:
        opened.create_dataset("patterns", data=COUNTS, chunks=(5, SIDE, SIDE), compression="gzip")
    return file


@pytest.fixture(params=[None, SHARED, OWN], ids=["good", "shared", "own"])
def both(request, path, monkeypatch):
    """Amplitudes in memory, and the same in a file, looked at seven at a time."""
    monkeypatch.setattr(lazy, "BLOCK_BYTES", 7 * 4 * SIDE**2)
    step = Root(request.param)
    return step(ArrayFrames(COUNTS, path, "x"), slice(None)), LazyAmplitude(
        Hdf5Frames(path, "patterns"), step
    )


def same(a, b):
    """Equal in every bit, the signs of zeros among them."""
    a, b = (np.asarray(one) for one in (a, b))
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


def of(amplitude):
    return Scan(amplitude, PLACES[: len(amplitude)], PROBE, label="s")


def test_it_is_indexed_like_the_array(both):
    whole, amplitude = both
    for rows in (slice(None), slice(3, 20), slice(1, 30, 4), np.array([9, 2, 2, 36])):
        same(amplitude[rows], whole[rows])
    same(amplitude[5], whole[5])
    same(np.asarray(amplitude), whole)
    assert (amplitude.shape, amplitude.nbytes, len(amplitude)) == (whole.shape, whole.nbytes, N)
    few = amplitude.take(slice(1, None, 3)).take(np.array([4, 0, 7]))
    same(few, whole[1::3][[4, 0, 7]])
    factor = np.float64(1.7)
    same(few.times(factor), np.asarray(whole[1::3][[4, 0, 7]] * factor, np.float32))
    with pytest.raises(ValueError, match="an array of them is a copy"):
        np.asarray(amplitude, copy=False)


def test_figures_of_a_scan_are_the_same(both):
    whole, amplitude = both
    scans = of(whole), of(amplitude)
    for known, staying in (scans, [one.first(20) for one in scans]):
        assert staying.photons == known.photons
        assert staying.sha256 == known.sha256
        if known.bad_pixels is None:
            assert staying.bad_pixels is None
        else:
            same(staying.bad_pixels, known.bad_pixels)


@pytest.mark.parametrize("take", [None, torch.tensor([1, 4, 30, 31])], ids=["all", "some"])
def test_what_the_physics_asks_of_all_is_the_same(both, take):
    whole, staying = (as_measured(one, CPU) for one in both)
    probe = torch.from_numpy(PROBE)
    assert isinstance(staying, Deferred)
    for order in (1, 2):
        same(norms(staying, order), norms(whole, order))
    assert matched_scale(probe, staying, take) == matched_scale(probe, whole, take)
    assert seen_share(probe, staying, take) == seen_share(probe, whole, take)
    assert typical_amplitude(staying) == typical_amplitude(whole)
    which = torch.tensor([30, 2, 7])
    few, fewer = only(staying, which), only(whole, which)
    same(few[torch.tensor([2, 0])], fewer[torch.tensor([2, 0])])
    same(few[1:], fewer[1:])
    same(norms(few), norms(fewer))
    assert seen_share(probe, few) == seen_share(probe, fewer)
    bads = [hidden_of(one, which) for one in (staying, whole)]
    assert (bads[0] is None) == (bads[1] is None)
    if bads[1] is not None:
        same(*bads)


@pytest.mark.parametrize("kept", [True, False])
def test_centres_are_the_same_kept_or_not(both, kept, monkeypatch):
    whole, staying = (as_measured(one, CPU) for one in both)
    monkeypatch.setattr("ptycho.physics.measured.COARSE_BYTES", 2**28 if kept else 0)
    for take in (None, torch.tensor([5, 6, 20])):
        found, known = central(staying, SIDE // 2, take), central(whole, SIDE // 2, take)
        assert isinstance(found, torch.Tensor) == kept
        same(found[torch.arange(len(known))], known)
        same(found[1:3], known[1:3])
        same(norms(found), norms(known))
        assert seen_share(torch.from_numpy(PROBE[..., ::2, ::2].copy()), found) == seen_share(
            torch.from_numpy(PROBE[..., ::2, ::2].copy()), known
        )
        if not kept:
            some = torch.tensor([2, 0])
            same(found.only(some).cpu()[:], known[some])


def _rows(amplitude, rows, answer):
    answer.put(amplitude[rows])


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_other_processes_read_it(both, way):
    whole, amplitude = both
    amplitude.survey()
    if way == "spawn":  # what is sent to it
        same(pickle.loads(pickle.dumps(LazyTensor(amplitude)))[3:9], whole[3:9])
        return
    context = multiprocessing.get_context(way)
    answer = context.Queue()
    process = context.Process(target=_rows, args=(amplitude, slice(3, 9), answer))
    process.start()
    same(answer.get(timeout=20), whole[3:9])
    process.join()


def test_all_are_looked_at_once_and_it_is_shown(both):
    _, amplitude = both
    shown, looked = [], []

    @contextlib.contextmanager
    def watch(total):
        shown.append(total)
        yield lambda: shown.append("tick")

    with lazy.watched(watch):
        first = amplitude.survey(lambda block: looked.append(len(block)))
        assert amplitude.survey() is first
    assert shown == [6, *["tick"] * 6]
    assert looked == [7] * 5 + [2]


def test_empty_scans_are_refused_as_they_are_looked_at(path):
    dark = ArrayFrames(np.zeros((3, 8, 8), np.uint8), path, "dark")
    with pytest.raises(DataError, match=r"scan\.h5: every pattern is empty\.$"):
        LazyAmplitude(dark, Root()).survey()


def left(frames, how, notes=None, side=COUNTS.shape[1], first=None):
    notes = {} if notes is None else notes
    return lazy.left_in_file(frames, Root(), side, how, notes, first)


def test_it_depends_on_memory_what_stays_in_the_file(path, monkeypatch, caplog):
    frames, bytes_ = Hdf5Frames(path, "patterns"), 4 * COUNTS.size
    whole = ArrayFrames(COUNTS, path, "patterns")
    monkeypatch.setattr(lazy, "usable_memory", lambda: 4 * bytes_)
    assert left(frames, "auto") is None
    assert in_memory_if_small(LazyAmplitude(frames, Root())).shape == COUNTS.shape
    monkeypatch.setattr(lazy, "usable_memory", lambda: 4 * bytes_ - 1)
    notes = {}
    assert isinstance(left(frames, "auto", notes), LazyAmplitude)
    assert notes["reading"].startswith("amplitudes would take 0.000141 GiB of the 0.000565 GiB")
    assert isinstance(in_memory_if_small(LazyAmplitude(frames, Root())), LazyAmplitude)
    assert left(frames, "never") is None
    # a few of many may be, too
    assert left(frames, "auto", first=len(COUNTS) - 1) is None
    # and padded ones too large
    monkeypatch.setattr(lazy, "usable_memory", lambda: 8 * bytes_)
    assert left(frames, "auto") is None
    assert isinstance(left(frames, "auto", side=2 * SIDE), LazyAmplitude)
    monkeypatch.setattr(lazy, "usable_memory", lambda: 4 * bytes_ - 1)
    # what is cut out may be small enough
    assert left(frames, "auto", side=SIDE // 2) is None
    with caplog.at_level(logging.WARNING):
        assert left(whole, "auto") is None
    assert "written anew with ptycho convert, they can stay in the file" in caplog.text


def test_always_is_taken_at_its_word(path):
    notes = {}
    assert isinstance(left(Hdf5Frames(path, "patterns"), "always", notes), LazyAmplitude)
    assert notes["reading"].endswith("as told")
    with pytest.raises(DataError, match=r"data\.lazy=always reads some.*ptycho convert.*savez"):
        left(ArrayFrames(COUNTS, path, "patterns"), "always")
    with pytest.raises(DataError, match="lazy must be one of auto, always, never, got 'no'"):
        left(Hdf5Frames(path, "patterns"), "no")
