"""Two reconstructions from the two halves of one scan: what both show is there."""

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from ptycho.config.config import InstrumentConfig, SolverConfig
from ptycho.data.halves import split_halves
from ptycho.data.reconstruction import Complex, judged_area
from ptycho.data.scan import DataError, Scan
from ptycho.report.align import align, remove_ramp
from ptycho.report.correlation import frc
from ptycho.report.metrics import Figures, compare_aligned
from ptycho.report.verdict import Between, Rings, TwoHalves
from ptycho.workflows import build, stages
from ptycho.workflows.problem import pose

_FEWEST = 16  # patterns of which two halves can be made


def correlate_halves(
    scan: Scan,
    device: torch.device,
    bars: Progress,
    *,
    instrument: InstrumentConfig | None = None,
    pixel_size_m: float | None = None,
    max_shift: float = 4.0,
) -> TwoHalves:
    """Solve each half of a scan from scratch and correlate the two objects.

    The solver is that of ``task=solve`` with its default settings, starting with the probe and the
    positions of the scan. The halves are chosen by :func:`ptycho.data.halves.split_halves`.

    Args:
        scan: patterns, positions and probe.
        device: where to compute.
        bars: progress display.
        instrument: what each half finds for itself besides the object; None: nothing.
        pixel_size_m: side of a pixel in metres, when known.
        max_shift: largest shift in pixels by which one half is brought onto the other.

    Raises:
        DataError: the scan is too small to be halved.
    """
    check_halves(scan)
    halves = split_halves(scan.positions)
    free = instrument or InstrumentConfig()
    objects = [
        _solved(scan.take(which), free, device, bars, f"half {number}")
        for number, which in enumerate(halves, 1)
    ]
    boxes = [judged_area(scan.positions[which], scan.patch_size) for which in halves]
    inside = [
        (max(box[i].start for box in boxes), min(box[i].stop for box in boxes)) for i in (0, 1)
    ]
    first, second = (
        obj[tuple(slice(a - o, b - o) for (a, b), o in zip(inside, offset, strict=True))]
        for obj, offset in objects
    )
    target = remove_ramp(second)
    aligned = align(first, target, max_shift=max_shift)
    return TwoHalves(
        scores=Between(_rings_only(compare_aligned(aligned, second, pixel_size_m))),
        rings=Rings(*frc(aligned, target)),
        patterns=(len(halves[0]), len(halves[1])),
    )


def check_halves(scan: Scan) -> None:
    """Refuse a scan of which no two halves can be made."""
    if len(scan) < _FEWEST:
        raise DataError(
            f"{scan.label}: two halves need at least {_FEWEST} patterns, got {len(scan)}."
        )


def _solved(
    half: Scan, free: InstrumentConfig, device: torch.device, bars: Progress, name: str
) -> tuple[Complex, NDArray[np.int64]]:
    """The object of some patterns, and the scan's own pixel at its first one."""
    freedom, settings = build.make_freedom(free), SolverConfig()
    problem = pose(half, device, freedom=freedom, modes=free.probe_modes or 1)
    recipe = build.make_recipe(settings)
    _, obj = stages.solve_with(problem, settings, recipe, bars, name)
    return obj.cpu().numpy(), problem.offset


def _rings_only(figures: Figures) -> Figures:
    return {name: value for name, value in figures.items() if name.startswith("frc_")}
