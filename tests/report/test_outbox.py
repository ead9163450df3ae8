"""The outbox against a server that is slow, away, or refuses."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ptycho.report import outbox as module
from ptycho.report.outbox import AwayError, Outbox, RefusedError, read_unsent


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)


class Server:
    """Takes calls, or does not."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.answers = True
        self.refuses: Any = None
        self.attempts = 0

    def __call__(self, call: dict[str, Any]) -> None:
        self.attempts += 1
        if not self.answers:
            raise AwayError("no answer")
        if call["do"] == self.refuses:
            raise RefusedError("never")
        self.got.append(call)


def box(server: Server, file: Path, **more: Any) -> Outbox:
    return Outbox(server, lambda: {"uri": "there"}, file, "there", **more)


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"do": "tags", "tags": {"n": str(i)}} for i in range(count)]


def test_calls_keep_their_order_and_leave_no_file(tmp_path: Path) -> None:
    server = Server()
    sending = box(server, tmp_path / "unsent")
    for call in numbered(50):
        sending.put(call)
    assert sending.close() == 0
    assert server.got == numbered(50)
    assert not (tmp_path / "unsent").exists()


def test_metrics_that_wait_are_sent_together_with_their_own_times(tmp_path: Path) -> None:
    server = Server()
    server.answers = False
    sending = box(server, tmp_path / "unsent")
    sending.put({"do": "tags", "tags": {}})
    for step in range(1500):
        sending.put({"do": "metrics", "metrics": [["loss", 1.0, 100 + step, step]]})
    sending.put({"do": "end"})
    server.answers = True
    assert sending.close() == 0
    assert [call["do"] for call in server.got] == ["tags", "metrics", "metrics", "end"]
    sent = [one for call in server.got[1:3] for one in call["metrics"]]
    assert sent == [["loss", 1.0, 100 + step, step] for step in range(1500)]


def test_a_server_that_is_away_costs_no_time_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    server.answers = False
    sending = box(server, tmp_path / "unsent")
    began = time.perf_counter()
    for call in numbered(100):
        sending.put(call)
    assert time.perf_counter() - began < 1
    while server.attempts < 4:
        time.sleep(0.01)
    assert caplog.text.count("stopped answering (no answer)") == 1
    kept = read_unsent(tmp_path / "unsent")
    assert (kept.head, kept.calls) == ({"uri": "there"}, numbered(100)), "survives kill -9"
    server.answers = True
    assert sending.close() == 0
    assert server.got == numbered(100)
    assert caplog.text.count("answers again; 100 calls were sent late") == 1
    assert not (tmp_path / "unsent").exists()


def test_what_is_left_is_kept_and_sent_by_another(tmp_path: Path) -> None:
    server = Server()
    server.answers = False
    sending = box(server, tmp_path / "unsent")
    for call in numbered(3):
        sending.put(call)
    began = time.perf_counter()
    assert sending.close(patience=0.2, patience_away=0.2) == 3
    assert time.perf_counter() - began < 2
    server.answers = True
    time.sleep(0.1)
    assert server.got == [], "nothing is sent after closing"
    kept = read_unsent(tmp_path / "unsent")
    assert box(server, tmp_path / "unsent", calls=kept.calls, away=True).close() == 0
    assert server.got == numbered(3)
    assert not (tmp_path / "unsent").exists()


def test_a_server_that_hangs_ends_the_wait(tmp_path: Path) -> None:
    hanging = threading.Event()

    def send(_: Any) -> None:
        hanging.wait(30)

    sending = Outbox(send, dict, tmp_path / "unsent", "there")
    sending.put({"do": "tags"})
    began = time.perf_counter()
    assert sending.close(patience=0.2) == 1
    assert time.perf_counter() - began < 2
    assert read_unsent(tmp_path / "unsent").calls == [{"do": "tags"}]
    hanging.set()


def test_a_slow_server_is_given_time_as_long_as_it_takes_calls(tmp_path: Path) -> None:
    def send(_: Any) -> None:
        time.sleep(0.1)

    sending = Outbox(send, dict, tmp_path / "unsent", "there")
    for call in numbered(8):
        sending.put(call)
    assert sending.close(patience=0.4) == 0


@pytest.mark.parametrize("error", [RefusedError("never"), ValueError("a bug")])
def test_a_call_that_cannot_be_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    got = []

    def send(call: dict[str, Any]) -> None:
        if call["do"] == "bad":
            raise error
        got.append(call["do"])

    sending = Outbox(send, dict, tmp_path / "unsent", "there")
    for do in ("one", "bad", "two", "bad", "three"):
        sending.put({"do": do})
    assert sending.close() == 0
    assert got == ["one", "two", "three"]
    assert caplog.text.count(f"does not take bad ({error})") == 1


def test_a_file_cut_off_in_its_last_line_is_read(tmp_path: Path) -> None:
    file = tmp_path / "unsent"
    file.write_text('{"uri": "x"}\n{"do": "tags"}\n{"do": "me')
    assert read_unsent(file).calls == [{"do": "tags"}]
    assert read_unsent(tmp_path / "none").calls == []
    json.loads(file.read_text().splitlines()[0])
