"""``ptycho reproduce``: a finished run in, the same again and whether it came out the same."""

import argparse
import math
import sys
from pathlib import Path

from ptycho.config.config import UserError
from ptycho.config.process import exit_codes, gentle_threads
from ptycho.config.words import Parser

DIFFERENT = 1
"""Exit code when the figures differ by more than is tolerated."""

_DESCRIPTION = """\
Run a finished run again from its recorded settings, in a folder of its own, and say whether
data, code, packages and machine are the same and whether the figures agree: to the last bit,
within a tolerance, or not. Exit code 0 when they agree, 1 when they differ, 2 when the run
cannot be found or repeated.
"""

_EXAMPLES = """\
examples:
  ptycho reproduce outputs/runs/RUN
  ptycho reproduce outputs/sweeps/SWEEP/7 --tolerance 1e-2
  ptycho reproduce 0123456789abcdef0123456789abcdef --tracking-uri http://HOST:5000

What is compared: docs/reports.md.
"""


def main(arguments: list[str] | None = None) -> None:
    """Reproduce the run that the command line names.

    Args:
        arguments: the command line after ``reproduce``; taken from ``sys.argv`` when None.
    """
    gentle_threads()
    with exit_codes():
        given = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        _check(given)
        from ptycho.report.agreement import Verdict  # heavy from here on: torch, lightning
        from ptycho.report.console import console
        from ptycho.workflows.reproduce import Wish, reproduce

        wish = Wish(given.run, given.out, given.tolerance, given.threads, given.tracking_uri)
        if reproduce(wish, console()) == Verdict.differ:
            sys.exit(DIFFERENT)


def _parser() -> Parser:
    parser = Parser(
        prog="ptycho reproduce",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", metavar="RUN_DIR|MLFLOW_RUN_ID", help="folder of a run, or its id in MLflow"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path,
        help="where the new run writes (default: outputs/runs/DATE_reproduce)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", metavar="X", type=float, default=1e-3,
        help="relative difference up to which a figure agrees (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", metavar="N", type=int,
        help="threads (default: as recorded; the last bits depend on it)",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-uri", metavar="URI",
        help="MLflow store of the run and of the new one (default: MLFLOW_TRACKING_URI, else "
        "the database below outputs)",
    )  # fmt: skip
    return parser


def _check(given: argparse.Namespace) -> None:
    faults = []
    if not (math.isfinite(given.tolerance) and given.tolerance >= 0):
        faults.append(f"--tolerance must be a number of at least 0, got {given.tolerance:g}.")
    if given.threads is not None and given.threads < 1:
        faults.append(f"--threads must be at least 1, got {given.threads}.")
    if given.out is not None and given.out.exists() and not given.out.is_dir():
        faults.append(f"--out: {given.out} is a file, not a folder.")
    if faults:
        raise UserError(*faults)


if __name__ == "__main__":
    main()
