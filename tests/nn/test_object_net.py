import math

import pytest
import torch
from torch import Tensor

from ptycho.nn.object_net import CHANNELS, OUTPUTS, ObjectNet
from ptycho.nn.unet import UNet

Inputs = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def inputs() -> Inputs:
    obj, pull = 0.5 * torch.randn(2, 2, 24, 40, dtype=torch.complex64)
    return 1 + obj, 0.1 * pull, torch.rand(2, 24, 40)


@pytest.fixture
def network() -> ObjectNet:
    return ObjectNet()


def excite(network: ObjectNet, size: float) -> None:
    with torch.no_grad():
        network.generator.head.weight.normal_(std=size)


def test_untrained_network_is_the_identity(network: ObjectNet, inputs: Inputs) -> None:
    out = network(*inputs)
    torch.testing.assert_close(out, inputs[0], rtol=0, atol=0)


def test_excited_network_is_not(network: ObjectNet, inputs: Inputs) -> None:
    excite(network, 0.1)
    assert (network(*inputs) - inputs[0]).abs().max() > 0.01


def test_amplitude_factor_is_bounded_by_the_clamp(network: ObjectNet, inputs: Inputs) -> None:
    excite(network, 100.0)
    factor = (network(*inputs).abs() / inputs[0].abs()).detach()
    assert factor.max() == pytest.approx(math.e, rel=1e-4)
    assert factor.min() == pytest.approx(math.exp(-2), rel=1e-4)


def test_phase_factor_reaches_all_around(network: ObjectNet, inputs: Inputs) -> None:
    excite(network, 100.0)
    turn = (network(*inputs) / inputs[0]).angle()
    assert turn.min() < -3
    assert turn.max() > 3


def test_gradient_reaches_every_parameter_after_one_step(
    network: ObjectNet, inputs: Inputs
) -> None:
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    target = inputs[0].roll(3, -1)
    for step in range(2):
        optimiser.zero_grad()
        (network(*inputs) - target).abs().square().mean().backward()
        idle = [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0]
        # the zero head hides everything behind it from the first step only
        assert bool(idle) == (step == 0), idle
        optimiser.step()


def test_each_input_matters(network: ObjectNet, inputs: Inputs) -> None:
    excite(network, 0.1)
    obj, pull, light = inputs
    correction = network(*inputs) / obj
    assert not torch.allclose(network(obj, 2 * pull, light) / obj, correction)
    assert not torch.allclose(network(obj, pull, 0.5 * light) / obj, correction)
    assert not torch.allclose(network(obj * 1j, pull, light) / (obj * 1j), correction)


def test_objects_of_a_batch_do_not_mix(network: ObjectNet, inputs: Inputs) -> None:
    excite(network, 0.1)
    alone = network(*(one[1:] for one in inputs))
    torch.testing.assert_close(network(*inputs)[1:], alone, rtol=1e-4, atol=1e-5)


def test_scale_widens_the_network() -> None:
    nets = (ObjectNet(UNet(CHANNELS, OUTPUTS, scale)) for scale in (1, 2))
    narrow, wide = (sum(p.numel() for p in net.parameters()) for net in nets)
    # convolutions grow with the square of the channels, all but the first and the last
    assert 3.5 * narrow < wide < 4 * narrow


def test_sides_need_not_be_divisible_by_the_stride(network: ObjectNet) -> None:
    excite(network, 0.1)
    obj = 1 + 0.5 * torch.randn(1, 20, 27, dtype=torch.complex64)
    pull, light = torch.zeros_like(obj), torch.rand(1, 20, 27)
    out = network(obj, pull, light)
    assert out.shape == obj.shape
    assert torch.isfinite(out.abs()).all()


def test_bfloat16_stays_close(network: ObjectNet, inputs: Inputs) -> None:
    excite(network, 0.05)
    exact = network(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(*inputs)
    assert rough.dtype == torch.complex64
    assert (rough - exact).abs().max() > 0, "bfloat16 did nothing"
    # 8 bits of mantissa through a dozen layers: a few per cent
    assert (rough - exact).norm() < 0.03 * (exact - inputs[0]).norm() + 0.01 * exact.norm()
