from dataclasses import replace

import pytest
import torch

from ptycho.physics.forward import Experiment
from ptycho.physics.fourier import fourier_crop, fourier_shift, paste_spectrum
from ptycho.physics.instrument import (
    Instrument,
    add_modes,
    orthogonal_modes,
    settle,
)
from ptycho.physics.probe import centre_of_light
from tests.operators import assert_adjoint, complex_noise, energy

SIZE = 16
EVERY = torch.arange(7)


def envelope():
    axis = torch.arange(SIZE, dtype=torch.float64) - SIZE / 2
    return torch.exp(-(axis[:, None].square() + axis[None, :].square()) / 10)


def an_instrument(modes=2):
    positions = 12 + 14 * torch.rand(7, 2, dtype=torch.float64)
    return Instrument(
        100 * envelope() * complex_noise(modes, SIZE, SIZE),
        (positions * 16).round() / 16,
        flux=0.5 + torch.rand(7, dtype=torch.float64),
        background=torch.rand(SIZE, SIZE, dtype=torch.float64),
    )


def test_flux_and_background_are_the_formula():
    known, obj = an_instrument(), complex_noise(40, 40)
    plain = Experiment(known.probe, known.positions)(obj, EVERY)
    expected = known.flux[:, None, None] * plain + known.background
    torch.testing.assert_close(known.experiment()(obj, EVERY), expected)
    some = torch.tensor([5, 2])
    torch.testing.assert_close(known.experiment()(obj, some), expected[some])
    torch.testing.assert_close(
        known.experiment().of(some)(obj, torch.tensor([1])), expected[some[1:]]
    )


def test_illumination_knows_the_flux():
    known = an_instrument()
    alone = [
        f * Experiment(known.probe, known.positions[i : i + 1]).illumination((40, 40))
        for i, f in enumerate(known.flux)
    ]
    torch.testing.assert_close(known.experiment().illumination((40, 40)), sum(alone))


def test_gathering_is_the_adjoint_of_tabulating():
    known = an_instrument()
    experiment = known.experiment()
    assert_adjoint(
        lambda probe: replace(known, probe=probe).experiment().table,
        experiment.gather,
        complex_noise(2, SIZE, SIZE),
        complex_noise(*experiment.table.shape),
    )


def test_what_is_found_at_half_resolution_comes_back():
    known = an_instrument()
    coarse = known.halved()
    back = known.with_coarse(coarse)
    for name in ("probe", "positions", "flux", "background"):
        torch.testing.assert_close(getattr(back, name), getattr(known, name))
    other = replace(
        coarse, probe=2 * coarse.probe, flux=2 * coarse.flux, background=3 * coarse.background
    )
    found = known.with_coarse(other).halved()
    torch.testing.assert_close(found.flux, other.flux)
    torch.testing.assert_close(found.probe, other.probe)
    torch.testing.assert_close(found.background, other.background)


def test_pasting_a_spectrum_leaves_high_frequencies():
    fine, coarse = complex_noise(3, 16, 16), complex_noise(3, 8, 8)
    pasted = paste_spectrum(fine, coarse)
    torch.testing.assert_close(fourier_crop(pasted, 8), coarse)
    outside = energy(fine) - energy(fourier_crop(fine, 8))
    torch.testing.assert_close(energy(pasted), outside + energy(coarse))


