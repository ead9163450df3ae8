"""From a survey of patterns to sentences: values, zero frequency, light, pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config.choices import Values
from ptycho.data.frames import Array
from ptycho.data.measurement import Measurement
from ptycho.report.diagnosis import Finding, Weight
from ptycho.workflows.doctor.beam import Beam
from ptycho.workflows.doctor.light import Light
from ptycho.workflows.doctor.pixels import Defects, filled, plateau
from ptycho.workflows.doctor.survey import Survey

_FEW = 1e3
_DIRECT = 2.0
"""Pixels around the centre where a hot one may be the direct beam."""
_FAR = 2.5
"""Pixels that zero frequency may be off: a slope of the object's phase, and no more."""


@dataclass(frozen=True)
class Counting:
    """How to make counts of the file's numbers."""

    kind: str
    """``counts`` or ``amplitude``."""
    unit: float = 1.0
    """The value of one count, or the amplitude of one."""

    def counts(self, values: Array) -> NDArray[np.float64]:
        """Photons of values of a file."""
        plain = np.maximum(values, 0).astype(np.float64) / self.unit
        return plain if self.kind == "counts" else np.square(plain)

    def mean(self, seen: Survey) -> NDArray[np.float64]:
        """Mean photons of every pixel."""
        of_power = seen.mean if self.kind == "counts" else seen.mean_square / self.unit
        return np.maximum(of_power, 0) / self.unit

    def photons(self, seen: Survey) -> NDArray[np.float64]:
        """Photons of every pattern that was looked at."""
        of_power = seen.sums if self.kind == "counts" else seen.squares / self.unit
        return np.maximum(of_power, 0) / self.unit


def taken_for(found: Measurement, typed: Values, kept: Array) -> tuple[str, str]:
    """What a run takes the numbers for, and who says so."""
    if typed != Values.auto:
        return typed.value, f"data.values={typed.value}"
    if found.values != "auto":
        return found.values, found.why
    if kept.dtype.kind != "f":
        return "counts", f"integer dtype {kept.dtype}"
    whole = bool((kept == np.floor(kept)).all())
    return ("counts", "whole numbers") if whole else ("amplitude", "fractions")


def patterns_found(shape: tuple[int, ...], dtype: np.dtype[Any], seen: Survey) -> Finding:
    """How many there are, of which shape."""
    n, height, width = shape
    said = f"{n:,} of {height} x {width} pixels, {dtype}"
    if not seen.all_seen:
        said += f"; looked at {len(seen.numbers):,} of them, spread over the scan"
    figures = {
        "n": n,
        "shape": [height, width],
        "dtype": str(dtype),
        "looked_at": len(seen.numbers),
    }
    return Finding("patterns", Weight.note, f"{said}.", figures=figures)


def values_found(
    kind: str, why: str, taken_for: str, who: str, figures: dict[str, Any], sure: bool
) -> Finding:
    """Counts or amplitudes.

    Args:
        kind: what they are; empty: unknown.
        why: in words.
        taken_for: what a run takes them for.
        who: says so.
        figures: the numbers behind it.
        sure: whether whole numbers say so.
    """
    figures = {"kind": kind or None, "taken_for": taken_for, **figures}
    names = {"counts": "photon counts", "amplitude": "amplitudes (roots of counts)"}
    if not kind:
        said = f"counts or amplitudes? {why}; taken for {names[taken_for]} ({who})."
        return Finding("values", Weight.open, said, figures=figures)
    said = f"{names[kind]}: {why}"
    if kind == taken_for:
        return Finding("values", Weight.fine if sure else Weight.note, f"{said}.", figures=figures)
    said += f"; but a run takes them for {names[taken_for]} ({who})."
    return Finding("values", Weight.set, said, {"data.values": kind}, figures)


def negative_found(seen: Survey) -> Finding | None:
    """Values below zero, which nothing counts."""
    low = float(seen.lowest.min())
    if low >= 0:
        return None
    share = float((seen.lowest < 0).mean())
    said = (
        f"values down to {low:.4g}, in {share:.1%} of the pixels: no detector counts less than "
        "nothing; a background was taken off, or integers were read with the wrong sign."
    )
    return Finding("negative values", Weight.set, said, {"data.preprocess.minimum": 0.0},
                   {"lowest": low, "share_of_pixels": share})  # fmt: skip


