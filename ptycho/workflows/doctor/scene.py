"""Positions and probe of a scan, as far as they can be used."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

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
_USUAL_STEP = 0.2
"""Widths of the beam, where nothing says more."""


@dataclass(frozen=True)
class Scene:
    """Where patterns were taken, and with what beam."""

    positions: Positions | None = None
    """``(n, 2)`` in object pixels, neither turned nor scaled; NaN where the file has none."""
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
    probe, about_probe = _probe(found)
    beam = None if probe is None else width(torch.from_numpy(probe))
    size: float | None = None
    try:
        size = object_pixel(found, data.geometry, found.frames.shape[1]).size_m
    except DataError as error:
        about_probe.append(Finding("geometry", Weight.look, str(error)))
    raw, about_positions = _finite_positions(found)
    if raw is None:
        return Scene(None, probe, beam, None, size), [*about_probe, *about_positions]
    positions, guessed, said = _in_pixels(found, data, raw, beam)
    finite = positions[np.isfinite(positions).all(1)]
    steps = look_at_steps(finite)
    if said is not None:
        about_positions.append(said)
    else:
        about_positions += steps_found(steps, beam, size)
        side = probe.shape[-1] if probe is not None else min(found.frames.shape[1:])
        about_positions.append(
            room_found(finite, side, None if found.obj is None else found.obj.shape)
        )
    scene = Scene(positions, probe, beam, steps, size, guessed)
    return scene, [*about_probe, *about_positions]


def _probe(found: Measurement) -> tuple[NDArray[np.complex64] | None, list[Finding]]:
    if found.probe is None:
        said = (
            "the file holds none. Short fits take one that the mean pattern gives, in focus, and "
            "say little; give the true one with data.probe_file."
        )
        settings = {"data.probe.kind": "average"}
        return None, [Finding("probe", Weight.set, said, settings)]
    probe = found.probe
    if not np.isfinite(probe).all():
        bad = int((~np.isfinite(probe)).sum())
        said = f"holds NaN or infinity ({bad:,} values); they are taken for zero here."
        return _probe_without_nan(probe), [Finding("probe", Weight.look, said)]
    if not probe.any():
        said = "zero everywhere: the file holds no probe."
        return None, [Finding("probe", Weight.set, said, {"data.probe.kind": "average"})]
    beam = width(torch.from_numpy(probe))
    height, sides = found.frames.shape[1], found.frames.shape[1:]
    side = probe.shape[-1]
    # a square window of the probe's size can be cut out of an oblong image
    size = side if height != sides[1] and side <= min(sides) else min(sides)
    return probe, probe_found(probe, beam, size)


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


def _in_pixels(
    found: Measurement, data: DataConfig, raw: Positions, beam: float | None
) -> tuple[Positions, float | None, Finding | None]:
    """Positions in object pixels; what was guessed for that, and a sentence on it."""
    finite = np.isfinite(raw).all(1)
    usable = replace(found, positions=raw[finite])
    fault = None
    try:
        pixel = object_pixel(found, data.geometry, found.frames.shape[1])
        placed, _ = in_pixels(usable, PositionsConfig(unit=data.positions.unit), pixel)
        step = look_at_steps(placed).step
        if beam is None or _LEAST_STEP * beam < step < _LARGEST_STEP * beam:
            positions = np.full(raw.shape, np.nan)
            positions[finite] = placed
            return positions, None, None
        fault = (
            f"a step of {step:.3g} object pixels, the beam being {beam:.0f} wide, cannot be: "
            "positions are in another unit, or the pixel size is wrong."
        )
    except DataError as error:
        fault = str(error).removeprefix(f"{found.path}: ")
    factor = _USUAL_STEP * (beam or found.frames.shape[1] / 4) / look_at_steps(raw[finite]).step
    return raw * factor, factor, Finding("positions", Weight.look, fault)
