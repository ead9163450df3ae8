"""``execution.log_patch_stats``: figures of every predicted patch, while patches are stitched."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ptycho.physics.fourier import crop_centre
from ptycho.physics.mask import hidden
from ptycho.report.console import put_away
from ptycho.report.patch_figure import Example, PatchTable, save_patches, write_table
from ptycho.workflows.problem import Problem
from ptycho.workflows.session import Session

NAME = "patch_stats"

_SPREAD, _WORST = 5, 3  # patches shown: spread over the scan, and with the largest R


class PatchStatistics:
    """Looks at patches as they come, and keeps their figures and a few of them.

    Args:
        problem: the scan, its probe as bright as the network was trained with.
        core: side of the central part of patches that is looked at.
        at_once: patterns in a batch.
        limit: batches to look at; None: all.
    """

    def __init__(self, problem: Problem, core: int, at_once: int, limit: int | None) -> None:
        self.problem, self.core, self._limit = problem, core, limit
        self._rows: list[Tensor] = []
        self._numbers: list[Tensor] = []
        self._seen = 0
        total = len(problem.scan) if problem.fitted is None else len(problem.fitted)
        if limit is not None:
            total = min(total, limit * at_once)
        self._wanted = {round((place + 0.5) * total / _SPREAD) for place in range(_SPREAD)}
        self._shown: list[Example] = []
        self._worst: list[Example] = []

    @torch.no_grad()
    def __call__(self, windows: Tensor, which: Tensor) -> None:
        """Look at some predicted patches, unless enough were seen.

        Args:
            windows: complex ``(b, window, window)``.
            which: int64 ``(b,)``, numbers of their patterns.
        """
        if self._limit is not None and len(self._rows) >= self._limit:
            return
        misfit = self._misfit(windows, which)
        rows = torch.cat([_figures(crop_centre(windows, self.core)), misfit[:, None]], dim=1).cpu()
        self._rows.append(rows)
        self._numbers.append(which.cpu())
        for place, (number, r) in enumerate(zip(which.tolist(), rows[:, -1].tolist(), strict=True)):
            spread = self._seen + place in self._wanted
            bad = math.isfinite(r) and self._among_the_worst(number, r)
            if spread or bad:
                example = Example(number, windows[place].cpu().numpy().copy(), r)
                self._shown += [example] if spread else []
                self._worst += [example] if bad else []
                self._worst = sorted(self._worst, key=lambda one: -one.R)[:_WORST]
        self._seen += len(which)

    def _among_the_worst(self, number: int, r: float) -> bool:
        """Whether it is; what is better in the same place gives way to it."""
        if len(self._worst) == _WORST and r <= self._worst[-1].R:
            return False
        places = self.problem.positions
        away = [float((places[one.number] - places[number]).abs().max()) for one in self._worst]
        near = [one.R for one, far in zip(self._worst, away, strict=True) if far < self.core]
        if max(near, default=-1.0) >= r:
            return False
        self._worst = [one for one, far in zip(self._worst, away, strict=True) if far >= self.core]
        return True

    def _misfit(self, windows: Tensor, which: Tensor) -> Tensor:
        """R ``(b,)`` of patterns and what each patch, free space around it, predicts of its own."""
        size = self.problem.scan.patch_size
        whole = windows
        if windows.shape[-1] < size:
            whole = windows.new_ones(len(windows), size, size)
            crop_centre(whole, windows.shape[-1]).copy_(windows)
        measured = self.problem.amplitude[which]
        model = self.problem.experiment.of(which).diffract(whole).sqrt()
        bad = hidden(measured)
        if bad is not None:
            model = model.masked_fill(bad, 0)
        return (model - measured).abs().sum((-2, -1)) / measured.sum((-2, -1))

    def table(self) -> PatchTable:
        """Figures of all patches seen."""
        numbers = torch.cat(self._numbers).numpy()
        y, x = self.problem.positions.numpy()[numbers].T
        columns = torch.cat(self._rows).double().numpy().T
        return PatchTable(numbers, y, x, *columns)

    def report(self, session: Session, prefix: str = "") -> None:
        """Write the table and the picture, and say how they are in a line."""
        table = self.table()
        if not all(np.isfinite(one).all() for one in (table.amplitude_mean, table.phase_std)):
            return  # the run is about to be refused for it
        worst = [
            replace(one, name="worst" if rank == 0 else "") for rank, one in enumerate(self._worst)
        ]
        write_table(table, session.path(f"{prefix}{NAME}.csv"))
        picture = session.path(f"{prefix}{NAME}.png")
        save_patches(table, [*self._shown, *worst], self.core, self.problem.scan.label, picture)
        session.metrics[f"{prefix}patches"] = table.summary()
        put_away(session.bars)
        session.terminal.print(f"patches: {table.said()}", markup=False)


def _figures(windows: Tensor) -> Tensor:
    """Columns of :class:`PatchTable` between the places and R, ``(b, 6)``."""
    amplitude = windows.abs().flatten(1)
    direction = torch.polar(torch.ones_like(amplitude), windows.angle().flatten(1)).mean(1)
    spread = (-2 * direction.abs().clamp(1e-30, 1).log()).sqrt()
    deviation, mean = torch.std_mean(amplitude, dim=1, correction=0)
    columns = (mean, deviation, amplitude.amin(1), amplitude.amax(1), direction.angle(), spread)
    return torch.stack(columns, dim=1)
