"""Stages stand between an empty object and what the photons allow."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ptycho.data.reconstruction import Reconstruction, Stage
from ptycho.physics.forward import Experiment
from ptycho.physics.solver import Recipe, Solver
from ptycho.report.metrics import FLAT, NOISE, noise_floor, noisy, score
from ptycho.workflows.launch import launch
from tests.runs import tiny_run, tiny_scan

FRAMES = {"R", "C", "deviance_fitted"}


@pytest.fixture(scope="module")
def reconstruction(tiny):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(tiny.truth.shape, dtype=tiny.truth.dtype, generator=generator)
    return Reconstruction(
        stages=(
            Stage("lift", (tiny.truth * (1 + 0.2 * noise)).numpy(), 0.5),
            Stage("refined", tiny.truth.numpy(), 2.0),
        ),
        probe=tiny.probe,
        positions=tiny.positions,
        truth=tiny.truth.numpy(),
        truth_is_known=True,
    )


def test_a_row_per_stage_and_the_floors(tiny, reconstruction):
    rows = score(reconstruction, tiny.experiment, tiny.amplitude)
    assert list(rows) == ["lift", "refined", FLAT, NOISE]
    assert rows["lift"]["seconds"] == 0.5
    for floor in (FLAT, NOISE):
        assert set(rows[floor]) == set(rows["lift"]) - {"seconds"}
    assert rows["refined"]["phase_psnr"] == 200.0
    for name in ("C", "phase_psnr", "frc_area"):
        assert rows["refined"][name] > rows["lift"][name] > rows[FLAT][name]
        assert rows[NOISE][name] > rows[FLAT][name]
    assert rows[FLAT]["C"] == 0.0
    assert all(type(value) is float for row in rows.values() for value in row.values())
    # too small for five scales
    known = {k: v for k, v in rows["refined"].items() if not k.endswith("_ms_ssim")}
    assert json.loads(json.dumps(known, allow_nan=False)) == known


@pytest.mark.parametrize("truth", [False, True])
def test_without_a_known_truth_there_are_frames_only(tiny, reconstruction, truth):
    unknown = replace(reconstruction, truth_is_known=False)
    if not truth:
        unknown = replace(unknown, truth=None)
    rows = score(unknown, tiny.experiment, tiny.amplitude)
    assert set(rows["lift"]) == FRAMES | {"seconds"}
    assert set(rows[FLAT]) == set(rows[NOISE]) == FRAMES


def test_patterns_held_out_are_judged_apart(tiny, reconstruction):
    held_out = np.array([4, 11, 30])
    apart = replace(reconstruction, held_out=held_out)
    # spoil what was held out
    amplitude = tiny.amplitude.clone()
    amplitude[held_out] = amplitude[held_out].flip(-1)
    rows, usual = (score(r, tiny.experiment, amplitude) for r in (apart, reconstruction))
    refined, others = rows["refined"], usual["refined"]
    assert "deviance" not in others
    assert refined["deviance"] > 5 * refined["deviance_fitted"]
    together = (3 * refined["deviance"] + 33 * refined["deviance_fitted"]) / 36
    assert others["deviance_fitted"] == pytest.approx(together)
    # all patterns count for R and C, as ever
    assert (refined["R"], refined["C"]) == (others["R"], others["C"])
    assert "deviance" in rows[FLAT]
    assert rows[NOISE]["deviance"] == pytest.approx(rows[NOISE]["deviance_fitted"], rel=0.1)
    all_out = replace(reconstruction, held_out=np.arange(36))
    assert "deviance_fitted" not in score(all_out, tiny.experiment, amplitude)["lift"]


def test_the_truth_fits_its_frames_as_well_as_noise_allows(tiny, reconstruction):
    """One more draw of the noise among others: R, C and deviance scatter alike."""
    apart = replace(reconstruction, held_out=np.arange(0, 36, 4))
    true = score(apart, tiny.experiment, tiny.amplitude)["refined"]
    draws = [noise_floor(apart, tiny.experiment, tiny.amplitude, seed=seed) for seed in range(12)]
    for name in ("R", "C", "deviance", "deviance_fitted"):
        values = [draw[name] for draw in draws]
        # one against the mean of 12, the scatter itself known to 1 / sqrt(22) from them
        assert abs(true[name] - np.mean(values)) < 4.5 * np.std(values, ddof=1), name
        assert np.std(values) < 0.02 * np.mean(values), name


def test_the_noise_of_an_object_is_that_of_its_photons():
    photons = np.geomspace(10, 1e6, 300)[:, None] * np.ones((1, 400))
    truth = np.full(photons.shape, 0.5 + 2j)
    error = (noisy(truth, photons, 0) - truth) * np.sqrt(photons)
    # 120,000 squares of variance 2 (1/2)^2 in each part
    for part in (error.real, error.imag):
        assert np.square(part).mean() == pytest.approx(0.5, abs=4 * math.sqrt(0.5 / 120_000))
    assert abs((error.real * error.imag).mean()) < 4 * 0.5 / math.sqrt(120_000)
    # additive: it does not ask how bright the object is
    np.testing.assert_allclose(noisy(0 * truth, photons, 0), noisy(truth, photons, 0) - truth)
    # and in each part as strong as an empty object is bright where no light fell
    dark = noisy(truth, 0 * photons, 1) - truth
    assert dark.real.std() == pytest.approx(1, abs=4 / math.sqrt(2 * 120_000))


def test_a_hundred_times_the_photons_allow_20_db_more(tiny, reconstruction):
    few = noise_floor(reconstruction, tiny.experiment, tiny.amplitude)
    many = noise_floor(reconstruction, tiny.experiment, 10 * tiny.amplitude)
    # aligning costs the noisier one a little
    assert many["phase_psnr"] - few["phase_psnr"] == pytest.approx(20, abs=0.3)
    assert many["R"] < few["R"]
    assert many["C"] > few["C"]
    # the same photons, said by an object that is twice as bright under half the probe
    bright = replace(reconstruction, truth=2 * reconstruction.truth)
    again = noise_floor(bright, tiny.experiment, tiny.amplitude)
    assert again["phase_psnr"] == pytest.approx(few["phase_psnr"], abs=1e-3)
    assert again["R"] == pytest.approx(few["R"], rel=1e-4)


@pytest.mark.parametrize("kind", ["chip", "natural"])
def test_no_maximum_of_the_likelihood_surpasses_the_noise(kind):
    """From the truth to the object that fits the noisy frames best, nothing else being wrong.

    With photons on most of the detector, as the limit supposes (1e8 each here).
    """
    scan = tiny_scan(kind=kind, n_patterns=225, photons=1e8, step=3.0, jitter=0.5)
    positions = torch.from_numpy(np.round(scan.positions * 16) / 16)
    experiment = Experiment(torch.from_numpy(scan.probe), positions)
    truth = torch.from_numpy(scan.truth)
    expected = experiment(truth, torch.arange(len(positions)))
    amplitude = torch.poisson(expected).sqrt()
    solver = Solver(experiment, amplitude, tuple(truth.shape), Recipe(), 1 / 12)
    found = solver.run(solver.run(truth, 20), 40, poisson=True)
    reconstruction = Reconstruction(
        stages=(Stage("likeliest", found.numpy(), 0.0),),
        probe=scan.probe, positions=positions.numpy(), truth=scan.truth, truth_is_known=True,
    )  # fmt: skip
    rows = score(reconstruction, experiment, amplitude)
    stage, noise = rows["likeliest"], rows[NOISE]
    for part in ("amplitude", "phase"):
        # 42 x 42 pixels: an error energy scatters by sqrt(2 / 1764), that is 0.15 dB
        assert stage[f"{part}_psnr"] < noise[f"{part}_psnr"] + 3 * 0.15
        # and a solver that uses its photons comes near
        assert stage[f"{part}_psnr"] > noise[f"{part}_psnr"] - 1.5
    # what was fitted includes noise: fewer degrees of freedom are left to deviate
    assert stage["deviance_fitted"] < noise["deviance_fitted"]
    assert stage["R"] < noise["R"]


def test_a_run_is_judged_by_its_last_stage_not_by_a_floor(tmp_path):
    judgement = launch(tiny_run(task="solve"), tmp_path / "run", [])
    stages = json.loads((tmp_path / "run" / "metrics.json").read_text())["stages"]
    assert list(stages) == ["solver", FLAT, NOISE]
    assert judgement == stages["solver"]["C"] != stages[NOISE]["C"]
