"""Which formats there are, and which of them a file is: its content tells, never its name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ptycho.data.formats import npz
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError, Scan


@dataclass(frozen=True)
class Reading:
    """What a reader may have to be told."""

    patches: bool = False
    """Whether object patches are wanted."""
    positions_file: Path | None = None
    """Positions, where the file of the patterns has none; also a product with positions."""
    probe_file: Path | None = None
    """A probe, where the file of the patterns has none."""
    keys: dict[str, str] = field(default_factory=dict)
    """Names of datasets: what is wanted -> where it is in the file."""


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
    shape: Callable[[Path, Reading], tuple[int, int]] | None = None
    """``(H, W)`` of its frames from headers alone; None where ``measure`` reads no frames."""
    write: Callable[[Path, Scan], None] | None = None
    """Writes a file that appears complete or not at all; None where it is only read."""
    ending: str = ""
    """Of the files that we write."""


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            "npz",
            "PtychoPINN or ptychodus training data (NPZ)",
            npz.recognises,
            lambda path, how: npz.measure_npz(path, patches=how.patches),
            lambda path, how: npz.frame_shape(path),
            npz.write_npz,
            ".npz",
        ),
    )
}
"""By name. The first that recognises a file reads it."""


def measure(path: Path, name: str = "auto", how: Reading | None = None) -> Measurement:
    """What a file holds.

    Args:
        path: the file.
        name: of its format; ``auto``: its content tells.
        how: what the reader may have to be told.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: no format fits, or the file cannot be used.
    """
    read = _reader(path, name).measure
    assert read is not None
    return read(path, how or Reading())


def frame_shape(path: Path, name: str = "auto", how: Reading | None = None) -> tuple[int, int]:
    """``(H, W)`` of the frames of a file; arguments and errors as for :func:`measure`."""
    chosen, told = _reader(path, name), how or Reading()
    if chosen.shape is not None:
        return chosen.shape(path, told)
    _, height, width = measure(path, chosen.name, told).frames.shape
    return height, width


def _reader(path: Path, name: str) -> Format:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path of the scan.")
    chosen = FORMATS[name] if name != "auto" else recognised(path)
    if chosen.measure is None:
        raise DataError(f"{path}: {chosen.title} is written but not read.")
    return chosen


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
