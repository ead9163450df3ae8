import pytest
import torch
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from ptycho.physics.patches import (
    add_at,
    add_by_index_,
    add_patches,
    add_patches_,
    extract_at,
    extract_patches,
    split_positions,
    stitch,
    window_index,
)
from tests.operators import assert_adjoint, complex_noise

CORNERS = torch.tensor([[0, 0], [5, 4], [2, 3], [2, 3], [1, 0]])  # touches the rim, one twice
CANVAS = (10, 9)
SIZE = 5


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            # expanded and unfolded views look large and cost nothing
            stored = result.untyped_storage().nbytes() // result.element_size()
            self.elements = max(self.elements, stored)
        return result


@pytest.mark.parametrize("size", [4, 5])
def test_positions_split_into_corner_and_rest(size):
    positions = torch.tensor([[7.0, 8.0], [7.5, 8.49], [6.51, 8.75]], dtype=torch.float64)
    corners, rest = split_positions(positions, size)
    assert rest.dtype == torch.float64
    assert ((rest >= -0.5) & (rest < 0.5)).all()
    torch.testing.assert_close(corners + size // 2 + rest, positions)
    assert corners[0].tolist() == [7 - size // 2, 8 - size // 2]


def test_patch_is_the_slice_around_its_centre():
    obj = complex_noise(12, 11)
    corners, _ = split_positions(torch.tensor([[6.0, 5.0]]), 4)
    torch.testing.assert_close(extract_patches(obj, corners, 4)[0], obj[4:8, 3:7])


def test_window_index_counts_rows_then_columns():
    index = window_index(CORNERS, SIZE, CANVAS[1]).long()
    flat = torch.arange(CANVAS[0] * CANVAS[1])
    expected = extract_patches(flat.view(CANVAS).double(), CORNERS, SIZE)
    torch.testing.assert_close(flat[index].double(), expected)


def test_adding_is_adjoint_to_cutting():
    assert_adjoint(
        lambda obj: extract_patches(obj, CORNERS, SIZE),
        lambda patches: add_patches(patches, CORNERS, CANVAS),
        complex_noise(*CANVAS),
        complex_noise(len(CORNERS), SIZE, SIZE),
    )


@pytest.mark.parametrize("size", [4, 5])
def test_adding_between_pixels_is_adjoint_to_cutting_there(size):
    positions = 3 + 3 * torch.rand(6, 2, dtype=torch.float64)
    positions[1] = positions[0]
    assert_adjoint(
        lambda obj: extract_at(obj, positions, size),
        lambda patches: add_at(patches, positions, CANVAS),
        complex_noise(*CANVAS),
        complex_noise(len(positions), size, size),
    )


def test_cutting_at_whole_pixels_is_plain_cutting():
    positions = torch.tensor([[4.0, 5.0], [6.0, 3.0]], dtype=torch.float64)
    corners, _ = split_positions(positions, 4)
    obj = complex_noise(*CANVAS)
    torch.testing.assert_close(extract_at(obj, positions, 4), extract_patches(obj, corners, 4))


def test_cutting_between_pixels_interpolates():
    """A wave that is periodic in the patch is known between its pixels."""
    axis = torch.arange(24, dtype=torch.float64)
    wave = torch.exp(2j * torch.pi * (2 * axis[:, None] + axis[None, :]) / 8)
    centre = torch.tensor([[10.3, 12.8]], dtype=torch.float64)
    y, x = (centre[0, i] + torch.arange(8) - 4 for i in (0, 1))
    expected = torch.exp(2j * torch.pi * (2 * y[:, None] + x[None, :]) / 8)
    torch.testing.assert_close(extract_at(wave, centre, 8)[0], expected)


def test_repeated_patches_add_up():
    patch = torch.ones(1, 2, 2).expand(3, 2, 2)
    corners = torch.tensor([[1, 1]]).expand(3, 2)
    canvas = add_patches(patch, corners, (4, 5))
    assert canvas.sum() == 12
    assert (canvas[1:3, 1:3] == 3).all()


def test_adding_keeps_what_the_canvas_holds():
    canvas, patches = complex_noise(*CANVAS), complex_noise(len(CORNERS), SIZE, SIZE)
    expected = canvas + add_patches(patches, CORNERS, CANVAS)
    add_patches_(canvas, patches, CORNERS)
    torch.testing.assert_close(canvas, expected)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float32])
def test_adding_by_index_is_the_same(dtype):
    """What devices of many threads do, done here."""
    patches = complex_noise(len(CORNERS), SIZE, SIZE).real.to(dtype)
    one, other = torch.ones(2, *CANVAS, dtype=dtype)
    add_patches_(one, patches, CORNERS)
    add_by_index_(other, patches, CORNERS)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_sums_are_the_same_to_the_last_digit_every_time(dtype):
    patches, corners = torch.rand(300, 64, 64).to(dtype), torch.randint(0, 60, (300, 2))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, *others = (add_patches(patches, corners, (124, 124)) for _ in range(5))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(first, other) for other in others)


def test_gradient_of_cutting():
    obj = complex_noise(6, 7).requires_grad_()
    corners = torch.tensor([[0, 0], [1, 3], [1, 3]])
    assert gradcheck(lambda o: extract_patches(o, corners, 4), (obj,))


def test_constant_patches_stitch_to_the_constant():
    patches = torch.full((len(CORNERS), SIZE, SIZE), 2 - 1j, dtype=torch.complex128)
    weights = 0.1 + torch.rand(SIZE, SIZE, dtype=torch.float64)
    stitched = stitch(patches, weights, CORNERS, CANVAS)
    covered = add_patches(torch.ones(patches.shape), CORNERS, CANVAS) > 0
    assert 0 < (~covered).sum() < covered.sum()
    torch.testing.assert_close(stitched[covered], patches.new_full((int(covered.sum()),), 2 - 1j))
    assert (stitched[~covered] == 1).all()


def test_stitching_undoes_cutting_with_any_weights():
    obj = complex_noise(*CANVAS)
    corners = torch.cartesian_prod(torch.arange(0, 6), torch.arange(0, 5))
    patches = extract_patches(obj, corners, SIZE)
    weights = 0.1 + torch.rand(patches.shape, dtype=torch.float64)
    torch.testing.assert_close(stitch(patches, weights, corners, CANVAS), obj)


def test_stitching_respects_weights():
    patches = torch.stack([torch.full((2, 2), 1 + 0j), torch.full((2, 2), 4 + 0j)])
    weights = torch.tensor([2.0, 1.0])[:, None, None]
    corners = torch.zeros(2, 2, dtype=torch.int64)
    assert (stitch(patches, weights, corners, (2, 2)) == 2).all()


def test_stitching_ignores_patches_without_weight():
    patches = torch.stack([torch.full((2, 2), 1 + 0j), torch.full((2, 2), 9 + 0j)])
    weights = torch.tensor([1.0, 0.0])[:, None, None]
    corners = torch.tensor([[0, 0], [1, 1]])
    stitched = stitch(patches, weights, corners, (3, 3))
    assert (stitched == 1).all()


def test_memory_is_canvas_and_patches_never_canvases():
    n, size, canvas = 300, 4, (100, 90)
    corners = torch.randint(0, 80, (n, 2))
    with LargestTensor() as largest:
        patches = extract_patches(complex_noise(*canvas), corners, size)
        stitch(patches, torch.rand(size, size), corners, canvas)
    assert canvas[0] * canvas[1] <= largest.elements <= 3 * canvas[0] * canvas[1]
    assert largest.elements < n * canvas[0] * canvas[1] / 50
