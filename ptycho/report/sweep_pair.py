"""The best and the worst job of a sweep side by side, in the same colours."""

from functools import partial
from pathlib import Path

import numpy as np

from ptycho.config.config import UserError
from ptycho.data.products import read_product
from ptycho.data.reconstruction import scanned_area
from ptycho.report import panels
from ptycho.report.digits import column
from ptycho.report.figures import STRIP, draw_amplitude, draw_phase, save_rows, view_of
from ptycho.report.sweep_rows import Job, Sweep, value_of

_BAR = 0.75  # room for a colour bar and its labels, in units of 100 pixels


def save_pair(sweep: Sweep, path: Path) -> bool:
    """Draw phase and amplitude of the best and the worst finished job.

    Both levelled, with common colours. False when neither left a reconstruction.
    """
    drawable = [job for job in sweep.judged if (job.folder.path / "reconstruction.npz").is_file()]
    if not drawable:
        return False
    metric = sweep.metrics[0]
    worst = max(drawable, key=lambda job: metric.cost(value_of(job, metric)))
    best = drawable[0]
    jobs = {"best": best} | ({"worst": worst} if worst is not best else {})
    try:
        found = {word: _look(job) for word, job in jobs.items()}
    except (UserError, OSError):
        return False
    said = column(value_of(job, metric) for job in jobs.values())
    scale = panels.common_scale(*(view for view, _ in found.values()))
    phases, amplitudes = list[panels.Panel](), list[panels.Panel]()
    for (word, (view, pixel)), job in zip(found.items(), jobs.values(), strict=True):
        height, width = view.phase.shape
        aspect = float(np.clip(width / height, 0.3, STRIP))
        image = partial(panels.Panel, aspect=aspect, right=_BAR)
        whose = f"{word}, job {job.number}: "
        phases.append(image(partial(draw_phase, view=view, scale=scale, whose=whose)))
        amplitudes.append(
            image(partial(draw_amplitude, view=view, scale=scale, whose=whose, pixel=pixel))
        )
    rows = [phases, amplitudes] if len(jobs) > 1 else [[*phases, *amplitudes]]
    told = "   ·   ".join(
        f"{word}: job {job.number}, {metric.name} {value}"
        for (word, job), value in zip(jobs.items(), said, strict=True)
    )
    label = "best and worst finished job" if len(jobs) > 1 else "the finished job"
    save_rows(rows, 11.0, (label, told), path)
    return True


def _look(job: Job) -> tuple[panels.View, float | None]:
    """The scanned area of a job's object, levelled, and its pixel size."""
    product = read_product(job.folder.path / "reconstruction.npz")
    obj = product.obj
    if product.positions is not None and product.probe is not None:
        obj = obj[scanned_area(product.positions, product.probe.shape[-1])]
    return view_of(obj, None), product.pixel_size_m
