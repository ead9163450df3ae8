"""Objects of known shape: thickness becomes amplitude and phase."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho.data.synthetic import cells, drawings

Image = NDArray[np.float64]
Draw = Callable[[tuple[int, int], np.random.Generator], Image]

_PHOTOGRAPHS = ("camera", "coffee", "astronaut", "cat", "rocket", "coins", "moon", "gravel")


@dataclass(frozen=True)
class Kind:
    """A way of drawing a thickness between 0 and 1, and what it usually does to light."""

    draw: Draw
    absorption: float
    """What the thickest place takes from the amplitude."""
    phase: float
    """Phase shift of the thickest place in radians."""


@dataclass(frozen=True)
class Look:
    """How an object of a kind is drawn, where that is not as usual."""

    exponent: float = 3.0
    """The power spectrum of a ``grf`` falls with this power of the spatial frequency."""
    spokes: int = 36
    """Of a ``siemens`` star."""
    phase: float | None = None
    """Phase shift of the thickest place in radians."""
    delta_over_beta: float | None = None
    """Refraction over absorption; the amplitude is then ``exp(-phase / delta_over_beta)``."""
    independent: bool = False
    """Whether the amplitude is drawn by itself."""


_USUAL = Look()


def kinds(look: Look = _USUAL) -> dict[str, Kind]:
    """Every kind that is drawn, by name; photographs are not."""
    return {
        "dead_leaves": Kind(drawings.dead_leaves, 0.25, 1.2),
        "chip": Kind(drawings.chip, 0.12, 1.0),
        "lines": Kind(drawings.lines, 0.2, 1.2),
        "grf": Kind(partial(drawings.random_field, exponent=look.exponent), 0.2, 1.2),
        "siemens": Kind(partial(drawings.siemens, spokes=look.spokes), 0.25, 1.2),
        "cells": Kind(cells.cells, 0.15, 1.2),
        "spheres": Kind(drawings.spheres, 0.2, 1.2),
        "blobs": Kind(drawings.blobs, 0.2, 1.2),
    }


def make_object(
    kind: str,
    shape: tuple[int, int],
    rng: np.random.Generator,
    number: int = 0,
    look: Look = _USUAL,
) -> NDArray[np.complex64]:
    """Complex object ``(H, W)``: amplitude at most 1; as usual phase within about 1.2 rad.

    Refraction shifts the phase by ``k delta t`` and absorption takes ``k beta t`` from the
    logarithm of the amplitude: both follow the thickness ``t`` (Paganin, Coherent X-Ray Optics,
    2006, eq. 2.40).

    Args:
        kind: ``natural`` (photographs bundled with scikit-image: one in the phase, another
            in the amplitude, so that a mix-up shows) or one of :func:`kinds`.
        shape: ``(H, W)``.
        rng: randomness of the procedural kinds.
        number: which photographs.
        look: what is not as usual.
    """
    other: Image | None = None
    if kind == "natural":
        thickness, other = _photographs(shape, number)
        absorption, usual = 0.25, 1.2
    else:
        chosen = kinds(look)[kind]
        thickness, absorption, usual = chosen.draw(shape, rng), chosen.absorption, chosen.phase
        if look.independent:
            other = 1 - chosen.draw(shape, rng)
    phase = (look.phase or usual) * thickness
    if look.delta_over_beta is not None:
        amplitude = np.exp(-phase / look.delta_over_beta)
    elif other is not None:
        amplitude = (1 - absorption) + absorption * other
    else:
        amplitude = 1 - absorption * thickness
    return np.asarray(amplitude * np.exp(1j * phase), dtype=np.complex64)


def _photographs(shape: tuple[int, int], number: int) -> tuple[Image, Image]:
    """Photographs for phase and amplitude; 56 pairs, then turned ones."""
    turns, pair = divmod(number, len(_PHOTOGRAPHS) * (len(_PHOTOGRAPHS) - 1))
    apart, first = divmod(pair, len(_PHOTOGRAPHS))
    second = (first + apart + 1) % len(_PHOTOGRAPHS)
    one, other = (_photograph(_PHOTOGRAPHS[i], turns, shape) for i in (first, second))
    return one, other


def _photograph(name: str, turns: int, shape: tuple[int, int]) -> Image:
    from skimage import data

    image = getattr(data, name)().astype(float)
    grey = image / 255 if image.ndim == 2 else image.mean(-1) / 255
    return _fit(np.rot90(grey, turns), shape)


def _fit(image: Image, shape: tuple[int, int]) -> Image:
    """Scale an image to cover the shape, cut the middle out, soften to the pixel grid."""
    zoom = max(shape[0] / image.shape[0], shape[1] / image.shape[1])
    if zoom < 1:
        image = ndimage.gaussian_filter(image, 0.4 / zoom)
    image = ndimage.zoom(image, zoom * 1.001, order=1, mode="nearest", grid_mode=True)
    top, left = ((image.shape[i] - shape[i]) // 2 for i in (0, 1))
    return image[top : top + shape[0], left : left + shape[1]]
