"""What goes wrong with scans: copies of one with a single fault each, and its remedy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with the arrays of an NPZ scan."""

    spoil: Callable[[Arrays], None]
    """Makes it, in place."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What has to be typed; floats to two per cent."""
    topic: str = ""
    """The finding that names it, where no setting mends it."""


def flipped(key: str) -> Callable[[Arrays], None]:
    """Positions of one axis turned round about the middle."""

    def spoil(d: Arrays) -> None:
        d[key] = d[key].min() + d[key].max() - d[key]

    return spoil


def patterns(change: Callable[[Any], Any]) -> Callable[[Arrays], None]:
    """Other patterns."""

    def spoil(d: Arrays) -> None:
        d["diffraction"] = change(d["diffraction"])

    return spoil


def swapped(d: Arrays) -> None:
    d["xcoords"], d["ycoords"] = d["ycoords"], d["xcoords"]


def scaled(factor: float) -> Callable[[Arrays], None]:
    """Positions spread about their middle."""

    def spoil(d: Arrays) -> None:
        for key in ("xcoords", "ycoords"):
            middle = (d[key].min() + d[key].max()) / 2
            d[key] = middle + factor * (d[key] - middle)

    return spoil


def times(factor: float) -> Callable[[Arrays], None]:
    """Positions in another unit."""

    def spoil(d: Arrays) -> None:
        for key in ("xcoords", "ycoords"):
            d[key] = factor * d[key]

    return spoil


def shuffled(d: Arrays) -> None:
    order = np.random.default_rng(0).permutation(len(d["xcoords"]))
    d["xcoords"], d["ycoords"] = d["xcoords"][order], d["ycoords"][order]


def with_dead_row(a: Any) -> Any:
    a = a.copy()
    a[:, 3 * a.shape[1] // 5] = 0
    return a


def saturated(a: Any) -> Any:
    return np.minimum(np.round(a.astype(np.float64) ** 2), 255).astype(np.uint16)


def several(*all_of: Callable[[Arrays], None]) -> Callable[[Arrays], None]:
    """One after the other."""

    def spoil(d: Arrays) -> None:
        for one in all_of:
            one(d)

    return spoil


FAULTS = {
    "patterns transposed": Fault(
        patterns(lambda a: a.transpose(0, 2, 1)), {"data.preprocess.transpose": True}
    ),
    "patterns flipped along y": Fault(
        patterns(lambda a: a[:, ::-1]), {"data.preprocess.flip_y": True}
    ),
    "patterns flipped along x": Fault(
        patterns(lambda a: a[:, :, ::-1]), {"data.preprocess.flip_x": True}
    ),
    "positions swapped": Fault(swapped, {"data.positions.swap": True}),
    "positions flipped along y": Fault(flipped("ycoords"), {"data.positions.flip_y": True}),
    "positions flipped along x": Fault(flipped("xcoords"), {"data.positions.flip_x": True}),
    "zero frequency in the corner": Fault(
        patterns(lambda a: np.fft.ifftshift(a, axes=(1, 2))),
        {"data.preprocess.zero_frequency": "corner"},
    ),
    "counts in floats": Fault(patterns(np.square), {"data.values": "counts"}),
    "positions too far apart": Fault(scaled(1.1), {"data.positions.scale": 1 / 1.1}),
    "positions too close": Fault(scaled(0.8), {"data.positions.scale": 1 / 0.8}),
    "positions in metres": Fault(
        times(11e-9), {"data.positions.unit": "m", "data.geometry.pixel_size_m": 11e-9}
    ),
    "positions in micrometres": Fault(
        times(0.02), {"data.positions.unit": "um", "data.geometry.pixel_size_m": 20e-9}
    ),
    "positions in nanometres": Fault(
        times(30), {"data.positions.unit": "nm", "data.geometry.pixel_size_m": 30e-9}
    ),
    "positions shuffled": Fault(shuffled, topic="order"),
    "a dead row": Fault(patterns(with_dead_row), topic="pixels"),
    "saturated": Fault(patterns(saturated), {"data.preprocess.saturation": 255}),
    "several at once": Fault(
        several(patterns(lambda a: a.transpose(0, 2, 1)), flipped("xcoords"), scaled(1.1)),
        {
            "data.preprocess.transpose": True,
            "data.positions.flip_x": True,
            "data.positions.scale": 1 / 1.1,
        },
    ),
}
"""By name."""
