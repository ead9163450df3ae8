"""From short fits to sentences: axes and their directions, the scale of the positions."""

import math
from collections.abc import Sequence
from typing import Any

from ptycho.report.diagnosis import Finding, Weight
from ptycho.workflows.doctor.scene import Scene
from ptycho.workflows.doctor.trials import Orientation, Pair, Scale

_MOST_ALIKE = 16
"""Pairs that even a probe with every symmetry leaves alike: eight, and the twins of them."""
_SOME = 0.3
"""C above which a fit is beyond doubt."""
_METRES = {"m": 1.0, "um": 1e-6, "nm": 1e-9}
_SHORTEST, _LONGEST = 1e-10, 3e-6
"""Metres between which an object pixel is."""
_SAME = 0.1
"""Of each other: a fitted pixel and the one that is known."""
_BINNED = 10.0
"""Object pixels that may have become one."""


def pair_words(pair: Pair) -> str:
    """In words: ``patterns transposed, positions flipped along y``."""
    patterns, positions = pair
    said = []
    if patterns.steps:
        said.append(f"patterns {patterns.words('transposed')}")
    if positions.steps:
        said.append(f"positions {positions.words('swapped (y and x)')}")
    return ", ".join(said) or "as they are"


def pair_settings(pair: Pair) -> dict[str, Any]:
    """The settings that say it, the plain ones too."""
    patterns, positions = pair
    return {
        **patterns.settings("data.preprocess", "transpose"),
        **positions.settings("data.positions", "swap"),
    }


def told(orientation: Orientation, typed: Pair) -> Pair | None:
    """The pair to set; None where the data do not decide."""
    if not orientation.found or len(orientation.alike) > _MOST_ALIKE:
        return None
    return typed if typed in orientation.alike else orientation.chosen


def axes_found(orientation: Orientation, typed: Pair, patterns: int) -> Finding:
    """Which turn of patterns and positions fits.

    Args:
        orientation: how all pairs did.
        typed: what the settings say so far.
        patterns: how many were fitted.
    """
    chosen = told(orientation, typed)
    other = orientation.runner_up
    figures: dict[str, Any] = {
        "C": orientation.c, "margin": orientation.margin, "best": pair_words(orientation.best),
        "second": pair_words(other) if other else None,
        "alike": [pair_words(pair) for pair in orientation.alike], "patterns": patterns,
        "scale": orientation.scale,
    }  # fmt: skip
    judged = f"C {orientation.c:.2f} of patterns not fitted"
    if chosen is None:
        if orientation.c < _SOME / 2:
            said = (
                f"none of the 64 turns of patterns and positions explains the patterns (best "
                f"{judged}; {patterns} patterns were tried): probe, pixel size or the pairing of "
                "patterns and positions must be wrong, or there is too little light or overlap."
            )
        else:
            said = (
                f"{len(orientation.alike)} of the 64 turns of patterns and positions explain them "
                f"equally well (best {judged}): the data do not decide."
            )
        return Finding("axes", Weight.open, said, figures=figures)
    second = ""
    if other is not None:
        second = f", next best {pair_words(other)} {orientation.c - orientation.margin:.2f}"
    said = f"{pair_words(chosen)} ({judged}{second})."
    rest = [pair for pair in orientation.alike if pair != chosen]
    if rest:
        said += f" {_as_well(chosen, rest)}"
    weight = Weight.fine if chosen == typed else Weight.set
    return Finding("axes", weight, said, pair_settings(chosen), figures)


def _as_well(chosen: Pair, rest: Sequence[Pair]) -> str:
    """What the probe's symmetry leaves open."""
    shown = "; ".join(pair_words(pair) for pair in rest[:2])
    more = f" and {len(rest) - 2} more" if len(rest) > 2 else ""
    turned = "turned or mirrored" if len(rest) > 1 else "mirrored or turned"
    return (
        f"The probe is too symmetric to tell this from: {shown}{more}. They differ in the object "
        f"being {turned}, nothing else."
    )


