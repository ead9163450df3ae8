"""What can be simulated besides the built-in scan."""

import hashlib

import numpy as np
import pytest
import torch

from ptycho.data.scan import DataError
from ptycho.data.simulate import Simulation, expected_photons, make, simulate
from ptycho.data.synthetic.detector import Detector, air_scattering
from ptycho.data.synthetic.objects import Look, kinds, make_object
from ptycho.data.synthetic.paths import concentric, fermat, on_the_fly, way
from ptycho.physics.forward import Experiment

SMALL = {
    "kind": "dead_leaves", "n_patterns": 49, "patch_size": 32, "photons": 1e5, "step": 4.0,
    "probe_radius": 6.0,
}  # fmt: skip
KINDS = [*kinds(), "natural"]


def made(**changes):
    return make(Simulation(**SMALL | changes))


def counts(scan):
    return np.square(scan.amplitude.astype(float))


def rng(seed=0):
    return np.random.default_rng(seed)


# objects


@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_passive_and_have_structure(kind):
    obj = make_object(kind, (90, 70), rng())
    assert obj.shape == (90, 70)
    amplitude, phase = np.abs(obj), np.angle(obj)
    assert 0.5 < amplitude.min() < amplitude.max() <= 1 + 1e-6
    assert amplitude.std() > 0.01
    assert phase.std() > 0.1
    assert -1e-6 <= phase.min() < phase.max() < 1.3


