import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ptycho.config.choices import GENERATORS
from ptycho.config.config import ConfigError
from ptycho.nn.fno import SpectralConvolution
from ptycho.nn.registry import make_generator, on_any_size
from ptycho.report.bundle import load_bundle
from tests.runs import launched


def planes(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def excited(generator: nn.Module) -> nn.Module:
    """What no longer answers zero."""
    with torch.no_grad():
        for one in generator.parameters():
            if not one.any():
                one.normal_(std=0.1)
    return generator


@pytest.mark.parametrize("name", GENERATORS)
class TestEveryGenerator:
    """What both layouts rely on."""

    def test_shapes(self, name: str) -> None:
        generator = make_generator(name, 3, 2, 1)
        side = int(generator.stride)
        for height, width in ((8 * side, 6 * side), (4 * side, 4 * side)):
            assert generator(planes(2, 3, height, width)).shape == (2, 2, height, width)

    def test_zero_until_something_is_learnt(self, name: str) -> None:
        assert not make_generator(name, 1, 2, 1)(planes(1, 1, 32, 32)).any()

    def test_gradients_reach_every_parameter(self, name: str) -> None:
        generator = excited(make_generator(name, 2, 2, 1))
        generator(planes(2, 2, 32, 40)).square().sum().backward()
        assert all(one.grad is not None and one.grad.any() for one in generator.parameters())

    def test_every_output_sees_every_input(self, name: str) -> None:
        generator = excited(make_generator(name, 2, 2, 1))
        first = generator(planes(1, 2, 32, 32))
        for i in range(2):
            changed = planes(1, 2, 32, 32)
            changed[:, i] += planes(1, 32, 32)
            difference = generator(changed) - first
            assert (difference.abs().amax((0, 2, 3)) > 1e-4).all()

    def test_scale_widens(self, name: str) -> None:
        narrow, wide = (
            sum(one.numel() for one in make_generator(name, 3, 2, scale).parameters())
            for scale in (1, 2)
        )
        assert 3 * narrow < wide < 4.2 * narrow

    def test_lies_in_memory_as_training_wants_it(self, name: str) -> None:
        plain = excited(make_generator(name, 1, 2, 1))
        before = plain(planes(1, 1, 32, 32))
        placed = plain.to(memory_format=torch.channels_last)
        torch.testing.assert_close(placed(planes(1, 1, 32, 32)), before, rtol=1e-3, atol=1e-4)

    def test_learns_something(self, name: str) -> None:
        torch.manual_seed(0)
        generator = make_generator(name, 1, 1, 1)
        here = functional.interpolate(planes(4, 1, 4, 4), size=(32, 32), mode="bicubic")
        there = here.roll(1, -1)
        optimiser = torch.optim.Adam(generator.parameters(), 3e-3)
        losses = []
        for _ in range(30):
            loss = (generator(here) - there).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("sides", [(32, 24), (33, 24), (17, 30)])
def test_any_size_goes_through(sides: tuple[int, int]) -> None:
    generator = excited(make_generator("unet", 1, 2, 1))
    here = planes(1, 1, *sides)
    out = on_any_size(generator, here)
    assert out.shape == (1, 2, *sides)
    if sides == (32, 24):
        assert torch.equal(out, generator(here))


def test_a_spectral_convolution_commutes_with_shifts() -> None:
    torch.manual_seed(0)
    layer, here = SpectralConvolution(8), planes(1, 8, 30, 28)
    shifted = layer(here.roll((3, -5), (-2, -1)))
    torch.testing.assert_close(shifted, layer(here).roll((3, -5), (-2, -1)), rtol=1e-4, atol=1e-5)


def test_a_spectral_convolution_keeps_low_frequencies_only() -> None:
    layer, here = SpectralConvolution(8, modes=3), planes(1, 8, 32, 32)
    spectrum = torch.fft.rfft2(layer(here))
    assert spectrum[..., :3, :3].abs().min() > 1e-3
    assert spectrum[..., 4:-3, :].abs().max() < 1e-4
    assert spectrum[..., 3:].abs().max() < 1e-4


# --- generators of other packages ---------------------------------------------------------

FOREIGN = """
from torch import nn

class Foreign(nn.Module):
    stride = 3

    def __init__(self, inputs, outputs, scale):
        super().__init__()
        self.only = nn.Conv2d(inputs, outputs, 3, padding=1)
        nn.init.zeros_(self.only.weight)

    def forward(self, planes):
        assert planes.shape[-1] % 3 == 0 and planes.shape[-2] % 3 == 0
        return self.only(planes)

def unfinished(inputs, outputs, scale):
    raise KeyError("weights")

def a_function(inputs, outputs, scale):
    return lambda planes: planes

class Stepless(Foreign):
    stride = None

class Small(Foreign):
    def forward(self, planes):
        return self.only(planes)[..., 1:]
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with good and bad generators."""
    site = tmp_path / "site"
    info = site / "foreign_nets-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-nets\nVersion: 1.0\n")
    entries = {
        "foreign": "Foreign", "unfinished": "unfinished", "function": "a_function",
        "stepless": "Stepless", "small": "Small", "absent": "Absent",
    }  # fmt: skip
    lines = [f"{name} = foreign_nets:{place}" for name, place in entries.items()]
    text = "\n".join(["[ptycho.generators]", *lines, "lost = no_such_module:Net", ""])
    (info / "entry_points.txt").write_text(text)
    (site / "foreign_nets.py").write_text(textwrap.dedent(FOREIGN))
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("foreign")
def test_a_foreign_generator_trains_and_reconstructs(tmp_path: Path) -> None:
    trained = launched(tmp_path / "a", model__generator="foreign", trainer__nepochs=1)
    bundle = load_bundle(trained / "wts.h5.zip")
    assert set(bundle.weights) == {"generator.only.weight", "generator.only.bias"}
    assert bundle.weights["generator.only.weight"].any()
    again = launched(tmp_path / "b", task="reconstruct", bundle=str(trained / "wts.h5.zip"))
    assert (again / "reconstruction.npz").read_bytes()


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobodys", r"does not exist; there are unet, cnn, fno, hybrid_resnet, .*foreign"),
        (
            "unfinished",
            r"\(foreign_nets:unfinished\) cannot be used: KeyError: 'weights'\.",
        ),
        ("absent", r"cannot be used: AttributeError: .*Absent"),
        ("lost", r"cannot be used: ModuleNotFoundError: No module named 'no_such_module'\."),
        ("function", r"must be made as a torch\.nn\.Module, got function"),
        ("stepless", r"its attribute stride must be a whole number from 1 to 64, got None"),
        ("small", r"\(1, 1, 30, 30\) must become real \(1, 2, 30, 30\), got \(1, 2, 30, 29\)"),
    ],
)
def test_a_missing_or_broken_one_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.generator={name} .*{words}"):
        launched(tmp_path / "run", model__generator=name)
    assert not (tmp_path / "run").exists()


def test_without_foreign_packages_the_built_in_ones_are_named() -> None:
    with pytest.raises(ConfigError, match=r"there are unet, cnn, fno, hybrid_resnet\.$"):
        make_generator("vit", 1, 2, 1)


@pytest.mark.parametrize("name", GENERATORS[1:])
def test_every_generator_trains_the_object_layout(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"model__generator": name, "trainer__nepochs": 3}
    lines = (launched(tmp_path / "a", **changes) / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("train/loss")
    losses = [float(line.split(",")[column]) for line in lines[1:]]
    assert losses[-1] < losses[0]
