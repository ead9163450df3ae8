"""Calls to a server that may be slow or away: sent in order, in the background, or kept."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptycho.data.appearing import appearing

log = logging.getLogger(__name__)

UNSENT = "dashboard_unsent.jsonl"
"""What could not be sent, in the folder of a run: a line about where to, then a call a line."""

Call = dict[str, Any]
"""What to do (``do``) and with what: plain values only."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between attempts; doubled after each."""
PATIENCE = 30.0
"""Seconds that a run that is over waits for a server that takes its calls slowly."""
LITTLE_PATIENCE = 3.0
"""The same for a server that is away, and for a run that was told to end."""
_TOGETHER = 1000  # metrics MLflow takes at once


class AwayError(Exception):
    """The server did not answer: the call is worth another attempt."""


class ClosedError(AwayError):
    """The server is there and does not let us in, or is not what it should be.

    Before the work that is a fault of the address; later it is waited out like silence.
    """


class RefusedError(Exception):
    """The server answered that it will never take this call."""


@dataclass
class Kept:
    """What lies in a file of unsent calls."""

    head: dict[str, Any] = field(default_factory=dict)
    """Whatever is needed to send them."""
    calls: list[Call] = field(default_factory=list)


def read_unsent(file: Path) -> Kept:
    """Calls that were kept; none when there is no such file."""
    if not file.is_file():
        return Kept()
    lines = []
    for line in file.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:  # the process was killed while it wrote the last one
            break
    return Kept(lines[0], lines[1:]) if lines else Kept()


class Outbox:
    """Sends calls one after the other from a thread of its own.

    While the server is away all that is unsent lies in ``file`` as well, so that not even
    a killed process loses it; calls may therefore be sent twice, and ``send`` has to bear that.

    Args:
        send: does one call; raises :class:`AwayError` or :class:`RefusedError`.
        head: asked for the first line of the file.
        file: where unsent calls are kept.
        where: name of the server, for sentences.
        calls: what is to be sent first.
        away: whether the server is already known not to answer.
    """

    def __init__(
        self,
        send: Callable[[Call], None],
        head: Callable[[], dict[str, Any]],
        file: Path,
        where: str,
        calls: list[Call] | None = None,
        away: bool = False,
    ) -> None:
        self._send, self._head, self._file, self._where = send, head, file, where
        self._calls: deque[Call] = deque(calls or [])
        self._changed = threading.Condition()
        self._away, self._closed, self._hurry = away, False, False
        self._late = self._refused = 0
        self._progress = time.monotonic()
        if away:
            self._keep()
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    @property
    def away(self) -> bool:
        """Whether the last attempt failed."""
        return self._away

    def put(self, call: Call) -> None:
        """Have a call sent after all others; returns at once."""
        with self._changed:
            self._calls.append(call)
            if self._away:
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.write(_line(call))
            self._changed.notify_all()

    def wait(self, patience: float) -> bool:
        """Wait until all is sent, as long as something moves.

        Args:
            patience: seconds without any call getting through; at most four times as long
                altogether.

        Returns:
            Whether everything was sent.
        """
        with self._changed:
            self._hurry = True
            self._progress = began = time.monotonic()
            self._changed.notify_all()
            while self._calls:
                now = time.monotonic()
                left = min(self._progress + patience, began + 4 * patience) - now
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def close(self, patience: float = PATIENCE, patience_away: float = LITTLE_PATIENCE) -> int:
        """Send what is left within limits, keep the rest; nothing is sent afterwards.

        Args:
            patience: seconds without any call getting through.
            patience_away: the same when the server is away already.

        Returns:
            How many calls are left and lie in the file.
        """
        try:
            self.wait(patience_away if self._away else patience)
        finally:
            with self._changed:
                self._closed = True
                if self._calls:
                    self._keep()
                self._changed.notify_all()
        self._thread.join(0.2)  # it may be stuck in a call; it is a daemon
        return len(self._calls)

    def _work(self) -> None:
        pause, attempts = FIRST_PAUSE, 0
        while True:
            with self._changed:
                while not self._calls and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                count, call = self._next()
            try:
                self._send(call)
            except AwayError as error:
                self._fail(str(error))
                with self._changed:
                    hurry = self._changed.wait_for(lambda: self._closed or self._hurry, pause)
                    self._hurry = False
                pause = FIRST_PAUSE if hurry else min(2 * pause, LONGEST_PAUSE)
                continue
            except Exception as error:  # a call that cannot be must not stop those behind it
                attempts += 1
                if attempts < 2:
                    time.sleep(FIRST_PAUSE)
                    continue
                self._refuse(call, error)
            pause, attempts = FIRST_PAUSE, 0
            self._sent(count, call)

    def _next(self) -> tuple[int, Call]:
        """The next call; metrics that wait one behind the other become one."""
        first = self._calls[0]
        if first["do"] != "metrics":
            return 1, first
        together: list[Any] = []
        count = 0
        for call in self._calls:
            if call["do"] != "metrics" or len(together) + len(call["metrics"]) > _TOGETHER:
                break
            together += call["metrics"]
            count += 1
        return (count, {**first, "metrics": together}) if count else (1, first)

    def _sent(self, count: int, call: Call) -> None:
        with self._changed:
            if self._closed:
                return
            for _ in range(count):
                self._calls.popleft()
            self._progress = time.monotonic()
            self._late += count if self._away else 0
            if self._away and call["do"] == "open":
                self._keep()  # or it would be opened once more by whoever reads the file
            if self._away and not self._calls:
                self._away = False
                self._file.unlink(missing_ok=True)
                log.warning(
                    "the MLflow dashboard at %s answers again; %d calls were sent late",
                    self._where, self._late,
                )  # fmt: skip
                self._late = 0
            self._changed.notify_all()

    def _fail(self, why: str) -> None:
        with self._changed:
            if self._away or self._closed:
                return
            self._away = True
            self._keep()
        log.warning(
            "the MLflow dashboard at %s stopped answering (%s); the run goes on, its files stay "
            "in the run folder, and what is unsent is tried again", self._where, why,
        )  # fmt: skip

    def _refuse(self, call: Call, error: Exception) -> None:
        self._refused += 1
        if self._refused == 1:
            log.warning(
                "the MLflow dashboard at %s does not take %s (%s); it is left out there",
                self._where, call["do"], error,
            )  # fmt: skip

    def _keep(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with appearing(self._file) as temporary:
            lines = [_line(self._head()), *map(_line, self._calls)]
            temporary.write_text("".join(lines), encoding="utf-8")


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content) + "\n"
