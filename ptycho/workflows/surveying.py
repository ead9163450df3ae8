"""The one look at all patterns of a scan that stay in their file."""

from rich.progress import Progress

from ptycho.data.lazy import LazyAmplitude
from ptycho.data.scan import Scan
from ptycho.report.console import ticking
from ptycho.workflows.problem import with_a_dose


def surveyed(scan: Scan, bars: Progress) -> Scan:
    """A scan with a dose, all its patterns looked at; those in memory need no look of their own.

    Args:
        scan: as read.
        bars: to show it.

    Raises:
        DataError: a pattern cannot be read, or holds what no detector counts.
    """
    _look(scan, bars)
    dosed = with_a_dose(scan)
    if dosed is not scan:
        _look(dosed, bars)  # its checksum is another
    return dosed


def _look(scan: Scan, bars: Progress) -> None:
    amplitude = scan.amplitude
    if isinstance(amplitude, LazyAmplitude) and not amplitude.surveyed:
        with ticking(bars, "look at all patterns", len(list(amplitude.blocks()))) as tick:
            amplitude.survey(tick)
