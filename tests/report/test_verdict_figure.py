"""The picture and the table of an evaluation: everything known is shown, nothing overlaps."""

import io
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.console import Console

from ptycho.data.synthetic.objects import make_object
from ptycho.report import verdict_figure
from ptycho.report.correlation import frc
from ptycho.report.verdict import (
    AgainstData,
    AgainstTruth,
    Between,
    Pattern,
    Rings,
    TwoHalves,
    Verdict,
)
from ptycho.report.verdict_figure import save_verdict
from ptycho.report.verdict_table import verdict_table

SCORES = Between(
    {"phase_psnr": 30.1, "amplitude_ssim": 0.9, "frc_half_bit_px": 2.4, "R": 0.12, "C": 0.9},
    {"phase_psnr": 11.5, "R": 0.27, "C": 0.0},
    {"R": 0.1, "C": 0.95},
)


def verdict(
    shape: tuple[int, int] = (60, 60), *, parts: str = "truth data halves", n: int = 40
) -> Verdict:
    """An evaluation of an object of a certain shape, with some of the parts."""
    rng = np.random.default_rng(0)
    truth = make_object("dead_leaves", shape, rng)
    obj = truth * np.exp(0.1j * rng.normal(size=shape))
    rings = Rings(*frc(obj, truth))
    places = rng.uniform(0, 1, (n, 2)) * shape
    residual = rng.uniform(0.1, 0.2, n)
    frames = rng.uniform(0, 9, (2, 32, 32)).astype(np.float32)
    worst = [Pattern(i, (*places[i],), float(residual[i]), *frames) for i in range(min(n, 6))]
    return Verdict(
        source="theirs.npz",
        label="theirs_$x_1$",
        obj=obj,
        probe=rng.normal(size=(2, 32, 32, 2)).astype(np.float32) @ np.array([1, 1j], np.complex64),
        pixel_size_m=8e-9,
        truth=AgainstTruth("t.npz", SCORES, obj, truth, rings) if "truth" in parts else None,
        data=AgainstData(
            "d.npz", SCORES, np.arange(n), places, residual, np.arange(0), tuple(worst)
        ) if "data" in parts else None,
        halves=TwoHalves(SCORES, rings, (20, 20)) if "halves" in parts else None,
    )  # fmt: skip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch):
    """Draws a verdict and returns the figure."""
    kept: list[Figure] = []
    monkeypatch.setattr(verdict_figure, "save_page", lambda figure, _: kept.append(figure))

    def draw(what: Verdict) -> Figure:
        save_verdict(what, "nowhere.png")
        return kept[-1]

    return draw


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_the_picture_is_a_picture(tmp_path: Path):
    save_verdict(verdict(), tmp_path / "a.png")
    assert imread(tmp_path / "a.png").shape[:2] == (1100, 1800)


@pytest.mark.parametrize(
    ("parts", "absent"),
    [("truth data halves", ()), ("truth", ("R of", "worst")), ("data", ("true", "error", "ring"))],
)
def test_what_is_known_is_shown(drawn, parts, absent):
    words = " | ".join(titles(drawn(verdict(parts=parts))))
    everything = ("true amplitude", "phase error", "R of every", "worst patterns", "ring correl")
    for title in ("amplitude", "phase (rad)", "probe", *everything):
        assert (title in words) != any(one in title for one in absent), title


@pytest.mark.parametrize("shape", [(60, 60), (24, 300), (300, 24), (90, 200), (16, 16)])
@pytest.mark.parametrize("parts", ["truth data halves", "truth", "data", "data halves"])
def test_boxes_stay_on_the_page_and_off_each_other(drawn, shape, parts):
    figure = drawn(verdict(shape, parts=parts))
    boxes = [axes.get_position() for axes in figure.axes]
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= 1
        assert box.y0 >= 0
        assert box.y1 <= 0.92  # below the title
        assert min(box.width * 18, box.height * 11) > 0.25
    for a, b in itertools.combinations(boxes, 2):
        apart = (a.x1 <= b.x0 or b.x1 <= a.x0) or (a.y1 <= b.y0 or b.y1 <= a.y0)
        assert apart, (a, b)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_patterns(drawn, n):
    drawn(verdict(parts="data", n=n))


def test_an_empty_pattern_has_no_residual(drawn):
    one = verdict(parts="data")
    one.data.residual[3] = np.nan
    assert "R of every pattern (40)" in titles(drawn(one))
    one.data.residual[:] = np.nan
    drawn(one)


def test_the_resolution_is_told_beside_its_curve(drawn):
    figure = drawn(verdict(parts="truth"))
    (axes,) = (a for a in figure.axes if "ring" in a.get_title(loc="left"))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(label.startswith("with the truth: ") and " nm" in label for label in labels)
    assert {"½ bit", "1/7"} <= set(labels)


def test_an_estimate_is_not_called_true(drawn):
    one = verdict(parts="truth")
    figure = drawn(replace(one, truth=replace(one.truth, known=False)))
    written = [axes.get_title(loc="left") for axes in figure.axes]
    written += [text.get_text() for axes in figure.axes if axes.get_legend()
                for text in axes.get_legend().get_texts()]  # fmt: skip
    assert not any("true" in words or "truth" in words for words in written)
    assert {"estimate: amplitude", "estimate: phase (rad)"} <= {*written}
    assert any(words.startswith("with the estimate: ") for words in written)


def test_the_table_has_a_line_for_every_figure():
    printed = io.StringIO()
    Console(file=printed, width=90).print(verdict_table(verdict()))
    lines = [line.split() for line in printed.getvalue().splitlines() if line.strip()]
    assert ["phase", "PSNR", "(dB)", "30.1", "11.5", "-"] in lines
    assert ["R", "0.120", "0.270", "0.100"] in lines
    assert ["two", "halves", "of", "20", "and", "20", "patterns"] in lines


def test_the_table_without_a_noise_floor():
    printed = io.StringIO()
    alone = verdict(parts="truth")
    bare = Between({"R": 0.5, "C": float("nan")}, {"R": 0.6})
    known = AgainstTruth("t", bare, alone.truth.aligned, alone.truth.truth, alone.truth.rings)
    Console(file=printed, width=90).print(verdict_table(Verdict("f", "f", alone.obj, truth=known)))
    assert "noise floor" not in printed.getvalue()
    assert " C " not in printed.getvalue()  # a figure that nobody knows


def test_a_figure_that_only_the_object_lacks_is_a_dash():
    printed = io.StringIO()
    known = verdict(parts="truth").truth
    nothing = Between({"frc_half_bit_px": float("nan")}, {}, {"frc_half_bit_px": 2.5})
    table = verdict_table(replace(verdict(parts="truth"), truth=replace(known, scores=nothing)))
    Console(file=printed, width=90).print(table)
    lines = [line.split() for line in printed.getvalue().splitlines()]
    assert ["FRC", "1/2-bit", "(px)", "-", "-", "2.50"] in lines
