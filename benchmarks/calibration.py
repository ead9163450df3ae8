"""Whether the uncertainty of a pixel means what it says, on scans whose truth is known.

    python -m benchmarks.calibration

Every method on simulated scans of 2,025 patterns at two doses, through the command that users
type, on one thread. With ``--networks`` also for results of trained networks, refined or not.
"""

import argparse
import contextlib
import csv
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import scans
from ptycho.config.config import RunConfig, UserError
from ptycho.config.validate import check
from ptycho.report.figures import new_page, save_page
from ptycho.report.uncertainty_figure import draw_reliability
from ptycho.workflows.launch import launch

FOLDER, QUICK_FOLDER = scans.OUTPUTS / "calibration", scans.OUTPUTS / "calibration_quick"
GOAL = 0.10
"""Largest expected calibration error."""
KINDS, PHOTONS = ("chip", "dead_leaves", "natural"), (1e4, 1e6)
NAMES = ("phase", "amplitude")
_QUICK = 225  # patterns
_EPOCHS = 30

SOLVER: dict[str, dict[str, Any]] = {
    f"solver, {method}": {"task": "solve", "uncertainty.method": method}
    for method in ("fisher", "halves", "bootstrap", "combined")
}
_TRAIN = {"task": "train", "trainer.nepochs": _EPOCHS, "uncertainty.method": "bootstrap"}
NETWORKS: dict[str, dict[str, Any]] = {
    "network refined, bootstrap": _TRAIN,
    "network alone, bootstrap": _TRAIN | {"refine.iterations": 0},
    "network alone, retrained": _TRAIN | {"refine.iterations": 0, "uncertainty.retrain": True},
}
_HEADINGS = {
    "calibration_error": "calibration error",
    "rms_error": "error",
    "rms_sigma": "stated",
    "binned_error": "off by tenths",
    "rank": "rank",
    "best_rank": "best rank",
    "sparsification": "sparsification",
}


@dataclass(frozen=True)
class Result:
    """One method on one scan."""

    scan: str
    method: str
    seconds: float
    """Wall seconds of the estimate."""
    solved: float
    """Wall seconds of the stages of the result, training left out."""
    figures: dict[str, dict[str, Any]]
    """Of phase and amplitude, as in ``metrics.json``."""

    @property
    def good(self) -> bool:
        """Whether both are calibrated as well as they should be."""
        return all(self.figures[name]["calibration_error"] < GOAL for name in NAMES)


