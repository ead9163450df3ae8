"""Objects that look like cells: rounded bodies with a membrane, a nucleus and granules."""

import numpy as np
from numpy.typing import NDArray

from ptycho.data.synthetic.drawings import random_field

Image = NDArray[np.float64]

_GRAINS = 14  # of a cell


def cells(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Cells side by side and over each other on an empty ground."""
    typical = max(0.16 * min(shape), 6.0)
    texture = random_field(shape, rng, exponent=2.5)
    thickness = np.zeros(shape)
    for _ in range(int(1.1 * shape[0] * shape[1] / typical**2 / np.pi) + 2):
        centre = rng.uniform(0, 1, 2) * shape
        _add_cell(thickness, texture, centre, typical * rng.uniform(0.6, 1.25), rng)
    return np.clip(thickness, 0, 1)


def _add_cell(
    thickness: Image, texture: Image, centre: NDArray[np.float64], radius: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    window, inside = _outline(thickness.shape, centre, radius, rng, roughness=0.12)
    if not inside.size:
        return
    dome = np.sqrt(np.clip(1 - inside**2, 0, None))
    membrane = np.exp(-(((inside - 0.96) * radius / 1.2) ** 2))
    body = 0.30 * dome * (0.6 + 0.8 * texture[window]) + 0.14 * membrane
    thickness[window] = np.maximum(thickness[window], body) + 0.25 * np.minimum(
        thickness[window], body
    )
    off = rng.normal(0, 0.2, 2) * radius
    _add_dome(thickness, centre + off, radius * rng.uniform(0.28, 0.4), 0.35, rng)
    for _ in range(_GRAINS):
        away = np.sqrt(rng.uniform(0.1, 0.7)) * radius
        angle = rng.uniform(0, 2 * np.pi)
        place = centre + away * np.array([np.sin(angle), np.cos(angle)])
        _add_dome(thickness, place, max(radius * rng.uniform(0.03, 0.09), 1.2), 0.3, rng)


def _add_dome(
    thickness: Image, centre: NDArray[np.float64], radius: float, height: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    window, inside = _outline(thickness.shape, centre, radius, rng, roughness=0.06)
    thickness[window] += height * np.sqrt(np.clip(1 - inside**2, 0, None))


def _outline(
    shape: tuple[int, ...], centre: NDArray[np.float64], radius: float,
    rng: np.random.Generator, roughness: float,
) -> tuple[tuple[slice, slice], Image]:  # fmt: skip
    """A window of the object, and in it the distance from a centre over that of the outline."""
    waves, phases = rng.normal(0, roughness, 4), rng.uniform(0, 2 * np.pi, 4)
    reach = radius * 1.6 + 3
    rows, columns = (
        slice(int(np.clip(c - reach, 0, n)), int(np.clip(c + reach, 0, n)))
        for c, n in zip(centre, shape, strict=True)
    )
    y = np.arange(rows.start, rows.stop)[:, None] - centre[0]
    x = np.arange(columns.start, columns.stop)[None, :] - centre[1]
    angle = np.arctan2(y, x)
    edge = np.full(angle.shape, radius)
    for order, (wave, phase) in enumerate(zip(waves, phases, strict=True), start=2):
        edge += radius * wave / order * np.cos(order * angle + phase)
    return (rows, columns), np.hypot(y, x) / np.maximum(edge, 0.3 * radius)
