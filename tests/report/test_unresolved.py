"""Missing detail: how much of it the detector counts, and where it is put."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ptycho.data.simulate import zone_plate_probe
from ptycho.physics.detector import intensity
from ptycho.physics.forward import Experiment
from ptycho.physics.fourier import to_detector
from ptycho.report.excess import excess
from ptycho.report.frames import measured_frames, simulated_frames
from ptycho.report.unresolved import (
    Transfer,
    detail,
    missing_energy,
    missing_variance,
    transfer,
)

rng = np.random.default_rng(0)
SHAPE = (96, 96)
PROBE = 1e3 * zone_plate_probe(48, 8.0)[None]
POSITIONS = np.stack(np.meshgrid(np.arange(26, 70, 3), np.arange(26, 70, 3)), -1).reshape(-1, 2)
EXPERIMENT = Experiment(torch.from_numpy(PROBE), torch.from_numpy(POSITIONS.astype(float)))
PUPIL = intensity(to_detector(torch.from_numpy(PROBE))).double().numpy()
NOTHING_FINE = Transfer(np.where(np.arange(24) < 14, 1.0, 0.0))


def band(low: float, high: float, size: float = 1.0):
    """Real noise of some frequencies and of standard deviation ``size``."""
    radius = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1]))
    spectrum = np.fft.fft2(rng.normal(size=SHAPE)) * ((radius > low) & (radius < high))
    image = np.fft.ifft2(spectrum).real
    return size * image / image.std()


SMOOTH = np.exp(1j * band(0.0, 0.1, 0.2)).astype(np.complex64)


def light_of(result, truth):
    """Excess of noise-free frames of a truth over those of a result."""
    amplitude = EXPERIMENT(torch.from_numpy(truth), torch.arange(len(POSITIONS))).sqrt()
    frames = measured_frames(EXPERIMENT, torch.from_numpy(result), amplitude)
    return excess(frames, 1.0, np.array([0])).light


def test_the_energy_of_missing_detail_is_the_light_beyond_the_cone():
    lost = band(0.4, 0.45, 0.05)
    truth = (SMOOTH * np.exp(1j * lost)).astype(np.complex64)
    energy = missing_energy(light_of(SMOOTH, truth), PUPIL, NOTHING_FINE)
    seen = np.square(lost[26:70, 26:70]).mean()
    # a share of it falls back into the cone
    assert energy == pytest.approx(seen, rel=0.35)


def test_nothing_is_missing_from_the_truth_itself():
    assert missing_energy(light_of(SMOOTH, SMOOTH), PUPIL, NOTHING_FINE) < 1e-8


def test_what_comes_through_is_not_missing():
    truth = (SMOOTH * np.exp(1j * band(0.4, 0.45, 0.05))).astype(np.complex64)
    light = light_of(SMOOTH, truth)
    assert missing_energy(light, PUPIL, Transfer(np.ones(24))) == 0.0
    half = missing_energy(light, PUPIL, Transfer(np.full(24, 0.5)))
    none = missing_energy(light, PUPIL, Transfer(np.zeros(24)))
    assert half == pytest.approx(0.25 * none)


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_the_strength_of_detail_is_found(strength: float):
    coarse, fine = band(0.06, 0.12, 0.05), band(0.3, 0.4, 0.05)
    result = np.exp(1j * (coarse + fine))
    member = np.exp(1j * (coarse + strength * fine))
    through = transfer(result, [member])
    assert through.strength[5] == pytest.approx(1, abs=0.05)
    assert through.strength[16] == pytest.approx(strength, abs=0.05)


def test_an_image_of_few_pixels_lacks_rings_without_a_warning():
    small = np.exp(0.1j * (np.arange(64).reshape(8, 8) % 3))
    with np.errstate(divide="raise", invalid="raise"):
        assert np.isfinite(transfer(small, [small]).strength).all()


def test_the_cutoff_is_where_half_comes_through():
    assert NOTHING_FINE.cutoff == pytest.approx(14 / 48)
    assert Transfer(np.ones(24)).cutoff == 0.5
    lost = NOTHING_FINE.lost(np.array([[0.1, 0.3, 0.7]]))
    np.testing.assert_array_equal(lost, [[0, 1, 1]])


def test_missing_detail_is_put_at_the_edges_with_the_energy_it_has():
    step = np.where(np.arange(96) < 48, 0.0, 0.5) * np.ones((96, 1))
    blurred = np.exp(1j * ndimage.gaussian_filter(step, 2)).astype(np.complex64)
    phase, amplitude = missing_variance(blurred, 0.01, NOTHING_FINE)
    assert phase.mean() + amplitude.mean() == pytest.approx(0.01, rel=1e-3)
    assert phase[:, 42:54].sum() > 0.8 * phase.sum()
    assert amplitude.sum() < 0.01 * phase.sum()  # as little as the object shows of it


def test_detail_needs_no_unwrapping_and_no_global_phase():
    fine = band(0.2, 0.3, 0.05)
    ramp = np.exp(0.4j * np.arange(96))
    np.testing.assert_allclose(
        detail(ramp * np.exp(1j * fine))[0][8:-8, 8:-8], fine[8:-8, 8:-8], atol=0.01
    )


def test_the_misfit_of_counted_photons_is_zero_but_for_chance():
    truth = torch.from_numpy(SMOOTH)
    everything = np.arange(len(POSITIONS))
    right = excess(simulated_frames(EXPERIMENT, truth, 1.0, seed=1), 1.0, everything)
    assert abs(right.misfit) < 0.02
    assert np.abs(right.light.sum()) < 1e-4
    wrong = excess(
        measured_frames(
            EXPERIMENT,
            torch.ones_like(truth),
            torch.cat([a for _, a in simulated_frames(EXPERIMENT, truth, 1.0, seed=1)()]),
        ),
        1.0,
        everything,
    )
    assert wrong.misfit > 100 * abs(right.misfit)


def test_without_frames_held_out_there_is_no_misfit():
    frames = simulated_frames(EXPERIMENT, torch.from_numpy(SMOOTH), 1.0, seed=1)
    assert np.isnan(excess(frames, 1.0, np.empty(0, np.int64)).misfit)


def test_batches_of_frames_make_no_difference():
    truth = torch.from_numpy(SMOOTH)
    one, other = (
        excess(simulated_frames(EXPERIMENT, truth, 1.0, 1, batch), 0.9, np.array([3, 40, 200]))
        for batch in (7, 256)
    )
    np.testing.assert_allclose(one.light, other.light, atol=1e-9)
    assert one.misfit == pytest.approx(other.misfit, rel=1e-4)
