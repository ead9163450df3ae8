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
from ptycho.workflows.doctor.pictures import Reader, probe_of, spectrum_of, turned_by, window_about
from ptycho.workflows.doctor.pixels import Defects, find_defects
from ptycho.workflows.doctor.places_seen import doubt_found
from ptycho.workflows.doctor.scene import Scene, look_around
from ptycho.workflows.doctor.settings_seen import against
from ptycho.workflows.doctor.survey import Survey, survey, without
from ptycho.workflows.doctor.turns import TURNS, Turn
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
    seen = survey(found.frames, known_bad(found))
    findings = [frames_seen.patterns_found(found.frames.shape, found.frames.dtype, seen)]
    negative = frames_seen.negative_found(seen)
    findings += [*frames_seen.broken_found(seen), *([negative] if negative else [])]
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
    if scene.doubt:
        told = {one.topic for one in fits.findings if one.weight in (Weight.set, Weight.fine)}
        around.append(doubt_found(scene.doubt, "pixel size" in told))
    findings += [*look.findings(seen, fits.turn), *around, *fits.findings, machine_found()]
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
    brightest: float
    """Most counts of a good pixel."""
    masked: float
    """Share of the pixels that the file leaves out."""

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Pixels that no other setting leaves out."""
        bad = self.defects.dead | self.defects.stuck | self.defects.broken
        return self.defects.bad if bad.any() else None

    def findings(self, seen: Survey, turn: Turn) -> list[Finding]:
        """In sentences, the patterns being turned."""
        turned = next(one for one in self.patterns.turned if one.turn == turn)
        window = self.patterns.read.window
        shape = window.shape[::-1] if turn.swap else window.shape
        return [
            frames_seen.zero_found(self.beam),
            frames_seen.centre_found(
                turned.centre(window), shape, window.size, self.beam.against_probe
            ),
            frames_seen.light_found(self.light, self.brightest, self.counting.unit == 1.0),
            *frames_seen.odd_patterns_found(self.light, seen),
            frames_seen.defects_found(self.defects, self.beam, self.masked),
            self.saturation,
        ]


def _look(found: Measurement, all_seen: Survey, counting: Counting, scene: Scene) -> _Look:
    mean = counting.mean(all_seen)
    known = known_bad(found)
    defects = find_defects(
        mean, all_seen.lowest, all_seen.highest, all_seen.broken > 0, len(all_seen.numbers)
    ).without(known)
    seen = without(all_seen, defects.stuck)
    bad = defects.bad | known
    clean = np.where(bad, np.median(mean), mean)
    beam = find_beam(clean, None if scene.probe is None else spectrum_of(scene.probe))
    light = look_at_light(counting.photons(seen), seen.numbers)
    highest = counting.counts(seen.highest[~bad])
    saturation = frames_seen.saturation_found(highest)
    full = saturation.weight == Weight.set
    usable = np.ones(len(found), bool)
    for numbers in (light.empty, light.dim, light.bright, all_seen.lost):
        usable[numbers] = False
    size = min(found.frames.shape[1:]) // 2 * 2
    if scene.probe is not None and scene.probe.shape[-1] <= size:
        size = scene.probe.shape[-1]
    window = window_about(beam, (mean.shape[0], mean.shape[1]), size)
    reader = Reader(found.frames, counting, window, bad, seen.highest[~bad].max() if full else None)
    middle = window(clean)
    of_size = scene.probe is not None and scene.probe.shape[-1] == size
    spectrum = spectrum_of(probe_of(middle) if scene.probe is None or not of_size else scene.probe)
    turned = tuple(turned_by(turn, middle, spectrum) for turn in TURNS)
    patterns = Patterns(reader, middle, turned, usable, seen.numbers)
    top, own = float(highest.max(initial=0)), found.bad_pixels
    masked = 0.0 if own is None else float(own.mean())
    return _Look(beam, light, defects, saturation, patterns, counting, top, masked)


def known_bad(found: Measurement) -> NDArray[np.bool_]:
    """Bad pixels ``(H, W)`` that the file names for all patterns."""
    bad, shape = found.bad_pixels, found.frames.shape[1:]
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
        guessed=scene.guessed is not None,
        **{"probe": scene.probe, "width": scene.beam, **fits.shown},
    )
