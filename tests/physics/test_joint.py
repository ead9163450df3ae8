"""Object and instrument found together; what was wrong at the start is told by name."""

import math
from dataclasses import replace

import pytest
import torch

from ptycho.data.simulate import simulate, zone_plate_probe
from ptycho.physics import joint
from ptycho.physics.forward import Experiment
from ptycho.physics.instrument import Freedom, Instrument, add_modes, settle
from ptycho.physics.joint import JointSolver, coarse_joint_solution, transformed
from ptycho.physics.likelihood import amplitude_misfit, poisson_misfit
from ptycho.physics.probe import centre_of_light
from ptycho.physics.solver import Recipe, fine_cutoff
from ptycho.physics.sweep import sweep, sweep_both
from tests.operators import complex_noise

ROOM = 8  # pixels around the outermost patches


@pytest.fixture(scope="module")
def scan():
    made = simulate(
        kind="chip", n_patterns=256, patch_size=32, photons=1e6, step=3.5, probe_radius=7.0
    )
    truth = torch.nn.functional.pad(torch.from_numpy(made.truth), (ROOM,) * 4, value=1)
    known = Instrument(torch.from_numpy(made.probe), torch.from_numpy(made.positions) + ROOM)
    return known, truth, torch.from_numpy(made.amplitude)


def solve(start, amplitude, shape, freedom, iterations=(8, 8, 8)):
    coarse, full, poisson = iterations
    recipe = Recipe()
    obj, found = coarse_joint_solution(start, amplitude, shape, coarse, recipe, freedom)
    cutoff = fine_cutoff(start.probe, recipe)
    solver = JointSolver(found, amplitude, shape, recipe, freedom, cutoff, home=start)
    obj = solver.run(obj, full)
    return solver.run(obj, poisson, poisson=True), solver.instrument


def likeness(obj, truth, known):
    """Complex correlation with the truth between the outermost positions."""
    low, high = known.positions.amin(0).ceil().int(), known.positions.amax(0).floor().int()
    middle = slice(low[0], high[0]), slice(low[1], high[1])
    a, b = obj[middle] - obj[middle].mean(), truth[middle] - truth[middle].mean()
    return float((a * b.conj()).sum().abs() / (a.norm() * b.norm()))


def agreement(probe, other):
    """1 for probes that differ by a phase."""
    return float((probe.conj() * other).sum().abs() / (probe.norm() * other.norm()))


def plain(start, amplitude, shape, iterations=(8, 8, 8)):
    """The same with nothing free."""
    return solve(start, amplitude, shape, Freedom(), iterations)[0]


@pytest.mark.parametrize("judge", [poisson_misfit, amplitude_misfit])
@pytest.mark.parametrize("threads", [1, 2])
def test_both_gradients_are_those_of_autograd(judge, threads):
    probe, positions = complex_noise(2, 8, 8), 5 + 12 * torch.rand(9, 2).double()
    known = Instrument(probe, positions, 0.5 + torch.rand(9).double(), torch.rand(8, 8).double())
    obj, amplitude = complex_noise(24, 24), 0.5 + torch.rand(9, 8, 8).double()
    free = [obj.clone().requires_grad_(), probe.clone().requires_grad_()]
    model = Experiment(free[1], positions, flux=known.flux, background=known.background)
    expected = model(free[0], torch.arange(9))
    total, factor = judge(expected.detach().clone(), amplitude)
    gradients = torch.autograd.grad(expected, free, -factor)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        asked = sweep_both(known.experiment(), obj, amplitude, judge, batch_size=2)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(asked.misfit, total)
    torch.testing.assert_close(-2 * asked.obj, gradients[0])
    torch.testing.assert_close(-2 * asked.probe, gradients[1])
    torch.testing.assert_close(asked.light, known.experiment().illumination((24, 24)))
    torch.testing.assert_close(
        asked.obj, sweep(known.experiment(), obj, amplitude, judge)[0], msg="as the plain sweep"
    )


def wrong_probe(known):
    beam = torch.from_numpy(zone_plate_probe(32, 1.25 * 7.0, 1.1 * 0.17))[None]
    ramp = torch.exp(2j * math.pi * 0.25 * torch.arange(32)[:, None] / 32)
    return replace(known, probe=beam * ramp * known.probe.norm() / beam.norm())


def test_a_wrong_probe_is_found(scan):
    known, truth, amplitude = scan
    start = wrong_probe(known)
    obj, found = solve(start, amplitude, truth.shape, Freedom(probe=True))
    stuck = plain(start, amplitude, truth.shape)
    assert likeness(stuck, truth, known) < 0.9
    assert likeness(obj, truth, known) > 0.99
    assert agreement(start.probe, known.probe) < 0.95
    assert agreement(found.probe, known.probe) > 0.985
    torch.testing.assert_close(found.probe.norm(), start.probe.norm(), rtol=1e-3, atol=0)
    assert found.positions is start.positions or torch.equal(found.positions, start.positions)


