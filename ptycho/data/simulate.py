"""The simulated scan: a known object, a beam, a way over it, and what a detector counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho.data.beams import Beam, Optics
from ptycho.data.geometry import Geometry
from ptycho.data.scan import DataError, Scan
from ptycho.data.synthetic.detector import Detector, air_scattering
from ptycho.data.synthetic.objects import Look, make_object
from ptycho.data.synthetic.paths import on_the_fly, way
from ptycho.physics import illumination
from ptycho.physics.forward import Experiment
from ptycho.physics.threads import ahead

_LARGEST = 2**28  # object pixels; eight times as many detector pixels
_AT_ONCE = 128  # patterns
_BINS = 128  # shifts of the probe that are told apart, per pixel and axis

# what is not drawn in a plain scan has randomness of its own: nothing else moves when it is
_FLUX, _ERRORS, _DEAD, _NOISE = 1, 2, 3, 4

Tick = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What is simulated; the same fields, the same bits."""

    kind: str
    """``natural`` or one of :func:`ptycho.data.synthetic.objects.kinds`."""
    n_patterns: int
    """Patterns wanted; of ways in rows whole rows are made, never more."""
    patch_size: int
    """Side N of a pattern."""
    photons: float
    """Photons per pattern in free space."""
    path: str = "snake"
    """See :func:`ptycho.data.synthetic.paths.way`."""
    step: float = 6.0
    """Mean distance of neighbouring positions in object pixels."""
    jitter: float = 1.0
    """Standard deviation added to the positions, in object pixels."""
    position_error: float = 0.0
    """Standard deviation of the error of the recorded positions, in object pixels."""
    fly_steps: int = 1
    """Places along the way over which a pattern is averaged."""
    probe_radius: float = 12.0
    """Radius of the usual beam, a zone plate's out of focus, in object pixels."""
    beam: Beam = field(default_factory=Beam)
    """The beam, where it is not the usual one."""
    optics: Optics = field(default_factory=Optics)
    """Pixel and energy, as far as they matter."""
    look: Look = field(default_factory=Look)
    """How the object is drawn."""
    flux_jitter: float = 0.0
    """Relative standard deviation of the brightness of the beam."""
    background: float = 0.0
    """Mean photons per pixel that come from nowhere."""
    detector: Detector = field(default_factory=Detector)
    """What counts."""
    seed: int = 0
    """Seed of object, positions, noise and faults."""
    label: str = "synthetic"
    """Name of the scan."""
    number: int = 0
    """Which of several objects, for the kinds that know no randomness."""

    def rng(self, purpose: int) -> np.random.Generator:
        """Randomness for one purpose."""
        return np.random.default_rng((self.seed, purpose))


@dataclass(frozen=True)
class Simulated:
    """A scan and what nobody who measures would know."""

    scan: Scan
    """With the true object and the true probe; its positions are those recorded."""
    positions: NDArray[np.float64]
    """``(n, 2)``: where the beam really was."""
    flux: NDArray[np.float32] | None = None
    """``(n,)``: brightness of the beam, 1 on average; None: always 1."""
    background: NDArray[np.float32] | None = None
    """``(N, N)``: expected photons that do not come from the object."""


def simulate(**wanted: Any) -> Scan:
    """A simulated scan; arguments are the fields of :class:`Simulation`."""
    return make(Simulation(**wanted)).scan


def make(wanted: Simulation, tick: Tick = lambda _: None) -> Simulated:
    """Simulate a scan.

    Args:
        wanted: of what.
        tick: told of every few patterns that are done, how many.

    Raises:
        DataError: it is too large, the beam cannot be made, or no pixel would count.
    """
    rng = np.random.default_rng(wanted.seed)
    positions, shape = _placed(wanted, rng)
    obj = make_object(wanted.kind, shape, rng, wanted.number, wanted.look)
    probe = _probe(wanted)
    flux, background = _brightness(wanted, len(positions))
    size = wanted.patch_size
    bad = wanted.detector.bad_pixels(size, wanted.rng(_DEAD))
    if bad.all():
        raise DataError(
            f"{wanted.label}: data.synthetic.gap, beamstop and dead_pixels leave no pixel of "
            f"{size} x {size} that counts; make them smaller."
        )
    places = positions[:, None]
    if wanted.fly_steps > 1:
        places = _inside(on_the_fly(positions, wanted.fly_steps, wanted.step), shape, size)
    amplitude = np.empty((len(positions), size, size), np.float32)
    done = 0
    for photons in _patterns(obj, probe, places, flux, background, wanted.detector):
        rows = slice(done, done + len(photons))
        counts = wanted.detector.read(rng.poisson(photons), wanted.rng(_NOISE + done))
        np.sqrt(counts, dtype=np.float32, out=amplitude[rows], casting="same_kind")
        done = rows.stop
        tick(len(photons))
    amplitude[:, bad] = -0.0
    notes = {"values": "counts (simulated)"}
    if bad.any():
        notes["bad_pixels"] = f"{bad.mean():.2%} of the detector"
    scan = Scan(
        amplitude=amplitude,
        positions=_recorded(wanted, positions, shape),
        probe=probe,
        truth=obj,
        truth_is_known=True,
        pixel_size_m=wanted.optics.pixel_m,
        geometry=Geometry(energy_ev=wanted.optics.energy_ev),
        label=wanted.label,
        notes=notes,
    )
    return Simulated(scan, positions, flux, background)


