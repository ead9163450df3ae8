import pytest
import torch

from ptycho.physics.patches import add_patches, extract_patches
from ptycho.physics.synchronise import synchronised_phases, turn_onto
from tests.operators import complex_noise

SIZE, STEP, SIDE = 12, 4, 8
SHAPE = (SIDE * STEP + SIZE, SIDE * STEP + SIZE)


@pytest.fixture
def corners():
    steps = torch.arange(SIDE) * STEP
    return torch.cartesian_prod(steps, steps) + torch.randint(0, 3, (SIDE**2, 2))


@pytest.fixture
def windows(corners):
    obj = 1 + 0.3 * complex_noise(*SHAPE)
    return extract_patches(obj, corners, SIZE)


WEIGHTS = torch.rand(SIZE, SIZE, dtype=torch.float64) + 0.1


def phases_of(n, spread):
    angles = spread * (2 * torch.rand(n, dtype=torch.float64) - 1)
    return torch.polar(torch.ones_like(angles), angles)


def away(found, wanted):
    """Largest difference in radians of phases that may be turned together."""
    turn = found * wanted.conj()
    return float((turn * turn.mean().conj()).angle().abs().max())


def test_patches_that_agree_stay(windows, corners):
    found = synchronised_phases(windows, WEIGHTS, corners, SHAPE)
    torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-2)


@pytest.mark.parametrize("spread", [0.5, 2.0, 3.14])
def test_any_phases_are_undone(windows, corners, spread):
    wrong = phases_of(len(windows), spread)
    found = synchronised_phases(
        windows * wrong[:, None, None], WEIGHTS, corners, SHAPE, iterations=1000
    )
    assert away(found, wrong.conj()) < 0.1
    torch.testing.assert_close(found.abs(), torch.ones_like(found.real))


def test_noise_does_not_prevent_it(windows, corners):
    wrong = phases_of(len(windows), 3.14)
    noisy = windows + 0.5 * complex_noise(*windows.shape)
    found = synchronised_phases(
        noisy * wrong[:, None, None], WEIGHTS, corners, SHAPE, iterations=1000
    )
    assert away(found, wrong.conj()) < 0.3


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_batch_is_memory_only(windows, corners, batch):
    wrong = windows * phases_of(len(windows), 2.0)[:, None, None]
    found = synchronised_phases(wrong, WEIGHTS, corners, SHAPE, batch=batch)
    torch.testing.assert_close(found, synchronised_phases(wrong, WEIGHTS, corners, SHAPE))


def test_a_dark_patch_spoils_nothing(windows, corners):
    windows[5] = 0
    found = synchronised_phases(windows, WEIGHTS, corners, SHAPE)
    assert torch.isfinite(found.abs()).all()
    assert away(found[6:], torch.ones_like(found[6:])) < 0.05


def test_the_mean_phase_is_zero(windows, corners):
    found = synchronised_phases(1j * windows, WEIGHTS, corners, SHAPE)
    assert float(found.sum().angle()) == pytest.approx(0, abs=1e-9)


def test_a_patch_that_hardly_overlaps_finds_its_phase_as_well():
    """It agrees with itself most of all, which says nothing."""
    corners = torch.tensor([[0, 0], [3, 3], [6, 0], [9, 3], [3, 8], [6, 16], [9, 24]])
    wrong = phases_of(len(corners), 3.14)
    windows = wrong[:, None, None].repeat(1, SIZE, SIZE)
    found = synchronised_phases(windows, torch.ones_like(WEIGHTS), corners, (40, 60))
    assert away(found, wrong.conj()) < 0.01


@pytest.mark.parametrize("angle", [0.0, 0.7, 3.0, -2.0])
def test_a_block_is_turned_onto_what_is_there(windows, corners, angle):
    weighted = [windows * WEIGHTS, WEIGHTS.expand(windows.shape).contiguous()]
    there, new = slice(0, 40), slice(40, None)
    canvas, light = (add_patches(one[there], corners[there], SHAPE) for one in weighted)
    wrong = torch.polar(torch.tensor(1.0), torch.tensor(angle))
    turn = turn_onto(windows[new] * wrong, WEIGHTS, corners[new], canvas, light)
    torch.testing.assert_close(turn, wrong.conj().to(turn.dtype))


def test_a_block_that_overlaps_nothing_stays(windows, corners):
    nothing = torch.zeros(SHAPE, dtype=windows.dtype)
    turn = turn_onto(1j * windows, WEIGHTS, corners, nothing, nothing.real)
    assert turn == 1
