"""The calibration benchmark, on the smallest scan."""

import csv
from pathlib import Path

import pytest

from benchmarks import calibration


def test_a_table_a_picture_and_a_page_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "SOLVER", {"solver, fisher": {
        "task": "solve", "uncertainty.method": "fisher",
    }})  # fmt: skip
    monkeypatch.setattr(calibration, "_QUICK", 16)
    out, docs = tmp_path / "out", tmp_path / "docs"
    typed = ["--quick", "--objects", "chip", "--photons", "1e5", "--out", str(out)]
    assert calibration.main([*typed, "--docs", str(docs)]) == 0
    assert "calibration error below 10%" in capsys.readouterr().out
    assert {one.name for one in docs.iterdir()} == {"calibration.md", "calibration.png"}
    with (out / "calibration.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == ["phase", "amplitude"]
    assert all(0 <= float(row["calibration_error"]) <= 0.5 for row in rows)
    assert "## chip_1e5" in (docs / "calibration.md").read_text()


def result(phase: float, amplitude: float, method: str = "a") -> calibration.Result:
    figures = {
        name: {"calibration_error": off}
        for name, off in (("phase", phase), ("amplitude", amplitude))
    }
    return calibration.Result("chip_1e4", method, 1.0, 1.0, figures)


def test_the_verdict_wants_both_below_the_goal_everywhere() -> None:
    good, bad = result(0.02, 0.09), result(0.02, 0.11, "b")
    assert calibration.verdict([good, bad]).endswith("every scan: a.")
    assert calibration.verdict([result(0.2, 0.0)]).endswith("no method.")
