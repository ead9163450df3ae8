"""The picture of an uncertainty: where it is large, where the errors are, whether they agree."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ptycho.data.reconstruction import Reconstruction
from ptycho.report import panels
from ptycho.report.calibration import LEVELS, Calibration
from ptycho.report.figures import STRIP, save_rows
from ptycho.report.spread import errors

_BAR = 0.75  # room for a colour bar and its labels, in units of 100 pixels
_WIDE = 2.0  # width over height from which the curves have a row of their own
_UNITS = {"phase": " (rad)", "amplitude": ""}


def save_uncertainty(
    found: Reconstruction, calibrations: Mapping[str, Calibration], path: str | Path
) -> None:
    """Write the picture of an uncertainty, a PNG.

    Standard deviations of phase and amplitude; with a known truth the sizes of the errors
    beside them in the same colours, the reliability curve and the errors of pixels that are
    alike sure.

    Args:
        found: a reconstruction with its uncertainty.
        calibrations: those of :func:`ptycho.report.calibration.calibrate` by name; empty
            without a known truth.
        path: file to write.
    """
    assert found.uncertainty is not None
    inside = found.scanned
    error = None
    if calibrations and found.truth is not None:
        error = np.abs(errors(found.obj[inside], found.truth[inside]))
    height, width = found.uncertainty.phase[inside].shape
    image = partial(panels.Panel, aspect=float(np.clip(width / height, 1 / 3, STRIP)), right=_BAR)
    rows: list[list[panels.Panel]] = []
    for index, name in enumerate(_UNITS):
        sigma = getattr(found.uncertainty, name)[inside]
        shown = [sigma] if error is None else [sigma, error[index]]
        most = max(float(np.percentile(one, 98)) for one in shown)
        titles = (
            f"{name}, standard deviation{_UNITS[name]}",
            f"{name}, size of the error{_UNITS[name]}",
        )
        rows.append(
            [
                image(partial(_map, picture=one, title=title, most=most))
                for one, title in zip(shown, titles, strict=False)
            ]
        )
    if calibrations:
        observed = {name: one.observed.tolist() for name, one in calibrations.items()}
        wide = width > _WIDE * height
        curve = partial(panels.Panel, aspect=2.2 if wide else 1.0, left=0.65, below=0.55)
        curves = [
            curve(partial(draw_reliability, curves=observed)),
            curve(partial(_binned, calibrations=calibrations)),
        ]
        if wide:
            rows.append(curves)
        else:
            rows = [[*row, one] for row, one in zip(rows, curves, strict=True)]
    else:
        rows = [[*rows[0], *rows[1]]]
    said = _said(found, calibrations)
    save_rows(rows, 18.0 if calibrations else 14.0, (found.label, said), path)


def _said(found: Reconstruction, calibrations: Mapping[str, Calibration]) -> str:
    assert found.uncertainty is not None
    told = [f"uncertainty by {found.uncertainty.method}"]
    for name, one in calibrations.items():
        told.append(
            f"{name}: stated {one.rms_sigma:.2g}, error {one.rms_error:.2g}, "
            f"calibration error {one.calibration_error:.1%}"
        )
    return "   ·   ".join(told)


def _map(axes: Axes, picture: panels.Image, title: str, most: float) -> None:
    drawn = panels.draw_image(axes, picture, title, panels.SIGMA, (0.0, max(most, 1e-9)))
    panels.colour_bar(axes, drawn)


def draw_reliability(axes: Axes, curves: Mapping[str, Sequence[float]]) -> None:
    """Share of the pixels within the interval of each share, by name; the diagonal is right.

    Args:
        axes: where to draw.
        curves: observed shares ``(99,)`` at :data:`ptycho.report.calibration.LEVELS`.
    """
    axes.plot((0, 1), (0, 1), color="#999999", lw=1, ls="--")
    for index, (name, observed) in enumerate(curves.items()):
        colour = panels.COLOURS[index % len(panels.COLOURS)]
        label = f"{name}: {np.abs(np.asarray(observed) - LEVELS).mean():.1%} off"
        dashes = ("-", (0, (2, 1)))[index // len(panels.COLOURS) % 2]
        axes.plot(LEVELS, observed, color=colour, lw=1.8, ls=dashes, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_title("reliability: pixels within their interval", loc="left", fontsize=11)
    axes.set_xlabel("share expected", fontsize=10, color=panels.INK)
    axes.set_ylabel("share observed", fontsize=10, color=panels.INK)
    panels.plain_axes(axes)
    axes.legend(frameon=False, fontsize=10, labelcolor=panels.INK, loc="lower right")


def _binned(axes: Axes, calibrations: Mapping[str, Calibration]) -> None:
    values = []
    for index, (name, one) in enumerate(calibrations.items()):
        axes.plot(one.stated, one.actual, "o-", color=panels.COLOURS[index], ms=4, label=name)
        values.extend([*one.stated, *one.actual])
    ends = 0.8 * max(min(values), 1e-9), 1.25 * max(values)
    axes.plot(ends, ends, color="#999999", lw=1, ls="--")
    axes.set(xlim=ends, ylim=ends, xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    axes.set_title("tenths of the pixels, from sure to unsure", loc="left", fontsize=11)
    axes.set_xlabel("stated, rms", fontsize=10, color=panels.INK)
    axes.set_ylabel("error, rms", fontsize=10, color=panels.INK)
    panels.plain_axes(axes)
    axes.legend(frameon=False, fontsize=10, labelcolor=panels.INK, loc="lower right")
