"""What was found about a scan: sentences, the settings they ask for, and what to draw."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


class Weight(StrEnum):
    """What a finding means for whoever reads it."""

    fine = "fine"
    """As it should be."""
    note = "note"
    """Worth knowing; nothing to do."""
    set = "set"
    """A setting mends it."""
    look = "look"
    """Wrong or doubtful, and no setting mends it."""
    open = "open"
    """The data do not decide."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    """What, in a word or two: ``values``, ``beam centre``."""
    weight: Weight
    """What it means."""
    said: str
    """A sentence or two, with the figures."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Full names of settings -> the value to type."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The numbers behind it, for the JSON."""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "topic": self.topic,
            "weight": self.weight.value,
            "said": self.said,
            "settings": dict(self.settings),
            "figures": dict(self.figures),
        }


@dataclass(frozen=True)
class Trials:
    """What short fits of a part of the scan said."""

    grid: Image
    """``(8, 8)``: C of patterns that were not fitted; turns of the patterns, of the positions."""
    names: tuple[str, ...]
    """Of the eight turns."""
    chosen: tuple[int, int]
    """Row and column of what is proposed, or of the best."""
    decided: bool
    """Whether the data decide."""
    scales: Image
    """``(k, 2)``: factor of the positions, and C; may be empty."""
    obj: NDArray[np.complex64]
    """``(H, W)``: the object as the best fit sees it."""


@dataclass(frozen=True)
class Views:
    """What there is to draw; None where the file has none."""

    mean: Image | None = None
    """``(H, W)``: mean pattern in counts (or squared amplitudes), as in the file."""
    one: Image | None = None
    """``(H, W)``: a pattern of the file with typical light, likewise."""
    centre: tuple[float, float] | None = None
    """Where zero frequency is, (y, x) in pixels of the file's patterns."""
    bad: NDArray[np.bool_] | None = None
    """``(H, W)``: pixels that do not count."""
    spread: Image | None = None
    """``(k, 2)``: per pixel, mean counts and variance between neighbouring patterns."""
    light: Image | None = None
    """``(k, 2)``: number of a pattern and its photons."""
    positions: Image | None = None
    """``(n, 2)``: (y, x) in object pixels, as in the file."""
    probe: NDArray[np.complex64] | None = None
    """``(modes, N, N)``."""
    width: float | None = None
    """Of the beam in object pixels."""
    guessed: bool = False
    """Whether positions are pixels by a first guess alone."""
    tried: NDArray[np.int64] | None = None
    """Numbers of the patterns that were fitted."""
    trials: Trials | None = None
    """The short fits."""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found."""

    source: str
    """The file, or that the scan is simulated."""
    label: str
    """Name of the scan."""
    findings: tuple[Finding, ...]
    """In the order in which data are read."""
    views: Views
    """What to draw."""
    bad_pixels: NDArray[np.bool_] | None = None
    """``(H, W)``: pixels of the file's patterns that only a mask can leave out; None: none."""
    seconds: float = 0.0
    """How long it took to look."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that should be typed."""
        return {name: value for one in self.findings for name, value in one.settings.items()}

    @property
    def verdict(self) -> str:
        """The whole in a line."""
        count = dict.fromkeys(Weight, 0)
        for one in self.findings:
            count[one.weight] += 1
        parts = [
            f"{count[weight]} {words}"
            for weight, words in (
                (Weight.set, "to set"),
                (Weight.look, "to look at"),
                (Weight.open, "that the data do not decide"),
            )
            if count[weight]
        ]
        return ", ".join(parts) if parts else "nothing to mend"

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "source": self.source,
            "label": self.label,
            "verdict": self.verdict,
            "settings": self.settings,
            "findings": [one.plain() for one in self.findings],
            "seconds": self.seconds,
        }
