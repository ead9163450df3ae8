"""Thicknesses between 0 and 1, drawn at random: each kind has structure of all sizes or of one."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float64]
Shape = tuple[int, int]

_SOFT = 0.6  # pixels by which edges are softened to the pixel grid
_FINER = 4  # samples per pixel and axis where edges are drawn sharp and averaged


def dead_leaves(shape: Shape, rng: np.random.Generator) -> Image:
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
    return thickness


def chip(shape: Shape, rng: np.random.Generator) -> Image:
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
    return np.asarray(ndimage.gaussian_filter(thickness, _SOFT))


def lines(shape: Shape, rng: np.random.Generator) -> Image:
    """Straight fibres across the whole object, crossing each other in all directions."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    thickness = np.zeros(shape)
    for _ in range(sum(shape) // 10):
        angle, width = rng.uniform(0, np.pi), rng.uniform(0.8, 3.5)
        cy, cx = rng.uniform(0, 1, 2) * shape
        distance = np.abs((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle))
        thickness += rng.uniform(0.3, 1) * np.clip(width + 0.5 - distance, 0, 1)
    return _normal(thickness)


def random_field(shape: Shape, rng: np.random.Generator, exponent: float = 3.0) -> Image:
    """A Gaussian random field whose power spectrum falls with a power of the frequency.

    Values beyond three standard deviations are cut off.
    """
    ky, kx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    frequency = np.hypot(ky[:, None], kx[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=shape)) * frequency ** (-exponent / 2)
    field = np.fft.irfft2(spectrum, s=shape)
    return np.asarray(np.clip(0.5 + field / (6 * field.std()), 0, 1), np.float64)


def siemens(shape: Shape, rng: np.random.Generator, spokes: int = 36) -> Image:
    """A star of spokes, cut by rings, that fills the object; turned at random."""
    turn = rng.uniform(0, 2 * np.pi)
    axes = [
        (np.arange(side * _FINER) - (side * _FINER - 1) / 2) / (_FINER * min(shape) / 2)
        for side in shape
    ]
    radius = np.hypot(axes[0][:, None], axes[1][None, :])
    angle = np.arctan2(axes[0][:, None], axes[1][None, :])
    metal = np.sin(spokes * angle + turn) > 0
    ring = np.abs((radius * 4 + 0.5) % 1 - 0.5) < 0.05  # gaps at quarters of the radius
    star = metal & (radius < 0.95) & ~ring
    blocks = star.reshape(shape[0], _FINER, shape[1], _FINER)
    return np.asarray(blocks.mean((1, 3)))


def spheres(shape: Shape, rng: np.random.Generator) -> Image:
    """Solid spheres in projection, one behind the other, with a power law of radii."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    thickness, largest = np.zeros(shape), 0.12 * min(shape)
    for _ in range(shape[0] * shape[1] // 250 + 4):
        radius = 1 / np.sqrt(rng.uniform(1 / max(largest, 4) ** 2, 1 / 3.0**2))
        cy, cx = rng.uniform(-0.05, 1.05, 2) * shape
        top, left = max(int(cy - radius), 0), max(int(cx - radius), 0)
        window = np.s_[top : int(cy + radius) + 2, left : int(cx + radius) + 2]
        apart = (y[window[0]] - cy) ** 2 + (x[:, window[1]] - cx) ** 2
        thickness[window] += 2 * np.sqrt(np.clip(radius**2 - apart, 0, None))
    return _normal(np.sqrt(thickness))


def blobs(shape: Shape, rng: np.random.Generator) -> Image:
    """Smooth Gaussian hills of many widths, longer one way than the other."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    thickness = np.zeros(shape)
    for _ in range(shape[0] * shape[1] // 250 + 8):
        width = np.exp(rng.uniform(np.log(2), np.log(0.08 * min(shape) + 3)))
        turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.5, 1)
        cy, cx = rng.uniform(-0.05, 1.05, 2) * shape
        reach = 4 * width
        top, left = max(int(cy - reach), 0), max(int(cx - reach), 0)
        window = np.s_[top : max(int(cy + reach), 0) + 1, left : max(int(cx + reach), 0) + 1]
        dy, dx = y[window[0]] - cy, x[:, window[1]] - cx
        long = (dy * np.sin(turn) + dx * np.cos(turn)) / width
        short = (dy * np.cos(turn) - dx * np.sin(turn)) / (squeeze * width)
        thickness[window] += rng.uniform(0.2, 1) * np.exp(-(long**2 + short**2) / 2)
    return _normal(thickness)


def _normal(thickness: Image) -> Image:
    """From 0 to 1."""
    low, high = float(thickness.min()), float(thickness.max())
    return (thickness - low) / max(high - low, 1e-12)
