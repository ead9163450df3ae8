"""Speed of the simulator, beside a plain loop over patterns in numpy.

    python -m benchmarks.simulate [--patterns 4000] [--size 64] [--threads 2] [--repeats 3]

Prints seconds (of the clock on the wall, and of all cores together, which other work on the machine
hardly changes), patterns in a second, how much faster that is than the loop, and by how much the
photons of both and of ptycho.physics differ.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("natural", "dead_leaves", "chip")
PHOTONS = 1e5
ANCESTOR = (70, 95)
"""Patterns a second that the package made which this one descends from, N = 64, two cores."""
_LOOPED = 400  # patterns of the loop, which need not be slow for longer

Counts = NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    options = _options()
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as ptycho.run, before torch is loaded
    import torch
    from rich.console import Console
    from rich.table import Table

    from ptycho.data.simulate import simulate

    torch.set_num_threads(options.threads)
    terminal = Console(soft_wrap=True)
    wanted: dict[str, Any] = {"patch_size": options.size, "photons": PHOTONS}
    simulate(kind="chip", n_patterns=256, **wanted)  # threads and Fourier plans are made once
    table = Table("", "patterns", "s", "CPU s", "patterns/s", "times loop", "by CPU s", box=None)
    loop_wall, loop_core = _loop_seconds(wanted)
    row = (f"{_LOOPED:,}", f"{loop_wall * _LOOPED:.2f}", f"{loop_core * _LOOPED:.2f}")
    table.add_row("plain loop in numpy", *row, f"{1 / loop_wall:,.0f}", "1", "1")
    for kind in KINDS:
        work = partial(simulate, kind=kind, n_patterns=options.patterns, **wanted)
        wall, core, scan = _timed(work, options.repeats)
        n = len(scan)
        table.add_row(
            kind, f"{n:,}", f"{wall:.2f}", f"{core:.2f}", f"{n / wall:,.0f}",
            f"{n * loop_wall / wall:.1f}", f"{n * loop_core / core:.1f}",
        )  # fmt: skip
    terminal.print(f"N = {options.size}, {options.threads} threads, best of {options.repeats}")
    terminal.print(table)
    terminal.print(f"the ancestor: {ANCESTOR[0]} to {ANCESTOR[1]} patterns/s")
    physics, loop = disagreement(scan)
    terminal.print(
        f"photons differ from those of ptycho.physics by {physics:.1e} of the brightest pixel, "
        f"from those of the loop by {loop:.1e}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--patterns", type=int, default=4000)
    parser.add_argument("--size", type=int, default=64, help="side N of a pattern")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of which the best counts")
    found = parser.parse_args()
    if found.patterns < 16 or found.size < 16 or found.threads < 1 or found.repeats < 1:
        print("simulate: at least 16 patterns of 16 pixels, 1 thread, 1 repeat", file=sys.stderr)
        sys.exit(2)
    return found


def _timed(work: Callable[[], Any], repeats: int) -> tuple[float, float, Any]:
    """Least seconds on the wall, least seconds of all cores, and the last result."""
    walls, cores = [], []
    for _ in range(repeats):
        wall, core = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return min(walls), min(cores), result


def _loop_seconds(wanted: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the plain loop for a pattern, its object and its beam given: wall and cores."""
    from ptycho.data.simulate import simulate

    scan = simulate(kind="chip", n_patterns=_LOOPED, **wanted)
    work = partial(plain_loop, scan.truth, scan.probe, scan.positions, np.random.default_rng(0))
    wall, core, _ = _timed(work, 3)
    return wall / len(scan), core / len(scan)


def plain_loop(
    obj: Any,
    probe: NDArray[np.complex64],
    positions: NDArray[np.float64],
    rng: np.random.Generator | None,
) -> Counts:
    """One pattern after another, as one writes it down: amplitudes with noise, else photons.

    Args:
        obj: ``(H, W)``.
        probe: ``(mode, N, N)``.
        positions: ``(n, 2)``.
        rng: of the noise; None: photons without noise.
    """
    size = probe.shape[-1]
    frequency = np.fft.fftfreq(size)
    spectrum = np.fft.fft2(probe)
    patterns = np.empty((len(positions), size, size), np.float32)
    for row, (y, x) in enumerate(positions):
        whole_y, whole_x = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        ramp = np.exp(
            -2j * np.pi * (frequency[:, None] * (y - whole_y) + frequency[None] * (x - whole_x))
        )
        beam = np.fft.ifft2(spectrum * ramp)
        top, left = whole_y - size // 2, whole_x - size // 2
        wave = np.fft.fft2(beam * obj[top : top + size, left : left + size], norm="ortho")
        photons = np.fft.fftshift(np.square(np.abs(wave)).sum(0))
        patterns[row] = photons if rng is None else np.sqrt(rng.poisson(photons))
    return patterns


def disagreement(scan: Any, n: int = 64) -> tuple[float, float]:
    """Largest differences of the simulator's photons, over the brightest pixel.

    Args:
        scan: simulated.
        n: patterns that are compared.

    Returns:
        To the forward model of ``ptycho.physics``, in single precision as it is, and to the
        loop, in double precision and without rounding positions to 1/128 of a pixel.
    """
    import torch

    from ptycho.data.simulate import expected_photons
    from ptycho.physics.forward import Experiment

    obj, probe, positions = scan.truth, scan.probe, scan.positions[:n]
    found = expected_photons(obj, probe, positions)
    experiment = Experiment(torch.from_numpy(probe), torch.from_numpy(positions), bins=128)
    physics = experiment(torch.from_numpy(obj), torch.arange(len(positions))).numpy()
    looped = plain_loop(obj, probe, positions, None)
    peak = float(found.max())
    return tuple(float(np.abs(found - one).max()) / peak for one in (physics, looped))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
