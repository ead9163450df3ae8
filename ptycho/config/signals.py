"""Signals that end a process: they unwind what runs, wait where they must, and are not lost.

Standard library only.
"""

import contextlib
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, and what batch systems send before they take a machine away."""

_SECONDS = 1.0  # in which a signal that comes again is the same one, sent to process and group
_LATER = 0.01  # seconds, by which Python has cleared away what it was clearing away

_came: list[tuple[int, float]] = []  # signals since the work began, and when
_again: list[threading.Timer] = []  # those that were dropped and are to come once more


def interruption(error: BaseException | None) -> BaseException | None:
    """The wish to end that an error goes back to; None when it is an error of its own.

    A signal may come while a library writes a file, which then complains about that instead.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__context__
    return error


def end_orderly(number: int, _: Any) -> None:
    """What is done at Ctrl-C, and at a signal of a batch system."""
    now = time.monotonic()
    if any(number == one and now - then < _SECONDS for one, then in _came):
        return  # what it ends is being cleared away
    _came.append((number, now))
    raise _wish(number)


def asked_to_end() -> BaseException | None:
    """The wish to end of a signal that came; None when none did.

    Python drops what is raised while it clears something away, so a signal may have to be
    remembered.
    """
    if not _came:
        return None
    number, _ = _came[-1]
    _came[-1] = number, time.monotonic()  # whoever asks ends by it: it is not to come once more
    return _wish(number)


def _wish(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


@contextlib.contextmanager
def orderly_end(*kinds: signal.Signals) -> Iterator[None]:
    """Let signals unwind what runs instead of killing the process at once.

    Those for which somebody else has a handler, such as submitit, are left to them.

    Args:
        *kinds: which signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may watch signals
        return
    _came.clear()
    before = {one: signal.getsignal(one) for one in kinds}
    free = [one for one in kinds if before[one] in (signal.SIG_DFL, signal.default_int_handler)]
    for one in free:
        signal.signal(one, end_orderly)
    try:
        with _sent_again():
            yield
    finally:
        for one in free:
            signal.signal(one, before[one])


@contextlib.contextmanager
def _sent_again() -> Iterator[None]:
    """Send a signal anew whose exception Python dropped, as it does within destructors."""
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if not (_came and isinstance(dropped.exc_value, KeyboardInterrupt | SystemExit)):
            before(dropped)
            return
        number, _ = _came[-1]
        _came[-1] = number, -math.inf
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(_LATER, signal.pthread_kill, (main, number))
        timer.daemon = True
        _again.append(timer)
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        while _again:
            _again[-1].cancel()
            _again[-1].join()
            _again.pop()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold signals back while the block lasts; their handlers are called behind it.

    A handler that ends the process by an exception, as ours and submitit's do, would end
    ``torch.save`` by another one, about a file that is not whole.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    held: list[tuple[int, FrameType | None]] = []
    before = {one: signal.getsignal(one) for one in ENDING}
    handlers = {one: handler for one, handler in before.items() if callable(handler)}
    for one in handlers:
        signal.signal(one, lambda *what: held.append(what))
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        for number, frame in held:
            handlers[signal.Signals(number)](number, frame)
