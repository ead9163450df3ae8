"""Quality against seconds: our solver, our network and other packages on the same scans.

    make bench-peers && python -m benchmarks.quality

Every method runs in a process of its own on one thread, one after another, and keeps objects
along the way; all are scored by :func:`ptycho.report.metrics.compare`. What ran once is kept
and used again until its code, its settings or the scan change, so that an interrupted
benchmark goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import quality_report, scans, tasks
from benchmarks.curves import Curve, Judge
from ptycho.config.config import UserError
from ptycho.physics.instrument import Freedom
from ptycho.workflows.problem import pose

FOLDER, QUICK_FOLDER = scans.OUTPUTS / "quality", scans.OUTPUTS / "quality_quick"


def main(arguments: list[str] | None = None) -> int:
    """Run everything and write the report; 2 when a name is unknown, 130 when interrupted."""
    options = _options(arguments)
    terminal = Console(soft_wrap=True)
    torch.set_num_threads(1)
    try:
        known = {*scans.names(), *scans.twins()}
        _refuse_unknown("scan", options.scans, known)
        _refuse_unknown("method", options.methods, set(tasks.RUNNERS))
        found = measure(options, terminal)
        files = quality_report.write(found, options.out, options.docs)
    except UserError as error:
        terminal.print(str(error), style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        terminal.print("interrupted; the same command goes on from here")
        return 130
    terminal.print(quality_report.terminal_table(found))
    for line in quality_report.ratios(found):
        terminal.print(line, markup=False)
    for file in files:
        terminal.print(f"  {file}", markup=False)
    return 0


def measure(options: argparse.Namespace, terminal: Console) -> list[Curve]:
    """All curves, run where they are not there yet."""
    todo = list(tasks.plan(options.scans, options.methods, options.budget, options.quick))
    found: list[Curve] = []
    judges: dict[str, Judge] = {}
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=terminal) as bars:
        bar = bars.add_task("", total=len(todo))
        for task in todo:
            name = f"{task.scan}  {task.runner}"
            bars.update(bar, description=name)
            if task.scan not in judges:
                judges = {task.scan: judge_of(task)}

            def note(text: str, name: str = name) -> None:
                bars.update(bar, description=f"{name}  {text}")

            folder = options.out / "runs"
            curves = tasks.curves(task, judges[task.scan], folder, fresh=options.fresh, note=note)
            for curve in curves:
                terminal.print(quality_report.line(curve), markup=False, highlight=False)
            found += curves
            bars.advance(bar)
    return found


def judge_of(task: tasks.Task) -> Judge:
    """Who scores what is found on a scan."""
    scan = scans.load(task.scan, patterns=task.patterns)
    # room for positions that were found elsewhere
    problem = pose(scan, torch.device("cpu"), freedom=Freedom(positions=True))
    twin = task.scan in scans.twins()
    if not task.scan.endswith(scans.WRONG_POSITIONS):
        return Judge(problem, not twin)
    original = scans.load(scans.original(task.scan), patterns=task.patterns)
    return Judge(problem, False, true_positions=original.positions)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", nargs="+", default=scans.names(), metavar="NAME")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=list(tasks.RUNNERS),
        metavar="NAME",
        help=", ".join(tasks.RUNNERS),
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="CPU seconds of every peer; by default 80 on chip_1e6, less elsewhere",
    )
    parser.add_argument("--quick", action="store_true", help="small scans, a few seconds each")
    parser.add_argument("--fresh", action="store_true", help="run again what is there already")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument(
        "--docs", type=Path, metavar="DIR", help="copy the page and its pictures there, too"
    )
    options = parser.parse_args(arguments)
    options.out = options.out or (QUICK_FOLDER if options.quick else FOLDER)
    return options


def _refuse_unknown(what: str, given: list[str], known: set[str]) -> None:
    if strange := [name for name in given if name not in known]:
        raise UserError(f"There is no {what} {strange[0]!r}; there are {', '.join(sorted(known))}.")


if __name__ == "__main__":
    sys.exit(main())
