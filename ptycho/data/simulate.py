"""The built-in scan: a known object, a zone-plate beam, a jittered raster, photon noise."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ptycho.data.scan import DataError, Scan
from ptycho.physics.forward import Experiment
from ptycho.physics.fourier import from_detector

_LARGEST = 2**28  # object pixels; eight times as many detector pixels

_PHOTOGRAPHS = ("camera", "coffee", "astronaut", "cat", "rocket", "coins", "moon", "gravel")

PUPIL = 0.17
"""Radius of the pupil in cycles per pixel."""


def simulate(
    *,
    kind: str,
    n_patterns: int,
    patch_size: int,
    photons: float,
    step: float = 6.0,
    jitter: float = 1.0,
    probe_radius: float = 12.0,
    seed: int = 0,
    label: str = "synthetic",
    number: int = 0,
) -> Scan:
    """Simulate a scan with Poisson noise; the true object is kept.

    Args:
        kind: ``natural``, ``dead_leaves`` or ``chip``.
        n_patterns: patterns wanted; whole rows of a square raster are made, never more.
        patch_size: side N of a pattern.
        photons: photons per pattern in free space.
        step: mean distance of neighbouring positions in object pixels.
        jitter: standard deviation added to the raster, in object pixels.
        probe_radius: radius of the defocused beam in object pixels.
        seed: seed of object, positions and noise.
        label: name of the scan.
        number: which of several objects, for the kinds that know no randomness.

    Returns:
        The scan; same arguments, same bits.
    """
    rng = np.random.default_rng(seed)
    columns = int(np.sqrt(n_patterns))
    rows = n_patterns // columns
    margin = patch_size / 2 + 4 * jitter + 2
    positions = raster(rows, columns, step, rng, jitter) + margin
    shape = (_even(rows * step + 2 * margin), _even(columns * step + 2 * margin))
    _refuse_what_is_too_large(label, shape, rows * columns, patch_size)
    positions = positions.clip(patch_size / 2 + 1, np.array(shape) - patch_size / 2 - 1)
    obj = make_object(kind, shape, rng, number)
    probe = zone_plate_probe(patch_size, probe_radius)
    probe = probe * np.float32(np.sqrt(photons / np.square(np.abs(probe)).sum()))
    expected = expected_photons(obj, probe[None], positions)
    counts = rng.poisson(expected)
    return Scan(
        amplitude=np.sqrt(counts, dtype=np.float32),
        positions=positions,
        probe=probe[None],
        truth=obj,
        truth_is_known=True,
        label=label,
        notes={"values": "counts (simulated)"},
    )


def _refuse_what_is_too_large(
    label: str, shape: tuple[int, int], n_patterns: int, patch_size: int
) -> None:
    if shape[0] * shape[1] > _LARGEST or n_patterns * patch_size**2 > 8 * _LARGEST:
        raise DataError(
            f"{label}: {n_patterns:,} patterns of {patch_size} x {patch_size} on an object of "
            f"{shape[0]:,} x {shape[1]:,} pixels are too large to simulate; ask for fewer "
            "patterns, a smaller model.N, step or jitter."
        )


def expected_photons(
    obj: NDArray[np.complex64], probe: NDArray[np.complex64], positions: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Noise-free photons ``(n, N, N)`` of an object ``(H, W)`` under a probe ``(mode, N, N)``."""
    experiment = Experiment(torch.from_numpy(probe), torch.from_numpy(positions), bins=128)
    target = torch.from_numpy(obj)
    out = np.empty((len(positions), *probe.shape[1:]), dtype=np.float32)
    for which in torch.arange(len(positions)).split(128):
        out[which.numpy()] = experiment(target, which).numpy()
    return out


def raster(
    rows: int, columns: int, step: float, rng: np.random.Generator, jitter: float
) -> NDArray[np.float64]:
    """Snake raster ``(rows * columns, 2)`` as (y, x) with Gaussian jitter, in pixels."""
    y, x = np.mgrid[:rows, :columns].astype(float)
    x[1::2] = x[1::2, ::-1]
    grid = np.stack([y.ravel(), x.ravel()], axis=1) * step
    return grid + rng.normal(0, jitter, grid.shape)


