"""The picture of a reconstruction: what was found, how wrong it is, how it came about."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ptycho.data.appearing import appearing
from ptycho.data.reconstruction import Reconstruction, Stage
from ptycho.physics.forward import Experiment
from ptycho.report import panels
from ptycho.report.align import ComplexImage, align, level
from ptycho.report.metrics import FLAT, NOISE, Figures, phases, wrapped

_WIDE = 1.4  # width over height from which an object has the page of :func:`_wide`
STRIP = 15.0
"""Width over height of the flattest box for an image."""
_STAGE = "stage"  # label of the axes that show one
_BAR = 0.75  # room for a colour bar and its labels, in units of 100 pixels


def save_picture(
    reconstruction: Reconstruction, figures: Mapping[str, Figures], path: str | Path
) -> None:
    """Write the picture of a reconstruction, a PNG of 1800 x 1100 pixels.

    Args:
        reconstruction: what to show.
        figures: rows of :func:`ptycho.report.metrics.score`; missing ones are not printed.
        path: file to write.
    """
    inside = reconstruction.scanned
    truth = None if reconstruction.truth is None else reconstruction.truth[inside]
    views = [view_of(stage.obj[inside], truth) for stage in reconstruction.stages]
    true_view = None if truth is None else view_of(truth, truth)
    scale = panels.common_scale(*views[-1:], *([true_view] if true_view else []))
    height, width = views[-1].phase.shape
    if width > _WIDE * height:
        figure = new_page(18, 11, top=None)
        _title(figure, reconstruction, figures)
        choices = _wide(reconstruction, figures, views, true_view, scale)
        panels.fill(figure, choices, (0.15, 1.0, 17.7, 9.95))
        _fit_stage_titles(figure)
        return save_page(figure, path)
    figure = new_page(18, 11, top=0.905)
    _title(figure, reconstruction, figures)
    left, right = figure.subfigures(1, 2, wspace=0.02, squeeze=False)[0]
    _object(left, reconstruction, views[-1], true_view, scale)
    _evidence(right, reconstruction, figures, views, true_view, scale)
    _fit_stage_titles(figure)
    save_page(figure, path)


def save_object_png(obj: ComplexImage, path: str | Path) -> None:
    """Write amplitude and levelled phase of an object side by side, 1100 pixels wide.

    Args:
        obj: complex ``(H, W)``; cropped to the scanned area, or its rim sets the colours.
        path: PNG to write.
    """
    view = view_of(obj, None)
    height, width = view.phase.shape
    figure = new_page(11, float(np.clip(4.8 * height / width + 0.3, 2, 11)))
    left, right = figure.subplots(1, 2, squeeze=False)[0]
    _pair(left, right, view, panels.common_scale(view))
    save_page(figure, path)


def view_of(obj: ComplexImage, truth: ComplexImage | None) -> panels.View:
    """An object brought onto the truth, or levelled when there is none."""
    finite = np.nan_to_num(obj, nan=0.0, posinf=0.0, neginf=0.0)
    if truth is None:
        return panels.View(np.abs(finite), np.angle(level(finite)))
    aligned = finite if obj is truth else align(finite, truth)
    return panels.View(np.abs(aligned), phases(aligned, truth)[0])


def new_page(width: float, height: float, top: float | None = 0.99) -> Figure:
    """A white page of 100 pixels per unit, laid out below ``top`` (None: by hand)."""
    layout = None
    if top is not None:
        layout = ConstrainedLayoutEngine(rect=(0.005, 0.005, 0.99, top - 0.005))
    figure = Figure(figsize=(width, height), dpi=100, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_page(figure: Figure, path: str | Path) -> None:
    """Write a page as PNG, which appears complete or not at all; its folder is made if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing(path) as temporary:
        figure.savefig(temporary, format="png")


