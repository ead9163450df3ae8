"""The real command: faults that a test makes are named and mended."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ptycho.config.config import RunConfig
from ptycho.config.store import check_command_line, register
from ptycho.data.formats.npz import write_npz
from ptycho.doctor import main
from ptycho.workflows import build
from ptycho.workflows.doctor.reading import read_for_doctor
from ptycho.workflows.launch import launch
from ptycho.workflows.problem import pose
from tests.faults import FAULTS, Fault
from tests.runs import draw_nothing, tiny_scan

REAL = Path(__file__).parents[2] / "shared" / "data" / "siemens_star_aps_n128.npz"


def diagnosed(file: Path, *options: str) -> dict[str, Any]:
    """The numbers that the command writes."""
    main(["data=npz", f"data.train_data_file={file}", "--out", "out", *options])
    found: dict[str, Any] = json.loads(Path("out/doctor.json").read_text())
    return found


def finding(found: dict[str, Any], topic: str) -> dict[str, Any]:
    """One finding."""
    return next(one for one in found["findings"] if one["topic"] == topic)


def mended(name: str) -> RunConfig:
    """The settings of a run with the preset that the command wrote."""
    register()
    (run,) = check_command_line(["--config-dir", "conf_local", f"data={name}"])
    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unseen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, for laws about findings: nobody looks at the page."""
    drawn = "ptycho.workflows.doctor.consult.save_doctor"
    monkeypatch.setattr(drawn, lambda _, path: path.touch())
    return folder


class TestCommand:
    def test_page_numbers_and_table_of_a_clean_scan(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ):
        write_npz("scan.npz", tiny_scan())
        found = diagnosed(Path("scan.npz"))
        assert found["settings"] == {}
        assert found["verdict"] == "nothing to mend"
        topics = ("values", "zero frequency", "photons", "positions", "overlap", "axes", "machine")
        for topic in topics:
            assert finding(found, topic)["weight"] in ("fine", "note")
            assert topic in capsys.readouterr().out or topic != "values"
        assert Path("out/doctor.png").read_bytes()[:4] == b"\x89PNG"

    def test_fix_writes_a_preset_that_a_run_understands(
        self, unseen: Path, capsys: pytest.CaptureFixture[str]
    ):
        arrays = {**np.load(_written(unseen, "clean.npz"))}
        arrays.pop("_metadata")
        arrays["diffraction"] = np.fft.ifftshift(arrays["diffraction"], axes=(1, 2)) ** 2
        arrays["diffraction"][:, 3] = np.nan
        arrays["diffraction"][:, 3, 3:] = 0
        np.savez("my scan.npz", **arrays)
        found = diagnosed(Path("my scan.npz"), "--fix")
        assert "--config-dir conf_local data=my_scan" in capsys.readouterr().out
        content = yaml.safe_load(Path("conf_local/data/my_scan.yaml").read_text())
        assert content["preprocess"]["zero_frequency"] == "corner"
        assert content["values"] == "counts"
        run = mended("my_scan")
        assert run.data.preprocess.zero_frequency == "corner"
        assert run.data.train_data_file == str(unseen / "my scan.npz")
        mask = np.load(str(run.data.preprocess.bad_pixels_file))
        assert mask.shape == (32, 32)
        assert mask[3, :3].all()
        assert finding(found, "NaN")["weight"] == "set"
        pose(build.make_scan(run.data, 0), torch.device("cpu"))

    def test_a_scan_is_named_by_its_file(self, unseen: Path, capsys: pytest.CaptureFixture[str]):
        write_npz("my scan.npz", tiny_scan())
        main(["my scan.npz", "data.positions.swap=true"])
        found = json.loads(Path("outputs/doctor/my_scan/doctor.json").read_text())
        assert found["source"] == "my scan.npz"
        said = " ".join(capsys.readouterr().out.split())
        typed = "data.train_data_file='my scan.npz'"
        assert f"type: python -m ptycho.run data=file {shlex.quote(typed)} data.pos" in said

    def test_a_probe_is_made_wherever_patterns_were_taken(self, unseen: Path):
        arrays = {**np.load(_written(unseen, "clean.npz"))}
        arrays.pop("_metadata")
        arrays["xcoords"], arrays["ycoords"] = 1e-8 * arrays["xcoords"], 1e-8 * arrays["ycoords"]
        np.save("probe.npy", 2 * arrays["probeGuess"])
        np.savez("scan.npz", **arrays)
        register()
        (run,) = check_command_line(
            ["data=npz", "data.train_data_file=scan.npz", "data.probe_file=probe.npy"]
        )
        found, (said,) = read_for_doctor(run.data, 0)
        assert said.said == "as data.probe_file=probe.npy says, not the file's own."
        assert (found.probe == 2 * arrays["probeGuess"]).all()
        assert np.ptp(found.positions) < 1e-5

    def test_nothing_is_overwritten(self, unseen: Path, capsys: pytest.CaptureFixture[str]):
        Path("conf_local/data").mkdir(parents=True)
        Path("conf_local/data/scan.yaml").write_text("mine")
        write_npz("scan.npz", tiny_scan())
        with pytest.raises(SystemExit) as ended:
            diagnosed(Path("scan.npz"), "--fix")
        assert ended.value.code == 2
        assert "is not overwritten" in capsys.readouterr().err
        assert Path("conf_local/data/scan.yaml").read_text() == "mine"
        assert not Path("out").exists()

    @pytest.mark.parametrize(
        ("typed", "words"),
        [
            (["data.train_data_fil=scan.npz"], "data.train_data_fil"),
            (["data=npz", "data.train_data_file=absent.npz"], "no such file"),
            (["absent.npz"], "no such file: absent.npz; "),
            ([".", ".."], ". and ..: one scan at a time"),
            ([".", "data.train_data_file=scan.npz"], ".: data.train_data_file names a scan as"),
            (["--name", "a b"], "only letters"),
            (["--nonsense"], "see ptycho doctor --help"),
        ],
    )
    def test_refusals(
        self, folder: Path, capsys: pytest.CaptureFixture[str], typed: list[str], words: str
    ):
        with pytest.raises(SystemExit) as ended:
            main(typed)
        assert ended.value.code == 2
        assert words in capsys.readouterr().err
        assert not list(folder.iterdir())


