"""``ptycho convert``: a scan in any format in, the same scan in another one out."""

import argparse
import sys
from pathlib import Path

from ptycho.config.process import exit_codes, gentle_threads
from ptycho.config.typed_data import reading, refusal
from ptycho.config.words import Parser, sort_words

_DESCRIPTION = """\
Convert a scan from any format that can be read to any that can be written.
"""

_EXAMPLES = """\
examples:
  ptycho convert scan.npz scan.h5                        ptychodus training data, by the ending
  ptycho convert scan.npz FOLDER                         product.h5 and diffraction.h5 of ptychodus
  ptycho convert FOLDER scan.npz                         and back
  ptycho convert diffraction.h5 scan.npz data.positions_file=product.h5
  ptycho convert reconstruction.npz out.tiff             out_amplitude.tiff and out_phase.tiff
  ptycho convert theirs.npz ours.npz data.values=counts data.n_images=100 overwrite=true

OUT's format is to=NAME, or follows from its ending; a name without one is a folder. A file that is
there is kept unless overwrite=true. data.NAME=VALUE says how IN is read, as for a run; what each
format keeps: docs/formats.md.
"""


def main(arguments: list[str] | None = None) -> None:
    """Convert what the command line names; exit codes as for a run.

    Args:
        arguments: the command line after ``convert``; taken from ``sys.argv`` when None.
    """
    gentle_threads()
    from ptycho.config.store import MENDABLE, sentence

    with exit_codes(*MENDABLE, sentence=sentence):
        given = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        own, typed = sort_words(given.settings, _refusal)
        data = reading(given.source, typed)
        from ptycho.report.console import console
        from ptycho.workflows.convert import Wish, convert  # heavy from here on: torch

        wish = Wish(given.source, given.target, data, own.get("to"), own.get("overwrite") == "true")
        convert(wish, console())


def _parser() -> Parser:
    parser = Parser(
        prog="ptycho convert",
        description=_DESCRIPTION,
        epilog=f"{_table()}\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="IN", type=Path, help="the scan to read")
    parser.add_argument("target", metavar="OUT", type=Path, help="the file or folder to write")
    parser.add_argument(
        "settings", metavar="NAME=VALUE", nargs="*",
        help="to=NAME, overwrite=true, and data.NAME=VALUE as for a run",
    )  # fmt: skip
    return parser


def _table() -> str:
    """The formats, for ``--help``."""
    from ptycho.data.formats.registry import FORMATS

    lines = ["formats:", f"  {'NAME':20} {'read':5} {'write':8} what"]
    for one in FORMATS.values():
        written = (one.ending or "folder") if one.write else "-"
        lines.append(f"  {one.name:20} {'yes' if one.measure else '-':5} {written:8} {one.title}")
    lines.append(f"  {'tiff':20} {'-':5} {'.tiff':8} amplitude and phase of a result, for ImageJ")
    return "\n".join(lines) + "\n"


def _refusal(name: str, text: str) -> str | None:
    if name.startswith("data."):
        return refusal(name, "a conversion")
    return f"{text}: a conversion takes to=NAME, overwrite=true and data.NAME=VALUE alone."


if __name__ == "__main__":
    main()
