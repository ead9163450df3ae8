"""Nothing earns nothing: what holds no image scores at its floor in every figure.

Figures are read on the scale of their own floors: 0 is a flat object, 1 is what the photons
allow. A figure that claims to judge an image must leave below ``AT_THE_FLOOR`` what has none.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from ptycho.data.reconstruction import Complex, Stage
from ptycho.nn.object_net import ObjectNet
from ptycho.physics.solver import Recipe
from ptycho.report.frames import judge, measured_frames
from ptycho.report.metrics import FLAT, NOISE, Figures, compare, frame_figures, score
from ptycho.workflows.problem import Problem
from tests.runs import tiny_problem

AT_THE_FLOOR = 0.1
"""Unrelated structure adds to every error, so there garbage lies below 0. It correlates with
the truth by chance, up and down; a test below finds that scatter under half of this."""

ERRORS = ["R", "deviance", "deviance_fitted"] + [
    f"{part}_{name}" for part in ("amplitude", "phase") for name in ("psnr", "mae")
]
LIKENESSES = ["C", "C_held_out", "frc_area"] + [
    f"{part}_{name}" for part in ("amplitude", "phase") for name in ("pearson", "ssim", "ms_ssim")
]
RESOLUTIONS = ["frc_half_bit_px", "frc_one_seventh_px"]
ON_FRAMES = ["R", "C", "C_held_out", "deviance", "deviance_fitted"]
UNSEEN = ["C_held_out", "deviance"]


@dataclass(frozen=True)
class Scene:
    rows: dict[str, Figures]
    """Scores of what has and of what has no image, against the scan as it is."""
    shuffled: dict[str, Figures]
    """The same against the scan with its patterns at wrong positions."""
    misplaced: Complex
    """Reconstructed from patterns at wrong positions, the scanned area of it."""
    truth: Complex
    """The scanned area of the truth."""
    problem: Problem


@pytest.fixture(scope="module")
def scene() -> Scene:
    problem = tiny_problem(kind="chip", n_patterns=576, step=8.0, probe_radius=9.0, photons=1e5)
    # as many as the chance correlation of so few needs to average out
    kept, held_out = np.arange(576) % 3 > 0, np.arange(0, 576, 3)
    wrong = replace(problem, amplitude=problem.amplitude[displaced(problem)])
    known = problem.reconstruction([])
    objects = {
        "good": solved(problem, kept),
        "flat": 0.3j * np.ones_like(known.truth),
        "untrained": untrained(problem),
        "misplaced": solved(wrong, kept),
        "truth": known.truth,
    }
    stages = tuple(Stage(name, obj, 0.0) for name, obj in objects.items())
    found = replace(known, stages=stages, held_out=held_out)
    frames_only = replace(found, truth=None)
    return Scene(
        score(found, problem.experiment, problem.amplitude),
        score(frames_only, wrong.experiment, wrong.amplitude),
        objects["misplaced"][known.scanned],
        known.truth[known.scanned],
        problem,
    )


def displaced(problem: Problem) -> torch.Tensor:
    """A random order that leaves no pattern within a beam of its own place."""
    positions, rng = problem.positions.numpy(), np.random.default_rng(0)
    order = rng.permutation(len(positions))
    while len(near := np.flatnonzero(np.hypot(*(positions[order] - positions).T) < 40)):
        for one, other in zip(near, rng.integers(len(positions), size=len(near)), strict=True):
            order[[one, other]] = order[[other, one]]
    return torch.from_numpy(order)


@torch.no_grad()
def solved(problem: Problem, kept: np.ndarray) -> Complex:
    """What the solver makes of some of the patterns."""
    which = torch.from_numpy(kept)
    seen = replace(problem.instrument, positions=problem.positions[which])
    part = replace(
        problem,
        instrument=seen,
        experiment=seen.experiment(),
        amplitude=problem.amplitude[which],
    )
    solver = part.solver(Recipe())
    obj = solver.run(part.start(20, Recipe()), 15)
    return solver.run(obj, 5, poisson=True).numpy()


@torch.no_grad()
def untrained(problem: Problem) -> Complex:
    """A network with a random head, shown a flat lift: all it knows is where light fell."""
    network = ObjectNet()
    nn.init.kaiming_normal_(network.generator.head.weight)
    light = problem.experiment.illumination(problem.shape)
    flat = problem.flat()
    obj = network(flat[None], torch.zeros_like(flat)[None], (light / light.max())[None])[0]
    assert obj.angle().std() > 0.1
    return obj.numpy()


def on_scale(name: str, rows: dict[str, Figures], row: Figures) -> float:
    """0 for a flat object, 1 for what the photons allow."""
    return (row[name] - rows[FLAT][name]) / (rows[NOISE][name] - rows[FLAT][name])


def test_every_figure_is_asked(scene):
    assert set(scene.rows[NOISE]) == {*ERRORS, *LIKENESSES, *RESOLUTIONS}
    assert all(math.isfinite(scene.rows[NOISE][name]) for name in ERRORS + LIKENESSES)


@pytest.mark.parametrize("name", ERRORS + LIKENESSES)
def test_what_has_no_image_is_at_the_floor(scene, name):
    for garbage in ("untrained", "misplaced"):
        assert on_scale(name, scene.rows, scene.rows[garbage]) < AT_THE_FLOOR, garbage
    # whatever its brightness and phase
    assert on_scale(name, scene.rows, scene.rows["flat"]) == pytest.approx(0, abs=1e-4)
    # and an image is not
    assert on_scale(name, scene.rows, scene.rows["good"]) > 0.8


@pytest.mark.parametrize("name", ON_FRAMES)
def test_the_truth_against_shuffled_patterns_is_at_the_floor(scene, name):
    assert on_scale(name, scene.shuffled, scene.shuffled["truth"]) < AT_THE_FLOOR
    assert on_scale(name, scene.rows, scene.rows["truth"]) > 0.9


@pytest.mark.parametrize("name", UNSEEN)
def test_a_fit_of_shuffled_patterns_is_at_the_floor_where_it_was_not_fitted(scene, name):
    fitted = scene.shuffled["misplaced"]
    assert on_scale(name, scene.shuffled, fitted) < AT_THE_FLOOR


def test_figures_of_fitted_patterns_judge_the_fit_and_not_the_image(scene):
    """Why patterns are held out: on its own patterns garbage beats a flat object."""
    fitted, flat = scene.shuffled["misplaced"], scene.shuffled[FLAT]
    assert fitted["C"] > 0.3
    assert fitted["deviance_fitted"] < 0.6 * flat["deviance_fitted"]
    assert fitted["deviance"] > flat["deviance"]


@pytest.mark.parametrize("name", RESOLUTIONS)
def test_what_has_no_image_resolves_nothing(scene, name):
    """A period beyond an eighth of the image is none; for a finer one, chance would have to
    win on eight rings in a row.

    Ring k has 2 pi k pixels, of which the window leaves 1 / 2.25 independent; there chance
    reaches 1/7 with a probability of 0.37, 0.31, 0.28, ..., together 1e-5.
    """
    for garbage in ("flat", "untrained", "misplaced"):
        period = scene.rows[garbage][name]
        assert math.isnan(period), garbage
    assert math.isnan(scene.rows[FLAT][name])
    assert scene.rows["good"][name] < 3


def test_chance_stays_well_below_the_limit(scene):
    """Images rolled and patterns shuffled again and again: as unrelated as the ones above."""
    rng = np.random.default_rng(0)
    rolls = [
        compare(np.roll(scene.misplaced, rng.integers(24, 160, 2), (0, 1)), scene.truth)
        for _ in range(8)
    ]
    problem = scene.problem
    truth = torch.from_numpy(problem.reconstruction([]).truth)
    shuffles = []
    for _ in range(8):
        amplitude = problem.amplitude[torch.from_numpy(rng.permutation(576))]
        frames = measured_frames(problem.experiment, truth, amplitude)
        shuffles.append(frame_figures(judge(frames), np.arange(0, 576, 3)))
    for name in LIKENESSES:
        rows = shuffles if name in ON_FRAMES else rolls
        places = [on_scale(name, scene.rows, row) for row in rows]
        assert np.std(places, ddof=1) < AT_THE_FLOOR / 2, name
