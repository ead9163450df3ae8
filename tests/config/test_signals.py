"""How commands end at a signal."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from ptycho.config.process import exit_codes
from ptycho.config.signals import asked_to_end


def kill(kind: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), kind)


class Cleared:
    """Ctrl-C comes while this is cleared away: what the handler raises is dropped there."""

    def __del__(self) -> None:
        kill(signal.SIGINT)
        time.sleep(0.01)


def code_of(work: Callable[[], None]) -> int:
    """Exit code of a command that does this."""
    try:
        with exit_codes():
            work()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_unwinds_a_command(kind: signal.Signals, code: int) -> None:
    done = []
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]

    def work() -> None:
        try:
            kill(kind)
            time.sleep(5)
        finally:
            kill(kind)  # batch systems send it to the process and to its group
            done.append("cleared away")

    assert code_of(work) == code
    assert done == ["cleared away"]
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_handler_of_somebody_else_stays() -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        assert code_of(kill) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def test_a_signal_that_python_dropped_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        Cleared()
        time.sleep(5)

    start = time.monotonic()
    assert code_of(work) == 130
    assert time.monotonic() - start < 2
    assert capsys.readouterr().err == "ptycho: interrupted\n"


def test_a_signal_that_python_dropped_last_is_not_lost() -> None:
    def work() -> None:
        Cleared()

    assert code_of(work) == 130


def test_an_error_that_a_signal_caused_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        try:
            kill()
            time.sleep(5)
        finally:
            raise OSError("the file is not whole")

    assert code_of(work) == 143
    assert capsys.readouterr().err == ""


def test_who_asked_for_a_lost_signal_is_left_to_clear_away() -> None:
    done = []

    def work() -> None:
        Cleared()
        wish = asked_to_end()
        assert isinstance(wish, KeyboardInterrupt)
        try:
            raise wish
        finally:
            time.sleep(0.1)  # by now it would have come once more
            done.append("cleared away")

    assert code_of(work) == 130
    assert done == ["cleared away"]
