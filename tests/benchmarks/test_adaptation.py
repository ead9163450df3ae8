"""Trainings of a given length, counting iterations, and the page of the adaptation benchmark."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import adaptation, ancestor
from benchmarks.adaptation_report import Part, Row, kept, page, read, terminal_table, write
from benchmarks.learning import (
    Subject,
    ancestor_object,
    first_count,
    get_used_to,
    iterations_to,
    learn,
    settings,
)
from benchmarks.peers.protocol import Clock
from ptycho.config.choices import Labels
from ptycho.config.config import ConfigError
from ptycho.workflows import stages
from tests.runs import tiny_scan

DISTIL: dict[str, Any] = {
    "trainer__nll_weight": 0.0, "trainer__realspace_weight": 1.0, "data__labels": Labels.solver,
}  # fmt: skip


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.of(tiny_scan())


def test_settings_are_checked_and_named() -> None:
    assert settings(trainer__batch_size=7).trainer.batch_size == 7
    with pytest.raises(AttributeError, match=r"no setting trainer\.batchsize"):
        settings(trainer__batchsize=7)
    with pytest.raises(ConfigError, match="nothing to learn"):
        settings(trainer__nll_weight=0.0)


def test_a_training_takes_about_the_seconds_it_was_given(subject: Subject) -> None:
    short, long = (
        learn(settings(trainer__batch_size=16), [subject], budget) for budget in (0.1, 0.6)
    )
    assert long.epochs > short.epochs >= 1
    assert long.seconds > short.seconds
    assert long.seconds == pytest.approx(0.6, rel=0.6)  # the machine is not ours alone


def test_several_scans_take_more_steps_an_epoch(subject: Subject) -> None:
    other = Subject.of(tiny_scan(seed=1))
    run = settings(trainer__batch_size=16)
    alone, both = learn(run, [subject], 1e-6), learn(run, [subject, other], 1e-6)
    assert alone.epochs == both.epochs == 1
    weights = [one.network.state_dict() for one in (alone, both)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_training_goes_on_from_another(subject: Subject) -> None:
    run = settings(trainer__batch_size=16)
    first = learn(run, [subject], 0.3)
    still = settings(trainer__batch_size=16)
    still.adapt.learning_rate = 1e-12
    after = get_used_to(still, subject, 1e-6, first)
    torch.testing.assert_close(after.answer(subject), first.answer(subject), atol=1e-5, rtol=1e-4)
    moved = get_used_to(run, subject, 0.2, first)
    assert not torch.equal(moved.answer(subject), first.answer(subject))


def test_held_out_patterns_can_forbid_to_move() -> None:
    subject = Subject.of(tiny_scan(), 0.1)
    run = settings(trainer__batch_size=16)
    first = learn(run, [subject], 0.3)
    still = settings(trainer__batch_size=16)
    still.adapt.learning_rate = 1e-9
    after = get_used_to(still, subject, 0.1, first)
    assert torch.equal(after.answer(subject), first.answer(subject))


def test_making_labels_counts(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    real = stages.solve

    def slow(*arguments: Any) -> torch.Tensor:
        while_counted = Clock()
        while while_counted.cpu < 0.5:
            while_counted.resume()
            found = real(*arguments)
            while_counted.pause()
        return found

    monkeypatch.setattr(stages, "solve", slow)
    assert learn(settings(trainer__batch_size=16, **DISTIL), [subject], 1e-6).seconds > 0.5


def test_a_lift_is_made_once(subject: Subject) -> None:
    run = settings(model__lift_coarse_iterations=2)
    assert subject.lifted(run) is subject.lifted(run)
    assert subject.seconds(run) > 0
    other = settings(model__lift_coarse_iterations=2, model__lift_iterations=1)
    assert subject.lifted(other) is not subject.lifted(run)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 39, 40])
def test_the_smallest_count_is_found(count: int) -> None:
    assert first_count(lambda n: float(n), count, 40) == count


def test_a_level_out_of_reach_has_no_count() -> None:
    assert first_count(lambda n: float(n), 41, 40) is None


def test_iterations_from_the_truth_are_none(subject: Subject) -> None:
    truth = subject.problem.reconstruction([]).truth
    assert truth is not None
    near, far = torch.from_numpy(truth), subject.problem.flat()
    assert iterations_to(subject, near, [0.5, 0.99], 4) == [0, 0]
    (count,) = iterations_to(subject, far, [0.5], 30)
    assert count is not None
    assert count > 0


def test_the_ancestor_lies_where_its_patches_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject.of(tiny_scan(n_patterns=81, patch_size=64, step=6.0, probe_radius=12.0))
    truth = torch.from_numpy(subject.problem.reconstruction([]).truth)

    class Knowing(ancestor.Training):
        """Predicts the truth: what is stitched must be it."""

        def step(self) -> torch.Tensor:
            return torch.zeros(())

        def __init__(self, groups: ancestor.Groups, precision: str) -> None:
            super().__init__(groups, precision)
            corners, _ = ancestor.split_positions(subject.problem.positions, ancestor.SIZE)
            inner = ancestor.extract_patches(truth, corners + 16, ancestor.WINDOW)
            queue = list(groups.members.split(ancestor.GROUPS))
            self.network = lambda _: inner[queue.pop(0)]  # type: ignore[assignment]

    monkeypatch.setattr(ancestor, "Training", Knowing)
    obj, seconds = ancestor_object(subject, 1e-4)
    assert seconds > 0
    seen = obj != 1
    assert seen.float().mean() > 0.2
    torch.testing.assert_close(obj[seen], truth[seen])


PARTS = [Part("One", "Why.", ("CPU s", "SSIM"), (1, 3), (Row("a", (1.23, None)),))]


def test_the_page_holds_every_figure(tmp_path: Path) -> None:
    text = page(PARTS, 2025, 20)
    assert "## One\n\nWhy.\n\n|  | CPU s | SSIM |\n| --- | ---: | ---: |\n| a | 1.2 | - |" in text
    assert "2,025 patterns" in text
    assert terminal_table(PARTS[0]).row_count == 1
    write(PARTS, 2025, 20, tmp_path / "deep" / "page.md")
    assert (tmp_path / "deep" / "page.md").read_text() == text


def test_a_table_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "one.json"
    assert read(path) is None
    assert kept(path, lambda: PARTS[0]) == PARTS[0]

    def again() -> Part:
        raise AssertionError("it is there already")

    assert kept(path, again) == PARTS[0]


@pytest.mark.slow
def test_one_command_writes_the_page(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    assert adaptation.main(["--quick", "--out", str(tmp_path), "--docs", str(docs)]) == 0
    text = (docs / "adaptation.md").read_text()
    assert text == (tmp_path / "adaptation.md").read_text()
    assert text.count("| the ancestor's layout |") == 1
    assert "distilled, adapted" in text
