"""What the machine can do at best, and which machine it is."""

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.clock import PRECISIONS, Clock, Repeated, any_order
from ptycho.report.environment import environment

CONVOLUTIONS = ((64, 64, 8), (128, 32, 16), (256, 16, 32))
"""Channels, side and batch; the levels of the yardstick."""
TRANSFORMS = (8, 32, 96)
"""Waves in a batch: small ones stay in the cache, large ones feed many threads."""


def convolution(clock: Clock, precision: str, shortest: float) -> Callable[[], float]:
    """Measures GFLOP/s of the best 3x3 convolution, channels last."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    rates = []
    for channels, side, batch in CONVOLUTIONS:
        layer = nn.Conv2d(channels, channels, 3, padding=1)
        placed: Any = layer.to(clock.device, kind)
        placed.to(memory_format=torch.channels_last)
        picture = torch.randn(batch, channels, side, side, device=clock.device, dtype=kind)
        picture = picture.contiguous(memory_format=torch.channels_last)
        work = torch.no_grad()(lambda placed=placed, picture=picture: placed(picture))
        gigaflop = 2 * 9 * channels**2 * side**2 * batch / 1e9
        rates.append(Repeated(work, gigaflop, clock, shortest))
    return any_order()(lambda: max(rate() for rate in rates))


def fft_pair(clock: Clock, side: int, shortest: float) -> Callable[[], float]:
    """Measures there-and-back transforms per second of complex64 ``(side, side)`` waves."""
    rates = []
    for batch in TRANSFORMS:
        waves = torch.randn(batch, side, side, dtype=torch.complex64, device=clock.device)
        work = lambda waves=waves: torch.fft.ifft2(torch.fft.fft2(waves))  # noqa: E731
        rates.append(Repeated(work, batch, clock, shortest))
    return any_order()(lambda: max(rate() for rate in rates))


def describe(device: torch.device, seed: int) -> dict[str, Any]:
    """Code, packages and machine."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    return environment(device, seed) | {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "precisions": PRECISIONS,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "variables": {name: os.environ[name] for name in names if name in os.environ},
    }


def cpu_name() -> str:
    """The processor as its maker calls it; where the system does not tell, its architecture."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        lines = (line.partition(":") for line in listing.read_text().splitlines())
        names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
        if names:
            return names[0]
    if platform.system() == "Darwin":
        asked = ("sysctl", "-n", "machdep.cpu.brand_string")
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()
