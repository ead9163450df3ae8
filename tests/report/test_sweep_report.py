"""The report of a sweep, of real jobs and of folders in every state a job can be in."""

import csv
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

from ptycho import sweep_report as command
from ptycho.config.config import UserError
from ptycho.report import sweep_importance
from ptycho.report.digits import column, duration, single
from ptycho.report.ranking import pareto
from ptycho.report.sweep_page import best_command, lead
from ptycho.report.sweep_read import gather, usual_direction
from ptycho.report.sweep_report import write_report
from ptycho.report.sweep_rows import Stand
from tests.runs import launched

PICTURES = ("quality", "importance", "slices", "parallel", "curves", "best_and_worst")


def job(
    sweep: Path,
    number: int,
    state: str | None = "finished",
    metric: dict[str, Any] | None = None,
    typed: dict[str, Any] | None = None,
    losses: tuple[float, ...] = (),
    **status: Any,
) -> Path:
    """The folder of a job as a run leaves it, without its arrays."""
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    if state is not None:
        content = {"state": state, "seconds": 10.0 + number, **status}
        (folder / "status.json").write_text(
            json.dumps(content | ({"metric": metric} if metric is not None else {}))
        )
    if typed is not None:
        (folder / "overrides.txt").write_text("".join(f"{k}={v}\n" for k, v in typed.items()))
        nested: dict[str, Any] = {}
        for name, value in typed.items():
            *groups, last = name.split(".")
            node = nested
            for group in groups:
                node = node.setdefault(group, {})
            node[last] = value
        (folder / "config.resolved.yaml").write_text(yaml.safe_dump(nested))
    if losses:
        rows = [f"{epoch},{loss}" for epoch, loss in enumerate(losses)]
        (folder / "metrics.csv").write_text("\n".join(["epoch,train/loss", *rows]) + "\n")
    return folder


def record(sweep: Path, **changes: Any) -> None:
    """``sweep.json`` of a sweep over the learning rate."""
    sweep.mkdir(parents=True, exist_ok=True)
    content = {
        "version": 1, "sampler": "tpe", "metric": ["C"], "direction": ["max"], "n_trials": 8,
        "params": {"trainer.learning_rate": "interval(1e-4,1e-2)"}, "pruner": "median",
        "overrides": ["trainer=cpu"], "command": ["ptycho", "-m"], "began": "2026-11-22T17:39:29",
    }  # fmt: skip
    (sweep / "sweep.json").write_text(json.dumps(content | changes))


def rates(sweep: Path, values: dict[int, float], **more: Any) -> None:
    """Finished jobs of learning rates; C grows with them."""
    for number, rate in values.items():
        typed = {"trainer": "cpu", "trainer.learning_rate": rate}
        typed.pop("trainer")
        job(sweep, number, metric={"C": 0.5 + rate}, typed=typed, losses=(1.0, 0.5), **more)


