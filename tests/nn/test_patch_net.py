import math

import pytest
import torch
from torch import Tensor

from ptycho.config.choices import Activation
from ptycho.nn import patch_net
from ptycho.nn.patch_net import First, PatchNet, activate, smoothing_matrix
from ptycho.nn.unet import UNet

N = 32
PROBE = torch.rand(N, N)


def network(*, lifted: bool = True, probe_scale: float = 1.0, window: int = N, **more) -> PatchNet:
    torch.manual_seed(0)
    seen = patch_net.inputs(lifted=lifted, probe_scale=probe_scale)
    generator = UNet(4 * seen, 8)
    return PatchNet(generator, PROBE, lifted=lifted, probe_scale=probe_scale, window=window, **more)


def excited(net: PatchNet, size: float = 0.1) -> PatchNet:
    with torch.no_grad():
        net.generator.head.weight.normal_(std=size)
    return net


@pytest.fixture
def amplitude() -> Tensor:
    return torch.rand(3, N, N)


@pytest.fixture
def first() -> First:
    obj, pull = 0.3 * torch.randn(2, 3, N, N, dtype=torch.complex64)
    return First(1 + obj, 0.1 * pull, torch.rand(3, N, N))


@pytest.mark.parametrize("name", [one.value for one in Activation])
def test_every_activation_makes_one_of_zero_and_grows(name: str) -> None:
    x = torch.linspace(-0.9, 0.9, 19, dtype=torch.float64)
    y = activate(name, x)
    assert float(activate(name, torch.zeros(1, dtype=torch.float64))) == pytest.approx(1)
    assert (y.diff() > 0).all()
    assert (activate(name, torch.linspace(-20, 20, 41)) > -0.3).all()


def test_bounds_of_activations() -> None:
    far = torch.tensor([-50.0, 50.0])
    assert activate("exponential", far).tolist() == pytest.approx([math.exp(-2), math.e])
    assert activate("sigmoid", far).tolist() == pytest.approx([0, 2])
    assert activate("relu", far).tolist() == [0, 51]


@pytest.mark.parametrize("real_imag", [False, True])
@pytest.mark.parametrize("window", [N, N // 2])
def test_an_untrained_network_says_what_it_was_shown(
    amplitude: Tensor, first: First, real_imag: bool, window: int
) -> None:
    out = network(real_imag=real_imag, window=window)(amplitude, first)
    start = (N - window) // 2
    inside = slice(start, start + window)
    torch.testing.assert_close(out, first.obj[:, inside, inside])
    free = network(lifted=False, real_imag=real_imag, window=window)(amplitude, None)
    torch.testing.assert_close(free, torch.ones(3, window, window, dtype=torch.complex64))


def test_windows_are_the_centre_of_the_whole(amplitude: Tensor, first: First) -> None:
    whole, centre = (excited(network(window=w)) for w in (N, N // 2))
    centre.load_state_dict(whole.state_dict())
    inside = slice(N // 4, 3 * N // 4)
    torch.testing.assert_close(centre(amplitude, first), whole(amplitude, first)[:, inside, inside])


def test_phases_reach_all_around_and_never_further(amplitude: Tensor) -> None:
    out = excited(network(lifted=False), 100.0)(amplitude, None)
    assert out.angle().min() < -3
    assert out.angle().max() > 3


def test_output_without_amplitude_adds(amplitude: Tensor, first: First) -> None:
    net = excited(network(real_imag=True))
    change = net(amplitude, first) - first.obj
    assert change.abs().max() > 0.01
    twice = First(2 * first.obj, first.pull, first.light)
    assert not torch.allclose(net(amplitude, twice), 2 * net(amplitude, first))


@pytest.mark.parametrize("plane", ["amplitude", "obj", "pull", "light"])
def test_every_input_matters(amplitude: Tensor, first: First, plane: str) -> None:
    net = excited(network())
    before = net(amplitude, first) / first.obj
    if plane == "amplitude":
        after = net(amplitude.flip(-1), first) / first.obj
    else:
        changed = first._replace(**{plane: getattr(first, plane).flip(-1)})
        after = net(amplitude, changed) / changed.obj
    assert not torch.allclose(before, after, atol=1e-4)


def test_the_probe_is_shown_at_its_scale(amplitude: Tensor) -> None:
    assert network(probe_scale=3.0).shown.square().mean().sqrt() == pytest.approx(3, rel=1e-5)
    torch.testing.assert_close(network().shown / network().shown.max(), PROBE / PROBE.max())
    blind = network(lifted=False, probe_scale=0.0)
    assert blind.generator.stem.in_channels == network(lifted=False).generator.stem.in_channels - 16


def test_smoothing_smooths_amplitudes_and_not_phases(amplitude: Tensor) -> None:
    rough, smooth = (excited(network(lifted=False, smoothing=s), 1.0) for s in (0.0, 2.0))
    smooth.load_state_dict(rough.state_dict())
    one, other = rough(amplitude, None), smooth(amplitude, None)
    torch.testing.assert_close(one.angle(), other.angle(), atol=1e-4, rtol=0)
    assert other.abs().diff().abs().mean() < 0.3 * one.abs().diff().abs().mean()
    blur = smoothing_matrix(N, 2.0)
    torch.testing.assert_close(other.abs(), blur @ one.abs() @ blur.T, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 3.0])
def test_smoothing_keeps_even_amplitudes(sigma: float) -> None:
    blur = smoothing_matrix(9, sigma)
    torch.testing.assert_close(blur @ torch.ones(9), torch.ones(9))
    assert (sigma == 0) == torch.equal(blur, torch.eye(9))


def test_bfloat16_stays_close(amplitude: Tensor, first: First) -> None:
    net = excited(network(smoothing=1.0), 0.05)
    exact = net(amplitude, first)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(amplitude, first)
    assert rough.dtype == torch.complex64
    assert 0 < (rough - exact).norm() < 0.05 * exact.norm()


def test_patterns_of_a_batch_do_not_mix(amplitude: Tensor, first: First) -> None:
    net = excited(network())
    alone = net(amplitude[1:], First(*(one[1:] for one in first)))
    torch.testing.assert_close(net(amplitude, first)[1:], alone, rtol=1e-4, atol=1e-5)
