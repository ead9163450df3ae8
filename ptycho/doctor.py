"""``ptycho doctor``: a scan in, what is wrong with it and what to type out."""

import argparse
import re
import sys
from pathlib import Path

from ptycho.config.config import UserError
from ptycho.config.process import exit_codes, gentle_threads
from ptycho.config.store import MENDABLE, check_command_line, register, sentence
from ptycho.config.typed_data import scan_named
from ptycho.config.words import Parser

_DESCRIPTION = """\
Look at a scan for some seconds: counts or amplitudes, zero frequency, beam centre, light, bad
pixels, odd patterns, steps and overlap; and, by short fits, which order and direction of the axes
of patterns and positions is right, whether the pixel size is, and whether patterns and positions
belong together at all. Each finding comes with the setting to type. What the data do not decide
is said to be open.
"""

_EXAMPLES = """\
examples:
  ptycho doctor scan.npz
  ptycho doctor scan.npz --fix
                    writes conf_local/data/scan.yaml, to be used as
                    python -m ptycho.run --config-dir conf_local data=scan
  ptycho doctor scan.npz data.positions.unit=um data.geometry.pixel_size_m=11e-9

SCAN is a file or folder in any format of docs/formats.md, short for data=file
data.train_data_file=SCAN. Settings are typed as for a run. doctor.png (one page of pictures) and
doctor.json are written to outputs/doctor/NAME. What each finding means: docs/doctor.md.
"""


def main(arguments: list[str] | None = None) -> None:
    """Look at the scan that the command line names; exit codes as for a run.

    Args:
        arguments: the command line after ``doctor``; taken from ``sys.argv`` when None.
    """
    gentle_threads()
    register()
    with exit_codes(*MENDABLE, sentence=sentence):
        given = _parser().parse_intermixed_args(sys.argv[1:] if arguments is None else arguments)
        _check(given)
        own = ["--config-dir", str(given.config_dir)] if given.config_dir.is_dir() else []
        typed = scan_named(given.settings)
        (run,) = check_command_line([*typed, *own])
        from ptycho.report.console import console  # heavy from here on: torch, matplotlib
        from ptycho.workflows.doctor.consult import Request, consult

        request = Request(
            run=run,
            overrides=tuple(typed),
            out=given.out,
            fix=given.fix,
            config_dir=given.config_dir,
            name=given.name,
        )
        consult(request, console())


def _parser() -> Parser:
    parser = Parser(
        prog="ptycho doctor",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "settings", metavar="SCAN or NAME=VALUE", nargs="*",
        help="the scan, by its name or as for a run (data=...), and how it is read",
    )  # fmt: skip
    parser.add_argument(
        "--fix", action="store_true", help="write what was found into DIR/data/NAME.yaml"
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", type=Path, default=Path("conf_local"),
        help="your own settings, read and (--fix) written (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--name", metavar="NAME", help="of the preset (default: that of the scan)")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path,
        help="for doctor.json and doctor.png (default: outputs/doctor/NAME)",
    )  # fmt: skip
    return parser


def _check(given: argparse.Namespace) -> None:
    """Look at what was typed, before anything heavy is loaded.

    Raises:
        UserError: with a sentence for everything that cannot be.
    """
    faults = []
    if given.name is not None and not re.fullmatch(r"[0-9A-Za-z_-]+", given.name):
        faults.append(f"--name {given.name}: only letters, digits, - and _ can be typed as data=.")
    for option, folder in (("--out", given.out), ("--config-dir", given.config_dir)):
        if folder is not None and folder.exists() and not folder.is_dir():
            faults.append(f"{option}: {folder} is a file, not a folder.")
    if faults:
        raise UserError(*faults)


if __name__ == "__main__":
    main()