def scale_found(scale: Scale, typed: float, pixel_size_m: float | None) -> Finding:
    """Whether the pixel size fits.

    Args:
        scale: what the positions, as typed, must be multiplied by.
        typed: ``data.positions.scale``.
        pixel_size_m: side of an object pixel that was assumed; None: unknown.
    """
    figures = {"factor": scale.factor, "error": scale.error, "typed": typed}
    measured = f"{scale.factor:.3f} ± {scale.error:.3f}"
    if not scale.known:
        said = f"the positions fit best when multiplied by {measured}: that is too uncertain."
        return Finding("pixel size", Weight.open, said, figures=figures)
    if scale.fits:
        said = f"fits: the positions explain the patterns best when multiplied by {measured}, "
        if abs(math.log(scale.factor)) <= scale.tolerance:
            said += f"and within {scale.tolerance:.0%} counts as 1."
        else:
            said += "and as they are no worse."
        return Finding("pixel size", Weight.fine, said, {"data.positions.scale": typed}, figures)
    said = f"does not fit: positions must be multiplied by {measured}"
    if pixel_size_m is not None:
        actual = 1e9 * pixel_size_m / scale.factor
        said += f", an object pixel being {actual:.4g} nm, not {1e9 * pixel_size_m:.4g}"
    said += "; check distance, energy and detector pixel, or the steps of the stage."
    wanted = float(f"{scale.factor * typed:.4g}")
    return Finding("pixel size", Weight.set, said, {"data.positions.scale": wanted}, figures)


def guessed_found(scale: Scale, guessed: float, scene: Scene, typed: float) -> Finding:
    """The unit of positions that nothing else told.

    Args:
        scale: of positions that were brought to a usual overlap first.
        guessed: what those of the file were multiplied by for that.
        scene: what is known of unit and pixel.
        typed: ``data.positions.scale``.
    """
    pixels = scale.factor * guessed
    figures = {"pixels_per_unit": pixels, "error": scale.error * pixels, "typed": scene.unit}
    if not scale.known:
        said = f"positions times {pixels:.3g} may be object pixels; that is too uncertain."
        return Finding("pixel size", Weight.open, said, figures=figures)
    if scene.unit == "px" and abs(math.log(pixels / typed)) <= scale.tolerance:
        said = f"positions times {pixels:.3f} explain the patterns best: they are object pixels."
        return Finding("pixel size", Weight.fine, said, {"data.positions.scale": typed}, figures)
    said = (
        f"positions times {pixels:.4g} (± {scale.error:.1%}) explain the patterns best: the object "
        f"pixel is {1 / pixels:.4g} of their unit"
    )
    named = _unit(scene, pixels)
    if not named:
        factor = float(f"{pixels:.4g}")
        own = {"data.positions.scale": factor}
        return Finding("pixel size", Weight.set, f"{said}.", own, figures)
    length = float(f"{_METRES[named] / pixels:.4g}")
    said += f", {1e9 * length:.4g} nm if that is {named}."
    settings: dict[str, Any] = {
        "data.positions.unit": named,
        "data.geometry.pixel_size_m": length,
        "data.positions.scale": 1.0,
    }
    return Finding("pixel size", Weight.set, said, settings, figures)


def _unit(scene: Scene, pixels: float) -> str:
    """The unit of positions of which so many object pixels are one; empty: none that is known."""
    if scene.unit in _METRES:
        return scene.unit
    lengths = {one: metres / pixels for one, metres in _METRES.items()}
    if scene.pixel_size_m is not None:
        likely = [one for one, a in lengths.items() if abs(a / scene.pixel_size_m - 1) < _SAME]
    elif 1 / _BINNED < pixels < _BINNED:
        likely = []  # other pixels as well as another unit
    else:
        likely = [one for one, length in lengths.items() if _SHORTEST < length < _LONGEST]
    return likely[0] if len(likely) == 1 else ""
