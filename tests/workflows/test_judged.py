import math

import pytest

from ptycho.config.choices import Direction
from ptycho.config.sweep_rules import FIGURES, OF_THE_RUN, STAGES, usual_direction
from ptycho.workflows.judged import as_returned, figures_of, judged
from tests.runs import launched

METRICS = {
    "stages": {
        "lift": {"C": 0.5, "seconds": 1.0},
        "refined": {"C": 0.8, "phase_psnr": math.nan, "seconds": 2.0},
        "flat": {"C": 0.0},
    },
    "test_stages": {"refined": {"C": 0.7}},
    "training": {"loss": 0.1, "seconds": 5.0},
}


def test_figures_of_the_run_are_not_those_of_its_last_stage():
    found = figures_of(METRICS, 9.0, 1e5)
    assert found == {
        "seconds": 9.0, "photons": 1e5, "C": 0.8, "lift/C": 0.5, "lift/seconds": 1.0,
        "refined/C": 0.8, "refined/seconds": 2.0, "test_refined/C": 0.7, "train/loss": 0.1,
        "train/seconds": 5.0,
    }  # fmt: skip


def test_what_is_missing_is_missed():
    found = figures_of(METRICS, 9.0, 1e5)
    assert judged(["seconds", "C"], found) == {"seconds": 9.0, "C": 0.8}
    assert judged(["C", "phase_psnr"], found) == {"C": 0.8}
    assert as_returned(["C"], {"C": 0.8}) == 0.8
    assert as_returned(["seconds", "C"], {"C": 0.8, "seconds": 9.0}) == (9.0, 0.8)
    assert as_returned(["C", "phase_psnr"], {"C": 0.8}) is None
    assert as_returned(["C"], None) is None


def test_every_figure_of_a_run_can_be_asked_for(tmp_path):
    import json

    run = launched(tmp_path / "run")
    found = figures_of(json.loads((run / "metrics.json").read_text()), 1.0, 1e5)
    assert len(found) > 50
    for name in found:
        stage, _, figure = name.rpartition("/")
        assert name in OF_THE_RUN or (figure in FIGURES and stage in ("", *STAGES)), name


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("C", "max"), ("network/R", "min"), ("seconds", "min"), ("train/patterns_per_s", "max"),
        ("train/loss", "min"), ("photons", "min"), ("test_refined/phase_ssim", "max"),
        ("amplitude_psnr", "max"), ("phase_pearson", "max"), ("frc_half_bit_px", "min"),
        ("frc_area", "max"), ("phase_mae", "min"), ("deviance", "min"), ("C_held_out", "max"),
    ],
)  # fmt: skip
def test_which_end_of_a_figure_is_better(metric: str, direction: str):
    assert usual_direction(metric) == Direction(direction)


def test_where_that_is_a_matter_of_taste_nothing_is_said():
    assert usual_direction("train/epochs") is None
