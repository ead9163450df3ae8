"""The processes of one training that ``srun`` or ``torchrun`` started: the first one leads.

Each is started with the same command, but only the first composes a run: settings, and names of
folders with the time in them, are what it says. The others wait for that, and write nothing.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ptycho.config.config import RunConfig
from ptycho.report.files import plain_config
from ptycho.training.cluster import Place, environments

_PATIENCE = timedelta(minutes=30)
"""For processes that start late, and for a first one that reads a large scan."""
_GOODBYE = timedelta(seconds=20)
"""For the others to read that there is nothing to do."""


@dataclass
class _Board:
    """What the first process says; a key and value store that all of them reach."""

    store: Any
    others: int
    told: bool = False

    def tell(self, content: dict[str, Any]) -> None:
        self.told = True
        self.store.set("work", json.dumps(content))


_boards: list[_Board] = []  # of this process, while it leads


@contextlib.contextmanager
def joined(here: Place, run: RunConfig) -> Iterator[bool]:
    """Lead the others while the block lasts, or be led: then the work is done before it begins.

    Yields:
        Whether this process leads.
    """
    if here.rank:
        _follow(here, run)
        yield False
        return
    with _leading(here, run):
        yield True


@contextlib.contextmanager
def _leading(here: Place, run: RunConfig) -> Iterator[None]:
    """Lead the others while the block lasts; they end when it ends without a training."""
    board = _Board(_store(here, run), here.processes - 1)
    _boards.append(board)
    code: Any = 1
    try:
        yield
        code = 0
    except SystemExit as error:
        code = error.code
        raise
    finally:
        _boards.remove(board)
        if not board.told:
            board.tell({"exit": code if isinstance(code, int) else 1})
            _see_off(board)


def tell_crew(run: RunConfig, folder: Path) -> None:
    """Say to the others, where there are any, what they work on and in which folder."""
    for board in _boards:
        board.tell({"settings": plain_config(run), "folder": str(folder.absolute())})


def _follow(here: Place, run: RunConfig) -> None:
    """Work on what the first process says, as one of the others."""
    store = _store(here, run)
    work = json.loads(store.get("work"))
    store.add("read", 1)
    if "exit" in work:
        sys.exit(work["exit"])
    from ptycho.workflows.factory import run_from
    from ptycho.workflows.launch import launch

    launch(run_from(work["settings"]), Path(work["folder"]), [])


def _store(here: Place, run: RunConfig) -> Any:
    """The store at the address at which Lightning is going to meet them, too."""
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    (meeting,) = environments(run.trainer)
    _ = meeting.main_address, meeting.main_port  # sets the variables that are read here
    found = rendezvous("env://", here.rank, here.processes, timeout=_PATIENCE)
    return PrefixStore("ptycho", next(iter(found))[0])


def _see_off(board: _Board) -> None:
    until = time.monotonic() + _GOODBYE.total_seconds()
    while board.store.add("read", 0) < board.others and time.monotonic() < until:
        time.sleep(0.05)
