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
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path of the scan.")
    chosen = FORMATS[name] if name != "auto" else recognised(path)
    if chosen.measure is None:
        raise DataError(f"{path}: {chosen.title} is written but not read.")
    return chosen.measure(path, how or Reading())


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