def zone_plate_probe(size: int, radius: float, outer: float = PUPIL) -> NDArray[np.complex64]:
    """Beam of a zone plate with a central stop, seen out of focus: a soft bright ring.

    The pupil is an annulus in the detector plane; a quadratic phase across it moves the
    sample out of focus until the beam's geometric radius is ``radius`` pixels.

    Args:
        size: side N.
        radius: radius of the beam in pixels.
        outer: radius of the pupil in cycles per pixel; its central stop grows with it.

    Returns:
        Complex ``(N, N)`` with unit energy.
    """
    axis = (np.arange(size) - size // 2) / size
    frequency = np.hypot(axis[:, None], axis[None, :])
    # soft edges: half a detector pixel wide, as a real aperture is seen
    edge = 1 / size
    rim = 0.5 * (1 - np.tanh((frequency - outer) / edge))
    stop = 0.5 * (1 + np.tanh((frequency - 0.35 * outer) / edge))
    defocus = np.exp(1j * np.pi * (radius / outer) * frequency**2)
    pupil = torch.from_numpy(rim * stop * defocus)
    probe = from_detector(pupil).numpy()
    probe = probe / np.sqrt(np.square(np.abs(probe)).sum())
    return np.asarray(probe, dtype=np.complex64)


def make_object(
    kind: str, shape: tuple[int, int], rng: np.random.Generator, number: int = 0
) -> NDArray[np.complex64]:
    """Complex object ``(H, W)``: amplitude at most 1, phase within about 1.2 rad.

    Args:
        kind: ``natural`` (photographs bundled with scikit-image: one in the phase, another
            in the amplitude, so that a mix-up shows), ``dead_leaves`` or ``chip``.
        shape: ``(H, W)``.
        rng: randomness of the procedural kinds.
        number: which photographs.
    """
    if kind == "natural":
        amplitude, phase = _photographs(shape, number)
    else:
        amplitude, phase = {"dead_leaves": _dead_leaves, "chip": _chip}[kind](shape, rng)
    return np.asarray(amplitude * np.exp(1j * phase), dtype=np.complex64)


def _photographs(
    shape: tuple[int, int], number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One photograph in the amplitude and another in the phase; 56 pairs, then turned ones."""
    turns, pair = divmod(number, len(_PHOTOGRAPHS) * (len(_PHOTOGRAPHS) - 1))
    apart, first = divmod(pair, len(_PHOTOGRAPHS))
    second = (first + apart + 1) % len(_PHOTOGRAPHS)
    phase, amplitude = (_photograph(_PHOTOGRAPHS[i], turns, shape) for i in (first, second))
    return 0.75 + 0.25 * amplitude, 1.2 * phase


def _photograph(name: str, turns: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    from skimage import data

    image = getattr(data, name)().astype(float)
    grey = image / 255 if image.ndim == 2 else image.mean(-1) / 255
    return _fit(np.rot90(grey, turns), shape)


def _dead_leaves(
    shape: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlapping disks with a power law of radii: occlusion and scale as in nature."""
    thickness = np.full(shape, 0.5)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for _ in range(shape[0] * shape[1] // 60):
        radius = 1 / np.sqrt(rng.uniform(1 / (0.25 * min(shape)) ** 2, 1 / 2.5**2))
        cy, cx = rng.uniform(-0.1, 1.1, 2) * shape
        top, left = max(int(cy - radius), 0), max(int(cx - radius), 0)
        window = np.s_[top : int(cy + radius) + 2, left : int(cx + radius) + 2]
        inside = (y[window[0]] - cy) ** 2 + (x[:, window[1]] - cx) ** 2 < radius**2
        thickness[window][inside] = rng.uniform()
    return 1 - 0.25 * thickness, 1.2 * thickness


def _chip(
    shape: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wires and vias on three layers, the way an integrated circuit looks in projection."""
    thickness = np.zeros(shape)
    for layer in range(3):
        pitch = (9, 14, 22)[layer]
        width = pitch // 2
        metal = np.zeros(shape)
        across = shape[layer % 2]
        along = shape[1 - layer % 2]
        for track in range(0, across, pitch):
            start = int(rng.integers(-40, 20))
            while start < along:
                stop = start + int(rng.integers(2 * pitch, 12 * pitch))
                bar = (slice(track, track + width), slice(max(start, 0), max(stop, 0)))
                metal[bar if layer % 2 == 0 else bar[::-1]] = 1
                start = stop + int(rng.integers(pitch // 2, 3 * pitch))
        thickness += metal * (0.3, 0.35, 0.35)[layer]
    thickness = ndimage.gaussian_filter(thickness, 0.6)
    return 1 - 0.12 * thickness, 1.0 * thickness


def _fit(image: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Scale an image to cover the shape, cut the middle out, soften to the pixel grid."""
    zoom = max(shape[0] / image.shape[0], shape[1] / image.shape[1])
    if zoom < 1:
        image = ndimage.gaussian_filter(image, 0.4 / zoom)
    image = ndimage.zoom(image, zoom * 1.001, order=1, mode="nearest", grid_mode=True)
    top, left = ((image.shape[i] - shape[i]) // 2 for i in (0, 1))
    return image[top : top + shape[0], left : left + shape[1]]


def _even(length: float) -> int:
    return int(np.ceil(length / 2) * 2)