def expected_photons(
    obj: NDArray[np.complex64], probe: NDArray[np.complex64], positions: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Noise-free photons ``(n, N, N)`` of an object ``(H, W)`` under a probe ``(mode, N, N)``."""
    found = [*_patterns(obj, probe, positions[:, None], None, None, Detector())]
    return np.concatenate(found)


def _placed(
    wanted: Simulation, rng: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """True positions on an object, and its shape."""
    size = wanted.patch_size
    margin = size / 2 + 4 * wanted.jitter + 2 + 4 * wanted.position_error
    if wanted.fly_steps > 1:
        margin += wanted.step
    found, extent = way(wanted.path, wanted.n_patterns, wanted.step, wanted.jitter, rng)
    shape = (_even(extent[0] + 2 * margin), _even(extent[1] + 2 * margin))
    _refuse_what_is_too_large(wanted.label, shape, len(found), size)
    return _inside(found + margin, shape, size), shape


def _inside(
    positions: NDArray[np.float64], shape: tuple[int, int], size: int
) -> NDArray[np.float64]:
    """Positions whose patches lie on the object."""
    return positions.clip(size / 2 + 1, np.array(shape) - size / 2 - 1)


def _recorded(
    wanted: Simulation, positions: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Positions as they stand in the file, which may be wrong."""
    if not wanted.position_error:
        return positions
    error = wanted.rng(_ERRORS).normal(0, wanted.position_error, positions.shape)
    return _inside(positions + error, shape, wanted.patch_size)


def _probe(wanted: Simulation) -> NDArray[np.complex64]:
    """Complex ``(mode, N, N)`` with the photons wanted."""
    usual = zone_plate_probe(wanted.patch_size, wanted.probe_radius)[None]
    probe = wanted.beam.alone(wanted.patch_size, wanted.optics, usual)
    return probe * np.float32(np.sqrt(wanted.photons / np.square(np.abs(probe)).sum()))


def _brightness(
    wanted: Simulation, n: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    flux = background = None
    if wanted.flux_jitter:
        # log-normal: never dark, with the mean 1 and the spread that was asked for
        spread = np.sqrt(np.log1p(wanted.flux_jitter**2))
        drawn = np.exp(wanted.rng(_FLUX).normal(-(spread**2) / 2, spread, n))
        flux = drawn.astype(np.float32)
    if wanted.background:
        background = air_scattering(wanted.patch_size, wanted.background)
    return flux, background


def _patterns(
    obj: NDArray[np.complex64],
    probe: NDArray[np.complex64],
    places: NDArray[np.float64],
    flux: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
    detector: Detector,
) -> Iterator[NDArray[np.float32]]:
    """Expected photons, some patterns after others; threads are ahead of who counts them.

    Args:
        obj: ``(H, W)``.
        probe: ``(mode, N, N)``.
        places: ``(n, points, 2)``: a pattern is the mean over its points.
        flux: ``(n,)``.
        background: ``(N, N)``.
        detector: blurs.
    """
    n, points = places.shape[:2]
    target, beam = torch.from_numpy(obj), torch.from_numpy(probe)
    sky = None if background is None else torch.from_numpy(background)

    def expect(rows: slice) -> NDArray[np.float32]:
        where = torch.from_numpy(places[rows].reshape(-1, 2))
        gain = None if flux is None else torch.from_numpy(flux[rows].repeat(points))
        experiment = Experiment(beam, where, bins=_BINS, flux=gain, background=sky)
        photons = experiment(target, torch.arange(len(where)))
        if points > 1:
            photons = photons.unflatten(0, (-1, points)).mean(1)
        return detector.spread(photons.numpy())

    at_once = max(_AT_ONCE // points, 1)
    yield from ahead(expect, (slice(i, min(i + at_once, n)) for i in range(0, n, at_once)))


def _refuse_what_is_too_large(
    label: str, shape: tuple[int, int], n_patterns: int, patch_size: int
) -> None:
    if shape[0] * shape[1] > _LARGEST or n_patterns * patch_size**2 > 8 * _LARGEST:
        raise DataError(
            f"{label}: {n_patterns:,} patterns of {patch_size} x {patch_size} on an object of "
            f"{shape[0]:,} x {shape[1]:,} pixels are too large to simulate; ask for fewer "
            "patterns, a smaller model.N, step or jitter."
        )


def zone_plate_probe(
    size: int, radius: float, outer: float = illumination.PUPIL
) -> NDArray[np.complex64]:
    """The usual beam, complex ``(N, N)`` with unit energy: a zone plate's in front of its focus.

    Args:
        size: side N.
        radius: geometric radius of the beam in pixels.
        outer: radius of the pupil in cycles per pixel; its central stop grows with it.
    """
    made = illumination.zone_plate(size, outer, illumination.STOP, -(radius / outer))
    return np.asarray(made.numpy(), np.complex64)


def _even(length: float) -> int:
    return int(np.ceil(length / 2) * 2)
