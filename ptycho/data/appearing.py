"""Files that are there whole or not at all, and what may not be in their place."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ptycho.config.signals import asked_to_end, undisturbed


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, for a file or a folder, that takes its place at the end."""
    temporary = _beside(path, "part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        _remove(temporary)


@contextmanager
def appearing_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Temporary names beside ``paths``, which take their places together at the end.

    Signals wait meanwhile, so that nobody finds new files beside old ones. A folder that is there
    is replaced as a whole.
    """
    parts = [_beside(path, "part") for path in paths]
    try:
        yield parts
        if wish := asked_to_end():  # what it raised was lost
            raise wish
        with undisturbed():
            for part, path in zip(parts, paths, strict=True):
                _put(part, path)
    finally:
        for part in parts:
            _remove(part)


def same_place(a: Path, b: Path) -> bool:
    """Whether two names mean one file or folder, links followed."""
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def is_special(path: Path) -> bool:
    """Whether a device, a pipe or a socket is there, which no file may take the place of."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _put(part: Path, path: Path) -> None:
    """Replace what is there; a whole folder is put aside until the new one is in its place."""
    if not path.is_dir() or path.is_symlink():
        os.replace(part, path)
        return
    old = _beside(path, "old")
    os.replace(path, old)
    try:
        os.replace(part, path)
    except BaseException:
        os.replace(old, path)
        raise
    shutil.rmtree(old)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{what}{path.suffix}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