@pytest.mark.parametrize("kind", kinds())
def test_an_object_is_drawn_anew_from_every_seed(kind):
    one, same, other = (make_object(kind, (64, 64), rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_amplitude_and_phase_follow_one_thickness(kind):
    obj = make_object(kind, (64, 64), rng(), look=Look(delta_over_beta=8.0, phase=2.0))
    phase = np.angle(obj)
    np.testing.assert_allclose(np.log(np.abs(obj)), -phase / 8.0, atol=1e-5)
    assert 1.5 < phase.max() < 2.0 + 1e-5


@pytest.mark.parametrize("kind", kinds())
def test_an_independent_amplitude_says_nothing_of_the_phase(kind):
    def alike(obj):
        parts = np.abs(obj).ravel(), np.angle(obj).ravel()
        return abs(np.corrcoef(*parts)[0, 1])

    apart = make_object(kind, (128, 128), rng(4), look=Look(independent=True))
    assert alike(make_object(kind, (128, 128), rng(4))) > 0.99
    assert alike(apart) < 0.75  # stars stand in the same place, whatever their turn
    assert np.abs(apart).max() <= 1 + 1e-6


@pytest.mark.parametrize("exponent", [1.0, 3.0])
def test_the_spectrum_of_a_random_field_falls_as_told(exponent):
    drawn = kinds(Look(exponent=exponent))["grf"].draw((256, 256), rng())
    power = np.square(np.abs(np.fft.fft2(drawn - drawn.mean())))
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
    bands = [(0.02, 0.04), (0.2, 0.4)]
    levels = [power[(frequency > a) & (frequency < b)].mean() for a, b in bands]
    # ten times the frequency; cutting off a few values changes it a little
    assert np.log10(levels[0] / levels[1]) == pytest.approx(exponent, abs=0.15)


def test_a_star_has_as_many_spokes_as_told():
    star = kinds(Look(spokes=12))["siemens"].draw((256, 256), rng())
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    ring = (128 + 80 * np.stack([np.sin(angle), np.cos(angle)])).astype(int)
    metal = star[ring[0], ring[1]] > 0.5
    assert (metal & ~np.roll(metal, 1)).sum() == 12


# ways


@pytest.mark.parametrize("kind", ["snake", "raster", "fermat", "concentric", "random"])
def test_every_way_is_as_dense_as_told(kind):
    positions, extent = way(kind, 400, 5.0, 0.0, rng())
    assert len(positions) == 400
    assert positions.min() >= 0
    assert (positions <= np.array(extent)).all()
    round_ = kind in ("fermat", "concentric")
    area = np.pi / 4 * extent[0] * extent[1] if round_ else extent[0] * extent[1]
    assert area / 400 == pytest.approx(25, rel=0.15)


@pytest.mark.parametrize("kind", ["snake", "raster", "fermat", "concentric"])
def test_jitter_is_added_to_every_way_but_the_random_one(kind):
    plain, jittered = (way(kind, 400, 5.0, jitter, rng())[0] for jitter in (0.0, 0.7))
    assert (jittered - plain).std() == pytest.approx(0.7, rel=0.1)


def test_a_raster_goes_every_row_the_same_way():
    positions, _ = way("raster", 16, 5.0, 0.0, rng())
    assert positions[:8, 1].tolist() == [0, 5, 10, 15, 0, 5, 10, 15]


def test_a_fermat_spiral_has_no_near_neighbours():
    positions = fermat(300, 5.0)
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    apart[np.diag_indices(300)] = np.inf
    nearest = apart.min(1)
    assert nearest.min() > 0.75 * 5
    assert nearest.max() < 1.3 * 5


def test_rings_are_a_step_apart_and_begin_in_the_middle():
    radius = np.linalg.norm(concentric(95, 5.0), axis=1)
    np.testing.assert_allclose(np.unique(radius.round(9)), 5.0 * np.arange(6))


def test_a_flying_beam_passes_its_positions_and_leaves_none_of_the_way_out():
    line = np.stack([np.zeros(5), 4.0 * np.arange(5)], axis=1)
    places = on_the_fly(line, 4, 4.0)
    np.testing.assert_allclose(places.mean(1), line)
    # evenly along the whole way, half a step beyond both ends
    np.testing.assert_allclose(places[..., 1].ravel(), np.arange(20) - 1.5)


def test_a_flying_beam_does_not_fly_back():
    positions, _ = way("raster", 25, 4.0, 0.0, rng())
    places = on_the_fly(positions, 8, 4.0)
    assert np.abs(places - positions[:, None]).max() < 2
    np.testing.assert_allclose(places.mean(1), positions)


# scans


def test_the_built_in_scan_stays_what_it_is():
    """Figures in README and docs come from it; its photographs and noise have not changed."""
    scan = simulate(kind="chip", n_patterns=64, patch_size=32, photons=1e5, probe_radius=6.0)
    assert hashlib.sha256(scan.truth).hexdigest()[:16] == "be97089c0288bcc6"
    whole = np.square(scan.amplitude.astype(float)).round().astype(np.int64)
    # processors round differently, which now and then makes a photon more or less
    assert whole[:4].sum((1, 2)).tolist() == pytest.approx([89085, 87831, 89236, 88520], abs=2)
    assert whole.sum() == pytest.approx(5_752_073, abs=5 * 5_752_073**0.5)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_change_a_bit(threads):
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        scan = simulate(**SMALL | {"n_patterns": 400, "patch_size": 16})
    finally:
        torch.set_num_threads(usual)
    again = simulate(**SMALL | {"n_patterns": 400, "patch_size": 16})
    np.testing.assert_array_equal(scan.amplitude, again.amplitude)
    assert torch.get_num_threads() == usual


def test_expected_photons_are_those_of_the_physics():
    scan = made().scan
    experiment = Experiment(torch.from_numpy(scan.probe), torch.from_numpy(scan.positions), 128)
    wanted = experiment(torch.from_numpy(scan.truth), torch.arange(len(scan)))
    found = expected_photons(scan.truth, scan.probe, scan.positions)
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"flux_jitter": 0.3}, {"background": 2.0}, {"position_error": 1.0}, {"fly_steps": 3},
        {"detector": Detector(read_noise=3.0, dead_pixels=0.1)},
    ],
    ids=str,
)  # fmt: skip
def test_every_fault_is_seeded_and_moves_nothing_else(changes):
    plain, one, same, other = made(), made(**changes), made(**changes), made(**changes, seed=1)
    np.testing.assert_array_equal(one.scan.amplitude, same.scan.amplitude)
    np.testing.assert_array_equal(one.scan.positions, same.scan.positions)
    assert (one.scan.amplitude != other.scan.amplitude).any()
    assert one.scan.sha256 != plain.scan.sha256
    if not {"position_error", "fly_steps"} & {*changes}:  # those need a larger object
        np.testing.assert_array_equal(one.scan.truth, plain.scan.truth)
        np.testing.assert_array_equal(one.positions, plain.positions)


def test_recorded_positions_are_off_by_what_was_told():
    result = made(n_patterns=400, patch_size=16, position_error=1.5)
    assert (result.scan.positions - result.positions).std() == pytest.approx(1.5, rel=0.1)
    expected = expected_photons(result.scan.truth, result.scan.probe, result.positions)
    wrong = expected_photons(result.scan.truth, result.scan.probe, result.scan.positions)
    seen = counts(result.scan)
    assert np.abs(expected - seen).sum() < 0.7 * np.abs(wrong - seen).sum()


