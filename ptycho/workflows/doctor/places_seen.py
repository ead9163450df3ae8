"""From positions and probe to sentences: steps, overlap, field of view, what belongs together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.report.diagnosis import Finding, Weight
from ptycho.workflows.doctor.places import Alike, Steps, areal_overlap

Positions = NDArray[np.float64]

_LITTLE = 0.4
"""Linear overlap below which reconstructions begin to fail."""
_EDGE = 0.02
"""Of the probe's light that may lie on the rim of the patch."""


def probe_found(probe: NDArray[np.complex64], width: float, size: int) -> list[Finding]:
    """Modes, width against the patch, light at its rim.

    Args:
        probe: ``(modes, N, N)``.
        width: of the beam in object pixels.
        size: side of a pattern of the file.
    """
    power = np.square(np.abs(probe.astype(np.complex128))).sum(0)
    side = power.shape[-1]
    rim = max(side // 32, 1)
    inner = power[rim:-rim, rim:-rim].sum()
    outside = float(1 - inner / power.sum())
    modes = np.square(np.abs(probe)).sum((1, 2), dtype=np.float64)
    modes = modes / modes.sum()
    figures: dict[str, Any] = {
        "modes": len(probe), "shares": modes.tolist(), "width": width, "side": side,
        "light_at_the_rim": outside,
    }  # fmt: skip
    said = f"{width:.0f} px wide in a patch of {side} x {side}"
    if len(probe) > 1:
        said += f", {len(probe)} modes ({', '.join(f'{one:.0%}' for one in modes[:4])})"
    found = []
    corners = _in_corners(power)
    if corners > 0.5:
        said += f"; {corners:.0%} of its light is nearer to the corners than to the middle, as if "
        said += "an FFT had left it there: shift it by half its side in the file."
        found.append(Finding("probe", Weight.look, said, figures=figures))
    elif outside > _EDGE or width > 0.75 * side:
        said += (
            f"; {outside:.1%} of its light is on the rim: the patch cuts it off. Patterns from "
            "more or smaller pixels of the detector (a longer distance) would hold all of it."
        )
        found.append(Finding("probe", Weight.look, said, figures=figures))
    else:
        said += f": {side / width:.1f} times its width, {outside:.1%} of its light on the rim."
        found.append(Finding("probe", Weight.fine, said, figures=figures))
    if side != size:
        said = (
            f"it has {side} x {side} pixels and the patterns have {size} x {size}: they must be "
            "equal. Give the probe that belongs to these patterns (data.probe_file), or let one "
            "be made of them (data.probe.kind=average)."
        )
        found.append(Finding("probe's size", Weight.look, said, figures=figures))
    return found


def _in_corners(power: NDArray[np.float64]) -> float:
    """Share of light that is nearer to a corner than to the middle, along both axes."""
    n = power.shape[-1]
    rolled = np.roll(power, (n // 2, n // 2), axis=(0, 1))
    quarter = n // 4
    inside = rolled[quarter : n - quarter, quarter : n - quarter].sum()
    return float(inside / power.sum())


def steps_found(steps: Steps, width: float | None, pixel_size_m: float | None) -> list[Finding]:
    """Step, overlap, what is irregular.

    Args:
        steps: in object pixels.
        width: of the beam in object pixels; None: unknown.
        pixel_size_m: side of an object pixel; None: unknown.
    """
    figures = {
        "step": steps.step, "nearest": steps.nearest, "quartiles": list(steps.quartiles),
        "extent": list(steps.extent), "repeated": steps.repeated,
        "lonely": len(steps.lonely), "regular": steps.regular,
    }  # fmt: skip
    low, high = steps.quartiles
    said = (
        f"{steps.extent[0]:.0f} x {steps.extent[1]:.0f} px{_metres(steps, pixel_size_m)}; "
        f"nearest neighbour {steps.nearest:.2f} px (quartiles {low:.2f} to {high:.2f}); an even "
        f"grid of as many would have steps of {steps.step:.2f} px."
    )
    weight = Weight.fine
    if steps.regular:
        weight = Weight.note
        said += " All steps are equal: an exact raster leaves a grid in the result; jitter helps."
    if steps.repeated:
        weight = Weight.note
        said += f" {steps.repeated:,} positions come more than once."
    if len(steps.lonely):
        weight = Weight.look
        first = ", ".join(str(one) for one in steps.lonely[:4])
        said += f" {len(steps.lonely):,} are far from all others (pattern {first}): a lost encoder?"
    found = [Finding("positions", weight, said, figures=figures)]
    if width is not None:
        found.append(_overlap(steps, width))
    return found


def doubt_found(doubt: str, mended: bool) -> Finding:
    """Positions that cannot be object pixels.

    Args:
        doubt: why.
        mended: whether short fits tell what they are.
    """
    if mended:
        said = f'{doubt} "pixel size" says what they are.'
        return Finding("positions", Weight.note, said)
    return Finding("positions", Weight.look, doubt)


def _overlap(steps: Steps, width: float) -> Finding:
    linear = 1 - steps.step / width
    areal = areal_overlap(steps.step, width)
    figures = {"linear": linear, "areal": areal}
    said = (
        f"{max(linear, 0):.0%} linear, {areal:.0%} areal: a step of {steps.step:.2f} px against a "
        f"beam of {width:.0f} px"
    )
    if linear < 0:
        said += "; neighbours do not touch. Are the positions in object pixels?"
        return Finding("overlap", Weight.look, said, figures=figures)
    if linear < _LITTLE:
        said += ". That is little; 60% and more is usual."
        return Finding("overlap", Weight.look, said, figures=figures)
    return Finding("overlap", Weight.fine, f"{said}.", figures=figures)


def _metres(steps: Steps, pixel_size_m: float | None) -> str:
    if pixel_size_m is None:
        return ""
    y, x = (1e6 * pixel_size_m * one for one in steps.extent)
    return f" ({y:.3g} x {x:.3g} µm, {1e9 * pixel_size_m:.4g} nm a pixel)"


def room_found(positions: Positions, size: int, estimate: tuple[int, ...] | None) -> Finding:
    """The canvas that the scan needs, and whether the file's object covers it.

    Args:
        positions: ``(n, 2)`` in object pixels.
        size: side of a patch.
        estimate: ``(H, W)`` of the object in the file; None: there is none.
    """
    low, high = positions.min(0) - size / 2, positions.max(0) + size / 2
    need = np.ceil(high - low).astype(int)
    figures: dict[str, Any] = {"canvas": need.tolist(), "object": estimate and list(estimate)}
    said = f"the patches span {need[0]:,} x {need[1]:,} px"
    if estimate is None:
        return Finding("field of view", Weight.fine, f"{said}.", figures=figures)
    beyond = max(float((-low).max()), float((high - np.array(estimate[-2:])).max()), 0.0)
    figures["beyond"] = beyond
    said += f"; the object in the file has {estimate[-2]:,} x {estimate[-1]:,}"
    if beyond > 2:
        said += f", and patches reach {beyond:.0f} px beyond it: they are not on the same grid."
        return Finding("field of view", Weight.note, said, figures=figures)
    return Finding("field of view", Weight.fine, f"{said}, which holds them all.", figures=figures)


def belonging_found(alike: Alike, overlap: float | None) -> tuple[Finding, bool]:
    """Whether patterns at neighbouring positions look alike, as they must where beams overlap.

    Args:
        alike: correlations.
        overlap: linear; None: unknown.

    Returns:
        The finding, and whether patterns and positions do not belong together.
    """
    gain, following = alike.near - alike.far, alike.next - alike.far
    signs = gain / max(alike.error, 1e-9)
    figures = {"near": alike.near, "next": alike.next, "far": alike.far, "error": alike.error}
    said = (
        f"patterns at neighbouring positions correlate by {alike.near:.2f}, those next to each "
        f"other in the file by {alike.next:.2f}, any two by {alike.far:.2f}"
    )
    if signs > 3.5 and (gain > 0.25 * following or following < 5 * alike.error):
        return Finding("order", Weight.fine, f"{said}.", figures=figures), False
    if following > max(5 * alike.error, 2 * gain):
        said += (
            ": the patterns are in the order of a scan, but the positions are not those of these "
            "patterns. Pair them anew, by frame number or time."
        )
        return Finding("order", Weight.look, said, figures=figures), True
    if overlap is not None and overlap < _LITTLE:
        said += ": with so little overlap this does not tell whether they belong together."
        return Finding("order", Weight.open, said, figures=figures), False
    said += ": patterns and positions do not seem to belong together (shuffled?)."
    return Finding("order", Weight.look, said, figures=figures), signs < 3
