import numpy as np
import pytest
import torch

from ptycho.data.scan import DataError
from ptycho.data.simulate import expected_photons, simulate, zone_plate_probe
from ptycho.data.synthetic.objects import make_object
from ptycho.data.synthetic.paths import raster
from ptycho.physics.fourier import fourier_shift, to_detector
from ptycho.physics.patches import split_positions

KINDS = ("natural", "dead_leaves", "chip")
SMALL = {
    "kind": "dead_leaves",
    "n_patterns": 50,
    "patch_size": 32,
    "photons": 1e5,
    "step": 4.0,
    "probe_radius": 7.0,
}


def noise_free(scan):
    return expected_photons(scan.truth, scan.probe, scan.positions).astype(float)


def test_the_same_seed_gives_the_same_bits():
    first, second = simulate(**SMALL, seed=3), simulate(**SMALL, seed=3)
    for name in ("amplitude", "positions", "probe", "truth"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_different_seeds_differ():
    first, second = simulate(**SMALL, seed=0), simulate(**SMALL, seed=1)
    assert (first.amplitude != second.amplitude).any()
    assert (first.positions != second.positions).any()
    assert (first.truth != second.truth).any()


@pytest.mark.parametrize(("wanted", "made"), [(49, 49), (50, 49), (56, 56), (63, 63), (17, 16)])
def test_whole_rows_are_made_and_never_more_than_wanted(wanted, made):
    scan = simulate(**SMALL | {"n_patterns": wanted})
    assert len(scan) == made <= wanted


@pytest.mark.parametrize("photons", [1e3, 1e7])
def test_the_probe_carries_the_photons_asked_for(photons):
    scan = simulate(**SMALL | {"photons": photons})
    assert np.square(np.abs(scan.probe)).sum() == pytest.approx(photons, rel=1e-5)
    # the object absorbs some and creates none
    assert 0.4 * photons < scan.photons < photons


def test_counts_are_whole_numbers_with_the_expected_mean():
    scan = simulate(**SMALL)
    counts = np.square(scan.amplitude.astype(float))
    np.testing.assert_allclose(counts, counts.round(), rtol=1e-6)
    total = noise_free(scan).sum()
    assert abs(counts.sum() - total) < 5 * np.sqrt(total)  # five standard deviations


def test_noise_is_poisson():
    """Variance over mean is 1 wherever there is light."""
    scan = simulate(**SMALL)
    expected = noise_free(scan)
    bright = expected > 5
    assert bright.sum() > 5000
    deviation = np.square(scan.amplitude.astype(float)) - expected
    ratio = (np.square(deviation) / expected)[bright]
    # the mean of n such ratios scatters by about sqrt(2 / n)
    assert ratio.mean() == pytest.approx(1, abs=6 * np.sqrt(2 / bright.sum()))


def test_the_truth_is_kept_and_explains_the_patterns():
    scan = simulate(**SMALL | {"photons": 1e9})
    assert scan.truth_is_known
    model = np.sqrt(noise_free(scan))
    misfit = np.abs(model - scan.amplitude).sum() / scan.amplitude.sum()
    flat = np.sqrt(expected_photons(np.ones_like(scan.truth), scan.probe, scan.positions))
    assert misfit < 0.02 < 0.1 < np.abs(flat - scan.amplitude).sum() / scan.amplitude.sum()


def test_expected_photons_follow_the_formula():
    rng = np.random.default_rng(0)
    obj = make_object("dead_leaves", (40, 44), rng)
    probe = zone_plate_probe(24, 5.0)
    positions = np.array([[15.0, 20.0], [20.25, 13.5]])
    corners, rest = split_positions(torch.from_numpy(positions), 24)
    for pattern, (y, x), shift in zip(
        expected_photons(obj, probe[None], positions), corners.tolist(), rest, strict=True
    ):
        patch = torch.from_numpy(obj[y : y + 24, x : x + 24])
        wave = to_detector(fourier_shift(torch.from_numpy(probe), shift) * patch)
        torch.testing.assert_close(torch.from_numpy(pattern), wave.abs().square())


@pytest.mark.parametrize("patch_size", [32, 33])
def test_every_patch_lies_in_the_object(patch_size):
    scan = simulate(**SMALL | {"patch_size": patch_size, "jitter": 3.0})
    corners, _ = split_positions(torch.from_numpy(scan.positions), patch_size)
    assert corners.min() >= 0
    assert (corners.amax(0) + patch_size <= torch.tensor(scan.truth.shape)).all()
    assert all(side % 2 == 0 for side in scan.truth.shape)


def test_positions_lie_between_pixels():
    positions = simulate(**SMALL).positions
    assert positions.dtype == np.float64
    assert np.abs(positions - positions.round()).mean() > 0.1


def test_raster_is_a_snake_with_the_step_asked_for():
    rng = np.random.default_rng(0)
    plain = raster(3, 4, 5.0, rng, 0.0)
    # a snake: every move is one step, never back over a row
    assert (np.linalg.norm(np.diff(plain, axis=0), axis=1) == 5).all()
    assert plain[:4, 1].tolist() == [0, 5, 10, 15]
    assert plain[4:8, 1].tolist() == [15, 10, 5, 0]
    jittered = raster(60, 60, 5.0, rng, 2.0) - raster(60, 60, 5.0, rng, 0.0)
    assert jittered.std() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_passive_and_have_structure(kind):
    obj = make_object(kind, (90, 70), np.random.default_rng(0))
    assert obj.shape == (90, 70)
    assert obj.dtype == np.complex64
    amplitude, phase = np.abs(obj), np.angle(obj)
    assert amplitude.max() <= 1 + 1e-6
    assert amplitude.min() > 0.5
    assert amplitude.std() > 0.01
    assert phase.std() > 0.1
    assert 0.3 < np.ptp(phase) < 1.3


def test_objects_of_different_kinds_differ():
    natural, leaves, chip = (make_object(k, (64, 64), np.random.default_rng(0)) for k in KINDS)
    for first, second in ((natural, leaves), (leaves, chip), (chip, natural)):
        assert abs(np.corrcoef(np.angle(first).ravel(), np.angle(second).ravel())[0, 1]) < 0.5


def test_photograph_in_phase_is_not_the_one_in_amplitude():
    obj = make_object("natural", (96, 96), np.random.default_rng(0))
    assert abs(np.corrcoef(np.abs(obj).ravel(), np.angle(obj).ravel())[0, 1]) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_scanned(kind):
    scan = simulate(**SMALL | {"kind": kind, "n_patterns": 16})
    assert scan.truth is not None
    assert scan.notes["values"].startswith("counts")


def light_and_distance(probe):
    axis = np.arange(len(probe)) - len(probe) // 2
    return np.square(np.abs(probe)), np.hypot(axis[:, None], axis[None])


@pytest.mark.parametrize(("size", "radius"), [(64, 12.0), (32, 7.0), (65, 12.0), (128, 25.0)])
def test_probe_has_unit_energy_inside_the_patch(size, radius):
    probe = zone_plate_probe(size, radius)
    assert probe.dtype == np.complex64
    light, distance = light_and_distance(probe)
    assert light.sum() == pytest.approx(1, rel=1e-5)
    assert light[distance < size / 2 - 1].sum() > 0.99
    assert light[distance < 1.3 * radius].sum() > 0.9


@pytest.mark.parametrize(("size", "radius"), [(64, 12.0), (65, 12.0), (128, 25.0)])
def test_probe_is_a_ring_around_the_shadow_of_the_stop(size, radius):
    light, distance = light_and_distance(zone_plate_probe(size, radius))
    brightness = [light[np.abs(distance - r) < 0.5].mean() for r in range(size // 2)]
    brightest = int(np.argmax(brightness))
    assert 0.3 * radius < brightest < radius
    assert brightness[0] < 0.6 * brightness[brightest]


def test_probe_grows_with_its_radius():
    def spread(radius):
        light = np.square(np.abs(zone_plate_probe(64, radius)))
        axis = np.arange(64) - 32
        return np.sqrt((light * (axis[:, None] ** 2 + axis[None] ** 2)).sum())

    assert spread(6.0) < spread(9.0) < spread(14.0)


@pytest.mark.parametrize("changes", [{"step": 1e4}, {"n_patterns": 1_000_000, "patch_size": 64}])
def test_a_scan_too_large_to_simulate_is_refused(changes):
    wanted = {"kind": "chip", "n_patterns": 64, "patch_size": 32, "photons": 1e4} | changes
    with pytest.raises(DataError, match="too large to simulate; ask for fewer patterns"):
        simulate(**wanted)
