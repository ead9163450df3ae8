"""``ptycho evaluate`` on results of runs: their scan is read as they read it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho.config.config import RunConfig
from ptycho.data.formats.npz import write_npz
from ptycho.evaluate import main
from tests.runs import TINY, launched, tiny_scan

SPOILT: dict[str, Any] = {
    "data.source": "file",
    "data.train_data_file": "scan.npz",
    "data.nphotons": None,
    "data.values": "counts",
    "data.preprocess.transpose": True,
    "data.preprocess.bad_pixels_file": "bad.npy",
    "data.positions.swap": True,
    "task": "solve",
}
"""Settings without which nothing of the scan is understood."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scan whose patterns are transposed, with a stuck pixel, in counts that look like roots."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ptycho.workflows.evaluation.save_verdict", lambda _, path: path.touch())
    scan = tiny_scan(photons=1e6)
    write_npz(Path("whole.npz"), scan)
    arrays = {**np.load("whole.npz")}
    arrays = {key: arrays[key] for key in ("diffraction", "xcoords", "ycoords", "probeGuess")}
    counts = np.square(scan.amplitude.astype(np.float64)).transpose(0, 2, 1)
    counts[:, 3, 5] = 1e5
    arrays["diffraction"] = 0.5 + counts
    arrays["xcoords"], arrays["ycoords"] = arrays["ycoords"], arrays["xcoords"]
    np.savez("scan.npz", **arrays)
    bad = np.zeros((32, 32), bool)
    bad[3, 5] = True
    np.save("bad.npy", bad)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> dict[str, float]:
    """What a run on it said of its result."""
    usual, simulated = RunConfig().data.synthetic, "data.synthetic."
    names = [name for name in TINY if name.startswith(simulated)]
    none = {name: getattr(usual, name.removeprefix(simulated)) for name in names}
    launched(folder / "run", **none | SPOILT)
    stages: dict[str, dict[str, float]] = json.loads(Path("run/metrics.json").read_text())["stages"]
    return stages["solver"]


def evaluated(*arguments: str) -> dict[str, Any]:
    main([*arguments, "--out", "judged"])
    found: dict[str, Any] = json.loads(Path("judged/evaluation.json").read_text())
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", "judged"])
    assert ended.value.code == 2
    assert not Path("judged").exists()
    return capsys.readouterr().err


def test_its_own_scan_is_read_as_the_run_read_it(
    run: dict[str, float], monkeypatch: pytest.MonkeyPatch
):
    found = evaluated("run")
    assert run["C"] > 0.5
    for name in ("R", "C", "deviance"):
        assert found["against_data"]["figures"][name] == pytest.approx(run[name], abs=1e-4)
    (note,) = (one for one in found["notes"] if "as by its run" in one)
    assert "data.values=counts" in note
    assert "data.preprocess.transpose=true" in note
    # the same from another folder, to which its paths do not lead
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert evaluated("../run")["against_data"]["figures"] == found["against_data"]["figures"]


def test_a_scan_that_is_named_is_read_so_too(run: dict[str, float]):
    named = evaluated("run", "--data", "scan.npz")["against_data"]["figures"]
    assert named["C"] == pytest.approx(run["C"], abs=1e-4)
    # elsewhere by itself it is a result of unknown origin, and reading must be typed
    Path("alone.npz").write_bytes(Path("run/reconstruction.npz").read_bytes())
    assert (
        evaluated("alone.npz", "--data", "scan.npz")["against_data"]["figures"]["C"]
        < run["C"] - 0.2
    )
    typed = [f"{name}={value}" for name, value in SPOILT.items() if "." in name][3:]
    again = evaluated("alone.npz", *typed, "--data", "scan.npz")["against_data"]["figures"]
    assert again == named


def test_what_is_typed_wins(run: dict[str, float]):
    found = evaluated("run", "data.positions.swap=false", "data.preprocess.transpose=false")
    assert found["against_data"]["figures"]["C"] < run["C"] - 0.2
    alike = evaluated("run", "--data", "whole.npz", *(
        "data.values=auto", "data.positions.swap=false", "data.preprocess.transpose=false",
        "data.preprocess.bad_pixels_file=null",
    ))  # fmt: skip
    assert alike["against_data"]["figures"]["C"] > run["C"] - 0.05


def test_simulated_and_second_scans_are_found_again(folder: Path):
    launched(folder / "run", **{"data.test_data_file": "whole.npz", "task": "train"})
    stages = json.loads(Path("run/metrics.json").read_text())
    itself = evaluated("run")["against_data"]["figures"]["C"]
    assert itself == pytest.approx(stages["stages"]["refined"]["C"], abs=1e-4)
    second = evaluated("run/test_reconstruction.npz")["against_data"]
    assert second["file"].endswith("whole.npz")
    wanted = stages["test_stages"]["refined"]["C"]
    assert second["figures"]["C"] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("data.preprocess.cropp=3", "there is no setting data.preprocess.cropp"),
        ("data.preprocess.crop=oval", "data.preprocess.crop"),
        ("data.synthetic.step=3", "data.synthetic.step has no effect on an evaluation"),
        ("data.train_data_file=x", "data.train_data_file has no effect on an evaluation"),
        ("trainer.nepochs=3", "an evaluation takes data.NAME=VALUE alone"),
        ("to=npz", "an evaluation takes data.NAME=VALUE alone"),
        ("scan2.npz", "cannot read 'scan2.npz': settings are NAME=VALUE"),
    ],
)
def test_what_says_nothing_about_reading_is_refused(run, capsys, typed: str, words: str):
    capsys.readouterr()
    assert words in refused(capsys, "run", typed)


def test_settings_without_a_scan_are_refused(run, capsys):
    capsys.readouterr()
    said = refused(capsys, "run", "--truth", "whole.npz", "data.values=counts")
    assert "says how --data is read, and there is none" in said


def test_a_record_of_another_version_is_not_guessed_at(run, capsys):
    path = Path("run/config.resolved.yaml")
    path.write_text(path.read_text().replace("transpose: true", "transposed: true"))
    capsys.readouterr()
    said = refused(capsys, "run", "--data", "scan.npz")
    assert "does not understand them (there is no setting data.preprocess.transposed" in said
