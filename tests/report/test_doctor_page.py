"""The doctor's page: nothing lies upon anything else."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ptycho.report.diagnosis import Diagnosis, Finding, Trials, Views, Weight
from ptycho.report.doctor_page import doctor_page
from ptycho.workflows.doctor.turns import TURNS

LONG = {
    "data.preprocess.bad_pixels_file": "/data/visitors/2026-11/" + "a_very_long_name_" * 12 + ".npy"
}


def diagnosis(findings: int) -> Diagnosis:
    """All nine pictures, with the widest labels that occur."""
    rng = np.random.default_rng(0)
    image = rng.random((32, 32))
    wave = (image + 1j * image.T).astype(np.complex64)
    said = "WIDE 4.62e+05 patterns of 128 x 128 MMMM; " * 6
    return Diagnosis(
        source="scan.npz",
        label="scan",
        findings=tuple(
            Finding(f"topic {number}", weight, said, LONG if weight == Weight.set else {})
            for number, weight in zip(range(findings), list(Weight) * findings, strict=False)
        ),
        views=Views(
            mean=1e6 * image,
            one=image,
            centre=(16.0, 16.0),
            bad=image > 0.99,
            spread=np.exp(rng.normal(0, 5, (50, 2))),
            light=np.stack([np.arange(50), 3e8 * rng.random(50)], axis=1),
            positions=1e5 * rng.random((50, 2)),
            probe=wave[None],
            width=9.0,
            tried=np.arange(9),
            trials=Trials(
                grid=rng.random((8, 8)),
                names=tuple(turn.name for turn in TURNS),
                chosen=(0, 0),
                decided=True,
                scales=np.stack([np.linspace(0.9, 1.1, 5), rng.random(5)], axis=1),
                obj=wave,
            ),
        ),
    )


@pytest.mark.parametrize("findings", [1, 6, 14])
def test_nothing_lies_upon_anything_else(findings: int):
    figure = doctor_page(diagnosis(findings))
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    words = [text.get_window_extent(renderer) for text in figure.texts]
    assert len(boxes) >= 9
    for box in boxes:
        assert min(box.x0, box.y0, 1800 - box.x1, 1100 - box.y1) >= 0
        assert not any(box.overlaps(one) for one in words)

    titles = [
        text.get_window_extent(renderer)
        for axes in figure.axes
        for text in (axes._left_title, axes.title)  # type: ignore[attr-defined]
        if text.get_text()
    ]
    assert len(titles) == 9
    for one, other in itertools.combinations(titles, 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize("guessed", [False, True])
def test_pictures_say_what_they_are_of(guessed: bool):
    found = diagnosis(1)
    assert found.views.trials is not None
    bad = replace(found.views.trials, grid=np.linspace(-0.05, 0.04, 64).reshape(8, 8))
    figure = doctor_page(replace(found, views=replace(found.views, guessed=guessed, trials=bad)))
    drawn = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert "mean pattern, log10 counts (left out: green)" in drawn
    positions = drawn[f"positions, {'guessed ' * guessed}px; colour: scan order"]
    assert [text.get_text() for text in positions.get_legend().get_texts()] == ["fitted", "beam"]
    colours = {patch.get_edgecolor() for patch in positions.patches}
    assert len(colours) == 2
    scales = drawn["C of patterns not fitted"]
    assert ("first guessed" in scales.get_xlabel()) == guessed
    assert len(scales.lines) == (1 if guessed else 2)  # a factor of 1 means nothing
    grid = drawn["C, patterns ↓ and positions → turned"]
    assert [text.get_text() for text in grid.texts] == [".04"]  # none fits; the best of them


def test_long_words_are_broken_and_none_is_lost():
    figure = doctor_page(diagnosis(3))
    written = "".join(text.get_text() for text in figure.texts)
    (path,) = LONG.values()
    assert path in written.replace(" ", "")
