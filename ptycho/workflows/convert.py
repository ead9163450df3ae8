"""A scan in one format becomes the same scan in another one."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ptycho.config.config import ConfigError, DataConfig, UserError
from ptycho.config.typed_data import files_beside
from ptycho.data.appearing import appearing_together, is_special, same_place
from ptycho.data.formats.registry import FORMATS, Format, chosen_format
from ptycho.data.scan import Scan
from ptycho.workflows.build import make_scan
from ptycho.workflows.pictures import NAME, are_wanted, write_pictures
from ptycho.workflows.preflight import partner_faults, scan_faults
from ptycho.workflows.reading import reading_of


@dataclass(frozen=True)
class Wish:
    """What is to be converted, and to what."""

    source: Path
    """The scan to read."""
    target: Path
    """The file or folder to write."""
    data: DataConfig
    """How the scan is read; ``train_data_file`` is the source."""
    to: str | None = None
    """Name of the format to write; None: the ending of ``target`` says it."""
    overwrite: bool = False
    """Whether what is there may be replaced."""


def convert(wish: Wish, terminal: Console) -> None:
    """Convert a scan and say what was read and written.

    Args:
        wish: what is to be converted.
        terminal: where to say so.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: something cannot be read, or not be written as wished; nothing was written.
    """
    if are_wanted(wish.target, wish.to):
        lines = write_pictures(wish.source, wish.target, wish.data, overwrite=wish.overwrite)
        for line in lines:
            terminal.print(line, markup=False)
        return
    faults = scan_faults("IN", wish.source)
    for name in ("positions_file", "probe_file"):
        if path := getattr(wish.data, name):
            faults += partner_faults(f"data.{name}", path)
    if faults:
        raise ConfigError(*faults)
    target = written_format(wish.target, wish.to)
    refuse_read(wish.target, wish.source, wish.data)
    refuse_place(wish.target, target, wish.overwrite)
    path, data = str(wish.source), wish.data
    source = chosen_format(wish.source, data.format.value, reading_of(path, data))
    with terminal.status(f"reading {wish.source}"):
        scan = make_scan(data, 0, labelled=target.keeps_patches)
    with terminal.status(f"writing {wish.target}"):
        _write(wish.target, target, scan)
    say = terminal.print
    say(f"{wish.source}: {source.title} ({source.name})", markup=False)
    for line in _about(scan):
        say(f"  {line}", markup=False)
    say(f"{wish.target}: {target.title} ({target.name})", markup=False)
    for file in sorted(wish.target.iterdir()) if wish.target.is_dir() else [wish.target]:
        say(f"  {file.name}, {file.stat().st_size / 2**20:.1f} MiB", markup=False)
    if target.remark is not None and (remark := target.remark(scan)):
        say(f"  note: {remark}", markup=False)


def written_format(path: Path, name: str | None) -> Format:
    """The format to write.

    Args:
        path: the file or folder.
        name: of the format; None: the ending tells.

    Raises:
        UserError: there is no such format, or the ending fits none or several.
    """
    writable = {one.name: one for one in FORMATS.values() if one.write is not None}
    names = ", ".join([*writable, NAME])
    if name is not None:
        if name not in writable:
            only_read = f"{name} can be read but not written" if name in FORMATS else f"got {name}"
            raise UserError(f"to must be one of {names}; {only_read}.")
        return writable[name]
    ending = path.suffix.lower()
    fitting = [one for one in writable.values() if one.ending == ending]
    if len(fitting) == 1:
        return fitting[0]
    several = " or ".join(f"to={one.name}" for one in fitting) or f"to=NAME, one of {names}"
    raise UserError(f"OUT: the ending of {path} does not say the format; add {several}.")


def refuse_read(target: Path, source: Path | None, data: DataConfig) -> None:
    """Refuse to write over a file, or a folder with one, that is read.

    Args:
        target: what is to be written.
        source: the scan that is read; None: none is.
        data: settings that name other files.

    Raises:
        UserError: with the file.
    """
    read = [(f"what {name} names", path) for name, path in files_beside(data).items()]
    inside = source.iterdir() if source and source.is_dir() else ()
    read += [("what is read", path) for path in ([source] if source else []) + [*inside]]
    for what, path in read:
        if same_place(target, path) or target.resolve() in path.resolve().parents:
            raise UserError(f"OUT: {target} is {what}; write to another place.")


def refuse_place(path: Path, target: Format | None, overwrite: bool) -> None:
    """Refuse a place where something may not, or must not, be written.

    Args:
        path: the place.
        target: format of the scan that goes there; None: a file of another kind.
        overwrite: whether what is there may be replaced.

    Raises:
        UserError: with the reason.
    """
    there = next(one for one in (path.absolute().parent, *path.absolute().parents) if one.exists())
    if not there.is_dir():
        raise UserError(f"OUT: {there} is a file, not a folder.")
    if not os.access(there, os.W_OK):
        raise UserError(f"OUT: {there} may not be written to.")
    if is_special(path):
        raise UserError(f"OUT: {path} is a device or a pipe; name a file.")
    if not (path.exists() or path.is_symlink()):
        return
    if not overwrite:
        raise UserError(f"OUT: {path} is there already; add overwrite=true to replace it.")
    if path.is_dir() and target is None:
        raise UserError(f"OUT: {path} is a folder, and a file of this name goes with the scan.")
    if target is None:
        return
    if path.is_dir() and target.ending:
        raise UserError(f"OUT: {path} is a folder; {target.name} is one file.")
    if path.is_file() and not target.ending:
        raise UserError(f"OUT: {path} is a file; {target.name} is a folder with several.")
    if path.is_dir() and not (target.recognises(path) and len([*path.iterdir()]) == 2):
        raise UserError(
            f"OUT: {path} holds more than a scan of the format {target.name} and is not replaced; "
            "name another folder."
        )


def _write(path: Path, target: Format, scan: Scan) -> None:
    assert target.write is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_full(path, scan)
    with appearing_together([path]) as (temporary,):
        target.write(temporary, scan)


def refuse_full(path: Path, scan: Scan) -> None:
    """Refuse to begin what may not fit: HDF5 does not survive a disk that fills up."""
    arrays = [one for one in (scan.truth, scan.probe, scan.patches) if one is not None]
    needed = 4 * len(scan) * scan.patch_size**2 + sum(one.nbytes for one in arrays) + 2**16
    if (free := shutil.disk_usage(path.parent).free) < needed:
        raise UserError(
            f"OUT: {path} may take {needed / 2**20:.3g} MiB, and {free / 2**20:.3g} MiB are free "
            "there; make room, or name another place."
        )


def _about(scan: Scan) -> list[str]:
    size = scan.patch_size
    modes = f"{len(scan.probe)} probe modes" if len(scan.probe) > 1 else "1 probe mode"
    truth = {True: "the true object", False: "an estimate of the object"}
    parts = [f"{len(scan)} patterns of {size} x {size}", modes]
    if scan.truth is not None:
        parts.append(truth[scan.truth_is_known])
    if scan.pixel_size_m is not None:
        parts.append(f"pixels of {scan.pixel_size_m * 1e9:.4g} nm")
    return [", ".join(parts), *(f"{name}: {text}" for name, text in scan.notes.items())]
