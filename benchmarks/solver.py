"""The physics solver: quality against CPU seconds.

    python -m benchmarks.solver [--threads 1]

Simulated scans with the probe known. CPU seconds are those of the reconstruction, without
imports and simulation. Its speed is in :mod:`benchmarks.throughput`.
"""

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table

from ptycho.data.simulate import simulate
from ptycho.physics.solver import Recipe
from ptycho.report.metrics import compare
from ptycho.workflows.problem import Problem, pose

SCANS = (("chip", 1e6), ("natural", 1e6), ("chip", 1e4))
PATHS = ((30, 2, 0), (30, 5, 0), (30, 5, 5), (30, 20, 8), (30, 40, 8))
"""Coarse, full and Poisson iterations."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patterns", type=int, default=2025)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    terminal = Console()
    table = Table("scan", "photons", "coarse+full+Poisson", "CPU s", "phase PSNR dB", "phase SSIM")
    for kind, photons in SCANS:
        problem = pose(
            simulate(kind=kind, n_patterns=options.patterns, patch_size=64, photons=photons),
            torch.device("cpu"),
        )
        for path in PATHS:
            seconds, figures = reconstruct(problem, *path)
            psnr, ssim = figures["phase_psnr"], figures["phase_ssim"]
            how = "+".join(map(str, path))
            table.add_row(
                kind, f"{photons:.0e}", how, f"{seconds:.2f}", f"{psnr:.1f}", f"{ssim:.3f}"
            )
    terminal.print(table)


@torch.no_grad()
def reconstruct(
    problem: Problem, coarse: int, full: int, poisson: int
) -> tuple[float, dict[str, float]]:
    """CPU seconds and figures of one reconstruction from a flat start."""
    recipe = Recipe()
    began = time.process_time()
    solver = problem.solver(recipe)
    obj = solver.run(problem.start(coarse, recipe), full)
    obj = solver.run(obj, poisson, poisson=True)
    seconds = time.process_time() - began
    found = problem.reconstruction([])
    assert found.truth is not None
    return seconds, compare(obj.numpy()[found.scanned], found.truth[found.scanned])


if __name__ == "__main__":
    main()