def save_rows(
    rows: Sequence[Sequence[panels.Panel]],
    width: float,
    titles: tuple[str, str],
    path: str | Path,
    tallest: float | None = None,
) -> None:
    """Write a page of rows of panels under a label and a line, as high as they need.

    Args:
        rows: panels, from the top.
        width: of the page, in units of 100 pixels.
        titles: label and line.
        path: file to write.
        tallest: height of a row at most, each then being as high as it needs; None: all rows
            share the height of a page, if they need it.
    """
    groups = [rows] if tallest is None else [[row] for row in rows]
    placed: list[tuple[panels.Panel, panels.Box]] = []
    deepest = 0.0
    for group in groups:
        room = tallest or min(12.0, panels.height_of(group, width - 0.5))
        boxes = panels.arrange(group, width - 0.5, room)
        placed += [(panel, (x, deepest + top, w, h)) for panel, (x, top, w, h) in boxes]
        deepest = max(top + h + panel.below for panel, (_, top, _, h) in placed) + 0.15
    height = deepest + 1.05
    figure = new_page(width, height, top=None)
    head(figure, *titles)
    for panel, (x, top, w, h) in placed:
        low = height - (1.0 + top + h)
        panel.draw(figure.add_axes(((0.25 + x) / width, low / height, w / width, h / height)))
    save_page(figure, path)


def _title(figure: Figure, reconstruction: Reconstruction, figures: Mapping[str, Figures]) -> None:
    result = figures.get(reconstruction.stages[-1].name, {})
    said = key_figures(result, figures.get(FLAT, {}), figures.get(NOISE, {}))
    head(figure, reconstruction.label, said)


def head(figure: Figure, label: str, said: str) -> None:
    """Write the label of a page and, as large as it fits, a line below it."""
    # a label is a label: its $ and _ are no formula
    inch = 1 / figure.get_figheight()
    above = figure.text(0.012, 1 - 0.385 * inch, label, va="center", parse_math=False)
    above.set(fontsize=19, weight="bold")
    line = figure.text(0.012, 1 - 0.77 * inch, said, va="center", color="#444444")
    for size in (12, 11, 10, 9, 8):
        line.set_fontsize(size)
        if line.get_window_extent().x1 <= 0.988 * figure.bbox.width:
            break


def key_figures(result: Figures, flat: Figures, noise: Figures) -> str:
    """The figures of a result in a line, beside what a flat object and what noise would score."""
    length = "nm" if "frc_half_bit_nm" in result else "px"
    both = {FLAT: flat, NOISE: noise}
    wanted = {
        "phase_psnr": ("phase", ".1f", " dB", both),
        # the line has no room for more
        "phase_ssim": ("phase SSIM", ".3f", "", {FLAT: flat}),
        "amplitude_psnr": ("amplitude", ".1f", " dB", {FLAT: flat}),
        f"frc_half_bit_{length}": ("FRC ½-bit", ".1f", f" {length}", {FLAT: flat}),
        "R": ("R", ".3f", "", both),
        "C": ("C", ".3f", "", both),
        "deviance": ("held-out deviance", ".3f", "", both),
    }
    said = []
    for name, (words, digits, unit, beside) in wanted.items():
        value = result.get(name, math.nan)
        known = [(row, float(floor.get(name, math.nan))) for row, floor in beside.items()]
        floors = ", ".join(f"{row} {one:{digits}}" for row, one in known if math.isfinite(one))
        if math.isfinite(value):
            said.append(f"{words} {value:{digits}}{unit}" + (f" ({floors})" if floors else ""))
    return "   ·   ".join(said)


def _object(
    area: SubFigure,
    reconstruction: Reconstruction,
    view: panels.View,
    true_view: panels.View | None,
    scale: panels.Scale,
) -> None:
    """Amplitude and phase, large, and the truth's."""
    height, width = view.phase.shape
    views = {"": view}
    if true_view is not None:
        views[_whose(reconstruction)] = true_view
    stacked = true_view is None and width > 0.8 * height
    shape = (2, 1) if stacked else (len(views), 2)
    axes = iter(area.subplots(*shape).ravel())
    for whose, shown in views.items():
        _pair(next(axes), next(axes), shown, scale, whose, reconstruction.pixel_size_m)


def _whose(reconstruction: Reconstruction) -> str:
    return "true " if reconstruction.truth_is_known else "shipped estimate: "


