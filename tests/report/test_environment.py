import hashlib
import subprocess
from pathlib import Path

import pytest
import torch

from ptycho.report import environment as module
from ptycho.report.environment import environment, git_state, uncommitted
from tests.runs import CPU


def test_process_is_described() -> None:
    told = environment(CPU, 7)
    assert told["seed"] == 7
    assert told["device"] == "cpu"
    assert told["packages"]["torch"] == torch.__version__
    assert told["packages"]["ptycho"]


def test_every_package_is_told() -> None:
    told = environment(CPU, 0)
    assert len(told["installed"]) > len(told["packages"])
    assert told["installed"]["torchmetrics"] == told["packages"]["torchmetrics"]
    assert [*told["installed"]] == sorted(told["installed"], key=str.lower)


def test_threads_and_determinism_are_told_as_they_are() -> None:
    before = environment(CPU, 0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        torch.use_deterministic_algorithms(not before["deterministic"])
        after = environment(CPU, 0)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before["deterministic"])
    assert after["threads"] == before["threads"] + 1
    assert after["deterministic"] != before["deterministic"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a package in it, committed."""
    (tmp_path / "ptycho" / "report").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "ptycho" / "run.py").write_text("one\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        git(tmp_path, *words)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_clean_checkout_is_its_commit(checkout: Path) -> None:
    assert git_state(checkout / "ptycho" / "report") == {
        "sha": git(checkout, "rev-parse", "HEAD"), "dirty": False, "diff_sha256": None,
    }  # fmt: skip


def test_each_change_has_its_own_hash(checkout: Path) -> None:
    seen = set()
    for text in ("two\n", "three\n"):
        (checkout / "ptycho" / "run.py").write_text(text)
        state = git_state(checkout / "ptycho" / "report")
        assert state is not None
        assert state["dirty"] is True
        seen.add(state["diff_sha256"])
    assert len(seen) == 2
    git(checkout, "commit", "-qam", "second")
    state = git_state(checkout / "ptycho" / "report")
    assert state is not None
    assert state["dirty"] is False


def test_changes_are_a_patch_unless_they_are_long(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkout / "ptycho" / "report"
    assert uncommitted(folder) == ""
    (checkout / "ptycho" / "run.py").write_bytes(b"two \xff\n")
    patch = uncommitted(folder)
    assert "-one" in patch
    assert "+two" in patch
    state = git_state(folder)
    assert state is not None
    assert state["diff_sha256"] == hashlib.sha256(patch.encode()).hexdigest()
    monkeypatch.setattr(module, "_LONGEST_DIFF", len(patch) // 2)
    assert uncommitted(folder) == ""


def test_no_checkout_no_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


def test_somebody_elses_repository_is_not_ours(checkout: Path) -> None:
    installed = checkout / "venv" / "lib" / "ptycho" / "report"
    installed.mkdir(parents=True)
    assert git_state(installed) is None


def test_machine_without_git(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout / "ptycho" / "report") is None