def rows_of(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "report.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class _Page(HTMLParser):
    """What a page shows, links to and takes in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.links, self.images, self.tags = "", [], [], []
        self._hidden = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self._hidden = tag in ("style", "script")
        if tag == "a":
            self.links.append(named["href"])
        if tag == "img":
            self.images.append(named["src"])

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data + " "


def page_of(sweep: Path) -> _Page:
    return _Page((sweep / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiny runs over two settings, as a grid leaves them; nobody wrote a sweep.json."""
    sweep = tmp_path_factory.mktemp("sweeps") / "grid"
    number = 0
    for rate in (1e-3, 3e-3):
        for width in (1, 2):
            folder = launched(
                sweep / str(number), trainer__learning_rate=rate, model__n_filters_scale=width,
                sweep__metric=["network/phase_psnr"],
            )  # fmt: skip
            (folder / "overrides.txt").write_text(
                f"trainer=smoke\ntrainer.learning_rate={rate}\nmodel.n_filters_scale={width}\n"
                "sweep.metric=[network/phase_psnr]\nhydra.sweep.dir=x\n"
            )
            number += 1
    write_report(sweep)
    return sweep


def test_real_sweep_is_told_best_first(real: Path) -> None:
    rows = rows_of(real)
    found = [float(row["network/phase_psnr"]) for row in rows]
    assert len(found) == 4
    assert found == sorted(found, reverse=True)
    best = real / rows[0]["number"]
    stages = json.loads((best / "metrics.json").read_text())["stages"]
    assert found[0] == stages["network"]["phase_psnr"]
    assert float(rows[0]["C"]) == stages["refined"]["C"]
    assert {*rows[0]} == {
        "number", "state", "trainer.learning_rate", "model.n_filters_scale", "network/phase_psnr",
        "C", "R", "seconds", "patterns_per_s", "loss", "error",
    }  # fmt: skip


def test_page_needs_nothing_from_elsewhere(real: Path) -> None:
    page = page_of(real)
    assert len(page.images) == len(PICTURES)
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert {*page.links} == {"0/", "1/", "2/", "3/", "report.csv", "report/"}
    assert "script" not in page.tags
    assert "link" not in page.tags
    text = (real / "report.html").read_text()
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_hold_more_than_paper(real: Path, name: str) -> None:
    with Image.open(real / "report" / f"{name}.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] >= 1100
    assert (pixels < 200).mean() > 0.002


def test_best_settings_can_be_typed(real: Path) -> None:
    sweep = gather(real)
    best = sweep.jobs[0]
    command_line = best_command(sweep)
    assert command_line == (
        "python -m ptycho.run trainer=smoke "
        f"trainer.learning_rate={best.settings['trainer.learning_rate']} "
        f"model.n_filters_scale={best.settings['model.n_filters_scale']}"
    )
    assert html.escape(command_line) in (real / "report.html").read_text()


@pytest.mark.parametrize(("method", "most"), [("fANOVA", 0.9), ("PED-ANOVA", 0.5)])
def test_importance_finds_what_matters(
    tmp_path: Path, method: str, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_importance, "method", lambda: method)
    record(tmp_path, params={"a.x": "1,2", "a.y": "1,2,3,4"}, metric=["C"])
    number = 0
    for x in (1, 2):
        for y in (1, 2, 3, 4):
            job(
                tmp_path, number, metric={"C": 0.5 + 0.1 * y + 1e-3 * x}, typed={"a.x": x, "a.y": y}
            )
            number += 1
    sweep = gather(tmp_path)
    shares = sweep_importance.importance(sweep, sweep.metrics[0])
    assert isinstance(shares, dict)
    assert [*shares] == ["a.y", "a.x"]
    assert shares["a.y"] > most
    assert sum(shares.values()) == pytest.approx(1)


def test_importance_says_why_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, params={"a.x": "1,2", "a.y": "1,2"})
    for number, (x, y) in enumerate([(1, 1), (1, 2), (2, 1)]):
        job(tmp_path, number, metric={"C": 0.1 * number}, typed={"a.x": x, "a.y": y})
    write_report(tmp_path)
    assert "needs 4 finished jobs with different settings; so far 3." in page_of(tmp_path).text
    assert not (tmp_path / "report" / "importance.png").exists()
    job(tmp_path, 3, metric={"C": 0.9}, typed={"a.x": 2, "a.y": 2})
    write_report(tmp_path)
    assert (tmp_path / "report" / "importance.png").exists()
    monkeypatch.setattr(sweep_importance, "find_spec", lambda name: None)
    write_report(tmp_path)
    assert "pip install 'ptycho[sweep]'" in page_of(tmp_path).text
    assert not (tmp_path / "report" / "importance.png").exists()  # that of the report before


def test_every_state_is_told(tmp_path: Path) -> None:
    record(tmp_path)
    rates(tmp_path, {0: 1e-3, 1: 1e-2})
    job(
        tmp_path,
        2,
        "failed",
        typed={"trainer.learning_rate": 1.0},
        error="ValueError: <b>no</b> & $x_1$",
    )
    job(tmp_path, 3, "pruned", typed={"trainer.learning_rate": 2e-3}, losses=(3.0, 2.0))
    job(tmp_path, 4, "interrupted", typed={"trainer.learning_rate": 3e-3}, losses=(3.0,))
    job(tmp_path, 5, "running", typed={"trainer.learning_rate": 4e-3})
    job(tmp_path, 6, "running", typed={"trainer.learning_rate": 5e-3})
    job(tmp_path, 7, None)
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "status.json").write_text('{"state": "finis')
    lock = FileLock(tmp_path / "5" / ".running.lock", is_singleton=False)
    with lock:
        write_report(tmp_path)
    told = {int(row["number"]): row for row in rows_of(tmp_path)}
    assert {number: row["state"] for number, row in told.items()} == {
        1: "finished", 0: "finished", 5: "running", 3: "pruned", 4: "interrupted", 6: "killed",
        2: "failed", 7: "unrecorded", 8: "unrecorded",
    }  # fmt: skip
    assert [*told][:2] == [1, 0]
    assert told[3]["loss"] == "2.0"
    words = page_of(tmp_path).text
    assert "pruned after 2 epochs" in words
    assert "interrupted after 1 epoch " in words
    assert told[3]["C"] == ""
    page = page_of(tmp_path)
    assert "ValueError: <b>no</b> & $x_1$" in page.text
    assert "b" not in page.tags
    assert "cannot be read" in page.text
    assert lead(gather(tmp_path)).startswith("9 jobs: 2 finished, ")


