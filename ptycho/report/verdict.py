"""What an evaluation found: the one input of its table, its picture and its file."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.report.align import ComplexImage
from ptycho.report.metrics import Figures

Vector = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Between:
    """Figures of an object between those of nothing and those of the best possible."""

    figures: Figures
    """Of the object."""
    flat: Figures = field(default_factory=dict)
    """Of an object without structure."""
    noise: Figures = field(default_factory=dict)
    """Of what the counted photons allow; empty where nobody knows."""

    def plain(self) -> dict[str, Any]:
        """Names and numbers for a file."""
        return {"figures": self.figures, "flat": self.flat, "noise": self.noise}


@dataclass(frozen=True)
class Rings:
    """A Fourier ring correlation with its threshold; all ``(k,)``."""

    frequency: Vector
    """Cycles per pixel."""
    correlation: Vector
    half_bit: Vector
    """The 1/2-bit curve."""

    def plain(self) -> dict[str, Any]:
        """Names and numbers for a file."""
        return {
            "frequency_per_px": self.frequency.tolist(),
            "correlation": self.correlation.tolist(),
            "half_bit": self.half_bit.tolist(),
        }


@dataclass(frozen=True)
class AgainstTruth:
    """An object beside the one it should be."""

    source: str
    """Where the truth came from."""
    scores: Between
    aligned: ComplexImage
    """``(h, w)``: the scanned area of the object, brought onto the truth."""
    truth: ComplexImage
    """``(h, w)``: the same area of the truth, levelled."""
    rings: Rings
    known: bool = True
    """Whether it is a truth; somebody's estimate is called by that name."""

    def plain(self) -> dict[str, Any]:
        """Names and numbers for a file."""
        area = {"shape": list(self.truth.shape), "frc": self.rings.plain()}
        return {"file": self.source, **self.scores.plain(), **area}


@dataclass(frozen=True)
class Pattern:
    """One pattern and what the object predicts for it."""

    number: int
    """In the scan, from 0."""
    position: tuple[float, float]
    """Patch centre (y, x) in pixels of the object."""
    residual: float
    """``sum|model - data| / sum(data)``."""
    measured: NDArray[np.float32]
    """Amplitude ``(N, N)``."""
    model: NDArray[np.float32]
    """Amplitude ``(N, N)``."""


@dataclass(frozen=True)
class AgainstData:
    """What an object predicts beside what was measured."""

    source: str
    """Where the patterns came from."""
    scores: Between
    numbers: Indices
    """``(m,)``: which patterns of the scan were compared."""
    positions: Vector
    """``(m, 2)``: where they were taken, (y, x) in pixels of the object."""
    residual: Vector
    """``(m,)``: ``sum|model - data| / sum(data)`` of each; NaN for an empty one."""
    held_out: Indices
    """Rows of the three above that the reconstruction never saw."""
    worst: tuple[Pattern, ...]
    """Largest residual first."""

    def plain(self) -> dict[str, Any]:
        """Names and numbers for a file."""
        return {
            "file": self.source,
            **self.scores.plain(),
            "held_out": self.numbers[self.held_out].tolist(),
            "worst": [
                {"pattern": one.number, "y": one.position[0], "x": one.position[1],
                 "residual": one.residual}
                for one in self.worst
            ],
            "numbers": self.numbers.tolist(),
            "residual": self.residual.tolist(),
        }  # fmt: skip


@dataclass(frozen=True)
class TwoHalves:
    """Two reconstructions, each from its half of the patterns, beside each other."""

    scores: Between
    rings: Rings
    patterns: tuple[int, int]
    """How many patterns each half has."""

    def plain(self) -> dict[str, Any]:
        """Names and numbers for a file."""
        return {**self.scores.plain(), "patterns": list(self.patterns), "frc": self.rings.plain()}


@dataclass(frozen=True)
class Verdict:
    """An evaluation."""

    source: str
    """The file that was judged."""
    label: str
    obj: ComplexImage
    """``(h, w)``: its scanned area, aligned where there is a truth."""
    probe: NDArray[np.complex64] | None = None
    """``(modes, N, N)`` in any scale, when known."""
    pixel_size_m: float | None = None
    truth: AgainstTruth | None = None
    data: AgainstData | None = None
    halves: TwoHalves | None = None
    notes: tuple[str, ...] = ()
    """What was decided on the way, in sentences."""

    def plain(self) -> dict[str, Any]:
        """Names and numbers for a file."""
        parts = {"against_truth": self.truth, "against_data": self.data, "halves": self.halves}
        said = {name: part.plain() for name, part in parts.items() if part is not None}
        return {
            "file": self.source,
            "label": self.label,
            "pixel_size_m": self.pixel_size_m,
            "notes": list(self.notes),
            **said,
        }
