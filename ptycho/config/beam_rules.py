"""Refuses beams and simulations that cannot be, and what would have no effect. Stdlib only."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from ptycho.config.choices import DataSource, ProbeKind, ScanPath, SyntheticObject
from ptycho.config.data_config import ProbeConfig, SyntheticConfig

_DEFOCUS = ("defocus", "defocus_m")
_RADIUS = ("radius", "radius_m")
_ANY = (*_DEFOCUS, "modes", "mode_powers")
_READ: dict[ProbeKind, tuple[str, ...]] = {
    ProbeKind.file: _ANY,
    ProbeKind.average: _ANY,
    ProbeKind.zone_plate: (*_ANY, *_RADIUS, "pupil", "outer_zone_m", "stop"),
    ProbeKind.rectangular: (*_ANY, *_RADIUS, "pupil", "aperture", "aspect"),
    ProbeKind.disk: (*_ANY, *_RADIUS),
    ProbeKind.gaussian: (*_ANY, *_RADIUS),
}
_FOCUSED = (ProbeKind.zone_plate, ProbeKind.rectangular)
_EITHER = (_RADIUS, _DEFOCUS, ("pupil", "outer_zone_m"), ("pupil", "aperture"))
_METRES = ("radius_m", "outer_zone_m", "aperture", "defocus_m")


def beam_faults(run: Any) -> Iterator[str]:
    """What is wrong with ``data.probe`` and ``data.probe_file`` of a run."""
    probe, usual = run.data.probe, ProbeConfig()
    set_ = {
        item.name: value
        for item in fields(probe)
        if (value := getattr(probe, item.name)) != getattr(usual, item.name)
    }
    for name, value in set_.items():
        if name != "kind" and name not in _READ[probe.kind]:
            able = ", ".join(kind.value for kind, read in _READ.items() if name in read)
            yield (
                f"data.probe.{name}={value} is for data.probe.kind={able}, "
                f"and data.probe.kind is {probe.kind}; leave one of them out."
            )
    for one, other in _EITHER:
        if one in set_ and other in set_:
            yield f"data.probe.{one} and data.probe.{other} say the same; leave one of them out."
    if probe.kind in _FOCUSED:
        for radius in _RADIUS:
            for defocus in _DEFOCUS:
                if radius in set_ and defocus in set_:
                    yield (
                        f"data.probe.{radius} and data.probe.{defocus} both say how far "
                        f"{probe.kind} is out of focus; leave one of them out."
                    )
    if run.data.probe_file is not None and probe.kind != ProbeKind.file:
        yield (
            f"data.probe_file={run.data.probe_file} is read by data.probe.kind=file, "
            f"and data.probe.kind is {probe.kind}; leave one of them out."
        )
    if run.data.probe_file == "":
        yield "data.probe_file must name a file, got nothing; leave it out for the scan's own."
    yield from _mode_faults(probe)
    if run.data.source == DataSource.synthetic:
        yield from _simulated_beam_faults(run.data, set_)
    elif probe.kind in (ProbeKind.disk, ProbeKind.gaussian) and not {*_RADIUS} & {*set_}:
        yield (
            f"data.probe.radius must say how wide the beam of data.probe.kind={probe.kind} is, "
            "in object pixels, got nothing; or data.probe.radius_m."
        )


def _mode_faults(probe: ProbeConfig) -> Iterator[str]:
    powers = probe.mode_powers
    if any(not 0 < power < float("inf") for power in powers):
        yield f"data.probe.mode_powers must all be greater than 0, got {powers}."
    if len(powers) > 16:
        yield f"data.probe.mode_powers may be 16 at most, got {len(powers)}."
    if powers and probe.modes not in (None, len(powers)):
        yield (
            f"data.probe.mode_powers holds {len(powers)} powers and data.probe.modes is "
            f"{probe.modes}; give each mode one, or leave data.probe.modes out."
        )
    if len(powers) == 1:
        yield "data.probe.mode_powers of a single mode says nothing; leave it out."


def _simulated_beam_faults(data: Any, set_: dict[str, Any]) -> Iterator[str]:
    """What a simulated beam cannot be, or has two words for."""
    kind, simulated = data.probe.kind, data.synthetic
    if kind == ProbeKind.average:
        yield (
            "data.probe.kind=average finds the beam in measured patterns, and "
            "data.source=synthetic knows its own; make a file (ptycho simulate OUT.npz), then read "
            "that."
        )
    if "radius" in set_:
        yield (
            "data.probe.radius is for scans in files; that of a simulated beam is "
            f"data.synthetic.probe_radius={data.probe.radius:g}."
        )
    instead = [name for name in ("radius_m", *_DEFOCUS) if name in set_ and kind in _FOCUSED]
    instead += ["radius_m"] if "radius_m" in set_ and kind not in _FOCUSED else []
    if simulated.probe_radius != SyntheticConfig().probe_radius:
        for name in instead:
            yield (
                f"data.synthetic.probe_radius={simulated.probe_radius:g} and data.probe.{name} "
                "both say how wide the beam is; leave one of them out."
            )
        if data.probe_file is not None:
            yield (
                f"data.synthetic.probe_radius={simulated.probe_radius:g} has no effect on the beam "
                "of data.probe_file; leave one of them out."
            )
    if any(name in set_ for name in _METRES) and data.geometry.pixel_size_m is None:
        names = ", ".join(f"data.probe.{name}" for name in _METRES if name in set_)
        yield (
            f"{names}: lengths of a simulated beam need data.geometry.pixel_size_m, "
            "the side of an object pixel in metres, got nothing."
        )
    if {"aperture", "defocus_m"} & {*set_} and data.geometry.energy_ev is None:
        names = ", ".join(
            f"data.probe.{name}" for name in ("aperture", "defocus_m") if name in set_
        )
        yield (
            f"{names} of a simulated beam needs data.geometry.energy_ev, the photon energy in "
            "electronvolts, got nothing."
        )
    if data.geometry.energy_ev is not None and not {"aperture", "defocus_m"} & {*set_}:
        yield (
            f"data.geometry.energy_ev={data.geometry.energy_ev:g} has no effect on a simulated "
            "scan without data.probe.defocus_m or data.probe.aperture; leave it out."
        )


def simulation_faults(run: Any) -> Iterator[str]:
    """What has no effect on the scan that is simulated."""
    data, usual = run.data.synthetic, SyntheticConfig()
    if run.data.source != DataSource.synthetic:
        return
    only = {
        "exponent": (data.object == SyntheticObject.grf, "data.synthetic.object=grf"),
        "spokes": (data.object == SyntheticObject.siemens, "data.synthetic.object=siemens"),
    }
    for name, (holds, needed) in only.items():
        value = getattr(data, name)
        if value != getattr(usual, name) and not holds:
            yield (
                f"data.synthetic.{name}={value} is for {needed}, and data.synthetic.object is "
                f"{data.object}; leave one of them out."
            )
    if data.independent and data.object == SyntheticObject.natural:
        yield (
            "data.synthetic.independent=true says nothing new of data.synthetic.object=natural: "
            "its amplitude and phase are two photographs. Leave it out."
        )
    if data.independent and data.delta_over_beta is not None:
        yield (
            f"data.synthetic.delta_over_beta={data.delta_over_beta:g} makes the amplitude from the "
            "phase, and data.synthetic.independent=true draws it by itself; leave one of them out."
        )
    if data.scan == ScanPath.random and data.jitter != usual.jitter:
        yield (
            f"data.synthetic.jitter={data.jitter:g} has no effect on data.synthetic.scan=random, "
            "which is nothing else; leave one of them out."
        )
    if data.fly_steps > 1 and data.scan in (ScanPath.random, ScanPath.fermat):
        yield (
            f"data.synthetic.fly_steps={data.fly_steps}: a beam does not fly along "
            f"data.synthetic.scan={data.scan}, where the next position is far away; choose snake, "
            "raster or concentric, or leave fly_steps out."
        )