def _wide(
    reconstruction: Reconstruction,
    figures: Mapping[str, Figures],
    views: list[panels.View],
    true_view: panels.View | None,
    scale: panels.Scale,
) -> Iterator[tuple[panels.Column, panels.Column]]:
    """Pages for a wide object: the result large at the left, with more if it is flat."""
    height, width = views[-1].phase.shape
    image = partial(panels.Panel, aspect=min(width / height, STRIP))
    pixel = reconstruction.pixel_size_m

    def two(view: panels.View, whose: str) -> list[panels.Panel]:
        phase = partial(draw_phase, view=view, scale=scale, whose=whose)
        amplitude = partial(draw_amplitude, view=view, scale=scale, whose=whose, pixel=pixel)
        return [image(phase, right=_BAR), image(amplitude, right=_BAR)]

    result, true_pair = two(views[-1], ""), list[panels.Panel]()
    rows, columns = reconstruction.obj.shape
    evidence = panels.Panel(
        partial(_illumination, reconstruction=reconstruction), columns / rows, right=_BAR
    )
    if true_view is not None:
        true_pair = two(true_view, _whose(reconstruction))
        known = reconstruction.truth_is_known
        draw = partial(draw_error, view=views[-1], true_view=true_view, known=known)
        evidence = image(draw, right=_BAR)
    modes = min(len(reconstruction.probe), 3)
    others = [
        panels.Panel(partial(panels.draw_probe, probe=reconstruction.probe), modes, weight=0.3)
    ]
    if reconstruction.uncertainty is not None:
        others.append(image(partial(draw_uncertainty, reconstruction=reconstruction), right=_BAR))
    if reconstruction.curves:
        draw = partial(panels.draw_curves, curves=reconstruction.curves)
        others.append(panels.Panel(draw, 1.5, left=0.65, below=0.5, stretches=True, weight=0.3))
    stages = [
        image(partial(_stage, stage=stage, view=view, row=figures.get(stage.name, {}), scale=scale))
        for stage, view in zip(reconstruction.stages, views, strict=True)
    ]
    below = [stages] if len(stages) > 1 else []
    # what follows the result at the left, and what remains for the right
    for left, pair, singles in (
        ([], true_pair, [evidence, *others]),
        ([evidence], true_pair, others),
        ([evidence, *true_pair], [], others),
    ):
        for grouped in panels.groupings(singles):
            column = [*([pair] if pair else []), *grouped]
            yield [[panel] for panel in (*result, *left)], [*column, *below]
            if below:
                yield [[panel] for panel in (*result, *left)], [*column, *([s] for s in stages)]


def _pair(
    left: Axes,
    right: Axes,
    view: panels.View,
    scale: panels.Scale,
    whose: str = "",
    pixel_size_m: float | None = None,
) -> None:
    draw_amplitude(left, view, scale, whose, pixel_size_m)
    draw_phase(right, view, scale, whose)


def draw_amplitude(
    axes: Axes, view: panels.View, scale: panels.Scale, whose: str, pixel: float | None
) -> None:
    """Draw the amplitude of a view with its colour and scale bars."""
    panels.colour_bar(axes, scale.draw_amplitude(axes, view, f"{whose}amplitude"))
    panels.scale_bar(axes, view.phase.shape[1], pixel)


def draw_phase(axes: Axes, view: panels.View, scale: panels.Scale, whose: str) -> None:
    """Draw the phase of a view with its colour bar."""
    panels.colour_bar(axes, scale.draw_phase(axes, view, f"{whose}phase (rad)"))


