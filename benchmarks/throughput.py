"""Speed: training, inference stage by stage, solver, memory, beside the machine's ceiling.

    python -m benchmarks.throughput [--quick] [--json FILE] [--threads N] [--device cpu]

Measures what the package does by its default settings, against the machine's best convolution
and Fourier transform and against the layout of the CNN that it descends from. Takes minutes;
with --quick one or two. The page is written to outputs/benchmarks/throughput.md.
"""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from ptycho.config.choices import Accelerator
from ptycho.config.config import UserError
from ptycho.config.store import sentence

BAD_INPUT = 2
"""Exit code for anything the user can mend; slowness is none."""


def main() -> None:
    """Measure, print, write."""
    # as ptycho.run does, before torch is loaded
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        _measure(_options())
    except (UserError, OSError) as error:
        print(f"throughput: {sentence(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="short repeats on small scans")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")
    parser.add_argument("--threads", type=int, help="of torch; all cores when left out")
    parser.add_argument(
        "--device", default="auto", choices=[one.value for one in Accelerator],
        help="auto: CUDA, else MPS, else the CPU",
    )  # fmt: skip
    parser.add_argument(
        "--docs", type=Path, metavar="DIR", default=Path("outputs/benchmarks"),
        help="folder of the page throughput.md",
    )  # fmt: skip
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> None:
    # heavy: torch, and Lightning with the training
    from rich.console import Console

    from benchmarks import parts
    from benchmarks.bench import FULL, QUICK, default_run, open_bench, write_counts
    from benchmarks.machine import describe
    from benchmarks.methods import quieten
    from benchmarks.throughput_page import Report
    from ptycho.report.files import write_json

    terminal, effort = Console(soft_wrap=True), QUICK if options.quick else FULL
    quieten()
    for wanted in (options.docs, *([options.json.parent] if options.json else [])):
        wanted.mkdir(parents=True, exist_ok=True)  # before the long work
    with TemporaryDirectory(prefix="throughput_") as folder:
        scan_file = Path(folder) / "scan.npz"
        write_counts(scan_file, effort.patterns)
        run = default_run(options.device, options.threads, scan_file)
        with open_bench(run, Path(folder) / "run", effort) as bench:
            machine, rows = describe(bench.device, run.seed), []
            for name, part in parts.PARTS.items():
                with terminal.status(name):
                    rows += part(bench)
    said = {**asdict(effort), "quick": options.quick, "command": _command()}
    report = Report(machine, said, rows)
    report.print(terminal)
    (options.docs / "throughput.md").write_text(report.markdown(), encoding="utf-8")
    terminal.print(f"page: {options.docs / 'throughput.md'}", highlight=False)
    if options.json is not None:
        write_json(options.json, report.plain())


def _command() -> str:
    return " ".join(["python -m benchmarks.throughput", *sys.argv[1:]])


if __name__ == "__main__":
    main()
