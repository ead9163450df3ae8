"""The one look at all patterns of a scan that stay in their file."""

from ptycho.data.lazy import LazyAmplitude
from ptycho.data.scan import Scan
from ptycho.workflows.problem import with_a_dose


def surveyed(scan: Scan) -> Scan:
    """A scan with a dose, all its patterns looked at; those in memory need no look of their own.

    Args:
        scan: as read.

    Raises:
        DataError: a pattern cannot be read, or holds what no detector counts.
    """
    _look(scan)
    dosed = with_a_dose(scan)
    if dosed is not scan:
        _look(dosed)  # its checksum is another
    return dosed


def _look(scan: Scan) -> None:
    if isinstance(scan.amplitude, LazyAmplitude):
        scan.amplitude.survey()
