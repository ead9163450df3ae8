"""The scan of the benchmark, small: tens of megabytes that are never in memory at once."""

import json

import numpy as np
import pytest

from benchmarks import large
from ptycho.data.formats.registry import measure
from ptycho.data.hdf5_frames import Hdf5Frames
from tests.runs import launched

SMALL = {"N": 64, "COLUMNS": 48}


@pytest.fixture
def scan(tmp_path, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(large, name, value)
    path = tmp_path / "scan.h5"
    assert large.write_scan(path, 0.0255) == 35 * 48
    return path


def test_every_pattern_is_that_of_its_place(scan):
    found, (counts, probe) = measure(scan), large.periodic_patterns()
    assert found.frames.shape == (35 * 48, 64, 64)
    assert scan.stat().st_size < 0.2 * 4 * 35 * 48 * 64**2
    np.testing.assert_array_equal(found.probe[0], probe)
    y, x = (found.positions - 32).T
    for row in (0, 17, 48, 49, 1000, 1679):
        place = counts[int(y[row] / 3) % 16, int(x[row] / 3) % 16]
        np.testing.assert_array_equal(found.frames.read(np.array([row]))[0], place)


def test_it_is_solved_without_ever_being_in_memory(scan, tmp_path, monkeypatch):
    usual, read = Hdf5Frames.read, []

    def watched(self, rows):
        found = usual(self, rows)
        read.append(found.nbytes)
        return found

    monkeypatch.setattr(Hdf5Frames, "read", watched)
    monkeypatch.setattr("ptycho.physics.measured.COARSE_BYTES", 0)
    folder = launched(
        tmp_path / "run", task="solve", data__source="file", data__train_data_file=str(scan),
        data__lazy="always", data__nphotons=None, model__N=None, solver__coarse_iterations=2,
        solver__iterations=0, solver__poisson_iterations=0, data__synthetic__n_patterns=1600,
        data__synthetic__step=6.0, data__synthetic__probe_radius=12.0,
    )  # fmt: skip
    stages = json.loads((folder / "metrics.json").read_text())["stages"]
    assert stages["solver"]["C"] > 0.5
    assert max(read) <= 8 * 2**20
    assert sum(read) > 4 * 25 * 2**20  # it was read several times over


def test_groups_are_timed():
    found = large.group_a_million(2000)
    assert found["positions"] == 2000
    assert {"nearest", "chosen_of_7", "shuffled", "oversampled"} <= set(found)
    assert found["peak_gib"] >= found["peak_gib_before"] > 0


@pytest.mark.slow
def test_a_run_stays_within_two_gigabytes(tmp_path, capsys):
    options = ["--gigabytes", "0.25", "--limit", "3", "--lazy", "always", "--folder", str(tmp_path)]
    large.main([*options, "execution.quiet=true"])
    out = capsys.readouterr().out
    found = json.loads(out[out.index("{") :])
    assert found["peak_gib"] < 1.5
    assert found["C"]["refined"] > 0.5
    assert not [*tmp_path.iterdir()]
