"""Scans larger than memory: peak memory and seconds of a real run, and of grouping a million.

    python -m benchmarks.large [--gigabytes 20] [--workers 0] [--limit 4] [--folder FOLDER]
    python -m benchmarks.large --grouping

The first writes an HDF5 scan of so many gigabytes (ptychodus training data, uint32 counts in
patterns of 128 x 128) below FOLDER, trains an object network on it for 50 steps, reconstructs and
scores, all by the one command that users type, and deletes it. The object repeats itself and so
do its patterns: each is simulated and compressed once, and written many times, so that the file
takes a tenth of its size on disk. The command runs with ``ulimit -v`` at ``--limit`` GiB.
"""

import argparse
import json
import math
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.memory import UNIT, peak
from ptycho.data.grouping import make_groups
from ptycho.data.simulate import zone_plate_probe
from ptycho.physics.forward import Experiment

N = 128
STEP = 3
PERIOD = 16  # steps
COLUMNS = 512
PHOTONS = 2e4
STEPS = 50
BATCH = 192
GIB = 2**30

SETTINGS = {
    "data": "file",
    "trainer": "cpu",
    "logger": "none",
    "trainer.nepochs": 1,
    "trainer.batch_size": BATCH,
    "trainer.warmup_steps": 5,
    "execution.limit_train_batches": STEPS,
    "execution.enable_progress_bar": False,
    "model.lift_coarse_iterations": 2,
    "refine.iterations": 1,
    "refine.poisson_iterations": 0,
}
"""Few passes over the file, every kind of them."""


def periodic_patterns(seed: int = 0) -> tuple[NDArray[np.uint32], NDArray[np.complex64]]:
    """Counts ``(PERIOD, PERIOD, N, N)`` over one period of an object, and the probe."""
    rng = np.random.default_rng(seed)
    side = PERIOD * STEP
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    waves = np.fft.fft2(rng.normal(size=(side, side))) * np.exp(-((frequency / 0.12) ** 2))
    height = np.fft.ifft2(waves).real
    height /= np.abs(height).max()
    obj = (1 - 0.2 * height) * np.exp(1j * height)
    repeats = N // side + 2
    canvas = torch.from_numpy(np.tile(obj, (repeats, repeats)).astype(np.complex64))
    probe = zone_plate_probe(N, 12.0)
    probe = (probe * math.sqrt(PHOTONS / np.square(np.abs(probe)).sum())).astype(np.complex64)
    steps = np.stack(np.divmod(np.arange(PERIOD**2), PERIOD), 1) * STEP + N // 2
    experiment = Experiment(torch.from_numpy(probe), torch.from_numpy(steps.astype(np.float64)))
    with torch.no_grad():
        expected = experiment(canvas, torch.arange(PERIOD**2)).numpy()
    return rng.poisson(expected).astype(np.uint32).reshape(PERIOD, PERIOD, N, N), probe


def write_scan(path: Path, gigabytes: float) -> int:
    """Write the scan; returns how many patterns it holds."""
    counts, probe = periodic_patterns()
    rows = max(round(gigabytes * GIB / (4 * N**2 * COLUMNS)), 8)
    n = rows * COLUMNS
    how: dict[str, Any] = {
        "chunks": (1, N, N), "compression": "gzip", "compression_opts": 1, "shuffle": True,
    }  # fmt: skip
    with h5py.File(path.with_suffix(".once"), "w") as file:
        once = file.create_dataset("patterns", data=counts.reshape(-1, N, N), **how)
        chunks = [once.id.read_direct_chunk((i, 0, 0))[1] for i in range(len(once))]
    path.with_suffix(".once").unlink()
    needed = n * (sum(map(len, chunks)) / len(chunks) + 64)
    free = shutil.disk_usage(path.parent).free
    if needed > free - 2 * GIB:
        sys.exit(f"{path.parent}: needs {needed / GIB:.1f} GiB, {free / GIB:.1f} GiB are free")
    y, x = np.divmod(np.arange(n), COLUMNS)
    with h5py.File(path, "w", libver="latest") as file:
        patterns = file.create_dataset("patterns", (n, N, N), np.uint32, **how)
        for number, which in enumerate((y % PERIOD) * PERIOD + x % PERIOD):
            patterns.id.write_direct_chunk((number, 0, 0), chunks[which])
        # the middle of an even patch lies half a pixel before ours
        for axis, places in (("y", y), ("x", x)):
            file[f"probe_position_{axis}_px"] = places * float(STEP) + N // 2 - 0.5
            del places
        file["probe"] = probe
        file["object"] = np.ones((1, rows * STEP + 2 * N, COLUMNS * STEP + 2 * N), np.complex64)
        for side in ("height", "width"):
            file[f"object_pixel_{side}_m"] = 1e-8
    return n


