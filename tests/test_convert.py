import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho.convert import main
from ptycho.data.formats.npz import read_npz, write_npz
from ptycho.data.formats.ptychodus import DIFFRACTION, PRODUCT
from ptycho.data.formats.registry import FORMATS
from ptycho.data.scan import Scan
from ptycho.evaluate import main as evaluate
from tests.runs import tiny_scan

SIEMENS = Path(__file__).parents[2] / "shared/data/siemens_star_aps_n128.npz"
LOSSLESS = [one.name for one in FORMATS.values() if one.write and one.measure]


@pytest.fixture(scope="module")
def scan() -> Scan:
    return tiny_scan(patch_size=16, n_patterns=16)


@pytest.fixture
def folder(tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_npz(tmp_path / "scan.npz", scan)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusals(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentences with which the command refuses."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize("name", LOSSLESS)
def test_there_and_back(folder: Path, scan: Scan, name: str) -> None:
    main(["scan.npz", "there", f"to={name}"])
    main(["there", "back.npz"])
    again = read_npz("back.npz")
    for part in ("amplitude", "probe", "truth"):
        np.testing.assert_array_equal(getattr(again, part), getattr(scan, part))
    np.testing.assert_allclose(again.positions, scan.positions, rtol=0, atol=1e-9)
    assert (again.label, again.truth_is_known) == (scan.label, True)


def test_it_says_what_it_read_and_wrote(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["scan.npz", "out"])
    said = " ".join(capsys.readouterr().out.split())
    assert "scan.npz: PtychoPINN or ptychodus training data (NPZ) (npz)" in said
    assert "16 patterns of 16 x 16, 1 probe mode, the true object" in said
    assert "values: amplitude (as its _metadata says)" in said
    assert "out: ptychodus product with its diffraction data (ptychodus)" in said
    assert "diffraction.h5, " in said
    assert "note: Nominal, made up where nothing was known:" in said
    assert {one.name for one in (folder / "out").iterdir()} == {PRODUCT, DIFFRACTION}


def test_settings_of_reading_hold(folder: Path, scan: Scan) -> None:
    y, x = scan.positions[1:].T
    whole = np.rint(scan.amplitude[1:])
    np.savez("whole.npz", diffraction=whole, probeGuess=scan.probe[0], ycoords=y, xcoords=x)
    main(["whole.npz", "a.npz", "data.values=amplitude", "data.label=mine"])
    found = read_npz("a.npz")
    np.testing.assert_array_equal(found.amplitude, whole)
    assert found.label == "mine"
    main(["scan.npz", "pair"])
    main([f"pair/{DIFFRACTION}", "b.npz", f"data.positions_file=pair/{PRODUCT}"])
    np.testing.assert_array_equal(read_npz("b.npz").amplitude, scan.amplitude)


@pytest.mark.parametrize("name", ["ünï 日本.npz", "null", "${x}.npz"])
def test_any_name_can_be_read(folder: Path, name: str) -> None:
    Path("scan.npz").rename(name)
    main([name, "a.npz", "data.lazy=always"])
    assert len(read_npz("a.npz")) == 16


def test_more_patterns_than_there_are_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("n_images", "n_subsample")):
        main(["scan.npz", f"{number}.npz", f"data.{name}=1000"])
        said = f"data.{name}=1000 wants more patterns than the 16 there are; all are used"
        assert said in capsys.readouterr().out


def test_patches_stay_where_there_is_room(folder: Path, scan: Scan) -> None:
    patches = np.ones_like(scan.amplitude) * np.complex64(1j)
    np.savez("y.npz", Y=patches, **np.load("scan.npz"))
    main(["y.npz", "z.npz"])
    np.testing.assert_array_equal(read_npz("z.npz", patches=True).patches, patches)


def test_what_is_there_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.npz").write_text("mine")
    said = refusals(capsys, "scan.npz", "a.npz")
    assert "OUT: a.npz is there already; add overwrite=true to replace it." in said
    assert Path("a.npz").read_text() == "mine"
    main(["scan.npz", "a.npz", "overwrite=true"])
    assert len(read_npz("a.npz")) == 16
    main(["scan.npz", "pair"])
    main(["scan.npz", "pair", "overwrite=true"])
    Path("pair/more").touch()
    said = refusals(capsys, "scan.npz", "pair", "overwrite=true")
    assert "holds more than a scan of the format ptychodus and is not replaced" in said
    assert {one.name for one in folder.iterdir()} == {"scan.npz", "a.npz", "pair"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone.npz", "a.npz"), "IN: no such file: "),
        ((".", "a.npz"), "is a folder; name the file in it."),
        (("scan.npz", "a.foo"), "the ending of a.foo does not say the format; add to=NAME, one of"),
        (("scan.npz", "a", "to=slac"), "to must be one of "),
        (("scan.npz", "a", "to=slac"), "slac can be read but not written."),
        (("scan.npz", "a", "to=jpg"), "; got jpg."),
        (("scan.npz", "a", "overwrite=maybe"), "overwrite must be true or false, got maybe."),
        (("gone.npz", "a.npz"), "or name another file as IN."),
        (("scan.npz", "a", "to=npz", "to=cxi"), "to was typed twice, to=npz and to=cxi; leave one"),
        (
            ("scan.npz", "a", "data.further_data_files=[x.npz]"),
            "data.further_data_files has no effect on a conversion; leave it out.",
        ),
        (("scan.npz", "a", "hello"), "cannot read 'hello': settings are NAME=VALUE."),
        (("scan.npz", "a", "trainer=gpu"), "a conversion takes to=NAME, overwrite=true and data."),
        (("scan.npz", "a", "data.labels=Y"), "data.labels has no effect on a conversion; leave it"),
        (("scan.npz", "a", "data.synthetic.step=3"), "data.synthetic.step has no effect on a conv"),
        (("scan.npz", "a", "data.valeus=counts"), "no setting data.valeus. Did you mean data.val"),
        (("scan.npz", "a", "data.format=h6"), "data.format=h6"),
        (("scan.npz", "a", "data.positions_file=b.h5"), "data.positions_file: "),
        (("scan.npz", "a", "data.positions_file=scan.npz"), "is data.train_data_file itself"),
        (
            ("scan.npz", "scan.npz", "overwrite=true"),
            "OUT: scan.npz is what is read; write to anot",
        ),
        (("scan.npz", ".", "to=ptychodus", "overwrite=true"), "OUT: . is what is read"),
        (("scan.npz", "scan.npz/a.npz"), "scan.npz is a file, not a folder."),
        (("scan.npz",), "see ptycho convert --help"),
    ],
)
def test_what_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in refusals(capsys, *arguments)
    assert [one.name for one in folder.iterdir()] == ["scan.npz"]