def test_brightness_varies_by_what_was_told():
    result = made(kind="blobs", n_patterns=400, patch_size=16, flux_jitter=0.2)
    assert result.flux.mean() == pytest.approx(1, abs=0.03)
    assert result.flux.std() == pytest.approx(0.2, rel=0.15)
    total = counts(result.scan).sum((1, 2))
    plain = expected_photons(result.scan.truth, result.scan.probe, result.positions).sum((1, 2))
    np.testing.assert_allclose(total / plain, result.flux, rtol=0.03)


def test_a_flying_beam_gives_the_mean_along_its_way():
    result = made(fly_steps=4, photons=1e8)
    scan = result.scan
    places = on_the_fly(result.positions, 4, 4.0)
    each = [expected_photons(scan.truth, scan.probe, places[:, k]) for k in range(4)]
    wanted = np.mean(each, axis=0)
    stands = expected_photons(scan.truth, scan.probe, result.positions)
    seen = counts(scan)
    assert np.abs(wanted - seen).sum() < 0.2 * np.abs(stands - seen).sum()


def test_background_lies_below_every_pattern():
    result = made(background=5.0, n_patterns=196)
    light = expected_photons(result.scan.truth, result.scan.probe, result.positions)
    rest = (counts(result.scan) - light).mean(0)
    assert rest.mean() == pytest.approx(5.0, rel=0.02)
    np.testing.assert_allclose(result.background, air_scattering(32, 5.0))
    assert np.corrcoef(rest.ravel(), result.background.ravel())[0, 1] > 0.8


# detectors


def test_a_blur_keeps_the_light_and_widens_a_point():
    point = np.zeros((1, 33, 33), np.float32)
    point[0, 16, 16] = 100
    spread = Detector(blur=1.5).spread(point)[0].astype(float)
    assert spread.sum() == pytest.approx(100, rel=1e-5)
    axis = np.arange(33) - 16
    assert np.sqrt((spread.sum(0) * axis**2).sum() / 100) == pytest.approx(1.5, rel=0.02)


def test_read_noise_is_as_told_and_counts_are_never_negative():
    found = Detector(read_noise=3.0).read(np.full((10, 64, 64), 50), rng())
    assert (found - 50).std() == pytest.approx(3.0, rel=0.02)
    assert Detector(read_noise=3.0).read(np.zeros((1, 8, 8), int), rng()).min() == 0


def test_a_full_pixel_stops():
    scan = made(detector=Detector(saturation=900.0)).scan
    assert counts(scan).max() == pytest.approx(900)
    assert counts(made().scan).max() > 1000


def test_what_does_not_count_is_marked_as_bad():
    detector = Detector(dead_pixels=0.02, gap=3, beamstop=4.0)
    scan = made(detector=detector).scan
    bad = scan.bad_pixels
    assert bad is not None
    assert (scan.amplitude[:, bad] == 0).all()
    assert np.signbit(scan.amplitude[:, bad]).all()
    assert not np.signbit(scan.amplitude[:, ~bad]).any()
    y, x = np.mgrid[:32, :32] - 16
    assert bad[np.hypot(y, x) < 4].all()
    assert bad.all(0).sum() == bad.all(1).sum() == 3  # one gap across and one down
    assert scan.notes["bad_pixels"] == f"{bad.mean():.2%} of the detector"
    # and pixels that count have counted the same
    plain = made().scan
    np.testing.assert_array_equal(scan.amplitude[:, ~bad], plain.amplitude[:, ~bad])


def test_dead_pixels_are_as_many_as_told():
    assert Detector(dead_pixels=0.05).bad_pixels(64, rng()).sum() == round(0.05 * 64**2)
    assert not Detector().bad_pixels(64, rng()).any()


def test_a_detector_that_counts_nothing_is_refused():
    with pytest.raises(DataError, match=r"data\.synthetic\.gap, beamstop and dead_pixels leave no"):
        made(detector=Detector(beamstop=100.0))


def test_progress_is_told():
    told = []
    make(Simulation(**SMALL | {"n_patterns": 400, "patch_size": 16}), told.append)
    assert sum(told) == 400
    assert len(told) > 1