def test_wrong_positions_are_found(scan):
    known, truth, amplitude = scan
    torch.manual_seed(0)
    off = torch.randn(256, 2).double()
    start = replace(known, positions=known.positions + off - off.mean(0))
    obj, found = solve(start, amplitude, truth.shape, Freedom(positions=True), (14, 13, 8))
    assert likeness(plain(start, amplitude, truth.shape), truth, known) < 0.98
    assert likeness(obj, truth, known) > 0.995
    error = (found.positions - known.positions).norm(dim=1).median()
    assert error < 0.2 * off.norm(dim=1).median()
    torch.testing.assert_close(found.positions.mean(0), start.positions.mean(0))
    assert torch.equal(found.probe, start.probe), "to the last bit, or a run says it moved"


def test_a_wrong_scale_of_the_positions_is_found(scan):
    known, truth, amplitude = scan
    centre = known.positions.mean(0)
    start = replace(known, positions=centre + 1.02 * (known.positions - centre))
    _, found = solve(start, amplitude, truth.shape, Freedom(positions=True), (8, 25, 13))
    away = known.positions - centre
    spread = torch.linalg.lstsq(away, found.positions - centre).solution.diagonal() - 1
    assert spread.abs().max() < 0.005


def test_a_free_probe_leaves_the_spread_of_the_scan(scan):
    """It nearly makes up for a wrong one, which would drift otherwise."""
    known, truth, amplitude = scan
    away = known.positions - known.positions.mean(0)
    start = replace(known, positions=known.positions + 0.01 * away)
    _, found = solve(start, amplitude, truth.shape, Freedom(probe=True, positions=True), (6, 6, 0))
    change = found.positions - start.positions
    assert change.abs().max() > 0.05
    spread = torch.linalg.lstsq(away, change).solution
    assert spread.abs().max() < 1e-9


@pytest.mark.parametrize("filled", [False, True])
def test_the_same_shifts_lead_to_the_same_bits(scan, monkeypatch, filled):
    """Whatever was in the memory before."""
    known, truth, amplitude = scan
    freedom = Freedom(probe=True, positions=True)
    # around zero, no last bit is lost in the sum of position and shift
    near = 1e-6 * (known.positions - known.positions.mean(0)) * torch.tensor([1.0, 2.0]).double()
    home = replace(known, positions=near)
    solver = JointSolver(known, amplitude, truth.shape, Recipe(), freedom, 0.05, home=home)
    moved = near + 0.3 * torch.randn(256, 2, generator=torch.Generator().manual_seed(0)).double()
    first = solver._moved(home, moved).positions
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", filled)
    torch.use_deterministic_algorithms(True)
    try:
        again = [solver._moved(home, moved).positions for _ in range(20)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, first) for one in again)


@pytest.mark.parametrize("full", [0, 6])
def test_no_position_goes_farther_than_allowed(scan, full):
    known, truth, amplitude = scan
    start = replace(known, positions=known.positions + 2 * torch.randn(256, 2).double())
    freedom = Freedom(positions=True, max_shift=0.5)
    _, found = solve(start, amplitude, truth.shape, freedom, (6, full, 0))
    moved = (found.positions - start.positions).abs().max()
    assert 0.25 < moved <= 0.5 + 1e-9


def test_positions_that_must_stay_do_not_let_the_object_go(scan):
    """Or it would be stretched time and again, away from what the patterns show."""
    known, truth, amplitude = scan
    centre = known.positions.mean(0)
    start = replace(known, positions=centre + 1.04 * (known.positions - centre))
    freedom = Freedom(positions=True, max_shift=0.01)
    solver = JointSolver(start, amplitude, truth.shape, Recipe(), freedom, 0.05)
    went = []
    real = joint.transformed

    def spy(obj, mapping, middle):
        went.append((mapping - torch.eye(2)).abs().max() * (start.positions - centre).abs().max())
        return real(obj, mapping, middle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint, "transformed", spy)
        solver.run(torch.ones_like(truth), 20, wait=4)
    assert len(went) == 30  # two objects: the last and the one ahead
    assert max(went) < 0.05


def test_flux_and_background_are_found(scan):
    known, truth, _ = scan
    flux = 1 + 0.05 * torch.randn(256)
    background = torch.full((32, 32), 4.0)
    real = replace(known, flux=flux, background=background)
    counts = torch.poisson(real.experiment()(truth, torch.arange(256)))
    amplitude = counts.sqrt()
    obj, found = solve(known, amplitude, truth.shape, Freedom(flux=True, background=True))
    assert likeness(obj, truth, known) > likeness(
        plain(known, amplitude, truth.shape), truth, known
    )
    assert torch.corrcoef(torch.stack([found.flux, flux]))[0, 1] > 0.99
    assert found.flux.mean() == pytest.approx(1, abs=1e-4)
    assert (found.background >= 0).all()
    assert found.background.mean() == pytest.approx(4, rel=0.25)


def test_a_blocked_beam_is_dark_and_no_negative(scan):
    """Its pattern holds fewer photons than the background is first thought to be."""
    known, truth, _ = scan
    background = torch.full((32, 32), 5.0)
    counts = replace(known, background=background).experiment()(truth, torch.arange(256))
    counts[100], counts[101] = background, 0
    freedom = Freedom(flux=True, background=True)
    obj, found = solve(known, torch.poisson(counts).sqrt(), truth.shape, freedom)
    assert likeness(obj, truth, known) > 0.98
    assert (found.flux[100:102] < 0.05).all()
    assert (found.flux > 0).all()