@pytest.mark.parametrize("name", ["background_file", "bad_pixels_file"])
def test_what_a_setting_names_is_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    np.savez("side.npz", np.zeros((32, 32)))
    Path("linked.npz").symlink_to("side.npz")
    typed = f"data.preprocess.{name}=side.npz"
    said = refusals(capsys, "scan.npz", "linked.npz", typed, "overwrite=true")
    assert f"OUT: linked.npz is what data.preprocess.{name} names; write to another" in said
    assert Path("linked.npz").is_symlink()


def test_a_file_of_a_folder_that_is_read_is_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["scan.npz", "pair"])
    capsys.readouterr()
    said = refusals(capsys, "pair", "pair/product.h5", "to=cxi", "overwrite=true")
    assert "OUT: pair/product.h5 is what is read; write to another place." in said


@pytest.mark.parametrize("name", ["pipe.npz", "pipe_phase.tiff"])
def test_a_pipe_is_not_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    os.mkfifo(name)
    target = name.replace("_phase", "")
    said = refusals(capsys, "scan.npz", target, "overwrite=true")
    assert f"OUT: {name} is a device or a pipe; name a file." in said
    assert Path(name).is_fifo()


def test_nothing_half_written_is_left(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr("ptycho.data.formats.ptychodus.counts_of", full)
    for name in ("pair", "scan.h5"):
        assert "there: No space left on device." in refusals(capsys, "scan.npz", name)
    assert [one.name for one in folder.iterdir()] == ["scan.npz"]


def test_a_folder_comes_back_where_the_new_one_does_not(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["scan.npz", "pair"])
    before = Path("pair/product.h5").read_bytes()
    real = os.replace

    def interrupted(old: Path, new: Path) -> None:
        if Path(new).name == "pair" and "part" in Path(old).name:
            raise OSError(5, "Input/output error", "pair")
        real(old, new)

    monkeypatch.setattr("ptycho.data.appearing.os.replace", interrupted)
    said = refusals(capsys, "scan.npz", "pair", "overwrite=true")
    assert "pair: Input/output error." in said
    assert Path("pair/product.h5").read_bytes() == before
    assert {one.name for one in folder.iterdir()} == {"scan.npz", "pair"}


def test_help_lists_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for one in FORMATS.values():
        assert one.name in said
        assert one.title in said


@pytest.mark.slow
@pytest.mark.skipif(not SIEMENS.is_file(), reason="the measured scan is not here")
@pytest.mark.parametrize("name", LOSSLESS)
def test_a_measured_scan_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Identical patterns, positions to 1e-9, the same C: whatever format it goes through."""
    monkeypatch.chdir(tmp_path)
    main([str(SIEMENS), "there", f"to={name}"])
    main(["there", "back.npz"])
    first, again = read_npz(SIEMENS), read_npz("back.npz")
    for part in ("amplitude", "probe", "truth"):
        np.testing.assert_array_equal(getattr(again, part), getattr(first, part))
    np.testing.assert_allclose(again.positions, first.positions, rtol=1e-9, atol=0)
    assert again.pixel_size_m is None
    monkeypatch.setattr("ptycho.workflows.evaluation.save_verdict", lambda _, path: path.touch())
    evaluate(["back.npz", "--data", "there"])
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.split()[:1] == ["C"]]
    assert line.split()[1] == "0.858"
