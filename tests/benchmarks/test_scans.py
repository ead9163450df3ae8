"""The common scans are the same every time, and made once."""

import re

import numpy as np
import pytest

from benchmarks import scans
from ptycho.config.config import UserError
from ptycho.data import simulate as simulator
from ptycho.data.formats.npz import read_npz
from ptycho.data.scan import Scan

FEW = 25


def same(first: Scan, second: Scan, *fields: str) -> None:
    for field in fields:
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))


@pytest.mark.parametrize("name", [*scans.SIMULATED, *(f"chip_1e6{twin}" for twin in scans.TWINS)])
def test_the_same_name_means_the_same_bits(tmp_path, name):
    first = scans.get(name, patterns=FEW, folder=tmp_path / "a")
    second = scans.get(name, patterns=FEW, folder=tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    scan = scans.load(name, patterns=FEW, folder=tmp_path / "a")
    assert (len(scan), scan.patch_size, scan.label) == (FEW, 64, name)
    assert scan.truth_is_known


def test_a_scan_is_made_once(tmp_path, monkeypatch):
    path = scans.get("chip_1e4", patterns=FEW, folder=tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr(simulator, "simulate", None)  # would fail if it were called
    assert scans.get("chip_1e4", patterns=FEW, folder=tmp_path) == path
    assert path.read_bytes() == before


def test_other_arguments_and_another_simulator_make_another_file(tmp_path, monkeypatch):
    def path(patterns=FEW):
        return scans.get("chip_1e4", patterns=patterns, folder=tmp_path)

    first = path()
    assert path(16) != first
    monkeypatch.setattr(scans.inspect, "getsource", lambda _: "somebody changed the simulator")
    assert path() != first


def test_a_twin_differs_in_its_probe_alone(tmp_path):
    right = scans.load("chip_1e6", patterns=FEW, folder=tmp_path)
    wrong = scans.load("chip_1e6_wrong_probe", patterns=FEW, folder=tmp_path)
    same(right, wrong, "amplitude", "positions", "truth")
    assert np.linalg.norm(wrong.probe) == pytest.approx(np.linalg.norm(right.probe), rel=1e-5)
    # the noise alone would leave 0.995
    overlap = np.abs(np.vdot(wrong.probe, right.probe)) / np.linalg.norm(right.probe) ** 2
    assert overlap < 0.95


def test_the_other_twin_differs_in_its_positions_alone(tmp_path):
    right = scans.load("chip_1e6", folder=tmp_path)
    wrong = scans.load("chip_1e6_wrong_positions", folder=tmp_path)
    same(right, wrong, "amplitude", "probe", "truth")
    away = right.positions - right.positions.mean(0)
    now = wrong.positions - wrong.positions.mean(0)
    matrix, *_ = np.linalg.lstsq(away, now, rcond=None)
    np.testing.assert_allclose(matrix, 1.01 * np.eye(2), atol=1e-3)
    assert (now - away @ matrix).std() == pytest.approx(1, rel=0.05)


def test_the_wrong_beam_is_as_wrong_as_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(scans, "NOISE", 0.0)
    right = scans.load("chip_1e6", patterns=FEW, folder=tmp_path)
    wrong = scans.with_wrong_probe(right).probe[0]
    beam = simulator.zone_plate_probe(64, 1.25 * 12, 1.1 * 0.17)
    ramp = np.angle(wrong * beam.conj())
    bright = np.abs(beam) > 0.3 * np.abs(beam).max()
    rows = np.nonzero(bright)[0] - 32
    # a quarter of a turn in 64 rows
    np.testing.assert_allclose(ramp[bright], 2 * np.pi * 0.25 * rows / 64, atol=1e-4)


def test_noise_is_a_tenth_of_the_probe(tmp_path, monkeypatch):
    right = scans.load("chip_1e6", patterns=FEW, folder=tmp_path)
    noisy = scans.with_wrong_probe(right).probe
    monkeypatch.setattr(scans, "NOISE", 0.0)
    clean = scans.with_wrong_probe(right).probe
    share = np.linalg.norm(noisy / np.linalg.norm(noisy) - clean / np.linalg.norm(clean))
    # renormalising takes half a per cent of it back
    assert share == pytest.approx(0.1, rel=0.02)


def test_unknown_names_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=re.escape("There is no scan 'chop_1e6'; there are chip_")):
        scans.get("chop_1e6", folder=tmp_path)


def test_a_measured_scan_that_is_not_here_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(scans, "SHARED", tmp_path)
    assert not set(scans.MEASURED) & set(scans.names())
    with pytest.raises(UserError, match="'siemens_star' is not here: no file"):
        scans.get("siemens_star")


def test_the_measured_scans(shared_data):
    assert set(scans.MEASURED) <= set(scans.names())
    star, balls = scans.load("siemens_star"), scans.load("gold_balls")
    assert not star.truth_is_known
    assert balls.truth_is_known
    assert read_npz(shared_data / scans.MEASURED["gold_balls"]).probe.shape == (2, 128, 128)
