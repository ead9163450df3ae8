"""Which formats there are, and which of them a file is: its content tells, never its name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ptycho.data.formats import (
    cxi,
    fold_slice,
    generic,
    npy,
    npz,
    ptychodus,
    ptychodus_training,
    slac,
)
from ptycho.data.formats.partners import places_of
from ptycho.data.formats.writing import lengths_of
from ptycho.data.hdf5_opening import is_hdf5
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError, Scan


@dataclass(frozen=True)
class Reading:
    """What a reader may have to be told."""

    patches: bool = False
    """Whether object patches are wanted."""
    positions_file: Path | None = None
    """Positions, where the file of the patterns has none; also a product with positions."""
    keys: dict[str, str] = field(default_factory=dict)
    """Names of datasets: what is wanted -> where it is in the file."""
    follow_links: bool = False
    """Whether links in an HDF5 file to others in the same folder are followed."""


@dataclass(frozen=True)
class Format:
    """One way of writing a scan down."""

    name: str
    """As typed in ``data.format``."""
    title: str
    """For people."""
    recognises: Callable[[Path], bool]
    """Whether a file looks like it, by its content; never raises."""
    measure: Callable[[Path, Reading], Measurement] | None = None
    """Reads; None where it is only written."""
    write: Callable[[Path, Scan], None] | None = None
    """Writes a file that appears complete or not at all; None where it is only read."""
    ending: str = ""
    """Of the files that we write; nothing for a folder."""
    shape: Callable[[Path], tuple[int, int]] | None = None
    """``(H, W)`` of its frames from headers alone; None: ``measure`` is quick enough."""
    takes_positions_file: bool = False
    """Whether positions may be in a file of their own."""
    keeps_patches: bool = False
    """Whether object patches are written, too."""
    has_links: bool = False
    """Whether links to other files may be followed."""
    remark: Callable[[Scan], str] | None = None
    """What a person should know of a file that was written; empty: nothing."""


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            "ptychodus",
            ptychodus.TITLE,
            ptychodus.recognises,
            lambda path, how: ptychodus.measure_pair(path, how.positions_file),
            ptychodus.write_pair,
            remark=lambda scan: lengths_of(scan).comment,
            takes_positions_file=True,
        ),
        Format(
            "ptychodus_training",
            ptychodus_training.TITLE,
            ptychodus_training.recognises,
            lambda path, _: ptychodus_training.measure_training(path),
            ptychodus_training.write_training,
            ".h5",
            remark=lambda scan: lengths_of(scan).comment,
        ),
        Format(
            "slac", "SLAC NPZ", slac.recognises, lambda path, _: slac.measure_slac(path),
        ),
        Format(
            "npz",
            "PtychoPINN or ptychodus training data (NPZ)",
            npz.recognises,
            lambda path, how: npz.measure_npz(path, patches=how.patches),
            npz.write_npz,
            ".npz",
            shape=npz.frame_shape,
            keeps_patches=True,
        ),
        Format(
            "cxi",
            "CXI 1.6",
            cxi.recognises,
            lambda path, how: cxi.measure_cxi(
                path, places=places_of(path, how), follow=how.follow_links
            ),
            cxi.write_cxi,
            ".cxi",
            remark=lambda scan: lengths_of(scan).comment,
            takes_positions_file=True,
            has_links=True,
        ),
        Format(
            "fold_slice",
            "patterns of fold_slice or ptycho-fm (NAME_dp.hdf5 or MAT, with dp)",
            fold_slice.recognises,
            lambda path, how: fold_slice.measure_fold_slice(
                path, places_of(path, how), follow=how.follow_links
            ),
            takes_positions_file=True,
            has_links=True,
        ),
        Format(
            "npy",
            "bare patterns (NPY)",
            npy.is_npy,
            lambda path, how: npy.measure_npy(path, places_of(path, how)),
            takes_positions_file=True,
        ),
        Format(
            "hdf5",
            "any HDF5 file with its datasets named by data.keys",
            is_hdf5,
            lambda path, how: generic.measure_hdf5(
                path, how.keys, places=places_of(path, how), follow=how.follow_links
            ),
            takes_positions_file=True,
            has_links=True,
        ),
    )
}  # fmt: skip
"""By name. The first that recognises a file reads it."""


def measure(path: Path, name: str = "auto", how: Reading | None = None) -> Measurement:
    """What a file holds.

    Args:
        path: the file, or the folder where a format keeps several.
        name: of its format; ``auto``: its content tells.
        how: what the reader may have to be told.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: no format fits, or the file cannot be used.
    """
    how = how or Reading()
    chosen = chosen_format(path, name, how)
    assert chosen.measure is not None
    return chosen.measure(path, how)


def frame_shape(path: Path, name: str = "auto", how: Reading | None = None) -> tuple[int, int]:
    """``(H, W)`` of the frames of a file, without reading them.

    Args:
        path: as for :func:`measure`.
        name: likewise.
        how: likewise.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: no format fits, or the file cannot be used.
    """
    how = how or Reading()
    chosen = chosen_format(path, name, how)
    if chosen.shape is not None:
        return chosen.shape(path)
    assert chosen.measure is not None
    frames = chosen.measure(path, how).frames
    frames.close()
    _, height, width = frames.shape
    return height, width


def chosen_format(path: Path, name: str = "auto", how: Reading | None = None) -> Format:
    """The format to read a file with.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: no format fits, or it does not take what it is told.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; check the path of the scan.")
    if not (path.is_file() or path.is_dir()):
        raise DataError(
            f"{path}: neither a file nor a folder, but a pipe, a socket or a device; name a file."
        )
    if name == "auto" and how is not None and how.keys:
        name = "hdf5"
    chosen = FORMATS[name] if name != "auto" else recognised(path)
    if how is not None and how.keys and chosen.name != "hdf5":
        raise DataError(
            f"data.keys names datasets for data.format=hdf5, and {path} is read as {name}, which "
            "knows its own; leave one of them out."
        )
    if how is not None and how.follow_links and not chosen.has_links:
        raise DataError(
            f"data.keys.follow_links=true is for files with links, and {path} is {chosen.title}; "
            "leave it out."
        )
    if chosen.measure is None:
        raise DataError(f"{path}: {chosen.title} is written but not read.")
    if not chosen.recognises(path):
        _refuse_other(path, chosen)
    if how is not None and how.positions_file and not chosen.takes_positions_file:
        raise DataError(
            f"{how.positions_file}: its positions would not be read, {path} is "
            f"{chosen.title}, which holds its own; leave data.positions_file (--positions) out."
        )
    return chosen


def _refuse_other(path: Path, chosen: Format) -> None:
    """Refuse what is plainly of another format; what is of none may be a damaged one of this."""
    for one in FORMATS.values():
        if one.measure is not None and one.recognises(path):
            raise DataError(
                f"{path} is {one.title}, not {chosen.title}; type data=file (data.format=auto), "
                "which takes any."
            )
    if path.is_dir():
        raise DataError(f"{path} is a folder, and no scan of the format {chosen.name}.")


def recognised(path: Path) -> Format:
    """The format of a file.

    Raises:
        DataError: it is none that is known.
    """
    for one in FORMATS.values():
        if one.measure is not None and one.recognises(path):
            return one
    known = ", ".join(one.title for one in FORMATS.values() if one.measure)
    raise DataError(f"{path}: not a scan in any known format; it may be {known}.")
