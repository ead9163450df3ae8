"""The result as two plain pictures, grey, for slides and for programs that expect them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ptycho.data.reconstruction import Reconstruction
from ptycho.report import panels
from ptycho.report.figures import draw_amplitude, draw_phase, new_page, save_page, view_of

AMPLITUDE, PHASE = "reconstructed_amplitude.png", "reconstructed_phase.png"

_SHORTEST, _LONGEST = 7.0, 20.0  # longer side of the image, in units of 100 pixels
_LEFT, _RIGHT, _ABOVE, _BELOW = 0.15, 0.85, 0.45, 0.15
_LEAST = 1.5  # of the shorter side: room for the title and the colour bar


def save_singles(reconstruction: Reconstruction, amplitude: Path, phase: Path) -> None:
    """Write amplitude and phase of a result over the scanned area, as in its large picture.

    The phase is levelled, or brought onto the truth where there is one; colours leave out the
    last per cent of both ends. A phase that takes all values has colours in a circle, not grey.

    Args:
        reconstruction: what to show.
        amplitude: PNG to write, 2000 pixels a side at most.
        phase: the other.
    """
    inside, pixel = reconstruction.scanned, reconstruction.pixel_size_m
    truth = None if reconstruction.truth is None else reconstruction.truth[inside]
    view = view_of(reconstruction.obj[inside], truth)
    scale = panels.common_scale(view)
    if scale.phase_colours != panels.CYCLIC:
        scale = replace(scale, phase_colours=panels.AMPLITUDE)
    _save(partial(draw_amplitude, view=view, scale=scale, whose="", pixel=pixel), view, amplitude)

    def draw(axes: Axes) -> None:
        draw_phase(axes, view, scale, "")
        panels.scale_bar(axes, view.phase.shape[1], pixel)

    _save(draw, view, phase)


def _save(draw: Callable[[Axes], None], view: panels.View, path: Path) -> None:
    """A page around one image, at least a pixel for each of its own where that is not too large."""
    shape = np.array(view.phase.shape)
    longer = np.clip(shape.max() / 100, _SHORTEST, _LONGEST)
    height, width = np.maximum(longer * shape / shape.max(), _LEAST)
    across, down = _LEFT + width + _RIGHT, _ABOVE + height + _BELOW
    figure = new_page(across, down, top=None)
    draw(figure.add_axes((_LEFT / across, _BELOW / down, width / across, height / down)))
    save_page(figure, path)
