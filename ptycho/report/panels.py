"""How one thing is drawn (an image with its units, a complex probe, a curve), and where.

Matplotlib's objects only, never pyplot: no global state, no window, any thread.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from ptycho.report.align import ComplexImage
from ptycho.report.metrics import wrapped

Image = NDArray[np.floating[Any]]
Limits = tuple[float, float]

AMPLITUDE, PHASE, CYCLIC, ERROR, LIGHT = "gray", "viridis", "twilight", "RdBu_r", "magma"
RESIDUAL, SIGMA = "cividis", "inferno"

INK = "#333333"
COLOURS = ("#1f5fa8", "#d9622b", "#2c8a57", "#8a4fa3", "#7a6a58")
_WRAPS = 1.8 * np.pi  # radians between the limits from which a phase is shown as a circle
_TITLE = 0.34  # height of a title with the space above it
_BAR_AT = 5.0  # width of an image, in units of the page, up to which its colour bar grows
_NARROW = 3.0  # largest over smallest value up to which a curve is drawn on a linear axis


@dataclass(frozen=True)
class Panel:
    """Something to draw that wants a box of a certain shape."""

    draw: Callable[[Axes], None]
    aspect: float
    """Width over height."""
    left: float = 0.0
    """Room for labels, as the other margins in units of the page (100 pixels)."""
    right: float = 0.12
    below: float = 0.06
    stretches: bool = False
    """Takes any height when it has a row for itself."""
    weight: float = 1.0
    """What its area is worth."""


Column = Sequence[Sequence[Panel]]
"""Rows of panels, from the top."""
Box = tuple[float, float, float, float]
"""Left, top, width and height."""


def arrange(column: Column, width: float, height: float) -> list[tuple[Panel, Box]]:
    """Boxes for all panels: those of a row equally high, together as wide as the column."""
    heights = _heights(column, width)
    room = height - sum(_TITLE + max(p.below for p in row) for row in column)
    loose = [len(row) == 1 and row[0].stretches for row in column]
    fixed = sum(h for h, free in zip(heights, loose, strict=True) if not free)
    stretched = float(np.clip((room - fixed) / max(sum(loose), 1), 1.2, 3.6))
    shrink = min(1.0, max(room - stretched * sum(loose), 0.1) / max(fixed, 1e-9))
    heights = [stretched if free else h * shrink for h, free in zip(heights, loose, strict=True)]
    between = max(room - sum(heights), 0.0) / max(len(column) - 1, 1)
    boxes, top = [], 0.0
    for row, high, free in zip(column, heights, loose, strict=True):
        wide = [width - p.left - p.right if free else p.aspect * high for p in row]
        used = sum(wide) + sum(p.left + p.right for p in row)
        start, top = 0.0, top + _TITLE
        for panel, across in zip(row, wide, strict=True):
            boxes.append((panel, (start + panel.left, top, across, high)))
            start += panel.left + across + panel.right + (width - used) / max(len(row) - 1, 1)
        top += high + max(p.below for p in row) + between
    return boxes


def height_of(column: Column, width: float) -> float:
    """Height that a column needs for all its rows to be as wide as it is."""
    titles = sum(_TITLE + max(p.below for p in row) for row in column)
    return titles + sum(_heights(column, width))


def _heights(column: Column, width: float) -> list[float]:
    return [
        (width - sum(p.left + p.right for p in row)) / sum(p.aspect for p in row) for row in column
    ]


def fill(
    figure: Figure,
    choices: Iterable[tuple[Column, Column]],
    page: Box,
    fairness: float = 1.0,
    narrowest: float = 0.42,
) -> None:
    """Draw the choice of two columns that, at the best widths, covers most of the page.

    Args:
        figure: where to draw.
        choices: pairs of columns.
        page: the part of the figure to fill, in units of 100 pixels.
        fairness: power of the area that a panel is worth; below 1 no panel is made tiny for
            the sake of a large one.
        narrowest: smallest share of the width that the left column may have.
    """
    start, top, width, height = page
    gap, most, best = 0.25, -1.0, list[tuple[Panel, Box]]()
    for left, right in choices:
        for share in np.linspace(narrowest, 0.7, 29):
            boxes = arrange(left, float(share) * width, height)
            # what the left column does not need is the right one's
            split = max(x + w + panel.right for panel, (x, _, w, _) in boxes)
            for panel, (x, *rest) in arrange(right, width - split - gap, height):
                boxes.append((panel, (x + split + gap, rest[0], rest[1], rest[2])))
            covered = sum(panel.weight * (w * h) ** fairness for panel, (_, _, w, h) in boxes)
            if covered > most:
                most, best = covered, boxes
    across, down = figure.get_size_inches()
    for panel, (x, y, w, h) in best:
        low = down - (top + y + h)
        panel.draw(figure.add_axes(((start + x) / across, low / down, w / across, h / down)))


def groupings(singles: Sequence[Panel]) -> Iterator[list[list[Panel]]]:
    """All ways to break panels into rows."""
    for breaks in itertools.product((False, True), repeat=len(singles) - 1):
        rows = [[*singles[:1]]]
        for panel, fresh in zip(singles[1:], breaks, strict=True):
            rows = [*rows, [panel]] if fresh else [*rows[:-1], [*rows[-1], panel]]
        yield rows


@dataclass(frozen=True)
class View:
    """An object ready to be looked at: levelled, or brought onto the truth."""

    amplitude: Image
    phase: Image


@dataclass(frozen=True)
class Scale:
    """Colours and limits that all views of a picture share."""

    amplitude: Limits
    phase: Limits
    phase_colours: str

    def draw_phase(self, axes: Axes, view: View, title: str) -> AxesImage:
        """Draw the phase of a view, wrapped where the colours are."""
        cyclic = self.phase_colours == CYCLIC
        phase = wrapped(view.phase) if cyclic else view.phase
        return draw_image(axes, phase, title, self.phase_colours, self.phase)

    def draw_amplitude(self, axes: Axes, view: View, title: str) -> AxesImage:
        """Draw the amplitude of a view."""
        return draw_image(axes, view.amplitude, title, AMPLITUDE, self.amplitude)


def common_scale(*views: View) -> Scale:
    """Limits for all views; colours in a circle where the phase takes all values."""
    amplitude = limits(*(view.amplitude for view in views))
    phase = limits(*(view.phase for view in views))
    if phase[1] - phase[0] > _WRAPS:
        return Scale(amplitude, (-np.pi, np.pi), CYCLIC)
    return Scale(amplitude, phase, PHASE)


def limits(*images: Image) -> Limits:
    """Limits ``(low, high)`` that leave out the last per cent of both ends."""
    values = np.concatenate([image.ravel() for image in images])
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    # a constant image sits in the middle of its scale
    room = 1e-3 if high - low < 1e-6 else 0.0
    return low - room, high + room


def draw_image(axes: Axes, image: Image, title: str, colours: str, shown: Limits) -> AxesImage:
    """Draw an image ``(H, W)`` without ticks; returns it for the colour bar."""
    drawn = axes.imshow(image, cmap=colours, vmin=shown[0], vmax=shown[1])
    bare(axes, title)
    return drawn


def bare(axes: Axes, title: str) -> None:
    """Title at the left, no ticks, a hairline around."""
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=INK, linewidth=0.6)


class _FewTicks(MaxNLocator):
    """Ticks at round values, fewer where the axis is short."""

    def __call__(self) -> Any:
        space = self.axis.get_tick_space() if self.axis is not None else 5
        self.set_params(nbins=int(np.clip(space // 1.5, 1, 5)), min_n_ticks=1)
        return super().__call__()


def colour_bar(axes: Axes, drawn: ScalarMappable) -> None:
    """A slim colour bar at the right of an image, exactly as high as the image."""
    # beside a wide image no wider than beside others: its labels have only so much room
    share = min(1.0, _BAR_AT / (axes.get_window_extent().width / axes.figure.dpi))
    beside = axes.inset_axes((1 + 0.015 * share, 0, 0.03 * share, 1))
    bar = axes.figure.colorbar(drawn, cax=beside)
    bar.ax.tick_params(labelsize=9, length=2, color=INK, labelcolor=INK)
    bar.locator = _FewTicks()
    bar.update_ticks()
    bar.ax.spines[:].set(color=INK, linewidth=0.6)


def scale_bar(axes: Axes, width: int, pixel_size_m: float | None) -> None:
    """A bar of a round length in the lower left corner of an image ``width`` pixels wide."""
    unit, per_pixel = "px", 1.0
    if pixel_size_m is not None:
        unit, per_pixel = "nm", pixel_size_m * 1e9
        if width * per_pixel > 4000:
            unit, per_pixel = "µm", pixel_size_m * 1e6
    length = round_length(0.28 * width * per_pixel)
    ends = (0.05, 0.05 + length / per_pixel / width)
    thick, thin = (withStroke(linewidth=w, foreground="black") for w in (5, 2.5))
    axes.plot(
        ends, (0.07, 0.07), transform=axes.transAxes, color="white", linewidth=3,
        solid_capstyle="butt", path_effects=[thick],
    )  # fmt: skip
    axes.annotate(
        f"{length:g} {unit}", (0.05, 0.07), xytext=(0, 4), xycoords="axes fraction",
        textcoords="offset points", color="white", fontsize=10, path_effects=[thin],
    )  # fmt: skip


def round_length(at_most: float) -> float:
    """The largest of 1, 2, 5, 10, 20 ... (any power of ten) that is not longer."""
    power = 10.0 ** np.floor(np.log10(at_most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= at_most * (1 + 1e-9)))


def complex_colours(field: ComplexImage) -> NDArray[np.float64]:
    """Colours ``(..., 3)``: amplitude over its maximum as brightness, phase as hue."""
    size = np.abs(field) / max(float(np.abs(field).max()), np.finfo(np.float32).tiny)
    hue = np.angle(field) / (2 * np.pi) % 1.0
    return np.asarray(hsv_to_rgb(np.stack([hue, np.full_like(size, 0.85), size], axis=-1)))


def draw_probe(axes: Axes, probe: ComplexImage) -> None:
    """Draw up to three modes ``(mode, N, N)`` side by side, as bright as they are."""
    colours = complex_colours(probe[:3])
    # a white line after each mode
    framed = [np.pad(c, ((0, 0), (0, 2), (0, 0)), constant_values=1.0) for c in colours]
    axes.imshow(np.concatenate(framed, axis=1)[:, :-2])
    title = "probe (hue: phase)"
    if len(probe) > 1:
        energy = np.square(np.abs(probe)).sum((1, 2))
        shares = ", ".join(f"{share:.0%}" for share in (energy / energy.sum())[:3])
        title = f"probe, {len(probe)} modes ({shares})"
    bare(axes, title)
    axis = np.linspace(-1, 1, 65)
    wheel = axis[None, :] + 1j * axis[:, None]
    inside = np.abs(wheel) <= 1
    corner = axes.inset_axes((0.03, 0.03, 0.15, 0.15))
    corner.imshow(np.dstack([complex_colours(wheel * inside), inside]))
    corner.set_axis_off()


def draw_illumination(
    axes: Axes, light: Image, positions: Image, scanned: tuple[slice, slice]
) -> AxesImage:
    """Photons on the canvas ``(H, W)``, the positions and the area that is shown."""
    drawn = draw_image(axes, light, "illumination, photons per pixel", LIGHT, (0, light.max()))
    axes.plot(positions[:, 1], positions[:, 0], ".", color="#40e0ff", markersize=2)
    rows, columns = scanned
    corner = (columns.start - 0.5, rows.start - 0.5)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *size, fill=False, color="white", linewidth=1))
    return drawn


def draw_curves(axes: Axes, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Named curves of (seconds, value); logarithmic unless all values are much alike."""
    everything: list[float] = []
    for index, (name, points) in enumerate(curves.items()):
        seconds, values = np.array([p for p in points if 0 < p[1] < np.inf]).reshape(-1, 2).T
        colour = COLOURS[index % len(COLOURS)]
        marker = "o" if len(values) < 30 else "None"
        axes.plot(seconds, values, color=colour, lw=1.6, marker=marker, ms=3.5, label=name)
        everything.extend(values)
    if everything and max(everything) >= _NARROW * min(everything):
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_title("convergence", loc="left", fontsize=11, color=INK)
    axes.set_xlabel("seconds", fontsize=10, color=INK)
    plain_axes(axes)
    axes.legend(frameon=False, fontsize=10, labelcolor=INK)


def plain_axes(axes: Axes) -> None:
    """Axes of a curve: two thin lines, a pale grid, small numbers."""
    axes.tick_params(which="both", labelsize=9, color=INK, labelcolor=INK)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=INK, linewidth=0.6)


def outline() -> list[withStroke]:
    """A thin dark rim that keeps white letters readable on anything."""
    return [withStroke(linewidth=2.5, foreground="black")]
