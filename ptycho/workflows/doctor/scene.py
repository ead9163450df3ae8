"""Positions and probe of a scan, as far as they can be used."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho.config.choices import PositionUnit, ProbeKind
from ptycho.config.config import DataConfig
from ptycho.config.data_config import PositionsConfig
from ptycho.data.lengths import in_pixels, object_pixel
from ptycho.data.measurement import Measurement
from ptycho.data.scan import DataError
from ptycho.physics.probe import width
from ptycho.report.diagnosis import Finding, Weight
from ptycho.workflows.doctor.places import Steps, look_at_steps
from ptycho.workflows.doctor.places_seen import probe_found, room_found, steps_found

Positions = NDArray[np.float64]

_LEAST_STEP, _LARGEST_STEP = 0.003, 2.0
"""Widths of the beam between which a step can be one in pixels."""
_LEAST_LIKELY, _LARGEST_LIKELY = 0.01, 1.0
"""The same where nobody says that positions are in pixels."""
_LEAST_EXTENT = 0.2
"""Widths of the beam that a whole scan spans, where nobody says so."""
_USUAL_STEP = 0.2
"""Widths of the beam, where nothing says more."""


@dataclass(frozen=True)
class Scene:
    """Where patterns were taken, and with what beam."""

    positions: Positions | None = None
    """``(n, 2)`` in object pixels, scaled as typed, not turned; NaN where the file has none."""
    probe: NDArray[np.complex64] | None = None
    """``(modes, N, N)``."""
    beam: float | None = None
    """Width of the probe's light in object pixels."""
    steps: Steps | None = None
    """Distances of the positions."""
    pixel_size_m: float | None = None
    """Side of an object pixel."""
    guessed: float | None = None
    """What positions as in the file were multiplied by where nothing says how long a pixel is, so
    that beams overlap as usual; None: they are known."""
    unit: str = "px"
    """Of positions, as typed, else as the file says, else pixels."""
    doubt: str = ""
    """Why positions were guessed, in a sentence."""

    @property
    def overlap(self) -> float | None:
        """Linear: 1 minus the step over the width."""
        if self.steps is None or not self.beam:
            return None
        return 1 - self.steps.step / self.beam


def look_around(found: Measurement, data: DataConfig) -> tuple[Scene, list[Finding]]:
    """Look at probe and positions.

    Args:
        found: what the reader found.
        data: settings so far.
    """
    probe, about_probe = _probe(found, data)
    beam = None if probe is None else width(torch.from_numpy(probe))
    size: float | None = None
    try:
        size = object_pixel(found, data.geometry, found.frames.shape[1]).size_m
    except DataError as error:
        about_probe.append(Finding("geometry", Weight.look, str(error)))
    raw, about_positions = _finite_positions(found)
    if raw is None:
        return Scene(None, probe, beam, None, size), [*about_probe, *about_positions]
    positions, guessed, doubt = _in_pixels(found, data, raw, beam)
    finite = positions[np.isfinite(positions).all(1)]
    steps = look_at_steps(finite)
    if guessed is None:
        about_positions += steps_found(steps, beam, size)
        side = probe.shape[-1] if probe is not None else min(found.frames.shape[1:])
        about_positions.append(
            room_found(finite, side, None if found.obj is None else found.obj.shape)
        )
    scene = Scene(
        positions, probe, beam, steps, size, guessed, unit=_unit(found, data), doubt=doubt
    )
    return scene, [*about_probe, *about_positions]


def _probe(
    found: Measurement, data: DataConfig
) -> tuple[NDArray[np.complex64] | None, list[Finding]]:
    if found.probe is None:
        return None, [_no_probe(data)]
    probe = found.probe
    if not np.isfinite(probe).all():
        bad = int((~np.isfinite(probe)).sum())
        said = f"holds NaN or infinity ({bad:,} values); they are taken for zero here."
        return _probe_without_nan(probe), [Finding("probe", Weight.look, said)]
    if not probe.any():
        return None, [_no_probe(data)]
    beam = width(torch.from_numpy(probe))
    height, sides = found.frames.shape[1], found.frames.shape[1:]
    side = probe.shape[-1]
    # a square window of the probe's size can be cut out of an oblong image
    size = side if height != sides[1] and side <= min(sides) else min(sides)
    return probe, probe_found(probe, beam, size)


