"""How a command begins and ends: kind to its neighbours, sentences instead of tracebacks."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from ptycho.config.config import UserError
from ptycho.config.fields import PrunedError
from ptycho.config.signals import asked_to_end, interruption, orderly_end

BAD_INPUT = 2
"""Exit code for anything the user can mend."""
UNREAD = 1
"""Exit code when the output was no longer wanted."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def gentle_threads() -> None:
    """Let waiting threads sleep; to be called before torch is loaded, which reads this.

    Threads that spin long for each other crawl on a machine that others use, too.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def quieten() -> None:
    """Keep Lightning from advertising; what it warns of about loaders and loggers is by design."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")


def plain_sentence(error: Exception) -> str:
    """One line for an error of the system or of ours."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'cannot read or write'}: {error.strerror}."
    return " ".join(str(error).split()) or type(error).__name__


def refuse(error: Exception, sentence: Callable[[Exception], str] = plain_sentence) -> NoReturn:
    """Print a sentence for each fault and end the process."""
    faults = error.faults if isinstance(error, UserError) else (sentence(error),)
    for fault in faults:
        print(f"ptycho: {fault}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def say_failed(
    job: object, error: Exception, sentence: Callable[[Exception], str] = plain_sentence
) -> None:
    """Say at once that a job of a sweep failed; the others go on."""
    faults = error.faults if isinstance(error, UserError) else (sentence(error),)
    for fault in faults if not isinstance(error, PrunedError) else ():
        print(f"ptycho: job {job} failed: {fault}", file=sys.stderr, flush=True)


@contextmanager
def exit_codes(
    *mendable: type[Exception], sentence: Callable[[Exception], str] = plain_sentence
) -> Iterator[None]:
    """Turn what may end a command into exit codes and sentences; SIGTERM unwinds it like Ctrl-C.

    Args:
        *mendable: errors besides ``UserError`` and ``OSError`` that the user can mend.
        sentence: makes one readable.
    """
    told: tuple[type[Exception], ...] = (UserError, OSError, *mendable)
    try:
        with orderly_end(signal.SIGINT, signal.SIGTERM):
            try:
                yield
            except Exception as error:
                _raise(interruption(error))
                raise
            _raise(asked_to_end())  # what it raised was lost
    except BrokenPipeError:  # whoever read us, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)
    except told as error:
        refuse(error, sentence)
    except KeyboardInterrupt:
        print("ptycho: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _raise(wish: BaseException | None) -> None:
    if wish is not None:
        raise wish from None