def test_no_pattern_can_tell_what_is_pinned():
    known, obj = an_instrument(modes=1), torch.ones(64, 64, dtype=torch.complex128)
    obj[20:44, 20:44] += 0.1 * complex_noise(24, 24)
    beam = fourier_crop(known.probe, 6)  # smooth, so that it can be shifted
    smooth = paste_spectrum(torch.zeros_like(known.probe), beam) * envelope()
    moved = replace(known, probe=smooth, positions=(known.positions + 12).round())
    light = moved.experiment().illumination((64, 64))
    slope = torch.tensor([0.05, -0.03], dtype=torch.float64)
    axis = torch.arange(64, dtype=torch.float64) - 32
    ramp = torch.exp(1j * (slope[0] * axis[:, None] + slope[1] * axis[None, :]))
    wrong = replace(moved, probe=moved.probe * ramp[24:40, 24:40].conj())
    before = moved.experiment()(obj, EVERY)
    torch.testing.assert_close(wrong.experiment()(obj * ramp, EVERY), before)
    settled, pinned = settle(obj * ramp, wrong, light, centred_on(wrong.probe, (7.5, 8.25)))
    # shifts across the border of the patch are the only difference
    after = pinned.experiment()(settled, EVERY)
    assert float((after - before).abs().sum() / before.sum()) < 0.02
    rise = settled[:, 1:] * settled[:, :-1].conj() * light[:, :-1]
    assert abs(float(rise.sum().angle())) < 5e-3  # light and object have moved
    found = centre_of_light(pinned.probe)
    torch.testing.assert_close(found, torch.tensor([7.5, 8.25]).double(), atol=0.02, rtol=0)


def centred_on(probe, centre):
    shift = torch.tensor(centre, dtype=torch.float64) - centre_of_light(probe)
    return fourier_shift(probe, shift)


def test_orthogonal_modes_give_the_same_patterns():
    known, obj = an_instrument(modes=3), complex_noise(40, 40)
    mixed = replace(known, probe=orthogonal_modes(known.probe))
    torch.testing.assert_close(mixed.experiment()(obj, EVERY), known.experiment()(obj, EVERY))
    flat = mixed.probe.flatten(1)
    products = flat.conj() @ flat.T
    torch.testing.assert_close(products, torch.diag(products.diagonal()))
    assert (products.diagonal().real.diff() < 0).all()


@pytest.mark.parametrize("count", [2, 3, 6])
def test_added_modes_are_orthogonal_and_bring_no_photons(count):
    probe = an_instrument(modes=1).probe
    found = add_modes(probe, count, share=0.05)
    assert found.shape == (count, SIZE, SIZE)
    torch.testing.assert_close(energy(found), energy(probe))
    flat = found.flatten(1)
    products = (flat.conj() @ flat.T).abs()
    assert (products - torch.diag(products.diagonal())).max() < 1e-9 * energy(probe)
    shares = products.diagonal() / energy(probe)
    torch.testing.assert_close(shares[1:] / shares[0], torch.full((count - 1,), 0.05).double())


def test_a_probe_with_modes_enough_stays():
    probe = an_instrument(modes=2).probe
    assert add_modes(probe, 2) is probe
    assert add_modes(probe, 1) is probe


def test_a_mode_that_is_already_there_is_not_added_again():
    axis = torch.arange(SIZE).double() - SIZE // 2
    beam = torch.exp(-(axis[:, None] ** 2 + axis**2) / 6).to(torch.complex128)
    probe = torch.stack([beam, 0.3 * beam * axis[:, None], 0.3 * beam * axis])
    found = add_modes(probe, 5)
    assert found.shape == (5, SIZE, SIZE)
    unit = (found / found.abs().square().sum((1, 2), keepdim=True).sqrt()).flatten(1)
    likeness = (unit.conj() @ unit.T).abs() - torch.eye(5)
    assert likeness[3:].max() < 0.01
    spectrum = torch.fft.fft2(found).abs().square()  # rounding errors made a mode would be rough
    rough = spectrum[:, SIZE // 2 - 1 : SIZE // 2 + 2].sum((1, 2)) / spectrum.sum((1, 2))
    assert rough.max() < 0.1


def test_a_beam_of_one_pixel_has_one_mode():
    probe = torch.zeros(1, SIZE, SIZE, dtype=torch.complex64)
    probe[0, 3, 4] = 1
    assert add_modes(probe, 2).shape == (1, SIZE, SIZE)
