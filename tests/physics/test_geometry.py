import pytest
import torch

from ptycho.data.simulate import simulate
from ptycho.physics.geometry import gradient, inquire, likelier_shifts, magnification
from ptycho.physics.instrument import Instrument
from ptycho.physics.joint import transformed
from ptycho.physics.mask import hide


@pytest.fixture(scope="module")
def scan():
    made = simulate(
        kind="natural", n_patterns=100, patch_size=32, photons=1e6, step=3.5, probe_radius=7.0
    )
    arrays = made.probe, made.positions, made.truth
    probe, positions, truth = (torch.from_numpy(array) for array in arrays)
    # on the grid of tabulated shifts, and with room around
    positions = (positions * 16).round() / 16
    return Instrument(probe, positions), truth


def amplitudes(known, obj):
    """Noise-free."""
    return known.experiment()(obj, torch.arange(len(known.positions))).sqrt()


def moved(known, shift):
    return Instrument(known.probe, known.positions + shift, known.flux, known.background)


def test_patterns_say_where_they_were_taken(scan):
    known, truth = scan
    torch.manual_seed(0)
    shift = torch.randint(-4, 5, (100, 2)).double() / 16
    found = inquire(moved(known, -shift).experiment(), truth, amplitudes(known, truth))
    asked = likelier_shifts(found, torch.zeros(100, 2).double())
    assert asked.shape == (100, 2)
    # one step of Fisher scoring, damped by a tenth
    left = (asked - shift).norm(dim=1)
    assert left.median() < 0.35 * shift.norm(dim=1).median()


def test_a_pattern_over_an_even_area_stays(scan):
    known, truth = scan
    found = inquire(known.experiment(), torch.ones_like(truth), amplitudes(known, truth))
    asked = likelier_shifts(found, torch.zeros(100, 2).double())
    assert torch.isfinite(asked).all()
    assert asked.abs().max() < 1e-3
    # it knows nothing against what was said
    away = torch.linspace(-1, 1, 200).reshape(100, 2).double()
    torch.testing.assert_close(likelier_shifts(found, away), -away, rtol=0, atol=1e-3)


def test_noise_moves_no_pattern_where_none_was_wrong(scan):
    known, truth = scan
    torch.manual_seed(0)
    dim = Instrument(known.probe / 30, known.positions)  # 1e3 photons
    counted = torch.poisson(amplitudes(dim, truth).square()).sqrt()
    found = inquire(dim.experiment(), truth, counted)
    alone = torch.linalg.solve(found.information.double(), found.score.double())
    asked = likelier_shifts(found, torch.zeros(100, 2).double())
    assert alone.norm(dim=1).median() > 0.1
    assert asked.norm(dim=1).median() < 0.2 * alone.norm(dim=1).median()
    # where they scatter by more than the noise, they still find back
    off = torch.randn(100, 2).double()
    found = inquire(moved(dim, off).experiment(), truth, counted)
    left = off + likelier_shifts(found, off)
    assert left.norm(dim=1).median() < 0.6 * off.norm(dim=1).median()


def test_flux_is_found_at_once(scan):
    known, truth = scan
    flux = torch.linspace(0.8, 1.2, 100)
    lit = Instrument(known.probe, known.positions, flux=flux)
    found = inquire(known.experiment(), truth, amplitudes(lit, truth))
    torch.testing.assert_close(found.flux, flux, rtol=1e-3, atol=0)
    # and again from there
    found = inquire(lit.experiment(), truth, amplitudes(lit, truth))
    torch.testing.assert_close(found.flux, torch.ones(100), rtol=1e-3, atol=0)


def test_background_is_found(scan):
    known, truth = scan
    background = 3 + torch.linspace(-1, 1, 32)[:, None] * torch.linspace(0, 2, 32)
    seen = Instrument(known.probe, known.positions, background=background)
    measured, now = amplitudes(seen, truth), known
    for _ in range(6):
        step = inquire(now.experiment(), truth, measured).background
        before = 0 if now.background is None else now.background
        now = Instrument(known.probe, known.positions, background=before + step)
    # at the border, neighbours are missing on one side
    inside = slice(4, -4), slice(4, -4)
    assert (now.background - background)[inside].abs().max() < 0.3


def test_bad_pixels_say_nothing(scan):
    known, truth = scan
    bad = torch.zeros(32, 32, dtype=torch.bool)
    bad[10:14, 5:30] = True
    measured = amplitudes(known, truth)
    shifted = moved(known, 0.25)
    plain = inquire(shifted.experiment(), truth, hide(measured, bad))
    measured[:, bad] = 1e3
    wild = inquire(shifted.experiment(), truth, hide(measured, bad))
    for one, other in zip(plain, wild, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("spread", [(0.01, 0, 0, 0), (0, 0, 0, -0.008), (0, 0.006, -0.006, 0)])
def test_a_scan_that_is_spread_too_far_says_so(scan, spread):
    known, truth = scan
    measured = amplitudes(known, truth)
    mapping = torch.eye(2).double() + torch.tensor(spread).double().reshape(2, 2)
    centre = known.positions.mean(0)
    wrong = Instrument(known.probe, centre + (known.positions - centre) @ mapping.T)
    stretched = transformed(truth, mapping, centre)
    found = magnification(wrong.experiment(), stretched, measured)
    torch.testing.assert_close(found.flatten(), torch.tensor(spread).double(), atol=2e-3, rtol=0)
    right = magnification(known.experiment(), truth, measured)
    assert right.abs().max() < 2e-4


def test_gradient_of_a_wave():
    turns = torch.arange(24, dtype=torch.float64) / 24
    wave = torch.exp(2j * torch.pi * (3 * turns[:, None] - 2 * turns[None, :]))
    down, right = gradient(wave)
    torch.testing.assert_close(down, 2j * torch.pi * 3 / 24 * wave)
    torch.testing.assert_close(right, -2j * torch.pi * 2 / 24 * wave)
