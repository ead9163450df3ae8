import os
import sys
from pathlib import Path

import pytest

from ptycho.workflows import helpers
from ptycho.workflows.helpers import Helpers, is_helper, orphaned, quoted, threads_each
from tests.runs import tiny_run

ECHO = "import os, sys; print(os.environ.get('CUDA_VISIBLE_DEVICES'), *sys.argv[1:])"


@pytest.fixture
def echoing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers that say what they were told, and end."""
    real = Helpers._line
    monkeypatch.setattr(
        Helpers, "_line", lambda self: [sys.executable, "-c", ECHO, *real(self)[3:]]
    )


def said(folder: Path) -> list[str]:
    return [log.read_text().strip() for log in sorted(folder.glob("helper_*.log"))]


@pytest.mark.usefixtures("echoing")
def test_helpers_are_the_same_command_on_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run = tiny_run()
    with Helpers(2, tmp_path, ["-m", "sweep=tpe", "sweep.workers=3"], run) as two:
        assert two.wait() == []
    line = (
        f"None -m sweep=tpe sweep.workers=3 hydra.sweep.dir='{tmp_path}' sweep.workers=1 "
        "execution.enable_progress_bar=false"
    )
    assert said(tmp_path) == [line, line]


@pytest.mark.usefixtures("echoing")
def test_each_has_a_gpu_where_there_are_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    with Helpers(4, tmp_path, [], tiny_run(trainer__accelerator="auto")) as four:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"
        four.wait()
    assert [line.split()[0] for line in said(tmp_path)] == ["6", "7", "4", "6"]


@pytest.mark.usefixtures("echoing")
def test_gpus_of_one_training_on_several_stay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    run = tiny_run(trainer__accelerator="gpu", trainer__strategy="ddp")
    with Helpers(1, tmp_path, [], run) as one:
        one.wait()
    assert said(tmp_path)[0].split()[0] == "4,6"


def test_a_crash_is_noticed_and_a_failed_job_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    codes = iter([0, 2, 139])
    monkeypatch.setattr(
        Helpers, "_line",
        lambda self: [sys.executable, "-c", f"raise SystemExit({next(codes)})"],
    )  # fmt: skip
    with Helpers(3, tmp_path, [], tiny_run()) as three:
        assert three.wait() == [139]


def test_a_helper_knows_when_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch):
    assert not is_helper()
    assert not orphaned()
    monkeypatch.setenv("PTYCHO_SWEEP_ASKED_BY", str(os.getppid()))
    assert is_helper()
    assert not orphaned()
    monkeypatch.setenv("PTYCHO_SWEEP_ASKED_BY", "1" if os.getppid() != 1 else "2")
    assert orphaned()


@pytest.mark.parametrize(("cores", "processes", "threads"), [(8, 2, 4), (8, 3, 2), (2, 4, 1)])
def test_threads_are_shared_out(
    cores: int, processes: int, threads: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(helpers, "cores", lambda: cores)
    assert threads_each(processes) == threads


@pytest.mark.parametrize("text", ["/a b/c", "it's", "back\\slash", "a,b=c:{d}[e]", "ende\\"])
def test_any_folder_can_be_typed(text: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(f"hydra.sweep.dir={quoted(text)}")
    assert parsed.value() == text
