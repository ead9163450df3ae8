"""Checkpoints and the signals of batch systems."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from ptycho.config.signals import undisturbed
from ptycho.training.checkpoint import WholeCheckpoints


class _ToldError(Exception):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    def told(number: int, _: Any) -> NoReturn:
        raise _ToldError(number)

    before = {one: signal.signal(one, told) for one in (signal.SIGTERM, signal.SIGUSR1)}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


def test_a_signal_waits_until_a_checkpoint_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.save

    def interrupted(content: Any, file: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        real(content, file)

    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)
    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(_ToldError, match=str(int(signal.SIGUSR1))):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True)["epoch"] in (1, 2)


def test_signals_reach_who_listened_before() -> None:
    reached = []

    def work() -> None:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("the end")

    with pytest.raises(_ToldError):
        work()
    assert reached == ["the end"]
    with pytest.raises(_ToldError):
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_error_of_its_own_is_not_hidden() -> None:
    with pytest.raises(OSError, match="full"), undisturbed():
        raise OSError("the disk is full")


def test_other_threads_save_as_they_are() -> None:
    done = []

    def work() -> None:
        with undisturbed():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
