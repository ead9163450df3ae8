"""How far behind the focus a sample was, where the file holds no probe."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptycho.physics.illumination import propagate
from ptycho.physics.probe import width
from ptycho.report.diagnosis import Finding, Weight
from ptycho.workflows.doctor.region import Answer, Region
from ptycho.workflows.doctor.trials import Pair, better
from ptycho.workflows.doctor.turns import Turn

_WIDTHS, _WIDEST = 10, 0.8
"""Widths of the beam that are tried, and the largest of them, of the patch's side."""
_FOUND = 0.3
"""C of patterns that were not fitted, below which nothing was found."""


@dataclass(frozen=True)
class Defocus:
    """A defocus that explains patterns."""

    value: float
    """In object pixels squared over the wavelength."""
    c: float
    """C of patterns that were not fitted."""
    in_focus: float
    """The same for a probe in focus."""

    def found(self) -> Finding:
        """In a sentence."""
        figures = {"defocus": self.value, "C": self.c, "C_in_focus": self.in_focus}
        said = (
            "a probe made of the mean pattern explains the patterns when it is defocused by "
            f"{self.value:.3g} pixels² per wavelength (C {self.c:.2f} of patterns not fitted, "
            f"{self.in_focus:.2f} in focus)."
        )
        settings = {"data.probe.defocus": self.value}
        return Finding("defocus", Weight.set, said, settings, figures)


def find_defocus(region: Region, probe: Tensor, typed: Pair) -> Defocus | None:
    """Try a probe that is more and more defocused, to either side.

    Args:
        region: some patterns.
        probe: in focus, complex ``(1, N, N)``.
        typed: turns of patterns and positions so far; others of the positions are tried where
            these explain nothing.

    Returns:
        None where no defocus is clearly better than none.
    """
    patterns, positions = typed
    # half a turn of the positions is what the other sign of the defocus is
    others = [Turn(swap, False, flip) for swap in (False, True) for flip in (False, True)]
    for turn in (positions, *(one for one in others if one != positions)):
        found = _defocus(region, probe, (patterns, turn))
        if found is not None:
            return found
    return None


def _defocus(region: Region, probe: Tensor, turns: Pair) -> Defocus | None:
    size = probe.shape[-1]
    finer = (region.probe.shape[-1] / size) ** 2
    pupil = torch.fft.fftshift(torch.fft.fft2(probe), dim=(-2, -1))
    # rays through a pupil of this width part by as much per unit of defocus
    step = _WIDEST / _WIDTHS * size / max(width(pupil) / size, 1 / size)
    answers: dict[float, Answer] = {}

    def ask(value: float) -> float:
        if value not in answers:
            beam = propagate(region.probe.to(torch.complex128), value * finer)
            answers[value] = replace(region, probe=beam.to(region.probe.dtype)).solve(*turns)
        return answers[value].c

    best = max((step * number for number in range(-_WIDTHS, _WIDTHS + 1)), key=ask)
    if ask(best) < _FOUND / 2:
        return None
    for reach in (step / 2, step / 4, step / 8):
        best = max((best - reach, best, best + reach), key=ask)
    if ask(best) < _FOUND or not better(answers[best], answers[0.0]):
        return None
    return Defocus(float(f"{best:.3g}"), ask(best), ask(0.0))
