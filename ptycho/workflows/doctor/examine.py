"""The doctor: everything that is looked at in a scan, one thing after the other."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.config.config import DataConfig
from ptycho.data.measurement import Measurement
from ptycho.report.diagnosis import Diagnosis, Finding, Views, Weight
from ptycho.workflows.doctor import frames_seen
from ptycho.workflows.doctor.beam import Beam, find_beam
from ptycho.workflows.doctor.fits import Fitted, Patterns, fit
from ptycho.workflows.doctor.frames_seen import Counting
from ptycho.workflows.doctor.light import Light, look_at_light
from ptycho.workflows.doctor.machine import machine_found
from ptycho.workflows.doctor.pictures import Centred, Reader, spectrum_of
from ptycho.workflows.doctor.pixels import Defects, find_defects
from ptycho.workflows.doctor.scene import Scene, look_around
from ptycho.workflows.doctor.settings_seen import against
from ptycho.workflows.doctor.survey import Survey, survey
from ptycho.workflows.doctor.values import nature

Say = Callable[[str], None]

_DRAWN = 4000
"""Patterns whose light is drawn."""


def examine(found: Measurement, data: DataConfig, say: Say = lambda _: None) -> Diagnosis:
    """Look at a scan.

    Args:
        found: what the reader found; may be faulty in any way that arrays can be.
        data: settings so far; findings are what should be typed instead.
        say: told what is looked at next.
    """
    begun = time.perf_counter()
    say("patterns")
    seen = survey(found.frames)
    findings = [frames_seen.patterns_found(found.frames.shape, found.frames.dtype, seen)]
    odd = (frames_seen.broken_found(seen), frames_seen.negative_found(seen))
    findings += [one for one in odd if one is not None]
    scene, around = look_around(found, data)
    whole = nature(seen.kept.astype(np.float64).ravel())
    guess, who = frames_seen.taken_for(found, data.values, seen.kept)
    look = _look(found, seen, Counting(whole.kind or guess, whole.unit), scene)
    say("short fits")
    fits = fit(data, scene, look.patterns, sure=bool(whole.kind))
    kind, why = whole.kind, whole.why
    if not kind and fits.kind:
        kind, why = fits.kind, f"{why}, but as {fits.kind} short fits explain more of them"
        look = _look(found, seen, Counting(kind), scene)
    figures = {"unit": whole.unit, "whole": whole.sure}
    findings.append(frames_seen.values_found(kind, why, guess, who, figures, whole.sure))
    findings += [*look.findings(seen), *around, *fits.findings, machine_found()]
    return Diagnosis(
        source=str(found.path),
        label=data.label if data.label != "scan" else found.label or found.path.stem,
        findings=tuple(against(one, data) for one in findings),
        views=_views(seen, look, scene, fits),
        bad_pixels=look.mask,
        seconds=time.perf_counter() - begun,
    )


@dataclass(frozen=True)
class _Look:
    """What patterns show by themselves."""

    beam: Beam
    light: Light
    defects: Defects
    saturation: Finding
    patterns: Patterns
    counting: Counting

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Pixels that no other setting leaves out."""
        bad = self.defects.dead | self.defects.stuck | self.defects.broken
        return self.defects.bad if bad.any() else None

    def findings(self, seen: Survey) -> list[Finding]:
        """In sentences."""
        shape = seen.mean.shape[0], seen.mean.shape[1]
        brightest = float(self.counting.counts(np.array([seen.top]))[0])
        return [
            *frames_seen.beam_found(self.beam, shape),
            frames_seen.light_found(self.light, brightest, self.counting.unit == 1.0),
            *frames_seen.odd_patterns_found(self.light, seen),
            frames_seen.defects_found(self.defects),
            self.saturation,
        ]


def _look(found: Measurement, seen: Survey, counting: Counting, scene: Scene) -> _Look:
    mean = counting.mean(seen)
    known = _known_bad(found, mean.shape)
    spectrum = None if scene.probe is None else spectrum_of(scene.probe)
    defects = find_defects(
        mean, seen.lowest, seen.highest, (seen.broken > 0) & ~known, len(seen.numbers)
    ).without(known)
    clean = np.where(defects.bad | known, np.median(mean), mean)
    beam = find_beam(clean, spectrum)
    light = look_at_light(counting.photons(seen), seen.numbers)
    saturation = frames_seen.saturation_found(seen, counting)
    usable = np.ones(len(found), bool)
    for numbers in (light.empty, light.dim, light.bright):
        usable[numbers] = False
    usable[seen.broken_patterns] &= bool(defects.broken.any())
    size = min(found.frames.shape[1:]) // 2 * 2
    if scene.probe is not None and scene.probe.shape[-1] <= size:
        size = scene.probe.shape[-1]
    centred = Centred(beam, size)
    top = seen.top if saturation.weight == Weight.set else None
    reader = Reader(found.frames, counting, centred, defects.bad | known, top)
    patterns = Patterns(reader, centred(clean), usable, seen.numbers)
    return _Look(beam, light, defects, saturation, patterns, counting)


def _known_bad(found: Measurement, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Bad pixels that the file names for all patterns."""
    bad = found.bad_pixels
    return bad if bad is not None and bad.shape == shape else np.zeros(shape, bool)


def _views(seen: Survey, look: _Look, scene: Scene, fits: Fitted) -> Views:
    middle = int(np.abs(seen.sums - np.median(seen.sums)).argmin())
    kept = int(np.abs(seen.kept_numbers - seen.numbers[middle]).argmin())
    photons = look.counting.photons(seen)
    some = np.linspace(0, len(photons) - 1, min(_DRAWN, len(photons))).astype(int)
    return Views(
        mean=look.counting.mean(seen),
        one=look.counting.counts(seen.kept[kept]),
        centre=(look.beam.y, look.beam.x),
        bad=look.patterns.read.bad,
        light=np.stack([seen.numbers[some].astype(float), photons[some]], axis=1),
        positions=scene.positions,
        probe=scene.probe,
        width=scene.beam,
        **fits.shown,
    )
