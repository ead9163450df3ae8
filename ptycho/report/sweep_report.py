"""The report of a sweep: a page, a table and pictures, made from its folder alone."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ptycho.data.appearing import appearing
from ptycho.report.files import write_csv
from ptycho.report.sweep_figures import (
    MOST_SLICES,
    save_curves,
    save_importance,
    save_parallel,
    save_quality,
    save_slices,
)
from ptycho.report.sweep_importance import importance, method
from ptycho.report.sweep_page import page
from ptycho.report.sweep_pair import save_pair
from ptycho.report.sweep_read import gather
from ptycho.report.sweep_rows import Sweep
from ptycho.report.sweep_table import csv_rows

PAGE, TABLE, PICTURES = "report.html", "report.csv", "report"
_TOO_FEW = "It needs two finished jobs with different settings."
_UNTAUGHT = "No job has finished an epoch of training."


def write_report(sweep_dir: Path) -> Path:
    """Write ``report.html``, ``report.csv`` and ``report/*.png`` into the folder of a sweep.

    At any time: what runs, failed, was pruned, interrupted or killed is told as such.

    Returns:
        The page.

    Raises:
        UserError: when the folder holds no sweep.
    """
    return write_report_of(gather(sweep_dir))


def write_report_of(sweep: Sweep) -> Path:
    """:func:`write_report` of a sweep that was read already."""
    folder = sweep.path / PICTURES
    folder.mkdir(exist_ok=True)
    pictures = _draw(sweep, folder)
    write_csv(sweep.path / TABLE, csv_rows(sweep))
    text = page(sweep, pictures)
    with appearing(sweep.path / PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return sweep.path / PAGE


def _draw(sweep: Sweep, folder: Path) -> dict[str, Path | str]:
    """Heading -> picture, or the sentence on why there is none; old pictures go."""
    none = "No finished job yet."
    shares = {metric.name: importance(sweep, metric) for metric in sweep.metrics}
    weighed = {name: found for name, found in shares.items() if not isinstance(found, str)}
    total = {name: sum(one.get(name, 0) for one in weighed.values()) for name in sweep.swept}
    order = sorted(sweep.swept, key=lambda name: -total[name])
    reasons = dict.fromkeys(found for found in shares.values() if isinstance(found, str))
    drawings: dict[str, tuple[str, Callable[[Path], bool], str]] = {
        "quality": ("Quality against speed", partial(save_quality, sweep), none),
        "importance": (
            "Parameter importance",
            partial(save_importance, weighed, method()),
            " ".join(reasons),
        ),
        "slices": (_slices(sweep), partial(save_slices, sweep, order), none),
        "parallel": ("Parallel coordinates", partial(save_parallel, sweep), _TOO_FEW),
        "curves": ("Learning curves", partial(save_curves, sweep), _UNTAUGHT),
        "best_and_worst": ("Best and worst", partial(save_pair, sweep), none),
    }
    return {
        heading: _saved(folder / f"{name}.png", save) or otherwise
        for name, (heading, save, otherwise) in drawings.items()
    }


def _saved(path: Path, save: Callable[[Path], bool]) -> Path | None:
    """The picture, written whole; None, and no picture of an earlier report, without one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if save(part):
            os.replace(part, path)
            return path
    finally:
        part.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return None


def _slices(sweep: Sweep) -> str:
    left = len(sweep.swept) - MOST_SLICES
    more = f" (the {MOST_SLICES} that matter most; {left} more in the table)" if left > 0 else ""
    return f"{sweep.metrics[0].name} against each setting{more}"
