"""Scores against seconds: what a method had reached when."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.methods import FOUND
from ptycho.physics.instrument import Instrument
from ptycho.report.frames import misfit
from ptycho.report.metrics import compare, noise_floor
from ptycho.workflows.problem import Problem

Complex = NDArray[np.complex64]
Figures = dict[str, float]


@dataclass(frozen=True)
class Point:
    """One snapshot, scored."""

    cpu: float
    wall: float
    iteration: float
    figures: Figures


@dataclass(frozen=True)
class Curve:
    """One method on one scan."""

    scan: str
    method: str
    points: tuple[Point, ...] = ()
    """In order of time; empty when the method failed."""
    floor: Figures = field(default_factory=dict)
    """What an object without structure scores."""
    noise: Figures = field(default_factory=dict)
    """What the photon noise allows, where that is known."""
    picture: Complex | None = None
    """``(H, W)``: the last object in the scanned area."""
    truth: Complex | None = None
    """``(H, W)``: the true object there, when it is known."""
    about: dict[str, Any] = field(default_factory=dict)
    """Versions, Python, threads, settings."""
    failure: str | None = None
    """Why there are no points."""

    def last(self, figure: str) -> float:
        """A figure at the end; NaN without one."""
        return self.points[-1].figures.get(figure, math.nan) if self.points else math.nan

    def values(self, figure: str) -> list[float]:
        """A figure at every point."""
        return [point.figures.get(figure, math.nan) for point in self.points]

    def seconds_to(self, figure: str, threshold: float) -> float:
        """CPU seconds until a figure first reaches a threshold; NaN when it never does.

        Between snapshots the figure is taken to grow in proportion to the time. Where the
        first one is beyond already, its own seconds: an upper bound.
        """
        times = [point.cpu for point in self.points]
        return first_crossing(times, self.values(figure), threshold)

    def starts_beyond(self, figure: str, threshold: float) -> bool:
        """Whether the first snapshot has reached a threshold already."""
        return bool(self.points) and self.values(figure)[0] >= threshold


def first_crossing(times: Sequence[float], values: Sequence[float], threshold: float) -> float:
    """When a polygon first reaches a threshold from below; points that are NaN are left out."""
    known = [(t, v) for t, v in zip(times, values, strict=True) if not math.isnan(v)]
    for i, (time, value) in enumerate(known):
        if value >= threshold:
            if i == 0:
                return time
            before, low = known[i - 1]
            return before + (threshold - low) / (value - low) * (time - before)
    return math.nan


class Judge:
    """Scores snapshots of one scan.

    Args:
        problem: the scan on its canvas.
        probe_is_known: whether the scan's probe is right; without it, and where the truth is
            known, objects are not held against the patterns.
        true_positions: ``(n, 2)`` in pixels of the scan, where the scan's own are wrong.
    """

    def __init__(
        self,
        problem: Problem,
        probe_is_known: bool,
        *,
        true_positions: NDArray[np.float64] | None = None,
    ) -> None:
        self.problem = problem
        self.true_positions = true_positions
        frame = problem.reconstruction([])
        self.scanned = frame.scanned
        known = frame.truth_is_known and frame.truth is not None
        self.truth = frame.truth[self.scanned] if known and frame.truth is not None else None
        self.probe_is_known = probe_is_known
        self.by_patterns = self.truth is None and probe_is_known

    def score(self, obj: Complex, instrument: Instrument | None = None) -> Figures:
        """Figures of an object ``(H, W)`` on the canvas, and of what was found with it.

        Args:
            obj: on the canvas.
            instrument: probe and positions, where they were not taken for granted.
        """
        figures: Figures = {}
        known = instrument or self.problem.instrument
        if self.truth is not None:
            figures |= compare(obj[self.scanned], self.truth, self.problem.scan.pixel_size_m)
        if self.by_patterns:
            figures["R"], figures["C"] = misfit(
                known.experiment(), torch.from_numpy(obj), self.problem.amplitude
            )
        if self.true_positions is not None:
            figures |= position_errors(known.positions.numpy(), self.true_positions)
        return figures

    @cached_property
    def floor(self) -> Figures:
        """Figures of an object without structure."""
        return self.score(np.ones(self.problem.shape, dtype=np.complex64))

    @cached_property
    def noise(self) -> Figures:
        """Figures that the photon noise allows; none without the truth or the right probe."""
        if self.truth is None or not self.probe_is_known:
            return {}
        problem = self.problem
        return noise_floor(problem.reconstruction([]), problem.experiment, problem.amplitude)

    def on_canvas(self, obj: Complex, origin: NDArray[np.int64]) -> Complex:
        """An object whose first pixel is the scan's pixel ``origin``, laid on the canvas."""
        canvas = np.ones(self.problem.shape, dtype=np.complex64)
        at = origin - self.problem.offset
        low = np.maximum(at, 0)
        high = np.minimum(at + obj.shape, canvas.shape)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        inside = tuple(slice(a, b) for a, b in zip(low - at, high - at, strict=True))
        canvas[window] = obj[inside]
        return canvas


def position_errors(found: NDArray[np.float64], true: NDArray[np.float64]) -> Figures:
    """How far positions ``(n, 2)`` are from the true ones; a shift of all does not count.

    Returns:
        ``position_px``, the median distance, and ``scale_percent``, by how much distances are
        too long along the worse axis.
    """
    away, now = true - true.mean(0), found - found.mean(0)
    distance = np.hypot(*(now - away).T)
    matrix, *_ = np.linalg.lstsq(away, now, rcond=None)
    scale = 100 * np.abs(np.diag(matrix) - 1).max()
    return {"position_px": float(np.median(distance)), "scale_percent": float(scale)}


def score_snapshots(folder: Path, judge: Judge) -> tuple[Point, ...]:
    """Score all snapshots of a folder, in order of time; on all cores, as nothing is measured."""

    def scored(path: Path) -> Point:
        with np.load(path) as file:
            obj = judge.on_canvas(file["obj"], file["origin"])
            seconds = float(file["cpu"]), float(file["wall"]), float(file["iteration"])
        return Point(*seconds, judge.score(obj, _found_with(path, judge)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        points = list(pool.map(scored, _snapshots(folder)))
    return tuple(sorted(points, key=lambda point: point.cpu))


def _found_with(snapshot: Path, judge: Judge) -> Instrument | None:
    """Probe and positions that were found with an object; None where they were not asked for."""
    path = snapshot.with_name(snapshot.name.replace("snapshot_", FOUND))
    if not path.is_file():
        return None
    with np.load(path) as file:
        positions = torch.from_numpy(file["positions"] - judge.problem.offset)
        return Instrument(torch.from_numpy(file["probe"]), positions)


def last_object(folder: Path, judge: Judge) -> Complex:
    """The object of the last snapshot of a folder, in the scanned area."""
    with np.load(_snapshots(folder)[-1]) as file:
        return judge.on_canvas(file["obj"], file["origin"])[judge.scanned]


def _snapshots(folder: Path) -> list[Path]:
    return sorted(folder.glob("snapshot_*.npz"))