def test_a_second_mode_is_found(scan):
    known, truth, _ = scan
    both = add_modes(known.probe, 2, share=0.2)
    real = replace(known, probe=both)
    amplitude = torch.poisson(real.experiment()(truth, torch.arange(256))).sqrt()
    one = replace(known, probe=both[:1] * both.norm() / both[:1].norm())
    two = replace(one, probe=add_modes(one.probe, 2))
    found = [solve(start, amplitude, truth.shape, Freedom(probe=True))[0] for start in (one, two)]
    likenesses = [likeness(obj, truth, known) for obj in found]
    assert likenesses[1] > likenesses[0] + 0.003
    assert likenesses[1] > 0.99


def test_a_run_ends_with_what_no_pattern_tells_pinned(scan):
    known, truth, amplitude = scan
    start = replace(wrong_probe(known), probe=add_modes(wrong_probe(known).probe, 2))
    freedom = Freedom(probe=True)
    solver = JointSolver(start, amplitude, truth.shape, Recipe(), freedom, 0.05)
    obj, found = solver.run(truth, 10), solver.instrument
    torch.testing.assert_close(
        centre_of_light(found.probe), centre_of_light(start.probe), rtol=0, atol=5e-3
    )
    light = found.experiment().illumination(truth.shape)
    for axis, n in enumerate(truth.shape):
        later, sooner = (obj.narrow(axis, first, n - 1) for first in (1, 0))
        rise = later * sooner.conj() * light.narrow(axis, 0, n - 1)
        assert abs(float(rise.sum().angle())) < 1e-3
    flat = found.probe.flatten(1)
    products = (flat.conj() @ flat.T).abs()
    assert products[0, 1] < 1e-4 * products[1, 1] < products[0, 0]


def test_patterns_held_out_only_say_where_they_were_taken(scan):
    known, truth, amplitude = scan
    take = torch.arange(0, 256, 2)
    other = amplitude.clone()
    other[1::2] = other[1::2].flip(0)
    recipe, freedom = Recipe(), Freedom(probe=True, positions=True)
    found = []
    for measured in (amplitude, other):
        solver = JointSolver(known, measured, truth.shape, recipe, freedom, 0.05, take, coarse=True)
        found.append((solver.run(torch.ones_like(truth), 4, wait=9), solver.instrument))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0)
    torch.testing.assert_close(found[0][1].probe, found[1][1].probe, rtol=0, atol=0)


def test_calibration_leaves_the_object(scan):
    known, truth, amplitude = scan
    start = wrong_probe(known)
    solver = JointSolver(start, amplitude, truth.shape, Recipe(), Freedom(probe=True), 0.05)
    kept = truth.clone()
    solver.calibrate(truth, 10)
    assert torch.equal(truth, kept)
    assert agreement(solver.instrument.probe, known.probe) > 0.985
    assert agreement(start.probe, known.probe) < 0.95


def test_transformed_moves_points():
    obj = torch.ones(40, 40, dtype=torch.complex64)
    obj[10, 30] = 5
    centre = torch.tensor([20.0, 20.0]).double()
    mapping = torch.tensor([[0.5, 0], [0, 0.5]]).double()
    found = transformed(obj, mapping, centre)
    assert found.abs().argmax() == 15 * 40 + 25
    torch.testing.assert_close(transformed(obj, torch.eye(2).double(), centre), obj)


def test_a_coarse_start_pins_nothing_before_the_rim_is_back(scan, monkeypatch):
    """Modes mixed and turned at half resolution would not fit the rim of the detector."""
    known, truth, amplitude = scan
    shapes = []

    def spy(obj, instrument, light, reference):
        shapes.append((tuple(obj.shape), instrument.probe.shape[-1]))
        return settle(obj, instrument, light, reference)

    monkeypatch.setattr(joint, "settle", spy)
    two = replace(known, probe=add_modes(known.probe, 2))
    coarse_joint_solution(two, amplitude, truth.shape, 3, Recipe(), Freedom(probe=True))
    assert shapes == [(tuple(truth.shape), 32)]


def test_subsets_that_leave_holes_are_not_used():
    """Where patterns hardly overlap, half of them would guess what the others see."""
    made = simulate(
        kind="chip", n_patterns=64, patch_size=32, photons=1e6, step=9.0, jitter=0, probe_radius=5.0
    )
    known = Instrument(torch.from_numpy(made.probe), torch.from_numpy(made.positions))
    amplitude, taken = torch.from_numpy(made.amplitude), []
    real = joint.sweep_both

    def spy(experiment, *arguments, **more):
        taken.append(len(experiment.row))
        return real(experiment, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint, "sweep_both", spy)
        freedom = Freedom(probe=True)
        solver = JointSolver(known, amplitude, made.truth.shape, Recipe(), freedom, 0.1)
        solver.run(torch.ones(made.truth.shape, dtype=torch.complex64), 2)
    assert taken == [64, 64]
