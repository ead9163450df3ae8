"""How much memory this process may use, and how it keeps to what it needs."""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

_GROUPS = Path("/sys/fs/cgroup")
_MINE = Path("/proc/self/cgroup")
_STATM = Path("/proc/self/statm")
_GATHERED = 192 * 2**20  # bytes that the process has grown by before they are looked through
_PAUSE = 0.2  # seconds


def usable_memory(groups: Path = _GROUPS, mine: Path = _MINE) -> int:
    """Bytes that this process may use: what the machine has, or less where a limit says so.

    Limits are those of its control groups (containers, SLURM) and of ``ulimit -v``.

    Args:
        groups: where the system shows control groups.
        mine: file that tells which of them this process belongs to.
    """
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        known += [] if limit == resource.RLIM_INFINITY else [limit]
    return min([*known, *_group_limits(groups, mine)])


def _group_limits(groups: Path, mine: Path) -> list[int]:
    """Limits of the control groups around this process, of either version."""
    try:
        lines = mine.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = groups / controllers, "memory.limit_in_bytes" if controllers else "memory.max"
        place = root / inside.lstrip("/")
        # a container sees its own group at the root, whatever its name outside
        for folder in (root, place, *(one for one in place.parents if root in one.parents)):
            try:
                found.append(int((folder / name).read_text(encoding="utf-8")))
            except (OSError, ValueError):
                continue  # no such group from here, or "max"
    return found


def keep_tidy() -> None:
    """From now on, hand memory that is free back to the system when much of it has gathered.

    After tensors of many sizes, most of what is free lies in holes, which the GNU C library keeps
    by itself: several times what is in use. A thread looks at the process's memory a few times
    a second; where neither that nor the library can be asked, nothing is done.
    """
    if _trim() is not None and _resident() is not None:
        _watcher(os.getpid())


@cache
def _watcher(_: int) -> threading.Thread:
    thread = threading.Thread(target=_watch, name="ptycho memory", daemon=True)
    thread.start()
    return thread


def _watch() -> None:
    trim, least = _trim(), 0
    while trim is not None and (now := _resident()) is not None:
        least = min(least or now, now)
        if now > least + _GATHERED:
            trim(0)
            least = _resident() or 0
        time.sleep(_PAUSE)


def _resident() -> int | None:
    """Bytes of this process that are in memory."""
    try:
        pages = int(_STATM.read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


@cache
def _trim() -> Callable[[int], Any] | None:
    """``malloc_trim`` of the GNU C library; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[[int], Any] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
