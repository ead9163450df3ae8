"""``ptycho simulate``: settings in, a scan with everything known about it out."""

import argparse
import sys
from pathlib import Path

from ptycho.config.config import RunConfig
from ptycho.config.process import exit_codes, gentle_threads
from ptycho.config.words import Parser, sort_words

_DESCRIPTION = """\
Simulate a scan and write it to a file, with the true object, probe and positions beside it.
"""

_EXAMPLES = """\
examples:
  ptycho simulate scan.npz                               the built-in scan
  ptycho simulate scan.npz data.synthetic.object=cells data.synthetic.n_patterns=4000
  ptycho simulate scan.npz data.synthetic.scan=fermat data.synthetic.position_error=1
  ptycho simulate scan.npz data.probe.kind=gaussian data.probe.modes=3 data.nphotons=1e4
  ptycho simulate train.npz data.synthetic.n_objects=8   train_1.npz ... train_8.npz
  ptycho simulate FOLDER to=ptychodus                    in another format

NAME=VALUE are the settings data.synthetic.*, data.probe.*, data.probe_file, data.nphotons,
data.label, data.geometry.energy_ev and pixel_size_m, and model.N, as for a run. OUT's format is
to=NAME or follows from its ending. Files that are there are kept unless overwrite=true.
What is written, and what each setting does: docs/simulate.md.
"""

_READ = ("data.synthetic.", "data.probe.")
_READ_ALONE = (
    "data.probe_file", "data.nphotons", "data.label", "data.geometry.energy_ev",
    "data.geometry.pixel_size_m", "model.N",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Simulate what the command line asks for; exit codes as for a run.

    Args:
        arguments: the command line after ``simulate``; taken from ``sys.argv`` when None.
    """
    gentle_threads()
    from ptycho.config.store import MENDABLE, sentence

    with exit_codes(*MENDABLE, sentence=sentence):
        given = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        own, typed = sort_words(given.settings, _refusal)
        run = _run(typed)
        from ptycho.report.console import console
        from ptycho.workflows.simulate import Order, carry_out  # heavy from here on: torch

        order = Order(
            target=given.target, data=run.data, patch_size=run.model.N or 64,
            to=own.get("to"), overwrite=own.get("overwrite") == "true", typed=tuple(typed),
        )  # fmt: skip
        carry_out(order, console())


def _parser() -> Parser:
    parser = Parser(
        prog="ptycho simulate",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="OUT", type=Path, help="the file or folder to write")
    parser.add_argument(
        "settings",
        metavar="NAME=VALUE",
        nargs="*",
        default=[],
        help="to=NAME, overwrite=true, and settings",
    )
    return parser


def _refusal(name: str, text: str) -> str | None:
    if name.startswith(_READ) or name in _READ_ALONE:
        return None
    if name.startswith("data."):
        return f"{name} has no effect on a simulation; leave it out."
    return (
        f"{text}: a simulation takes to=NAME, overwrite=true, data.synthetic.NAME=VALUE "
        "and a few others; see ptycho simulate --help."
    )


def _run(typed: list[str]) -> RunConfig:
    """The settings of a run on such a scan.

    Raises:
        ConfigError: a setting does not exist, or is impossible.
    """
    from ptycho.config.store import check_command_line, register

    register()
    (run,) = check_command_line(["data=synthetic", *typed])
    return run


if __name__ == "__main__":
    main()
