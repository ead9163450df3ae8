"""The yardstick: layout of the CNN that this package descends from, built from its description.

Four diffraction patterns of neighbouring positions are the four channels of one 64 x 64 picture.
An encoder (64, 128, 256 channels) halves it three times; two decoders without skips, one for
amplitude and one for phase, each predict the central 32 x 32 pixels of the four object patches.
The patches are averaged on a small canvas of the group, cut out again, illuminated and measured;
the Poisson likelihood is the loss. 2.35 M parameters, 207 million multiplications a pattern.

The description leaves the decoders' inner channels open; those here were chosen so that both
figures agree within 2 %, which a test checks. Only its speed is measured, never its quality.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clock import autocast
from ptycho.physics.detector import intensity
from ptycho.physics.likelihood import poisson_nll
from ptycho.physics.patches import extract_patches, split_positions, stitch
from ptycho.physics.probe import centring, shifted_probes

SIZE = 64
"""Side of a pattern."""
WINDOW = 32
"""Side of what is predicted of each object patch: its centre."""
GROUP = 4
"""Patterns in a group."""
GROUPS = 16
"""Groups in a batch."""
LEARNING_RATE = 1e-3
PARAMETERS = 2.35e6
"""Of the ancestor, by its description."""
MULTIPLICATIONS = 207e6
"""Of the ancestor for one pattern, by its description."""


class AncestorNet(nn.Module):
    """Amplitudes ``(b, 4, 64, 64)`` in, complex object windows ``(b, 4, 32, 32)`` out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(_level(GROUP, 64), _level(64, 128), _level(128, 256))
        self.amplitude = _decoder()
        self.phase = _decoder()

    def forward(self, amplitude: Tensor) -> Tensor:
        latent = self.encoder(amplitude.contiguous(memory_format=torch.channels_last))
        modulus = functional.silu(self.amplitude(latent).float())
        phase = math.pi * torch.tanh(self.phase(latent).float())
        return torch.complex(modulus * phase.cos(), modulus * phase.sin())


def _level(incoming: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(incoming, channels, 3, padding=1), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2),
    )  # fmt: skip


def _decoder() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(256, 256, 2, stride=2), nn.ReLU(),
        nn.Conv2d(256, 128, 3, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 2, stride=2), nn.ReLU(),
        nn.Conv2d(64, GROUP, 3, padding=1),
    )  # fmt: skip


def parameters(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(one.numel() for one in network.parameters())


def multiplications(network: nn.Module) -> float:
    """Multiplications of the network for one pattern."""
    device = next(network.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, GROUP, SIZE, SIZE, device=device))
    return float(counter.get_total_flops()) / 2 / GROUP


@dataclass(frozen=True)
class Groups:
    """A scan in groups of nearest neighbours, laid out for training on its device."""

    amplitude: Tensor
    """``(n, 64, 64)``."""
    members: Tensor
    """int64 ``(g, 4)``: numbers of the patterns in each group."""
    corners: Tensor
    """int64 ``(g, 4, 2)``: first row and column of each patch on its group's canvas."""
    side: int
    """Of that canvas."""
    probes: Tensor
    """Complex ``(k, mode, 64, 64)``: the probe at every sub-pixel shift, detector centred."""
    row: Tensor
    """int64 ``(n,)``: which of them belongs to each pattern."""

    def batches(self) -> int:
        """Full batches in the scan."""
        return len(self.members) // GROUPS

    def measure(self, patches: Tensor, which: Tensor) -> Tensor:
        """Expected photons ``(..., 64, 64)`` of object patches at some of the positions."""
        exit_waves = self.probes[self.row[which]] * patches[..., None, :, :]
        photons: Tensor = intensity(torch.fft.fft2(exit_waves, norm="ortho"))
        return photons


def group(amplitude: Tensor, positions: Tensor, probe: Tensor) -> Groups:
    """Each pattern leads the group of it and its three nearest neighbours.

    Args:
        amplitude: measured ``(n, 64, 64)``, at least 64 of them, on the device to compute on.
        positions: ``(n, 2)`` float64 on the CPU, patch centres in pixels.
        probe: complex ``(mode, 64, 64)``.
    """
    device = amplitude.device
    order = np.random.default_rng(0).permutation(len(positions))
    _, members = cKDTree(positions.numpy()).query(positions.numpy()[order], GROUP)
    members = torch.from_numpy(members.astype(np.int64))
    corners, rest = split_positions(positions, SIZE)
    inside = corners[members]
    inside = inside - inside.amin(1, keepdim=True)
    probes, row, _ = shifted_probes(probe, rest)
    return Groups(
        amplitude, members.to(device), inside.to(device), int(inside.max()) + SIZE,
        probes * centring(SIZE, device), row.to(device),
    )  # fmt: skip


def merge_and_cut(windows: Tensor, corners: Tensor, side: int) -> Tensor:
    """Average the windows of each group where they overlap, and cut whole patches again.

    Args:
        windows: complex ``(b, 4, 32, 32)``, centres of the patches.
        corners: int64 ``(b, 4, 2)`` of the patches on the canvas of their group.
        side: of that canvas.

    Returns:
        Complex ``(b, 4, 64, 64)``; free space where nothing was predicted.
    """
    # all canvases of a batch below each other: one scatter and one gather
    below = torch.arange(len(corners), device=corners.device)[:, None] * side
    stacked = torch.stack([corners[..., 0] + below, corners[..., 1]], -1).reshape(-1, 2)
    weights = torch.ones(WINDOW, WINDOW, device=windows.device)
    shape = (len(corners) * side, side)
    canvas = stitch(windows.flatten(0, 1), weights, stacked + (SIZE - WINDOW) // 2, shape)
    return extract_patches(canvas, stacked, SIZE).reshape(*corners.shape[:2], SIZE, SIZE)


class Training:
    """Trains the layout on a scan, batch after batch.

    Args:
        groups: the scan.
        precision: ``fp32``, or ``bf16`` for the network alone under autocast.
    """

    def __init__(self, groups: Groups, precision: str) -> None:
        self.groups, self.precision = groups, precision
        self.network = AncestorNet().to(
            groups.amplitude.device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        # patterns enter with a root mean square of one, whatever the dose
        self.scale = groups.amplitude.square().mean().rsqrt()
        self._next = 0

    def step(self) -> Tensor:
        """One batch: predict, merge, measure, compare, improve.

        Returns:
            The loss, a scalar.
        """
        start = self._next % self.groups.batches() * GROUPS
        self._next += 1
        loss = self.loss(slice(start, start + GROUPS))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def loss(self, batch: slice) -> Tensor:
        """Poisson likelihood of some groups."""
        scan = self.groups
        members = scan.members[batch]
        amplitude = scan.amplitude[members]
        with autocast(amplitude.device, self.precision):
            windows = self.network(amplitude * self.scale)
        patches = merge_and_cut(windows, scan.corners[batch], scan.side)
        return poisson_nll(scan.measure(patches, members), amplitude.square())

    @torch.no_grad()
    def predict(self) -> Tensor:
        """The network alone on one batch: complex ``(16, 4, 32, 32)``."""
        amplitude = self.groups.amplitude[self.groups.members[:GROUPS]]
        with autocast(amplitude.device, self.precision):
            windows: Tensor = self.network(amplitude * self.scale)
        return windows