def main(arguments: list[str] | None = None) -> int:
    """Run everything and write the report; 2 when a name is unknown, 130 when interrupted."""
    options = _options(arguments)
    terminal = Console(soft_wrap=True)
    methods = SOLVER | (NETWORKS if options.networks else {})
    try:
        found = measure(options, methods, terminal)
    except UserError as error:
        terminal.print(str(error), style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        terminal.print("interrupted; nothing was written")
        return 130
    files = write(found, options.out, options.docs)
    terminal.print(table(found))
    terminal.print(verdict(found), markup=False)
    for file in files:
        terminal.print(f"  {file}", markup=False)
    return 0


def measure(
    options: argparse.Namespace, methods: dict[str, dict[str, Any]], terminal: Console
) -> list[Result]:
    """Every method on every scan."""
    todo = [(k, p, name) for k in options.objects for p in options.photons for name in methods]
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    found = []
    with Progress(*columns, TimeElapsedColumn(), console=terminal) as bars:
        bar = bars.add_task("", total=len(todo))
        for kind, photons, name in todo:
            bars.update(bar, description=f"{kind} {photons:.0e}  {name}")
            found.append(_result(kind, photons, name, methods[name], options.patterns))
            bars.advance(bar)
    return found


def _result(kind: str, photons: float, name: str, how: dict[str, Any], patterns: int) -> Result:
    run = RunConfig()
    common = {
        "data.synthetic.object": kind, "data.synthetic.n_patterns": patterns,
        "data.nphotons": photons, "model.N": 64, "trainer.accelerator": "cpu",
        "execution.threads": 1, "execution.enable_progress_bar": False, "logger.backend": "none",
    }  # fmt: skip
    for setting, value in (common | how).items():
        *groups, last = setting.split(".")
        node: Any = run
        for group in groups:
            node = getattr(node, group)
        setattr(node, last, value)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        launch(check(run), Path(folder) / "run", [])
        metrics = json.loads((Path(folder) / "run" / "metrics.json").read_text())
    known = metrics["uncertainty"]
    solved = sum(row.get("seconds", 0.0) for row in metrics["stages"].values())
    figures = {part: known[part] for part in NAMES}
    return Result(
        f"{kind}_{photons:.0e}".replace("e+0", "e"), name, known["seconds"], solved, figures
    )


def write(found: Sequence[Result], out: Path, docs: Path | None) -> list[Path]:
    """Write everything, and copy page and picture to ``docs``."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in ("calibration.csv", "calibration.png", "calibration.md")]
    with files[0].open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("scan", "method", "seconds", "solved_seconds", "part", *_HEADINGS))
        for one in found:
            for part in NAMES:
                figures = (f"{one.figures[part][key]:.6g}" for key in _HEADINGS)
                times = f"{one.seconds:.3f}", f"{one.solved:.3f}"
                rows.writerow((one.scan, one.method, *times, part, *figures))
    save_figure(found, files[1])
    files[2].write_text(page(found), encoding="utf-8")
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
        for path in files[1:]:
            shutil.copy(path, docs / path.name)
    return files


def save_figure(found: Sequence[Result], path: Path) -> None:
    """Reliability curves: a column per scan, phase above amplitude, a line per method."""
    names = list(dict.fromkeys(one.scan for one in found))
    figure = new_page(4.6 * len(names), 9.2)
    grid = figure.subplots(2, len(names), squeeze=False)
    for axes_of, part in zip(grid, NAMES, strict=True):
        for axes, scan in zip(axes_of, names, strict=True):
            here = [one for one in found if one.scan == scan]
            draw_reliability(axes, {one.method: one.figures[part]["reliability"] for one in here})
            axes.set_title(f"{scan}: {part}", loc="left", fontsize=11)
            axes.get_legend().remove()
    lines, labels = grid[0, 0].get_legend_handles_labels()
    plain = [label.rpartition(":")[0] for label in labels]
    figure.legend(lines, plain, loc="outside lower center", ncols=4, frameon=False, fontsize=11)
    save_page(figure, path)


def table(found: Sequence[Result]) -> Table:
    """What matters most, for the terminal."""
    heads = [f"{part}\n{head}" for part in ("phase", "ampl.") for head in ("off", "rms", "stated")]
    shown = Table("", *heads, "s", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for scan in dict.fromkeys(one.scan for one in found):
        shown.add_section()
        shown.add_row(scan, style="bold")
        for one in found:
            if one.scan == scan:
                cells = [cell for part in NAMES for cell in _cells(one, part)[:3]]
                shown.add_row(f"  {one.method}", *cells, f"{one.seconds:.1f}")
    return shown


def _cells(one: Result, part: str) -> list[str]:
    figures = one.figures[part]
    shares = (f"{figures[key]:.1%}" for key in ("calibration_error",))
    sizes = (f"{figures[key]:.4f}" for key in ("rms_error", "rms_sigma"))
    others = ("binned_error", "rank", "best_rank", "sparsification")
    return [*shares, *sizes, *(f"{figures[key]:.2f}" for key in others)]


def verdict(found: Sequence[Result]) -> str:
    """Which methods reach the goal everywhere, in a sentence."""
    methods = dict.fromkeys(one.method for one in found)
    passed = [m for m in methods if all(one.good for one in found if one.method == m)]
    said = "; ".join(passed) if passed else "no method"
    return f"calibration error below {GOAL:.0%} for phase and amplitude on every scan: {said}."


def page(found: Sequence[Result]) -> str:
    """The page of the documentation."""
    lines = [
        "# Calibration of the uncertainty",
        "",
        "Made by `python -m benchmarks.calibration`; what the columns mean and how the "
        "methods work: [uncertainty](../uncertainty.md). Seconds are wall seconds of the estimate, "
        "one thread on a machine that others used, too; beside them those of the result "
        "(training left out).",
        "",
        verdict(found),
        "",
        "![reliability](calibration.png)",
        "",
    ]
    for scan in dict.fromkeys(one.scan for one in found):
        heads = ["method", "", *_HEADINGS.values(), "s", "s of the result"]
        lines += [f"## {scan}", "", _row(heads), _row(["---"] * 2 + ["---:"] * (len(heads) - 2))]
        for one in found:
            if one.scan == scan:
                times = [f"{one.seconds:.1f}", f"{one.solved:.1f}"]
                lines += [_row([one.method, part, *_cells(one, part), *times]) for part in NAMES]
        lines.append("")
    lines.append(f"Date: {date.today().isoformat()}.")
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--photons", nargs="+", type=float, default=PHOTONS, metavar="PHOTONS")
    parser.add_argument("--networks", action="store_true", help="train networks, too; minutes")
    parser.add_argument("--quick", action="store_true", help="small scans, a few seconds each")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="copy page and picture there")
    options = parser.parse_args(arguments)
    options.patterns = _QUICK if options.quick else scans.PATTERNS
    options.out = options.out or (QUICK_FOLDER if options.quick else FOLDER)
    return options


if __name__ == "__main__":
    sys.exit(main())
