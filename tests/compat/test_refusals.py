"""What the older command lines refuse once files come into it: a sentence, exit code 2."""

import json
import shutil
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ptycho import inference, train
from ptycho.data.formats.npz import write_npz
from ptycho.report.bundle import NETWORK
from ptycho.workflows import session
from tests.runs import draw_nothing, tiny_scan

Refused = Any


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan, what is wrong with others, a training, and what is wrong with other bundles."""
    folder = tmp_path_factory.mktemp("place")
    write_npz(folder / "scan.npz", tiny_scan())
    arrays = dict(np.load(folder / "scan.npz"))
    probe, patterns = arrays["probeGuess"], arrays["diffraction"]
    np.savez(folder / "wrong_N.npz", **arrays | {"probeGuess": probe[4:-4, 4:-4]})
    np.savez(folder / "few.npz", **arrays | {"diffraction": patterns[1:]})
    np.savez(folder / "no_probe.npz", **{n: a for n, a in arrays.items() if n != "probeGuess"})
    (folder / "text.npz").write_text("no archive")
    (folder / "cut.npz").write_bytes((folder / "scan.npz").read_bytes()[:5000])
    (folder / "empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        train.main(typed(train, folder, "trained", "--model", "object_pinn", "--max_epochs", "1"))
    (folder / "robbed").mkdir()
    with (
        zipfile.ZipFile(folder / "trained" / "wts.h5.zip") as whole,
        zipfile.ZipFile(folder / "robbed" / "wts.h5.zip", "w") as robbed,
    ):
        for name in set(whole.namelist()) - {NETWORK}:
            robbed.writestr(name, whole.read(name))
    return folder


def typed(module: ModuleType, folder: Path, out: str, *words: str) -> list[str]:
    """A command line, usual but for what follows."""
    usual = {
        train: ["--train_data_file", f"{folder}/scan.npz"],
        inference: ["--model_path", f"{folder}/trained", "--test_data", f"{folder}/scan.npz"],
    }[module]
    return [*usual, "--output_dir", f"{folder}/{out}", "--logger", "none", "--quiet", *words]


@pytest.fixture
def refused(place: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Types a command; returns what it is refused with."""

    def give(module: ModuleType, out: str, *words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            module.main([one.format(here=place) for one in typed(module, place, out, *words)])
        assert ended.value.code == 2
        printed, said = capsys.readouterr()
        assert not printed
        assert said.count("\n") == 1, said
        return str(said.replace(f"{place}/", "").strip())

    return give


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.npz", "none.npz. It must hold diffraction or diff3d (n, N, N), xcoords, ycoords"),
        ("empty", "empty is a folder; name the file in it."),
        ("text.npz", "text.npz: not a scan in any known format; it may be"),
        ("cut.npz", "cut.npz: not an NPZ file, or cut short"),
        ("wrong_N.npz", "the probe must be (modes, 32, 32), got (1, 24, 24)."),
        ("few.npz", "diffraction has the shape (63, 32, 32); 64 positions need square patterns"),
        ("no_probe.npz", "no_probe.npz"),
    ],
)
@pytest.mark.parametrize(
    ("module", "flag"), [(train, "--train_data_file"), (inference, "--test_data")]
)
def test_a_bad_scan(refused: Refused, module: ModuleType, flag: str, name: str, said: str) -> None:
    got = refused(module, f"{module.__name__}_{name}", flag, "{here}/" + name)
    assert said in got
    assert f"{flag}: " in got or name.removesuffix(".npz") in got


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none", "ptycho: --model_path: no such file or folder: none; training writes wts.h5.zip"),
        ("empty", "ptycho: empty has no manifest.json: not a bundle of ptycho; name the folder of"),
        ("scan.npz", "ptycho: scan.npz has no manifest.json: not a bundle of ptycho; name the"),
        ("robbed", f"ptycho: robbed/wts.h5.zip: the bundle has no {NETWORK}; train it again."),
    ],
)
def test_a_bad_bundle(refused: Refused, place: Path, path: str, said: str) -> None:
    assert refused(inference, "never", "--model_path", "{here}/" + path).startswith(said)
    assert not (place / "never").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--num-workers 2", "--num-workers says how batches of patterns are prepared, and"),
        ("--middle-trim 8", "--middle-trim belongs to networks that predict patches;"),
        ("--log-patch-stats", "--log-patch-stats belongs to networks that predict patches;"),
        ("--patch-weighting uniform", "--patch-weighting uniform belongs to networks that predict"),
    ],
)
def test_what_the_network_of_the_bundle_does_not_read(
    refused: Refused, place: Path, words: str, said: str
) -> None:
    assert refused(inference, "never", *words.split()).startswith(f"ptycho: {said}")
    assert not (place / "never").exists()


def test_a_training_that_was_killed_is_no_bundle(refused: Refused, place: Path) -> None:
    (place / "killed").mkdir()
    (place / "killed" / "status.json").write_text('{"state": "running"}')
    said = "ptycho: --model_path: killed holds a run that made no wts.h5.zip; `ptycho resume"
    assert refused(inference, "never", "--model_path", "{here}/killed").startswith(said)
    assert "already holds a run (killed); go on with it by --resume, or" in refused(train, "killed")


def test_a_spoiled_network_is_told_in_a_quiet_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_nothing(monkeypatch)
    monkeypatch.setattr(session, "doubts", lambda _: ["the network is worse than nothing."])
    inference.main(typed(inference, place, "doubted"))
    out, said = capsys.readouterr()
    assert not out
    assert said == f"ptycho: {place}/doubted: the network is worse than nothing.\n"


def test_a_scan_with_a_strange_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch)
    name = "a\\b" + "c" * 120
    shutil.copy(place / "scan.npz", place / f"{name}.npz")
    inference.main(typed(inference, place, "strange", "--test_data", f"{place}/{name}.npz"))
    known = json.loads((place / "strange" / "env.json").read_text())
    assert known["data"]["label"] == ("a_b" + "c" * 120)[:100]


def test_a_missing_test_scan(refused: Refused, place: Path) -> None:
    got = refused(train, "never", "--test_data_file", "{here}/none.npz")
    assert got.startswith("ptycho: --test_data_file: no such file: none.npz")
    assert not (place / "never").exists()


def test_a_folder_that_is_taken(refused: Refused, place: Path) -> None:
    before = (place / "trained" / "status.json").read_bytes()
    said = "ptycho: trained already holds a run (finished); name another folder with --output_dir"
    for module in (train, inference):
        assert refused(module, "trained").startswith(said)
    assert refused(train, "trained", "--resume").startswith(
        "ptycho: trained holds a run (finished) of other settings, and --resume goes on"
    )
    assert (place / "trained" / "status.json").read_bytes() == before
    assert refused(train, "scan.npz").startswith("ptycho: --output_dir: scan.npz is a file")


def test_a_run_that_came_to_nothing_may_be_started_again(
    refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_nothing(monkeypatch)
    refused(train, "again", "--train_data_file", "{here}/wrong_N.npz")
    assert json.loads((place / "again" / "status.json").read_text())["state"] == "failed"
    train.main(typed(train, place, "again", "--max_epochs", "1"))
    assert json.loads((place / "again" / "status.json").read_text())["state"] == "finished"
