"""``ptycho simulate``: through its command line."""

import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ptycho import simulate
from ptycho.config.config import UserError
from ptycho.config.validate import check
from ptycho.data.formats.npz import read_npz
from ptycho.data.products import read_product
from ptycho.main import COMMANDS
from ptycho.report.console import console
from ptycho.workflows import build
from ptycho.workflows import simulate as workflow
from tests.runs import TINY, tiny_run

SMALL = [f"{name}={value}" for name, value in TINY.items() if name.startswith(("data.", "model.N"))]


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr(workflow, "save_simulated", lambda _, path: path.write_bytes(b"png"))


def typed(*words, capsys):
    """What a command says; its exit code, too."""
    code = 0
    try:
        simulate.main([str(one) for one in words])
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


def names(folder: Path):
    return sorted(one.name for one in folder.iterdir())


def test_a_simulated_scan_lies_beside_what_is_true(tmp_path, capsys):
    out = tmp_path / "mine.npz"
    more = ["data.synthetic.position_error=1", "data.synthetic.flux_jitter=0.1"]
    code, said = typed(out, *SMALL, *more, "data.geometry.pixel_size_m=2e-8", capsys=capsys)
    assert code == 0
    assert names(tmp_path) == ["mine.json", "mine.npz", "mine.png", "mine_truth.npz"]
    assert f"data.train_data_file={out}" in said
    scan, truth = read_npz(out), read_product(tmp_path / "mine_truth.npz")
    assert scan.label == truth.label == "mine"
    assert scan.truth_is_known
    assert scan.pixel_size_m == truth.pixel_size_m == 2e-8
    np.testing.assert_array_equal(scan.truth, truth.obj)
    np.testing.assert_array_equal(scan.probe, truth.probe)
    assert (scan.positions - truth.positions).std() == pytest.approx(1, rel=0.2)
    assert truth.flux is not None
    assert truth.flux.std() == pytest.approx(0.1, rel=0.3)
    record = json.loads((tmp_path / "mine.json").read_text())
    assert record["typed"] == [*SMALL, *more, "data.geometry.pixel_size_m=2e-8"]
    assert record["settings"]["data"]["synthetic"]["position_error"] == 1
    assert record["settings"]["model"]["N"] == 32
    assert record["scan"]["sha256"] == scan.sha256
    assert (tmp_path / "mine.png").read_bytes()[1:4] == b"PNG"


def test_the_scan_is_the_one_that_a_run_would_simulate(tmp_path, capsys, no_pictures):
    out = tmp_path / "mine.npz"
    assert typed(out, *SMALL, capsys=capsys)[0] == 0
    scan, run = read_npz(out), build.make_scan(tiny_run().data, 32)
    assert scan.sha256 == run.sha256
    # and what was recorded makes it again
    before = hashlib.sha256(out.read_bytes()).hexdigest()
    code, _ = typed(out, *json.loads((tmp_path / "mine.json").read_text())["typed"],
                    "overwrite=true", capsys=capsys)  # fmt: skip
    assert code == 0
    assert hashlib.sha256(out.read_bytes()).hexdigest() == before


def test_bad_pixels_are_kept_as_bad(tmp_path, capsys, no_pictures):
    out = tmp_path / "mine.npz"
    assert typed(out, *SMALL, "data.synthetic.gap=2", capsys=capsys)[0] == 0
    bad = read_npz(out).bad_pixels
    assert bad is not None
    assert bad.sum() == 2 * 2 * 32 - 4
    assert json.loads((tmp_path / "mine.json").read_text())["scan"]["bad_pixels"] == bad.mean()


def test_many_objects_become_many_files(tmp_path, capsys, no_pictures):
    several = ["data.synthetic.n_objects=3", "data.synthetic.object=dead_leaves"]
    code, _ = typed(tmp_path / "new" / "train.npz", *SMALL, *several, capsys=capsys)
    assert code == 0
    scans = [read_npz(tmp_path / "new" / f"train_{number}.npz") for number in (1, 2, 3)]
    assert len({one.sha256 for one in scans}) == 3
    assert [one.label for one in scans] == ["train_1", "train_2", "train_3"]
    assert len(names(tmp_path / "new")) == 12
    run = check(tiny_run(data__synthetic__object="dead_leaves", data__synthetic__n_objects=3))
    made = [build.make_scan(run.data, 32, number=number).sha256 for number in range(3)]
    assert made == [one.sha256 for one in scans]


