"""What a job of a sweep costs beside its own work.

    python -m benchmarks.sweeps [--jobs 8] [--side-by-side 2] [settings ...]

Runs the real command with `launcher=joblib` and the MLflow dashboard on, in a folder of its own,
and reads from the jobs' files when each began and ended. Prints, in seconds and as medians over the
jobs: what a worker needs for a job from the end of the one before to its own end (`cycle`), the
share that the job's training takes (`training`), what else the run computes and writes (`lift,
reconstruction, figures, pictures`), and the rest, which is what the sweep adds (`overhead`).
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from ptycho.report.folder import STATUS, RunFolder, State, read_jobs

FOLDER = Path("outputs/benchmarks/sweeps")


def main() -> None:
    """Sweep, read and print."""
    given = _parser().parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    begun = time.time()
    jobs, wall = sweep(given.jobs, given.side_by_side, given.settings)
    spent = [one for worker in by_worker(jobs) for one in cycles(worker)]
    firsts = [ended(worker[0]) - begun - worker[0].status["seconds"] for worker in by_worker(jobs)]
    if not spent:
        sys.exit("every worker did one job only; ask for more --jobs.")
    work = [one.status["seconds"] for one in jobs]
    training = [one.metrics["training"]["seconds"] for one in jobs]
    last = max(ended(one) for one in jobs)
    print(f"\n{len(jobs)} jobs, {given.side_by_side} side by side: {wall:.1f} s")
    print(f"  cycle of a job               {median(cycle for cycle, _ in spent):6.2f} s")
    print(f"    training                   {median(training):6.2f} s")
    rest = median(a - b for a, b in zip(work, training, strict=True))
    print(f"    lift, reconstruction, figures, pictures {rest:6.2f} s")
    print(f"    overhead                   {median(extra for _, extra in spent):6.2f} s")
    print(f"  before the first job of a worker (once)   {median(firsts):6.2f} s")
    print(f"  report and dashboard after the last job   {begun + wall - last:6.2f} s")


def sweep(jobs: int, side_by_side: int, settings: list[str]) -> tuple[list[RunFolder], float]:
    """Run a sweep over seeds; its jobs, and the seconds it took."""
    words = [
        sys.executable, "-m", "ptycho.run", "-m", "launcher=joblib",
        f"hydra.launcher.n_jobs={side_by_side}", "trainer=smoke",
        f"paths.outputs={FOLDER}", f"hydra.sweep.dir={FOLDER / 'sweep'}",
        f"seed=range({jobs})", *settings,
    ]  # fmt: skip
    before = time.perf_counter()
    subprocess.run(words, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wall = time.perf_counter() - before
    found = read_jobs(FOLDER / "sweep")
    if any(one.state != State.finished for one in found):
        sys.exit("not every job finished; see above.")
    return found, wall


def by_worker(jobs: list[RunFolder]) -> list[list[RunFolder]]:
    """The jobs of each process in the order in which they ended."""
    found: dict[int, list[RunFolder]] = {}
    for one in sorted(jobs, key=ended):
        found.setdefault(one.status["pid"], []).append(one)
    return list(found.values())


def cycles(jobs: list[RunFolder]) -> list[tuple[float, float]]:
    """For each job but the first: seconds since the one before, and those that the run had not."""
    spans = [(ended(two) - ended(one), two.status["seconds"]) for one, two in pairwise(jobs)]
    return [(span, span - worked) for span, worked in spans]


def ended(job: RunFolder) -> float:
    """When the last word of a run was written."""
    return (job.path / STATUS).stat().st_mtime


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweeps", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--side-by-side", type=int, default=2)
    parser.add_argument("settings", nargs="*", help="as for python -m ptycho.run")
    return parser


if __name__ == "__main__":
    main()
