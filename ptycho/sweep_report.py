"""``ptycho sweep-report``: the folder of a sweep in, a page about it out."""

import argparse
import sys
from pathlib import Path

from ptycho.config.config import UserError
from ptycho.config.process import exit_codes
from ptycho.config.words import Parser

_DESCRIPTION = """\
Tell what a sweep found, best job first: a page that opens offline (report.html), a table
(report.csv) and pictures (report/*.png), written into the folder of the sweep. At any time:
while it runs, after an interrupt, for sweeps of older versions.
"""

_EXAMPLES = """\
example:
  ptycho sweep-report outputs/sweeps/2026-11-22_17-39-29_train

What the page shows: docs/reports.md.
"""


def main(arguments: list[str] | None = None) -> None:
    """Write the report of the sweep that the command line names; exit codes as for a run.

    Args:
        arguments: the command line after ``sweep-report``; from ``sys.argv`` when None.
    """
    with exit_codes():
        given = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        if not given.folder.exists():
            raise UserError(f"no such folder: {given.folder.absolute()}; check the path.")
        from ptycho.report.console import console  # heavy from here on: matplotlib
        from ptycho.report.sweep_page import best_command, lead
        from ptycho.report.sweep_read import gather
        from ptycho.report.sweep_report import PICTURES, TABLE, write_report_of
        from ptycho.report.sweep_table import STAR, sentences, terminal_table, unshown

        sweep = gather(given.folder)
        page = write_report_of(sweep)
        terminal = console()
        terminal.print(f"sweep {sweep.label}, {lead(sweep)}", markup=False)
        terminal.print(terminal_table(sweep))
        if len(sweep.metrics) > 1 and sweep.front:
            terminal.print(f"{STAR} Pareto front: none beats it in all metrics", markup=False)
        if more := unshown(sweep):
            terminal.print(f"and {more} more in {TABLE}", markup=False)
        for sentence in sentences(sweep):
            terminal.print(sentence, style="yellow", markup=False)
        if command := best_command(sweep):
            terminal.print(f"the best again: {command}", markup=False)
        for path in (page, given.folder / TABLE, given.folder / PICTURES):
            terminal.print(f"  {path}", markup=False)


def _parser() -> Parser:
    parser = Parser(
        prog="ptycho sweep-report",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="RUN_DIR", type=Path, help="the folder of a sweep")
    return parser


if __name__ == "__main__":
    main()