def broken_found(seen: Survey) -> list[Finding]:
    """NaN and infinity, and marks of a detector where numbers are whole."""
    found = []
    topic, what = "NaN", "NaN or infinity"
    if seen.kept.dtype.kind != "f":
        topic, what = "marks", "a detector's mark for no reading"
    if len(seen.lost):
        said = f"{_some(seen.lost)}: {what} in many pixels; leave them out of the file."
        found.append(Finding(topic, Weight.look, said, figures=_numbers(seen.lost)))
    if pixels := int((seen.broken > 0).sum()):
        always = int((seen.broken >= len(seen.numbers) - len(seen.lost)).sum())
        said = (
            f"{pixels:,} pixels hold {what}, {always:,} of them in every pattern. --fix "
            "writes a mask of them (data.preprocess.bad_pixels_file)."
        )
        figures = {"pixels": pixels, "always": always}
        found.append(Finding(topic, Weight.set, said, figures=figures))
    return found


def zero_found(beam: Beam) -> Finding:
    """Whether zero frequency is in the centre or in the corner."""
    figures = {"y": beam.y, "x": beam.x, "contrast": beam.contrast}
    if beam.contrast < 0.05 and not beam.against_probe:
        said = "the mean pattern is as bright everywhere: it does not tell where zero frequency is."
        return Finding("zero frequency", Weight.open, said, figures=figures)
    name = "data.preprocess.zero_frequency"
    if beam.corner:
        said = "in the corner, where a plain FFT leaves it."
        return Finding("zero frequency", Weight.set, said, {name: "corner"}, figures)
    return Finding("zero frequency", Weight.fine, "in the centre.", {name: "centre"}, figures)


