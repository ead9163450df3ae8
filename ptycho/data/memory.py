"""How much memory this process may use."""

import ctypes
import os
import sys
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_MINE = Path("/proc/self/cgroup")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGE = 2**20  # bytes


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


def give_back_large_blocks() -> None:
    """Hand memory blocks above a mebibyte back to the system as soon as they are freed.

    By itself, the GNU C library keeps what it thinks will soon be wanted again, and tensors of
    many sizes leave holes there: twice the memory that is in use. Elsewhere, nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    adjust(_MMAP_THRESHOLD, _LARGE)
    adjust(_TRIM_THRESHOLD, 8 * _LARGE)
