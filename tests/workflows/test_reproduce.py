"""Runs done again from their record, and what is said of the two."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ptycho import reproduce as command
from ptycho.config.config import RunConfig
from ptycho.data.formats.npz import write_npz
from ptycho.report.agreement import (
    Agreement,
    Figure,
    Verdict,
    compare_arrays,
    compare_figures,
    compare_surroundings,
)
from ptycho.report.mlflow import store_uri
from ptycho.workflows import session
from tests.runs import draw_nothing, launched, tiny_scan


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    draw_nothing(monkeypatch)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a scan in a file."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("home")
    write_npz(home / "scan.npz", tiny_scan())
    usual = RunConfig().data
    return launched(
        home / "first", git=True, task="solve", model__N=None, data__source="file",
        data__train_data_file=str(home / "scan.npz"), data__synthetic=usual.synthetic,
        data__nphotons=usual.nphotons,
    )  # fmt: skip


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    """A copy of it to be changed."""
    return Path(shutil.copytree(done, tmp_path / "copy"))


def again(run: Path | str, out: Path, *arguments: str) -> int:
    """The exit code of the command."""
    try:
        command.main([str(run), "--out", str(out), *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def change(path: Path, *names: str, to: Any) -> None:
    """Change one entry of a JSON or YAML file."""
    content = yaml.safe_load(path.read_text())
    node = content
    for name in names[:-1]:
        node = node[name]
    node[names[-1]] = to
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))


def verdict(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "reproduce.json").read_text())
    return found


def test_same_again_is_identical(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert again(done, out) == 0
    found = verdict(out)
    assert found["verdict"] == "identical"
    assert found["name"] == "first"
    assert found["arrays"]["reconstruction.npz/object"]
    assert all(found["arrays"].values())
    assert found["figures"]["stages/solver/C"]["relative_difference"] == 0
    assert all(one["same"] for one in found["surroundings"].values())
    assert "identical to the last bit" in capsys.readouterr().out
    assert json.loads((out / "status.json").read_text())["state"] == "finished"


def test_trained_network_comes_out_the_same(tmp_path: Path) -> None:
    first = launched(tmp_path / "first", seed=3)
    assert again(first, tmp_path / "out") == 0
    found = verdict(tmp_path / "out")
    assert found["verdict"] == "identical"
    assert "training/loss" in found["figures"]
    assert not any("seconds" in name for name in found["figures"])


@pytest.mark.slow
def test_second_scan_is_compared_too(done: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load((done / "config.resolved.yaml").read_text())["data"]
    first = launched(tmp_path / "first", data__test_data_file=settings["train_data_file"])
    assert again(first, tmp_path / "out") == 0
    found = verdict(tmp_path / "out")
    assert found["arrays"]["test_reconstruction.npz/object"]
    assert "test_stages/network/C" in found["figures"]


def test_reconstruction_with_a_bundle_comes_out_the_same(tmp_path: Path) -> None:
    trained = launched(tmp_path / "trained", model__n_filters_scale=2)
    bundle = str(trained / "wts.h5.zip")
    first = launched(tmp_path / "first", task="reconstruct", bundle=bundle)
    assert again(first, tmp_path / "out") == 0
    assert verdict(tmp_path / "out")["verdict"] == "identical"


def test_changed_metric_is_a_difference(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "metrics.json"
    value = json.loads(path.read_text())["stages"]["solver"]["C"]
    change(path, "stages", "solver", "C", to=value * 1.01)
    assert again(copy, tmp_path / "out") == 1
    found = verdict(tmp_path / "out")
    assert found["verdict"] == "differ"
    assert found["figures"]["stages/solver/C"]["relative_difference"] == pytest.approx(
        0.0099, rel=0.01
    )
    said = capsys.readouterr().out
    assert re.search(r"stages/solver/C +0\.\d+ +0\.\d+ +9\.9e-03", said)
    assert "not the same: 1 of" in said
    assert again(copy, tmp_path / "wide", "--tolerance", "0.1") == 0
    assert verdict(tmp_path / "wide")["verdict"] == "within tolerance"


def test_changed_data_are_told(copy: Path, done: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "other.npz", tiny_scan(seed=5))
    change(copy / "config.resolved.yaml", "data", "train_data_file", to=str(tmp_path / "other.npz"))
    assert again(copy, tmp_path / "out") == 1
    data = verdict(tmp_path / "out")["surroundings"]["data sha256"]
    assert not data["same"]
    assert data["recorded"] != data["now"]


def test_a_relative_path_is_meant_from_where_the_run_began(
    copy: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(copy / "config.resolved.yaml", "data", "train_data_file", to="scan.npz")
    change(copy / "env.json", "cwd", to=str(done.parent))
    monkeypatch.chdir(tmp_path)
    assert again(copy, tmp_path / "out") == 0


@pytest.mark.slow
def test_recorded_threads_are_used_again(copy: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    change(copy / "env.json", "threads", to=2)
    again(copy, tmp_path / "out")
    assert verdict(tmp_path / "out")["surroundings"]["threads"] == {
        "recorded": 2, "now": 2, "same": True,
    }  # fmt: skip
    again(copy, tmp_path / "other", "--threads", "1")
    assert verdict(tmp_path / "other")["surroundings"]["threads"]["now"] == 1
    assert torch.get_num_threads() == before


def _gone(run: Path) -> None:
    change(run / "config.resolved.yaml", "data", "train_data_file", to="/nowhere/scan.npz")


def _no_bundle(run: Path) -> None:
    change(run / "config.resolved.yaml", "task", to="reconstruct")
    change(run / "config.resolved.yaml", "bundle", to="/nowhere/wts.h5.zip")


def _of_tomorrow(run: Path) -> None:
    change(run / "config.resolved.yaml", "model", "n_filters_scales", to=2)
    change(run / "env.json", "packages", "ptycho", to="9.9")


def _interrupted(run: Path) -> None:
    change(run / "status.json", "state", to="interrupted")


def _killed(run: Path) -> None:
    change(run / "status.json", "state", to="running")


def _failed(run: Path) -> None:
    change(run / "status.json", "state", to="failed")


def _damaged(run: Path) -> None:
    (run / "metrics.json").write_text('{"stages"')


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_gone, "data.train_data_file: no such file: /nowhere/scan.npz"),
        (_no_bundle, "bundle: no such file or folder: /nowhere/wts.h5.zip"),
        (_of_tomorrow, r"no setting model.n_filters_scales. Did you mean model.n_filters_scale\?"),
        (_of_tomorrow, "copy was recorded by ptycho 9.9, and its settings do not fit this one"),
        (_interrupted, "a run that is interrupted; only a finished run .*; ptycho resume goes on"),
        (_killed, "a run that is killed; .*; ptycho resume goes on with it."),
        (_failed, "a run that is failed; only a finished run can be reproduced."),
        (_damaged, "its files cannot be read: "),
        (lambda run: (run / "metrics.json").unlink(), "lacks metrics.json; without it"),
        (lambda run: (run / "config.resolved.yaml").unlink(), "lacks config.resolved.yaml;"),
        (lambda run: (run / "status.json").unlink(), r"holds no run \(status.json"),
    ],
)
def test_what_cannot_be_done_again_is_refused(
    copy: Path, tmp_path: Path, spoil: Any, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(copy)
    assert again(copy, tmp_path / "out") == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "no such folder: .*nowhere, nor is it the id of a run in MLflow"),
        (["0" * 31], "nor is it the id"),
        (["0" * 32], "no such database: .*mlflow.db; name the store"),
        (["pyproject.toml"], "pyproject.toml is a file; name the folder of a run"),
        (["x", "--tolerance", "-1"], "--tolerance must be a number of at least 0, got -1."),
        (["x", "--threads", "0"], "--threads must be at least 1, got 0."),
        (["x", "--out", "pyproject.toml"], "--out: pyproject.toml is a file, not a folder."),
        ([], "required: .*; see ptycho reproduce --help."),
    ],
)
def test_bad_words_are_refused(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(SystemExit) as end:
        command.main(arguments)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(sentence, said)
    assert [one.name for one in tmp_path.iterdir()] == ["pyproject.toml"]


def test_sweep_and_full_folders_are_refused(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    assert again(tmp_path / "sweep", tmp_path / "out") == 2
    assert "holds a sweep; name one of its jobs" in capsys.readouterr().err
    assert again(done, done) == 2
    assert "holds files already; name a new folder." in capsys.readouterr().err
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    assert again(done, tmp_path / "sweep" / "1") == 2
    assert "lies in the folder of a sweep; name another place." in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_run_is_found_in_mlflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = launched(
        tmp_path / "runs" / "first", task="solve", logger__backend="mlflow",
        paths__outputs=str(tmp_path),
    )  # fmt: skip
    run_id = json.loads((first / "status.json").read_text())["mlflow_run_id"]
    shutil.rmtree(first)
    uri = store_uri(tmp_path, None)
    assert again(run_id, tmp_path / "out", "--tracking-uri", uri) == 0
    found = verdict(tmp_path / "out")
    assert (found["verdict"], found["name"]) == ("identical", "first")
    assert capsys.readouterr().err == ""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    made = json.loads((tmp_path / "out" / "status.json").read_text())["mlflow_run_id"]
    assert client.get_run(made).info.run_name == "reproduce first"
    client.set_terminated(run_id, "KILLED")
    assert again(run_id, tmp_path / "other", "--tracking-uri", uri) == 2
    assert f"the MLflow run {run_id} is KILLED; only a finished" in capsys.readouterr().err
    assert again("0" * 32, tmp_path / "other", "--tracking-uri", uri) == 2
    assert "cannot be read from sqlite:" in capsys.readouterr().err
    parent = client.create_run("1").info.run_id
    client.set_terminated(parent)
    assert again(parent, tmp_path / "other", "--tracking-uri", uri) == 2
    assert "is the parent of a sweep; name one of its jobs" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_settings_that_were_not_recorded_are_told(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "config.resolved.yaml"
    settings = yaml.safe_load(path.read_text())
    del settings["solver"]["batch_size"]
    path.write_text(yaml.safe_dump(settings))
    assert again(copy, tmp_path / "out") == 0
    assert "not recorded, at their defaults: solver.batch_size" in capsys.readouterr().out


def test_uncommitted_changes_lie_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "uncommitted", lambda: "+a change\n")
    folder = launched(tmp_path / "dirty", git=True, task="solve")
    assert (folder / "changes.diff").read_text() == "+a change\n"
    monkeypatch.setattr(session, "uncommitted", lambda: "")
    assert not (launched(tmp_path / "clean", git=True, task="solve") / "changes.diff").exists()


def figure(recorded: float | None, now: float | None) -> Figure:
    return Figure("x", recorded, now)


def test_differences_are_relative() -> None:
    assert figure(100.0, 101.0).difference == pytest.approx(1 / 101)
    assert figure(-1e-3, 1e-3).difference == pytest.approx(2)
    assert figure(0.0, 1e-15).difference == 0
    assert figure(None, None).difference == 0
    assert figure(None, 1.0).difference == float("inf")
    assert figure(None, None).identical


def test_verdict_needs_figures_and_arrays() -> None:
    def of(now: float, arrays: dict[str, bool] | None) -> Verdict:
        return Agreement([], [figure(1.0, now)], arrays, 1e-3).verdict

    assert of(1.0, {"object": True}) == Verdict.identical
    assert of(1.0, None) == Verdict.identical
    assert of(1.0, {"object": False}) == Verdict.within
    assert of(1.0005, {"object": True}) == Verdict.within
    assert of(1.01, {"object": True}) == Verdict.differ


def test_figures_that_one_run_lacks_differ() -> None:
    found = compare_figures({"stages": {"a": {"C": 1.0}}}, {"stages": {"a": {"C": 1.0, "R": 0.2}}})
    assert [(one.name, one.identical) for one in found] == [
        ("stages/a/C", True), ("stages/a/R", False),
    ]  # fmt: skip
    assert Agreement([], found, None, 1.0).verdict == Verdict.differ


def test_arrays_are_compared_by_bits(tmp_path: Path) -> None:
    a = np.array([0.0, np.nan])
    np.savez(tmp_path / "a.npz", same=a, zero=np.array([0.0]), kind=a, gone=a)
    np.savez(tmp_path / "b.npz", same=a, zero=np.array([-0.0]), kind=a.astype(np.float32), new=a)
    assert compare_arrays(tmp_path / "a.npz", tmp_path / "b.npz") == {
        "same": True, "zero": False, "kind": False, "gone": False, "new": False,
    }  # fmt: skip
    assert compare_arrays(tmp_path / "a.npz", tmp_path / "c.npz") is None
    (tmp_path / "c.npz").write_bytes(b"PK nothing")
    assert compare_arrays(tmp_path / "c.npz", tmp_path / "a.npz") == {"c.npz": False}


def test_packages_are_named_where_they_differ() -> None:
    before = {"installed": {"torch": "2.13", "rich": "14"}, "packages": {"torch": "2.13"}}
    now = {"installed": {"torch": "2.14", "rich": "14", "ray": "2"}, "packages": {"torch": "2.14"}}
    other = {
        one.name: (one.recorded, one.now)
        for one in compare_surroundings(before, now)
        if not one.same
    }
    assert other == {"package torch": ("2.13", "2.14"), "package ray": (None, "2")}
    del before["installed"]  # as older runs recorded it
    other = {
        one.name: (one.recorded, one.now)
        for one in compare_surroundings(before, now)
        if not one.same
    }
    assert other == {"package torch": ("2.13", "2.14")}