def test_another_format_may_be_written(tmp_path, capsys, no_pictures):
    code, said = typed(tmp_path / "pair", "to=ptychodus", *SMALL, capsys=capsys)
    assert code == 0, said
    assert names(tmp_path / "pair") == ["diffraction.h5", "product.h5"]
    assert (tmp_path / "pair_truth.npz").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.n_images=20"], "data.n_images has no effect on a simulation; leave it out"),
        (["data.geometry.distance_m=2"], "data.geometry.distance_m has no effect on a simulation"),
        (["trainer.nepochs=3"], "trainer.nepochs=3: a simulation takes to=NAME, overwrite=true"),
        (["data=npz"], "data=npz: a simulation takes"),
        (["text"], "cannot read 'text': settings are NAME=VALUE"),
        (["overwrite=maybe"], "overwrite must be true or false, got maybe"),
        (
            ["data.synthetic.objet=chip", "data.synthetic.step=-1"],
            "there is no setting data.synthetic.objet. Did you mean",
        ),
    ],
)
def test_what_was_typed_wrongly_is_refused_and_nothing_is_written(words, said, tmp_path, capsys):
    code, words_back = typed(tmp_path / "mine.npz", *words, capsys=capsys)
    assert code == 2
    assert said in words_back
    assert names(tmp_path) == []


def ordered(folder, name="mine.npz", to=None, overwrite=False, **changes):
    return workflow.Order(folder / name, tiny_run(**changes).data, 32, to, overwrite)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to": "paper"}, "to must be one of .*npz.*; got paper"),
        ({"name": "mine.txt"}, "does not say the format; add to=NAME"),
        ({"data__synthetic__step": 9000.0}, "too large to simulate; ask for fewer patterns"),
        ({"data__probe_file": "nowhere.npy"}, r"data\.probe_file: .*nowhere\.npy does not exist"),
        (
            {"name": "x.json", "to": "npz"},
            "x.json is where the settings of the scan go; name a fil",
        ),
        ({"name": "x.png", "to": "npz"}, "x.png is where a picture of the scan goes; name a file"),
        ({"data__synthetic__beamstop": 100.0}, "leave no pixel of 32 x 32 that counts"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(changes, said, tmp_path):
    with pytest.raises(UserError, match=said):
        workflow.carry_out(ordered(tmp_path, **changes), console(quiet=True))
    assert names(tmp_path) == []


@pytest.mark.parametrize("read", ["mine.npz", "mine_truth.npz"])
def test_the_probe_is_not_written_over(read, tmp_path):
    (tmp_path / "probe.npz").write_text("precious")
    (tmp_path / read).hardlink_to(tmp_path / "probe.npz")
    order = ordered(tmp_path, overwrite=True, data__probe_file=str(tmp_path / "probe.npz"))
    with pytest.raises(UserError, match=rf"OUT: .*{read} is what data\.probe_file names; write to"):
        workflow.carry_out(order, console(quiet=True))
    assert (tmp_path / "probe.npz").read_text() == "precious"


@pytest.mark.parametrize("name", ["mine.npz", "mine.json"])
def test_a_pipe_is_not_replaced(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f"OUT: .*{name} is a device or a pipe; name a file"):
        workflow.carry_out(ordered(tmp_path, overwrite=True), console(quiet=True))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["mine.npz", "mine_truth.npz", "mine.json", "mine.png"])
def test_what_is_there_is_kept(name, tmp_path):
    (tmp_path / name).write_text("precious")
    said = rf"{name} is there already; add overwrite=true to replace it"
    with pytest.raises(UserError, match=said):
        workflow.carry_out(ordered(tmp_path), console(quiet=True))
    assert (tmp_path / name).read_text() == "precious"
    assert names(tmp_path) == [name]


def test_help_names_the_settings(capsys):
    code, said = typed("--help", capsys=capsys)
    assert code == 0
    assert "data.synthetic.n_objects=8" in said
    assert COMMANDS["simulate"] == "ptycho.simulate"


def test_old_and_new_files_are_never_mixed(tmp_path, capsys, no_pictures, monkeypatch):
    out = tmp_path / "mine.npz"
    assert typed(out, *SMALL, capsys=capsys)[0] == 0
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    again = (out, *SMALL, "data.synthetic.flux_jitter=0.1", "overwrite=true")
    real = os.replace

    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with monkeypatch.context() as patch:  # before all is written
        patch.setattr(workflow, "write_json", interrupted)
        assert typed(*again, capsys=capsys)[0] == 130
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before

    def signalled(part, path):
        if path.name == "mine_truth.npz":
            os.kill(os.getpid(), signal.SIGTERM)
        real(part, path)

    monkeypatch.setattr("ptycho.data.appearing.os.replace", signalled)  # while it is put in place
    assert typed(*again, capsys=capsys)[0] == 143
    after = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    assert set(after) == set(before)
    assert all(after[name] != before[name] for name in before if name != "mine.png")


def test_nothing_is_left_where_the_scan_cannot_be_written(
    tmp_path, capsys, no_pictures, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    code, said = typed(tmp_path / "mine.npz", *SMALL, capsys=capsys)
    assert code == 2
    assert "MiB, and 0.000954 MiB are free there; make room, or name another place" in said
    assert names(tmp_path) == []