def limited(command: list[str], gigabytes: float) -> list[str]:
    """A command that may not have more virtual memory."""
    kilobytes = int(gigabytes * 2**20)
    return ["bash", "-c", f'ulimit -v {kilobytes} && exec "$@"', "bash", *command]


def run_large(options: argparse.Namespace) -> dict[str, Any]:
    """Write, train, reconstruct, score, delete."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        scan = folder / "scan.h5"
        began = time.perf_counter()
        n = write_scan(scan, options.gigabytes)
        logical, on_disk = n * N**2 * 4 / GIB, scan.stat().st_size / GIB
        print(
            f"{n:,} patterns of {N} x {N}: {logical:.1f} GiB, {on_disk:.2f} GiB on disk, "
            f"written in {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        settings = SETTINGS | {
            "data.train_data_file": scan,
            "paths.outputs": folder / "outputs",
            "execution.num_workers": options.workers,
            "data.lazy": options.lazy,
        }
        typed = [f"{key}={value}" for key, value in settings.items()]
        command = [sys.executable, "-m", "ptycho.run", *typed, *options.typed]
        if options.limit:
            command = limited(command, options.limit)
        log = Path(options.log) if options.log else folder / "log.txt"
        found = peak(command, log)
        (run,) = (folder / "outputs" / "runs").iterdir()
        metrics = json.loads((run / "metrics.json").read_text())
        print(log.read_text())
    return {
        "gigabytes": logical,
        "patterns": n,
        "peak_gib": found["bytes"] / GIB,
        "seconds": found["seconds"],
        "cpu_seconds": found["cpu_seconds"],
        "C": {stage: row["C"] for stage, row in metrics["stages"].items()},
        "seconds_by_stage": {
            stage: row["seconds"] for stage, row in metrics["stages"].items() if "seconds" in row
        },
    }


def group_a_million(n: int = 1_000_000) -> dict[str, Any]:
    """Seconds and peak memory of grouping positions by four, in scan order and shuffled."""
    rng = np.random.default_rng(0)
    columns = math.isqrt(n)
    raster = np.stack(np.divmod(np.arange(n), columns), 1) * 3.0
    places = raster + rng.normal(0, 0.7, (n, 2))
    before = _peak()
    kinds: dict[str, Callable[[], Any]] = {
        "nearest": lambda: make_groups(places, members=4),
        "chosen_of_7": lambda: make_groups(places, members=4, neighbours=7),
        "shuffled": lambda: make_groups(places[rng.permutation(n)], members=4),
        "oversampled": lambda: make_groups(
            places, members=4, neighbours=7, n_groups=2 * n, oversample=True
        ),
    }
    found: dict[str, Any] = {"positions": n, "threads": torch.get_num_threads()}
    for name, work in kinds.items():
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found[name] = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
        }
    return found | {"peak_gib": _peak(), "peak_gib_before": before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / GIB


def main(arguments: list[str] | None = None) -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grouping", action="store_true", help="group a million positions instead")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="of the scan")
    parser.add_argument("--workers", type=int, default=0, help="execution.num_workers")
    parser.add_argument("--lazy", default="auto", help="data.lazy")
    parser.add_argument("--limit", type=float, default=4.0, help="GiB for ulimit -v; 0: none")
    parser.add_argument("--folder", help="where the scan is written and deleted")
    parser.add_argument("--log", help="file that takes what the run says")
    parser.add_argument("typed", nargs="*", help="more settings, key=value")
    options = parser.parse_args(arguments)
    found = group_a_million() if options.grouping else run_large(options)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