def test_running_sweep_says_how_far_it_is(tmp_path: Path) -> None:
    record(tmp_path)
    job(tmp_path, 0, "running")
    write_report(tmp_path)
    page = page_of(tmp_path)
    assert "1 of 8 jobs: 1 killed." in page.text
    assert "No job has finished yet." in page.text
    assert page.images == []


def test_names_are_no_markup(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    record(tmp_path, params={"data.label": f"{evil},$a_"}, command=["ptycho", evil], sampler=evil)
    for number, label in enumerate((evil, "$a_", "b")):
        job(tmp_path, number, metric={"C": 0.1 * number}, typed={"data.label": label})
    write_report(tmp_path)
    page = page_of(tmp_path)
    assert all(source.startswith("data:") for source in page.images)
    assert page.text.count(evil) >= 3


def test_missing_figures_are_never_numbers(tmp_path: Path) -> None:
    record(tmp_path)
    rates(tmp_path, {0: 1e-3})
    job(tmp_path, 1, metric={"C": float("nan")}, typed={"trainer.learning_rate": 2e-3})
    job(tmp_path, 2, metric=None, typed={"trainer.learning_rate": 3e-3})
    write_report(tmp_path)
    assert [row["C"] for row in rows_of(tmp_path)] == ["0.501", "", ""]
    assert "nan" not in page_of(tmp_path).text.lower().split()
    assert len(gather(tmp_path).judged) == 1


def test_several_metrics_have_a_front(tmp_path: Path) -> None:
    record(tmp_path, metric=["C", "seconds"], direction=["max", "min"])
    for number, (quality, seconds) in enumerate([(0.9, 30), (0.8, 10), (0.7, 20), (0.95, 40)]):
        job(
            tmp_path, number, metric={"C": quality, "seconds": seconds},
            typed={"trainer.learning_rate": 1e-3 * (number + 1)},
        )  # fmt: skip
    write_report(tmp_path)
    rows = rows_of(tmp_path)
    assert [(row["number"], row["pareto"]) for row in rows] == [
        ("3", "yes"), ("0", "yes"), ("1", "yes"), ("2", ""),
    ]  # fmt: skip
    assert page_of(tmp_path).text.count("finished, Pareto") == 3


def test_front_is_what_nothing_beats() -> None:
    assert pareto({0: (1, 2), 1: (2, 1), 2: (2, 2), 3: (1, 2), 4: (0, 9)}) == {0, 1, 3, 4}
    assert pareto({}) == frozenset()


def test_lower_is_better_where_it_is(tmp_path: Path) -> None:
    names = ("C", "R", "network/R", "seconds", "train/loss", "phase_psnr", "network/phase_mae")
    found = [usual_direction(name).value for name in names]
    assert found == ["max", "min", "min", "min", "min", "max", "min"]
    assert usual_direction("train/patterns_per_s") == "max"
    record(tmp_path, metric=["R"], direction=["min"])
    for number, value in enumerate((0.3, 0.1, 0.2)):
        job(tmp_path, number, metric={"R": value}, typed={"trainer.learning_rate": value})
    assert [one.number for one in gather(tmp_path).jobs] == [1, 2, 0]


def test_without_a_record_the_jobs_tell_what_was_swept(tmp_path: Path) -> None:
    for number, typed in enumerate(({"model": "pinn", "seed": 1}, {"model": "unet", "seed": 1})):
        job(tmp_path, number, metric={"C": 0.5}, typed=typed)
    assert gather(tmp_path).swept == {"model": "pinn, unet"}
    for number in range(2):
        (tmp_path / str(number) / "overrides.txt").unlink()
    (tmp_path / "1" / "config.resolved.yaml").write_text(
        "seed: 2\nmodel: pinn\nlogger: {run_name: x}\n"
    )
    assert gather(tmp_path).swept == {"seed": "1, 2"}


def test_options_of_a_group_are_settings(tmp_path: Path) -> None:
    record(tmp_path, params={"model": "pinn,object_pinn"})
    folder = job(tmp_path, 0, metric={"C": 0.5}, typed={"model.N": 64})
    (folder / "overrides.txt").write_text("+model=pinn\n")
    (sweep,) = [gather(tmp_path)]
    assert sweep.jobs[0].settings == {"model": "pinn"}
    assert sweep.jobs[0].stand == Stand.finished


def test_half_written_epoch_is_left_out(tmp_path: Path) -> None:
    record(tmp_path)
    folder = job(tmp_path, 0, "running", losses=(3.0, 2.0))
    with (folder / "metrics.csv").open("a") as file:
        file.write("2,")
    write_report(tmp_path)
    assert rows_of(tmp_path)[0]["loss"] == "2.0"
    assert (tmp_path / "report" / "curves.png").exists()


def test_numbers_have_the_digits_that_tell_them_apart() -> None:
    assert column([0.81881, 0.81879, 0.8021]) == ["0.8188", "0.8188", "0.8021"]
    assert column([0.8188124, 0.8187990]) == ["0.8188124", "0.8187990"]
    assert column([0.8188124, 0.8188125]) == ["0.81881", "0.81881"]
    assert column([32.2398, 30.841, None, float("nan")]) == ["32.24", "30.84", "-", "-"]
    assert column([12345.678, 71738.9]) == ["12,346", "71,739"]
    assert column([1, 20]) == ["1", "20"]
    assert column([]) == []
    assert single(1e-5) == "1e-05"
    assert single(0.1 + 0.2) == "0.3"
    assert single(100000.0) == "100000"
    assert single(True) == "true"
    assert duration(8.24) == "8.2 s"
    assert duration(200) == "3 min 20 s"
    assert duration(18720) == "5 h 12 min"
    assert duration(float("nan")) == "-"


def test_command_prints_the_best_first(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([str(real)])
    said = capsys.readouterr().out
    assert "sweep grid, 4 jobs: 4 finished." in said
    numbers = re.findall(r"^ +(\d) .*finished", said, re.MULTILINE)
    assert numbers == [row["number"] for row in rows_of(real)]
    assert f"{real}/report.html" in said


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "nowhere", "no such folder: .*/nowhere; check the path."),
        (lambda folder: folder, r"holds no jobs \(folders named 0, 1, 2 ...\)."),
        (lambda folder: job(folder / "s", 3), "holds a single run, job 3 of the sweep .*/s;"),
        (lambda folder: job(folder / "s", 3).rename(folder / "r"), "a single run, not a sweep;"),
        (lambda folder: job(folder / "s", 3).parents[1], "sweeps in it: s."),
        (lambda folder: job(folder / "s", 3) / "status.json", "is a file; name the folder"),
        (lambda folder: _damaged(folder), r"sweep.json cannot be read: .*"),
    ],
)
def test_what_is_no_sweep_is_refused(
    tmp_path: Path, make: Any, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as end:
        command.main([str(named)])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(sentence, said)
    assert sorted(tmp_path.rglob("*")) == before


def test_sweep_is_left_alone_when_a_picture_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path)
    rates(tmp_path, {0: 1e-3, 1: 2e-3})
    monkeypatch.setattr("ptycho.report.sweep_figures.save_page", _fails)
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert not list((tmp_path / "report").iterdir())


def _damaged(sweep: Path) -> Path:
    job(sweep, 0)
    (sweep / "sweep.json").write_text('{"version"')
    return sweep


def _fails(figure: Any, path: Path) -> None:
    Path(path).write_bytes(b"half")
    raise OSError("disk full")


def test_unreadable_arrays_cost_only_their_picture(tmp_path: Path) -> None:
    record(tmp_path)
    rates(tmp_path, {0: 1e-3, 1: 2e-3})
    for number in range(2):
        (tmp_path / str(number) / "reconstruction.npz").write_bytes(b"nothing")
    write_report(tmp_path)
    assert (tmp_path / "report" / "quality.png").exists()
    assert not (tmp_path / "report" / "best_and_worst.png").exists()


def test_gather_refuses_by_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no jobs"):
        gather(tmp_path)