def _no_probe(data: DataConfig) -> Finding:
    """What to do where the file holds no probe."""
    fits = "Short fits take one that the mean pattern gives, in focus, and say little"
    if data.probe_file is not None or data.probe.kind != ProbeKind.file:
        said = f'the file holds none, and what was typed gives none here, see "made probe". {fits}.'
        return Finding("probe", Weight.look, said)
    said = (
        f"the file holds none. {fits}; give the true one with data.probe_file. The one below is in "
        "focus, too: unless the sample was, it needs the beam's defocus as well, "
        "data.probe.defocus_m=METRES (or data.probe.defocus), or gives garbage."
    )
    return Finding("probe", Weight.set, said, {"data.probe.kind": "average"})


def _probe_without_nan(probe: NDArray[np.complex64]) -> NDArray[np.complex64] | None:
    filled = np.nan_to_num(probe, nan=0.0, posinf=0.0, neginf=0.0)
    return filled if filled.any() else None


def _finite_positions(found: Measurement) -> tuple[Positions | None, list[Finding]]:
    """Positions as in the file, NaN where they are none; None where nothing can be done."""
    raw = np.array(found.positions, dtype=np.float64)
    n = len(found)
    if raw.shape != (n, 2):
        said = f"{n:,} patterns need positions ({n}, 2), the file holds {raw.shape}."
        return None, [Finding("positions", Weight.look, said)]
    finite = np.isfinite(raw).all(1)
    raw[~finite] = np.nan
    findings = []
    if not finite.all():
        said = f"{int((~finite).sum()):,} of {n:,} are NaN or infinite; leave them out."
        findings.append(Finding("NaN in positions", Weight.look, said))
    if finite.sum() < 2 or not np.ptp(raw[finite], axis=0).any():
        said = "fewer than two different ones: they say nothing of where patterns were taken."
        return None, [*findings, Finding("positions", Weight.look, said)]
    return raw, findings


def _unit(found: Measurement, data: DataConfig) -> str:
    unit = data.positions.unit
    return found.unit if unit == PositionUnit.auto else unit.value


def _in_pixels(
    found: Measurement, data: DataConfig, raw: Positions, beam: float | None
) -> tuple[Positions, float | None, str]:
    """Positions in object pixels; what was guessed for that, and a sentence on it."""
    finite = np.isfinite(raw).all(1)
    usable = replace(found, positions=raw[finite])
    how = PositionsConfig(unit=data.positions.unit, scale=data.positions.scale)
    width = beam or found.frames.shape[1] / 4
    try:
        pixel = object_pixel(found, data.geometry, found.frames.shape[1])
        placed, _ = in_pixels(usable, how, pixel)
        # a unit or a scale that somebody typed is worth more than what is usual
        told = how != PositionsConfig() or found.unit != "px"
        doubt = _doubt(look_at_steps(placed), width, told, made_up=beam is None)
    except DataError as error:
        doubt = str(error).removeprefix(f"{found.path}: ")
    if not doubt:
        positions = np.full(raw.shape, np.nan)
        positions[finite] = placed
        return positions, None, ""
    factor = _USUAL_STEP * width / look_at_steps(raw[finite]).step
    return raw * factor, factor, doubt


def _doubt(steps: Steps, width: float, told: bool, made_up: bool) -> str:
    """Why positions cannot be object pixels; empty where they can.

    Args:
        steps: were they object pixels.
        width: of the beam.
        told: whether somebody says how long they are.
        made_up: whether nobody knows the width.
    """
    least, most = (_LEAST_STEP, _LARGEST_STEP) if told else (_LEAST_LIKELY, _LARGEST_LIKELY)
    extent = max(steps.extent)
    small = steps.step <= least * width or (not told and extent < _LEAST_EXTENT * width)
    if (told and made_up) or not (small or (steps.step >= most * width and not made_up)):
        return ""
    beam = "an unknown beam" if made_up else f"a beam of {width:.0f} px"
    said = (
        f"a step of {steps.step:.3g} px (the whole scan: {steps.extent[0]:.3g} x "
        f"{steps.extent[1]:.3g} px) against {beam}"
    )
    if told:
        return f"{said} cannot be: positions are in another unit, or the pixel size is wrong."
    return (
        f"these cannot be object pixels: {said}. If they are lengths, say so with "
        "data.positions.unit=um (nm, m) and data.geometry.pixel_size_m."
    )
