"""A tiny scan that several reports are tested on."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.simulate import simulate
from ptycho.physics.forward import Experiment


class Tiny(NamedTuple):
    truth: Tensor
    probe: NDArray[np.complex64]
    positions: NDArray[np.float64]
    experiment: Experiment
    amplitude: Tensor


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """36 patterns of two modes; the experiment describes them exactly but for photon noise."""
    scan = simulate(kind="natural", n_patterns=36, patch_size=32, photons=1e5, probe_radius=6)
    two_modes = np.concatenate([scan.probe, 0.3j * scan.probe[:, ::-1].copy()])
    # positions on the grid of tabulated shifts: the reference shifts the probe exactly
    positions = np.round(scan.positions * 16) / 16
    experiment = Experiment(torch.from_numpy(two_modes), torch.from_numpy(positions))
    truth = torch.from_numpy(scan.truth)
    noise = torch.Generator().manual_seed(0)
    amplitude = torch.poisson(experiment(truth, torch.arange(36)), generator=noise).sqrt()
    return Tiny(truth, two_modes, positions, experiment, amplitude)
