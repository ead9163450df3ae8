"""Trainings of patch networks of a given length, and the page of the overlap benchmark."""

from pathlib import Path

import pytest

from benchmarks import overlap, scans
from benchmarks.adaptation_report import Part, Row
from ptycho.config.choices import Overlap
from tests.runs import tiny_scan


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> overlap.Bench:
    monkeypatch.setattr(scans, "load", lambda name, patterns: tiny_scan())
    return overlap.Bench(tmp_path, 0.2, 64, 1, lambda _: None)


def test_all_ways_predict_the_same_number_in_a_step() -> None:
    usual = [how for how in overlap.WAYS.values() if "trainer__learning_rate" not in how]
    for how in usual:
        run = overlap.way(0, **how)
        share = run.model.predicted_share if run.model.overlap == Overlap.canvas else 1
        assert run.trainer.batch_size * share == overlap.BATCH


def test_a_training_has_the_steps_its_seconds_allow(
    bench: overlap.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "pace", lambda run, name: 0.1)
    run = overlap.way(0, model__overlap=Overlap.group, model__gridsize=2)
    found = [bench.train(run, "tiny", seconds) for seconds in (0.7, 4.0)]
    assert [one.steps for one in found] == [7, 39]  # whole epochs: 16 batches, 3 of 13
    assert found[1].seconds > found[0].seconds > 0
    assert found[1].psnr > 10


def test_the_page_has_all_figures_and_dashes_where_there_are_none() -> None:
    part = Part(
        "Speed", "words", ("a", "b"), (0, 1), (Row("x", (1234.0, 2.0)), Row("y", (5.0, None)))
    )
    text = overlap.page([part], 100, 2.0)
    assert "| x | 1234 | 2.0 |\n| y | 5 | - |" in text
    assert "100 patterns" in text