def _evidence(
    area: SubFigure,
    reconstruction: Reconstruction,
    figures: Mapping[str, Figures],
    views: list[panels.View],
    true_view: panels.View | None,
    scale: panels.Scale,
) -> None:
    """Error (or illumination) and probe, the curves, the stages."""
    rows = {"maps": 1.3}
    if reconstruction.curves:
        rows["curves"] = 0.75
    if len(views) > 1:
        height, width = views[0].phase.shape
        rows["stages"] = float(np.clip(3 / len(views) * height / width, 0.4, 1.0))
    parts = area.subfigures(len(rows), 1, height_ratios=list(rows.values()), squeeze=False)
    for name, part in zip(rows, parts[:, 0], strict=True):
        if name == "curves":
            panels.draw_curves(part.subplots(), reconstruction.curves)
        elif name == "stages":
            _stages(part, reconstruction, figures, views, scale)
        else:
            sure = reconstruction.uncertainty is not None
            left, *middle, right = part.subplots(1, 3 if sure else 2)
            for axes in middle:
                draw_uncertainty(axes, reconstruction)
            if true_view is None:
                _illumination(left, reconstruction)
            else:
                draw_error(left, views[-1], true_view, reconstruction.truth_is_known)
            panels.draw_probe(right, reconstruction.probe)


def draw_error(axes: Axes, view: panels.View, true_view: panels.View, known: bool) -> None:
    """Draw what the phase of a view differs from the true one's by."""
    error = wrapped(view.phase - true_view.phase)
    most = max(float(np.percentile(np.abs(error), 99)), 1e-3)
    what = "phase error" if known else "phase, difference from the estimate"
    title = f"{what}, MAE {np.abs(error).mean():.3f} rad"
    drawn = panels.draw_image(axes, error, title, panels.ERROR, (-most, most))
    panels.colour_bar(axes, drawn)


def draw_uncertainty(axes: Axes, reconstruction: Reconstruction) -> None:
    """Draw the standard deviation of the phase over the scanned area."""
    assert reconstruction.uncertainty is not None
    sigma = reconstruction.uncertainty.phase[reconstruction.scanned]
    most = max(float(np.percentile(sigma, 99)), 1e-9)
    drawn = panels.draw_image(axes, sigma, "phase uncertainty (rad)", panels.SIGMA, (0, most))
    panels.colour_bar(axes, drawn)


def _illumination(axes: Axes, reconstruction: Reconstruction) -> None:
    positions = reconstruction.positions
    experiment = Experiment(torch.from_numpy(reconstruction.probe), torch.from_numpy(positions))
    shape = reconstruction.obj.shape
    light = experiment.illumination((shape[0], shape[1])).numpy()
    drawn = panels.draw_illumination(axes, light, positions, reconstruction.scanned)
    panels.colour_bar(axes, drawn)


def _stages(
    area: SubFigure,
    reconstruction: Reconstruction,
    figures: Mapping[str, Figures],
    views: list[panels.View],
    scale: panels.Scale,
) -> None:
    """The phase after every stage, with its score."""
    all_axes = area.subplots(1, len(views), squeeze=False)[0]
    for axes, stage, view in zip(all_axes, reconstruction.stages, views, strict=True):
        _stage(axes, stage, view, figures.get(stage.name, {}), scale)


def _stage(axes: Axes, stage: Stage, view: panels.View, row: Figures, scale: panels.Scale) -> None:
    title = f"{stage.name}, {stage.seconds:.1f} s"
    if "phase_psnr" in row:
        title += f": {row['phase_psnr']:.1f} dB"
    elif "C" in row:
        title += f": C {row['C']:.3f}"
    scale.draw_phase(axes, view, title)
    axes.set_label(_STAGE)


def _fit_stage_titles(figure: Figure) -> None:
    """Make the titles of the stages alike and none wider than its panel.

    As large as they fit in a line; if they would get too small, in two.
    """
    some = [axes for axes in figure.axes if axes.get_label() == _STAGE]
    engine = figure.get_layout_engine()
    if some and engine is not None:
        engine.execute(figure)
    words = [axes.get_title(loc="left") for axes in some]
    for size, gap in ((11, ": "), (10, ": "), (9, ": "), *((size, "\n") for size in (9, 8, 7, 6))):
        fits = True
        for axes, said in zip(some, words, strict=True):
            axes.apply_aspect()
            text = axes.set_title(said.replace(": ", gap), loc="left", fontsize=size)
            fits &= text.get_window_extent().width <= 0.97 * axes.get_window_extent().width
        if fits:
            break
