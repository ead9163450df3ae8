import itertools

import pytest
import torch
from torch import Tensor

from ptycho.nn.object_net import ObjectNet
from ptycho.nn.tiling import blending_window, predict_tiled, tile_starts


def canvas(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    obj, pull = torch.randn(2, height, width, dtype=torch.complex64)
    return obj, pull, torch.rand(height, width)


def identity(obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
    return obj


@pytest.mark.parametrize("shape", [(64, 64), (40, 96), (33, 70)])
@pytest.mark.parametrize("tile", [(24, 24), (16, 32), (32, 8)])
def test_identity_gives_the_canvas_back(shape: tuple[int, int], tile: tuple[int, int]) -> None:
    obj, pull, light = canvas(*shape)
    # a weighted mean of equal numbers, in single precision
    torch.testing.assert_close(predict_tiled(identity, obj, pull, light, tile, 3), obj)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_all_three_planes_are_cut_alike(which: int) -> None:
    planes = canvas(40, 56)
    out = predict_tiled(lambda *cut: cut[which] + 0j, *planes, (16, 24), 2)
    torch.testing.assert_close(out, planes[which] + 0j)


def test_tile_of_the_canvas_size_is_one_call() -> None:
    obj, pull, light = canvas(24, 40)
    seen: list[torch.Size] = []

    def network(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        seen.append(a.shape)
        return 2j * a

    torch.testing.assert_close(predict_tiled(network, obj, pull, light, (24, 40), 8), 2j * obj)
    assert seen == [(1, 24, 40)]


def test_result_does_not_depend_on_the_batch_size() -> None:
    network = ObjectNet()
    with torch.no_grad():
        network.generator.head.weight.normal_(std=0.1)
        obj, pull, light = canvas(48, 72)
        one, some, all_ = (
            predict_tiled(network, obj, pull, light, (24, 32), n) for n in (1, 4, 100)
        )
    torch.testing.assert_close(one, some, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one, all_, rtol=1e-4, atol=1e-5)
    assert (one - obj).abs().max() > 0.01


def test_batches_are_no_larger_than_asked() -> None:
    sizes: list[int] = []

    def network(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        sizes.append(len(a))
        return a

    predict_tiled(network, *canvas(64, 64), (16, 16), 5)
    assert max(sizes) == 5
    assert sum(sizes) == len(tile_starts(64, 16)) ** 2


@pytest.mark.parametrize("length", [8, 9, 31, 32, 33, 100, 1000])
@pytest.mark.parametrize("tile", [1, 2, 8, 24, 31])
def test_tiles_cover_and_overlap_by_a_fifth(length: int, tile: int) -> None:
    tile = min(tile, length)
    starts = tile_starts(length, tile)
    assert starts[0] == 0
    assert starts[-1] == length - tile
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    # one pixel of rounding
    assert all(0 < gap <= max(1, tile - tile // 5 + 1) for gap in gaps)
    assert all(gap <= tile for gap in gaps), "a pixel lies in no tile"


def test_no_tile_is_superfluous() -> None:
    assert tile_starts(32, 32) == [0]
    assert len(tile_starts(33, 32)) == 2


def test_window_falls_towards_the_edges_and_never_reaches_zero() -> None:
    window = blending_window((8, 16))
    assert window.shape == (8, 16)
    assert window.min() > 0
    assert window[4, 8] > 3 * window[0, 8]
    torch.testing.assert_close(window, window.flip(0, 1))
