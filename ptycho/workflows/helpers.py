"""More processes for one sweep: the same command, started again on the same folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ptycho.config.config import RunConfig

_ASKED_BY = "PTYCHO_SWEEP_ASKED_BY"


def is_helper() -> bool:
    """Whether this process was started by another one of the same sweep."""
    return _ASKED_BY in os.environ


def orphaned() -> bool:
    """Whether the process that asked for this one is gone."""
    return is_helper() and os.environ[_ASKED_BY] != str(os.getppid())


class Helpers:
    """Processes that work on a sweep beside this one; ended, and waited for, on leaving.

    Args:
        count: how many.
        folder: of the sweep; what each prints goes to ``helper_N.log`` there.
        command: the command line, without the program.
        run: settings that the jobs begin from.
    """

    def __init__(self, count: int, folder: Path, command: Sequence[str], run: RunConfig) -> None:
        self.count, self.folder, self.command = count, folder, command
        self._devices = _devices(run) if count else []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        """Start them; with several GPUs each has one, as this process has the first."""
        for number in range(1, self.count + 1):
            log = (self.folder / f"helper_{number}.log").open("ab")
            self._logs.append(log)
            self._processes.append(
                subprocess.Popen(
                    self._line(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,  # errors are for the terminal
                    env=os.environ | {_ASKED_BY: str(os.getpid())} | self._device(number),
                    start_new_session=True,  # Ctrl-C is passed on once, by this process
                )
            )
        os.environ.update(self._device(0))
        return self

    def wait(self) -> list[int]:
        """Wait until all have ended; those of their exit codes that nobody expects."""
        codes = [one.wait() for one in self._processes]
        return [code for code in codes if code not in (0, 2)]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End those that are left in the way this process ends."""
        interrupts = kind is not None and issubclass(kind, KeyboardInterrupt)
        for one in self._processes:
            with suppress(ProcessLookupError):
                one.send_signal(signal.SIGINT if interrupts else signal.SIGTERM)
        for one in self._processes:
            one.wait()
        for log in self._logs:
            log.close()

    def _line(self) -> list[str]:
        return [
            sys.executable, "-m", "ptycho.run", *self.command,
            f"hydra.sweep.dir={quoted(str(self.folder))}", "sweep.workers=1",
            "execution.enable_progress_bar=false",
        ]  # fmt: skip

    def _device(self, number: int) -> dict[str, str]:
        if len(self._devices) < 2:
            return {}
        return {"CUDA_VISIBLE_DEVICES": self._devices[number % len(self._devices)]}


def quoted(text: str) -> str:
    """A text as one value of Hydra's grammar, whatever signs are in it."""
    # a backslash means itself, but before a quote, where each has to be two
    inside = re.sub(r"(\\*)'", r"\1\1\\'", text)
    last = len(text) - len(text.rstrip("\\"))
    return f"'{inside}" + "\\" * last + "'"


def threads_each(processes: int) -> int:
    """CPU threads for each of so many processes that work side by side."""
    return max(1, cores() // processes)


def cores() -> int:
    """CPU cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _devices(run: RunConfig) -> list[str]:
    """Names of the CUDA devices that can be dealt out, one to a process."""
    if run.trainer.strategy == "ddp" or run.trainer.accelerator in ("cpu", "mps"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [one.strip() for one in visible.split(",") if one.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