def _written(folder: Path, name: str) -> Path:
    write_npz(folder / name, tiny_scan())
    return folder / name


def named(found: dict[str, Any], fault: Fault) -> bool:
    """Whether a diagnosis names a fault, and no other that a setting would mend."""
    if fault.topic:
        return finding(found, fault.topic)["weight"] in ("set", "look")
    # the star has one hot pixel of its own
    told = {name: one for name, one in found["settings"].items() if not name.endswith("mask_hot")}
    if told.keys() != fault.settings.keys():
        return False
    return all(
        abs(told[name] / one - 1) < 0.02 if isinstance(one, float) else told[name] == one
        for name, one in fault.settings.items()
    )


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason=f"no measured scan at {REAL}")
class TestMeasured:
    """A zone plate's donut, nearly symmetric: its small faults decide."""

    def test_as_it_is(self, unseen: Path):
        found = diagnosed(REAL)
        assert found["settings"] in ({}, {"data.preprocess.mask_hot": True})
        assert finding(found, "axes")["weight"] == "fine"
        assert finding(found, "axes")["figures"]["margin"] > 0.05

    def test_faults_are_named_and_mended(self, unseen: Path, monkeypatch: pytest.MonkeyPatch):
        draw_nothing(monkeypatch)
        clean = _c(["data=npz", f"data.train_data_file={REAL}"], Path("clean"))
        missed, worse = [], {}
        for number, (name, fault) in enumerate(FAULTS.items()):
            with np.load(REAL) as file:
                arrays = dict(file)
            fault.spoil(arrays)
            np.savez("scan.npz", **arrays)
            found = diagnosed(Path("scan.npz"), "--fix", "--name", f"fault{number}")
            if not named(found, fault):
                missed.append((name, found["settings"]))
                continue
            if name == "positions shuffled":
                continue  # nothing brings them back
            typed = ["--config-dir", "conf_local", f"data=fault{number}"]
            c = _c(typed, Path(f"run{number}"))
            # with full pixels left out, what is left is dimmer, and C another figure
            if c < clean - (0.1 if name == "saturated" else 0.01):
                worse[name] = c
            print(f"{name}: C {c:.4f} (clean {clean:.4f})")
        assert len(missed) <= len(FAULTS) // 10, missed
        assert not worse, (clean, worse)


def _c(typed: list[str], folder: Path) -> float:
    """C of a run of the physics."""
    register()
    options = ["task=solve", "logger=none", "execution.quiet=true", "trainer.accelerator=cpu"]
    (run,) = check_command_line([*typed, *options])
    launch(run, folder, [])
    figures = json.loads((folder / "metrics.json").read_text())
    return float(figures["stages"]["solver"]["C"])
