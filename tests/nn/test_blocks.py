import pytest
import torch
from torch.nn import functional

from ptycho.nn.blocks import pixel_unshuffle


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_torchs(block: int, layout: torch.memory_format) -> None:
    planes = torch.randn(3, 5, 8, 12).contiguous(memory_format=layout)
    assert torch.equal(pixel_unshuffle(planes, block), functional.pixel_unshuffle(planes, block))


def test_it_only_moves_numbers_and_so_do_gradients() -> None:
    planes = torch.randn(2, 3, 4, 6, requires_grad=True)
    weights = torch.randn(2, 12, 2, 3)
    (pixel_unshuffle(planes, 2) * weights).sum().backward()
    torch.testing.assert_close(planes.grad, functional.pixel_shuffle(weights, 2))
