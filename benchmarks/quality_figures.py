"""The quality benchmark's figures: curves over time, and the objects side by side."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import methods
from benchmarks.curves import Curve
from benchmarks.peers import PEERS
from ptycho.report.align import align, level, remove_ramp
from ptycho.report.metrics import phases

_TITLES = {
    "solver": "our solver",
    "measured": "our solver, instrument found",
    "one_mode": "our solver, one mode found",
    "two_modes": "our solver, two modes found",
    methods.NETWORK: "our network",
    methods.REFINED: "our network, refined",
    methods.PATCHES: "our patch network",
    methods.PATCHES_REFINED: "our patch network, refined",
} | {name: peer.title for name, peer in PEERS.items()}
_STYLES = {
    "solver": ("#c1272d", "o", 2.4),
    "measured": ("#7a0010", "h", 2.0),
    "one_mode": ("#e08a1e", "s", 1.6),
    "two_modes": ("#7a0010", "h", 2.0),
    methods.NETWORK: ("#e08a1e", "s", 1.6),
    methods.REFINED: ("#8c6d1f", "D", 1.6),
    methods.PATCHES: ("#5bb0c9", "p", 1.6),
    methods.PATCHES_REFINED: ("#2f6f80", "*", 1.6),
    "ptychi": ("#1f5fa8", "v", 1.6),
    "cdtools": ("#2c8a57", "^", 1.6),
    "ptyrad": ("#8a4fa3", "P", 1.6),
    "ptyrad_poisson": ("#d16ba5", "X", 1.6),
}
_OTHER = ("#555555", "x", 1.6)
_INK, _COLUMNS = "#333333", 3
_SMALL = 88  # dots per inch: many pictures in a file that the repository keeps
_JUDGED_BY = {"phase_psnr": "phase PSNR, dB", "C": "C"}


def title(method: str) -> str:
    """A method's name for people."""
    return _TITLES.get(method, method)


def save_curves(found: Sequence[Curve], path: Path, threshold: float) -> None:
    """Quality against CPU seconds, a panel per scan."""
    names = list(dict.fromkeys(curve.scan for curve in found))
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = _page(5.4 * columns, 4.0 * rows + 0.7)
    grid = figure.subplots(rows, columns, squeeze=False)
    lines: dict[str, object] = {}
    for axes, name in zip(grid.flat, names, strict=False):
        lines |= _curves(axes, [c for c in found if c.scan == name], threshold)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=4, frameon=False,
        fontsize=11,
    )  # fmt: skip
    figure.savefig(path)


def _curves(axes: Axes, here: Sequence[Curve], threshold: float) -> dict[str, object]:
    floor = here[0].floor
    figure = next(name for name in _JUDGED_BY if name in floor)
    lines: dict[str, object] = {}
    for curve in here:
        values = curve.values(figure)
        if not any(map(math.isfinite, values)):
            continue
        colour, marker, width = _STYLES.get(curve.method, _OTHER)
        (lines[title(curve.method)],) = axes.plot(
            [point.cpu for point in curve.points], values,
            color=colour, marker=marker, ms=4.5, lw=width, mec="white", mew=0.5,
        )  # fmt: skip
    lines["flat object"] = axes.axhline(floor[figure], color=_INK, ls="--", lw=1.2)
    if here[0].noise:
        lines["photon noise"] = axes.axhline(here[0].noise[figure], color=_INK, ls=":", lw=1.2)
    if figure == "phase_psnr":
        axes.axhline(threshold, color="#bbbbbb", lw=0.8, zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(here[0].scan, loc="left", fontsize=13, weight="bold", color=_INK)
    axes.set_xlabel("CPU seconds, one thread", fontsize=11)
    axes.set_ylabel(_JUDGED_BY[figure], fontsize=11)
    axes.grid(visible=True, which="major", color="#e5e5e5", lw=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    return lines


def save_pictures(found: Sequence[Curve], path: Path) -> None:
    """Phases at the end of every method, a row per scan, the truth first."""
    scans: dict[str, list[Curve]] = {}
    for curve in found:
        scans.setdefault(curve.scan, []).append(curve)
    columns = 1 + max(map(len, scans.values()))
    figure = _page(2.45 * columns, 2.8 * len(scans))
    grid = figure.subplots(len(scans), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, (name, here) in zip(grid, scans.items(), strict=True):
        _row(row, name, here)
    figure.savefig(path, dpi=_SMALL)


def _row(row: NDArray[np.object_], name: str, curves: Sequence[Curve]) -> None:
    drawn = [*zip(row[1:], curves, strict=False)]  # other scans may have more
    truth = next((curve.truth for _, curve in drawn if curve.truth is not None), None)
    images = {id(curve): _phase(curve, truth) for _, curve in drawn if curve.picture is not None}
    if truth is not None:
        upright = remove_ramp(truth)
        true_phase = phases(upright, upright)[0]
        low, high = np.percentile(true_phase, (0.5, 99.5))
        _draw(row[0], true_phase, (low, high), f"{name}\ntruth")
    else:
        every = np.concatenate([image.ravel() for image in images.values()] or [np.zeros(1)])
        low, high = np.percentile(every, (1, 99))
        row[0].text(
            0.5, 0.5, f"{name}\nno truth", ha="center", va="center", fontsize=11, color=_INK
        )
    for axes, curve in drawn:
        if id(curve) in images:
            _draw(axes, images[id(curve)], (low, high), f"{title(curve.method)}\n{_scores(curve)}")
        else:
            words = f"{title(curve.method)}\n{curve.failure}"
            axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, color=_INK, wrap=True)


def _phase(curve: Curve, truth: NDArray[np.complex64] | None) -> NDArray[np.float64]:
    assert curve.picture is not None
    picture = np.nan_to_num(curve.picture, nan=0.0, posinf=0.0, neginf=0.0)
    if truth is None:
        return np.asarray(np.angle(level(picture)))
    upright = remove_ramp(truth)
    return phases(align(picture, upright), upright)[0]


def _scores(curve: Curve) -> str:
    figures = curve.points[-1].figures
    known = {
        "phase_psnr": "{:.1f} dB",
        "phase_ssim": "SSIM {:.3f}",
        "R": "R {:.3f}",
        "C": "C {:.3f}",
    }
    said = [words.format(figures[key]) for key, words in known.items() if key in figures]
    return f"{', '.join(said)}, {curve.points[-1].cpu:.0f} s"


def _draw(axes: Axes, image: NDArray[np.float64], limits: tuple[float, float], words: str) -> None:
    axes.imshow(image, cmap="viridis", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    axes.set_title(words, fontsize=9.5, color=_INK)


def _page(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
