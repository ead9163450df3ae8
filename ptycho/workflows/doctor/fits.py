"""Short fits of a part of a scan: what belongs together, which turn, which scale, which values."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.config.choices import ProbeKind
from ptycho.config.config import DataConfig
from ptycho.physics.fourier import crop_centre
from ptycho.physics.illumination import propagate
from ptycho.physics.probe import width
from ptycho.report.diagnosis import Finding, Trials, Weight
from ptycho.workflows.doctor.defocus import find_defocus
from ptycho.workflows.doctor.frames_seen import noise_found
from ptycho.workflows.doctor.pictures import Reader, Turned, probe_of
from ptycho.workflows.doctor.places import alike, neighbours
from ptycho.workflows.doctor.places_seen import belonging_found
from ptycho.workflows.doctor.region import Region, choose_patterns, make_region, side_for
from ptycho.workflows.doctor.scene import Scene
from ptycho.workflows.doctor.trials import (
    Orientation,
    Pair,
    Scale,
    better,
    find_scale,
    search,
    search_far,
    try_turns,
)
from ptycho.workflows.doctor.trials_seen import axes_found, guessed_found, scale_found, told
from ptycho.workflows.doctor.turns import AS_IT_IS, TURNS, Turn
from ptycho.workflows.doctor.values import noise

_PAIRS = 160
_FITTED, _FITTED_FOR_SCALE = 72, 160
_CONTRAST = 300
"""Patterns that tell where there is something to see."""
_ENOUGH = 16
"""Patterns, below which nothing is fitted."""
_LIGHT = 0.9995
"""Of the light that the fit of the scale looks at."""
_LARGEST = 96
"""Pixels that it looks at, at most."""
_ITERATIONS = 15
"""For the picture of the object."""


@dataclass(frozen=True)
class Patterns:
    """Patterns that can be read, and what is known of them."""

    read: Reader
    """Amplitudes of any of them."""
    mean: NDArray[np.float64]
    """``(N, N)`` mean counts, zero frequency about the centre."""
    turned: tuple[Turned, ...]
    """The eight turns of them."""
    usable: NDArray[np.bool_]
    """``(n,)``: neither broken nor without light."""
    sampled: NDArray[np.int64]
    """Numbers of patterns spread over the scan."""


@dataclass(frozen=True)
class Fitted:
    """What the short fits say."""

    findings: tuple[Finding, ...] = ()
    kind: str = ""
    """``counts`` or ``amplitude``, where they tell; else empty."""
    turn: Turn = AS_IT_IS
    """Of the patterns, as far as it is known."""
    shown: dict[str, Any] = field(default_factory=dict)
    """Parts of :class:`ptycho.report.diagnosis.Views`."""


def typed_pair(data: DataConfig) -> Pair:
    """The turns that the settings say so far."""
    patterns, positions = data.preprocess, data.positions
    return (
        Turn(patterns.transpose, patterns.flip_y, patterns.flip_x),
        Turn(positions.swap, positions.flip_y, positions.flip_x),
    )


def fit(data: DataConfig, scene: Scene, patterns: Patterns, sure: bool) -> Fitted:
    """Look at patterns and positions together.

    Args:
        data: settings so far.
        scene: positions and probe.
        patterns: as they are taken to be.
        sure: whether it is known whether they are counts or amplitudes.
    """
    if scene.positions is None:
        said = "without positions nothing can be fitted: axes and pixel size stay unknown."
        return Fitted((Finding("axes", Weight.open, said),))
    usable = patterns.usable & np.isfinite(scene.positions).all(1)
    if usable.sum() < _ENOUGH:
        said = f"{int(usable.sum())} usable patterns are too few for a fit."
        return Fitted((Finding("axes", Weight.open, said),))
    size = patterns.read.window.size
    probe = scene.probe
    if probe is None:
        probe = probe_of(patterns.mean)
    elif probe.shape[-1] != size:
        said = f"a probe of another size than the patterns ({size}) cannot be fitted with."
        return Fitted((Finding("axes", Weight.open, said),))
    fits = _Fits(data, scene, patterns, usable, torch.from_numpy(probe))
    lacking = scene.probe is None and data.probe.kind == ProbeKind.file and not data.probe_file
    return fits.defocused(sure) if lacking and scene.guessed is None else fits.all(sure)


@dataclass(frozen=True)
class _Fits:
    data: DataConfig
    scene: Scene
    patterns: Patterns
    usable: NDArray[np.bool_]
    probe: torch.Tensor

    def defocused(self, sure: bool) -> Fitted:
        """Everything, with the defocus that the made probe needs, if one is found."""
        region, _ = self._region(_FITTED, side_for(self.patterns.mean, self.probe))
        found = find_defocus(region, self.probe, typed_pair(self.data))
        if found is None:
            return self.all(sure)
        probe = propagate(self.probe.to(torch.complex128), found.value).to(self.probe.dtype)
        fitted = replace(self, probe=probe).all(sure)
        shown = {**fitted.shown, "probe": probe.numpy(), "width": width(probe)}
        return replace(fitted, findings=(found.found(), *fitted.findings), shown=shown)

    def all(self, sure: bool) -> Fitted:
        """Everything that is fitted."""
        pairing, apart, spread, noisy = self._pairing()
        noises = [noisy] if noisy else []
        region, tried = self._region(_FITTED, side_for(self.patterns.mean, self.probe))
        look = self._far if self.scene.guessed is not None else try_turns if apart else search
        found, kind = look(region), ""
        if not sure:
            region, found, kind = self._kind(region, found, look)
        typed = typed_pair(self.data)
        axes = axes_found(found, typed, len(tried))
        if self.scene.probe is None and not found.found:
            axes = replace(axes, said=f"{axes.said} The probe was made up: give the true one.")
        if apart and not found.found:
            axes = replace(axes, said=f"{axes.said} Patterns and positions do not belong together.")
        shown: dict[str, Any] = {"spread": spread, "tried": tried}
        pair = told(found, typed)
        if pair is None:
            shown["trials"] = self._trials(found, found.best, None, region)
            return Fitted((*noises, pairing, axes), kind, typed[0], shown)
        scale, wide = self._scale(found, pair, region)
        shown["trials"] = self._trials(found, pair, scale, wide)
        if self.scene.guessed is None:
            said = scale_found(scale, self.data.positions.scale, self.scene.pixel_size_m)
        else:
            typed_scale = self.data.positions.scale
            said = guessed_found(scale, self.scene.guessed, self.scene, typed_scale)
        if pairing.weight != Weight.fine:
            together = "what a short fit explains belongs together, however little neighbours do."
            pairing = replace(pairing, weight=Weight.fine, said=together)
        return Fitted((*noises, pairing, axes, said), kind, pair[0], shown)

    def _pairing(self) -> tuple[Finding, bool, NDArray[np.float64], Finding | None]:
        """Whether neighbours look alike, and how their counts differ."""
        positions = self._positions()
        inside = np.flatnonzero(self.usable)
        pairs = inside[neighbours(positions[inside], _PAIRS)]
        following = np.minimum(pairs[:, 0] + 1, len(positions) - 1)
        first, second, after = (
            self.patterns.read(rows) for rows in (pairs[:, 0], pairs[:, 1], following)
        )
        side = min(64, first.shape[-1])
        blocks = [crop_centre(one, side).numpy() for one in (first, second, after)]
        finding, apart = belonging_found(alike(*blocks), self.scene.overlap)
        spread, ratio = noise(*(one.double().square().numpy() for one in (first, second)))
        return finding, apart, spread, noise_found(ratio, self.patterns.read.counting)

    def _positions(self) -> NDArray[np.float64]:
        assert self.scene.positions is not None
        return self.scene.positions

    def _far(self, region: Region) -> Orientation:
        """A search for the scale, pixels among what positions may be."""
        assert self.scene.guessed is not None
        if self.scene.unit != "px":
            return search_far(region)
        return search_far(region, self.data.positions.scale / self.scene.guessed)

    def _region(self, most: int, side: int) -> tuple[Region, NDArray[np.int64]]:
        positions = self._positions()
        beam = self.scene.beam or self.patterns.read.window.size / 4
        chosen = choose_patterns(positions, beam, self._contrast(positions), most)
        amplitude = self.patterns.read(chosen)
        amplitudes = {turned.turn: turned(amplitude) for turned in self.patterns.turned}
        return make_region(amplitudes, positions[chosen], self.probe, side), chosen

    def _contrast(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much patterns differ from the mean one, as those next to them that were read do."""
        sampled = self.patterns.sampled[self.usable[self.patterns.sampled]]
        some = np.linspace(0, len(sampled) - 1, min(_CONTRAST, len(sampled)))
        sampled = sampled[some.astype(int)]
        flat = self.patterns.read(sampled).flatten(1)
        away = (flat - flat.mean(0)).norm(dim=1) / flat.norm(dim=1).clamp_min(1e-12)
        contrast = np.full(len(positions), np.nan)
        inside = np.flatnonzero(self.usable)
        _, nearest = cKDTree(positions[sampled]).query(positions[inside])
        contrast[inside] = away.numpy()[nearest]
        return contrast

    def _kind(
        self, region: Region, found: Orientation, look: Any
    ) -> tuple[Region, Orientation, str]:
        """Whether the patterns are better explained as the other kind of numbers."""
        counts = self.patterns.read.counting.kind == "counts"
        kinds = ("counts", "amplitude") if counts else ("amplitude", "counts")
        turned = region.powered(2.0 if counts else 0.5)
        there = look(turned)
        mine, theirs = found.answers[found.best], there.answers[there.best]
        if better(mine, theirs) and found.found:
            return region, found, kinds[0]
        if better(theirs, mine) and there.found:
            return turned, there, kinds[1]
        return region, found, ""

    def _scale(self, found: Orientation, pair: Pair, region: Region) -> tuple[Scale, Region]:
        """The scale of the positions, from more patterns and more of the detector."""
        first = find_scale(region, *pair, start=found.scale)
        side = min(side_for(self.patterns.mean, self.probe, _LIGHT), _LARGEST)
        wide, _ = self._region(_FITTED_FOR_SCALE, side)
        scale = find_scale(wide, *pair, start=first.factor)
        return scale, wide

    def _trials(
        self, found: Orientation, pair: Pair, scale: Scale | None, region: Region
    ) -> Trials:
        factor = scale.factor if scale else found.scale
        obj = region.solve(*pair, factor, iterations=_ITERATIONS).obj
        rim = region.probe.shape[-1] // 2  # beyond the outermost positions
        obj = obj[rim:-rim, rim:-rim]
        return Trials(
            grid=found.grid,
            names=tuple(turn.name for turn in TURNS),
            chosen=(TURNS.index(pair[0]), TURNS.index(pair[1])),
            decided=scale is not None,
            scales=scale.tried if scale else np.zeros((0, 2)),
            obj=obj.numpy(),
        )
