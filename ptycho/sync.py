"""``ptycho sync``: send to the MLflow dashboard what could not be sent during a run."""

import argparse
import sys
from pathlib import Path

from ptycho.config.config import UserError
from ptycho.config.process import exit_codes
from ptycho.config.words import Parser

_DESCRIPTION = """\
Send to the MLflow dashboard what a run, or the runs of a sweep, kept because the server was away.
"""

_EXAMPLES = """\
examples:
  ptycho sync outputs/runs/RUN
  ptycho sync outputs/sweeps/SWEEP                       its runs, and their parent
  ptycho sync outputs/runs/RUN --uri http://other:5000   the same server at another address
"""


def main(arguments: list[str] | None = None) -> None:
    """Send what is left; exit codes as for a run.

    Args:
        arguments: the command line after ``sync``; taken from ``sys.argv`` when None.
    """
    with exit_codes():
        given = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        folder: Path = given.folder
        if not folder.is_dir():
            raise UserError(f"no such folder: {folder.absolute()}; name that of a run or a sweep.")
        from ptycho.report.folder import STATUS, SWEEP
        from ptycho.report.mlflow_unsent import send_run, send_sweep

        if (folder / SWEEP).is_file():
            said = send_sweep(folder, given.uri)
        elif (folder / STATUS).is_file():
            said = send_run(folder, given.uri)
        else:
            raise UserError(
                f"{folder} holds neither a run ({STATUS}) nor a sweep ({SWEEP}); "
                "name a folder in outputs/runs or outputs/sweeps."
            )
        print(said)


def _parser() -> Parser:
    parser = Parser(
        prog="ptycho sync",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a run or of a sweep")
    parser.add_argument(
        "--uri", metavar="URI", help="where that server is now (default: where it was)"
    )
    return parser


if __name__ == "__main__":
    main()
