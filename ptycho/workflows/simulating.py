"""Settings become what is simulated, and the beam of any scan."""

from pathlib import Path

import numpy as np

from ptycho.config.choices import DataSource, ProbeKind, SyntheticObject
from ptycho.config.config import DataConfig
from ptycho.data.beams import Beam, Optics
from ptycho.data.simulate import Simulation
from ptycho.data.synthetic.detector import Detector
from ptycho.data.synthetic.objects import Look

_MIXED = (SyntheticObject.dead_leaves, SyntheticObject.chip, SyntheticObject.natural)


def simulation_of(data: DataConfig, patch_size: int, number: int = 0) -> Simulation:
    """What the settings ask to simulate, for one of several scans."""
    made = data.synthetic
    return Simulation(
        kind=kind_of(made.object, number),
        n_patterns=made.n_patterns,
        patch_size=patch_size,
        photons=float(data.nphotons or 0),
        path=made.scan.value,
        step=made.step,
        jitter=made.jitter,
        position_error=made.position_error,
        fly_steps=made.fly_steps,
        probe_radius=made.probe_radius,
        beam=beam_of(data),
        optics=Optics(data.geometry.pixel_size_m, data.geometry.energy_ev),
        look=Look(
            made.exponent, made.spokes, made.phase, made.delta_over_beta, made.independent
        ),
        flux_jitter=made.flux_jitter,
        background=made.background,
        detector=Detector(
            blur=made.detector_blur,
            read_noise=made.read_noise,
            saturation=made.saturation,
            dead_pixels=made.dead_pixels,
            gap=made.gap,
            beamstop=made.beamstop,
        ),
        seed=seed_of(made.seed, number),
        label=f"{data.label}_{number + 1}" if number else data.label,
        number=number,
    )  # fmt: skip


def beam_of(data: DataConfig) -> Beam:
    """The beam that the settings ask for."""
    wanted = data.probe
    radius = wanted.radius
    if data.source == DataSource.synthetic and wanted.kind != ProbeKind.file:
        elsewhere = (wanted.radius_m, wanted.defocus, wanted.defocus_m)
        focused = wanted.kind in (ProbeKind.zone_plate, ProbeKind.rectangular)
        said = any(one is not None for one in (elsewhere if focused else elsewhere[:1]))
        radius = None if said else data.synthetic.probe_radius
    return Beam(
        kind=wanted.kind.value,
        file=None if data.probe_file is None else Path(data.probe_file),
        radius=radius,
        radius_m=wanted.radius_m,
        pupil=wanted.pupil,
        outer_zone_m=wanted.outer_zone_m,
        aperture=wanted.aperture,
        aspect=wanted.aspect,
        stop=wanted.stop,
        defocus=wanted.defocus,
        defocus_m=wanted.defocus_m,
        modes=wanted.modes,
        powers=tuple(wanted.mode_powers),
    )


def kind_of(kind: SyntheticObject, number: int) -> str:
    """The kind of object of one of several scans."""
    if kind != SyntheticObject.mixed:
        return kind.value
    return _MIXED[number % len(_MIXED)].value


def seed_of(seed: int, number: int) -> int:
    """The seed of one of several scans: that of the settings for the first."""
    if number == 0:
        return seed
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