def centre_found(
    place: NDArray[np.float64], shape: tuple[int, int], side: int, against_probe: bool
) -> Finding:
    """How far zero frequency is from the pixel where it should be.

    Args:
        place: zero frequency (y, x) of patterns as they will be, turned and off the corner.
        shape: ``(H, W)`` of these.
        side: of the pattern that object and probe of the file belong to.
        against_probe: whether the probe's spectrum says so.
    """
    away = place - np.array([n // 2 for n in shape])
    who = "most like the probe's spectrum" if against_probe else "centre of light"
    said = f"row {place[0]:.1f}, column {place[1]:.1f} ({who}), "
    figures = {"y": float(place[0]), "x": float(place[1]), "off": away.tolist()}
    far, size = float(np.hypot(*away)), min(shape)
    square = shape[0] == shape[1]
    if square and far <= max(_FAR, 0.02 * size):
        said += f"{far:.1f} pixels from where it should be."
        return Finding("beam centre", Weight.fine, said, figures=figures)
    settings = {
        "data.preprocess.center_y": round(float(place[0]), 1),
        "data.preprocess.center_x": round(float(place[1]), 1),
        "data.preprocess.crop": side,
    }
    said += f"{far:.1f} pixels from the middle of {shape[0]} x {shape[1]}."
    if not square:
        said += " Patterns must be square."
    return Finding("beam centre", Weight.set, said, settings, figures)


def light_found(light: Light, brightest: float, counted: bool) -> Finding:
    """Photons of patterns."""
    figures = {"median": light.middle, "spread": light.spread, "brightest_pixel": brightest}
    unit = "photons" if counted else "units of squared amplitude"
    said = (
        f"{light.middle:.3g} {unit} a pattern, which vary by {light.spread:.1%}; "
        f"{brightest:.3g} in the brightest pixel."
    )
    if light.middle < _FEW and counted:
        said += " So few that noise, not the number of iterations, limits the result."
        return Finding("photons", Weight.note, said, figures=figures)
    if light.spread > 0.2:
        said += " The beam or the sample's absorption varies a lot: instrument.flux_trainable=true"
        said += " finds a brightness for every pattern."
        return Finding("photons", Weight.note, said, figures=figures)
    return Finding("photons", Weight.fine, said, figures=figures)


def odd_patterns_found(light: Light, seen: Survey) -> list[Finding]:
    """Patterns without light, with too much, or twice."""
    found = []
    if len(light.empty):
        said = f"{_some(light.empty)}: empty; they are dropped (data.preprocess.drop_empty)."
        found.append(Finding("empty patterns", Weight.note, said, figures=_numbers(light.empty)))
    if len(light.dim):
        said = f"{_some(light.dim)}: less than a tenth of the usual light; the shutter was closing?"
        settings = {"data.preprocess.drop_below": _round(light.drop_below)}
        found.append(Finding("dim patterns", Weight.set, said, settings, _numbers(light.dim)))
    if len(light.bright):
        said = f"{_some(light.bright)}: more than four times the usual light."
        settings = {"data.preprocess.drop_above": _round(light.drop_above)}
        found.append(Finding("bright patterns", Weight.set, said, settings, _numbers(light.bright)))
    lit = np.setdiff1d(seen.copies, light.empty)
    if len(lit):
        said = (
            f"{_some(lit)}: equal to an earlier one, to the bit. Two exposures never are: the "
            "detector hung or the file was put together wrongly; leave them out."
        )
        found.append(Finding("repeated patterns", Weight.look, said, figures=_numbers(lit)))
    return found or [
        Finding("odd patterns", Weight.fine, "none is empty, too bright or there twice.")
    ]


def defects_found(defects: Defects, beam: Beam, masked: float) -> Finding:
    """Pixels that do not say what they see.

    Args:
        defects: where.
        beam: where the light is; one pixel of it beside a stop looks like a hot one.
        masked: share of the pixels that the file itself leaves out.
    """
    kinds = {"hot": defects.hot, "dead": defects.dead, "stuck": defects.stuck}
    number = {name: int(mask.sum()) for name, mask in kinds.items()}
    figures = {**number, "masked_by_the_file": masked}
    said = ", ".join(f"{n:,} {name}" for name, n in number.items() if n)
    own = f"{100 * masked:.2g} % of the detector are masked by the file; " if masked else ""
    if not said:
        said = f"{own}of the others none is" if own else "none is"
        return Finding("pixels", Weight.fine, f"{said} hot, dead or stuck.", figures=figures)
    where = np.argwhere(defects.hot | defects.dead | defects.stuck)[:3].tolist()
    places = ", ".join(f"[{y}, {x}]" for y, x in where)
    more = " ..." if sum(number.values()) > 3 else ""
    # the file with the mask is written by --fix; hot ones alone need none
    only_hot = not (number["dead"] or number["stuck"])
    settings = {"data.preprocess.mask_hot": True} if only_hot else {}
    mask = "" if only_hot else " --fix writes a mask of them (data.preprocess.bad_pixels_file)."
    said = f"{own}{said}, at {places}{more}.{mask}"
    hot = np.argwhere(defects.hot)
    if len(hot) and np.abs(hot - (beam.y, beam.x)).max(1).min() <= _DIRECT:
        said += " So near to the centre it may be light that passes a beam stop: to leave it out"
        said += " costs nothing."
    return Finding("pixels", Weight.set, said, settings, figures)


def saturation_found(highest: NDArray[np.float64]) -> Finding:
    """Whether the brightest values are where the detector stopped counting.

    Args:
        highest: largest counts of every good pixel.
    """
    top, pixels, flat = plateau(highest)
    figures = {"highest": top, "pixels": pixels}
    end = filled(top)
    if flat or (end and pixels > 1):
        name = f", the end of {end}" if end else ""
        said = (
            f"{pixels:,} pixels stop at {top:,.6g} counts{name}, and hardly any below: the "
            "detector is saturated."
        )
        return Finding("saturation", Weight.set, said,
                       {"data.preprocess.saturation": _round(top)}, figures)  # fmt: skip
    said = f"none: {top:.4g} counts are the most, in {_pixels(pixels)}."
    return Finding("saturation", Weight.fine, said, figures=figures)


def noise_found(ratio: float | None, counting: Counting) -> Finding | None:
    """Whether the darkest pixels vary as photons do.

    Args:
        ratio: variance over mean of their counts; None: too few photons say.
        counting: how these were made.
    """
    if ratio is None:
        return None
    figures = {"variance_over_mean": ratio}
    said = f"the darkest pixels vary by {ratio:.2f} times their mean count"
    if 0.7 < ratio < 1.5:
        return Finding("noise", Weight.fine, f"{said}, as photons do.", figures=figures)
    if ratio <= 0.7:
        said += ", less than photons do: patterns were averaged, smoothed or scaled."
    else:
        said += (
            ", more than photons do: a count is not one photon (detector units), or a background "
            "varies."
        )
    if counting.kind == "amplitude":
        said += " Or these are no roots of counts."
    return Finding("noise", Weight.note, said, figures=figures)


def _pixels(n: int) -> str:
    return "one pixel" if n == 1 else f"{n:,} pixels"


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _some(numbers: NDArray[np.int64]) -> str:
    first = ", ".join(str(one) for one in numbers[:4])
    more = f" ... ({len(numbers):,} in all)" if len(numbers) > 4 else ""
    return f"pattern{'s' if len(numbers) > 1 else ''} {first}{more}"


def _numbers(numbers: NDArray[np.int64]) -> dict[str, Any]:
    return {"count": len(numbers), "first": numbers[:20].tolist()}
