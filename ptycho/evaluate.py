"""``ptycho evaluate``: a reconstruction in, its figures and a picture out."""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from ptycho.config.choices import DataFormat, Values
from ptycho.config.config import DataConfig, InstrumentConfig, UserError
from ptycho.config.describe import quoted
from ptycho.config.process import exit_codes, gentle_threads
from ptycho.config.store import MENDABLE, preset, presets, sentence
from ptycho.config.typed_data import files_beside, reading, refusal
from ptycho.config.words import Parser, sort_words
from ptycho.data.appearing import is_special, same_place
from ptycho.report.folder import run_of

_DESCRIPTION = """\
Judge a reconstruction of any package: against the true object, against the measured patterns,
or both. Every figure stands beside that of a flat object, which is worth nothing.
"""

_EXAMPLES = """\
examples:
  ptycho evaluate outputs/runs/RUN                         a run, by the scan that it read
  ptycho evaluate outputs/runs/RUN --data scan.npz         by a scan, read as the run did
  ptycho evaluate product.h5 --data scan.npz               a product of ptychodus or pty-chi
  ptycho evaluate product.h5 --data diffraction.h5         with the patterns of ptychodus
  ptycho evaluate theirs.npz --truth ours.npz              two reconstructions of one scan
  ptycho evaluate product.h5 --data scan.npz --split-halves

FILE and --truth may be a reconstruction.npz, a scan NPZ with objectGuess, a ptychodus product
(HDF5 or NPZ) or a complex array `object` (NPZ, HDF5, NPY). --data is a scan in any format of
docs/formats.md, read as its data.NAME=VALUE say: those of the run where FILE is one's result, and
those that are typed. What each figure means: docs/evaluate.md.
"""


def main(arguments: list[str] | None = None) -> None:
    """Evaluate what the command line names; exit codes as for a run.

    Args:
        arguments: the command line after ``evaluate``; taken from ``sys.argv`` when None.
    """
    gentle_threads()
    with exit_codes(*MENDABLE, sentence=sentence):
        given = _parser().parse_intermixed_args(sys.argv[1:] if arguments is None else arguments)
        _check(given)
        typed = _typed(given)
        how = reading(given.data or given.file, typed)
        if faults := [*_overwritten(given, how)]:
            raise UserError(*faults)
        from ptycho.report.console import console  # heavy from here on: torch, matplotlib
        from ptycho.workflows.evaluation import Question, evaluate, report

        terminal = console()
        question = Question(
            file=given.file,
            truth=given.truth,
            data=given.data,
            split_halves=given.split_halves,
            instrument=preset(InstrumentConfig(), "instrument", given.instrument),
            twin=given.twin,
            max_shift=given.max_shift,
            pixel_size_m=None if given.pixel_size_nm is None else given.pixel_size_nm * 1e-9,
            reading=how,
            typed=tuple(text.partition("=")[0].lstrip("+") for text in typed),
        )
        report(evaluate(question, terminal), _folder(given), given.json, terminal)


def _parser() -> Parser:
    parser = Parser(
        prog="ptycho evaluate",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the reconstruction to judge")
    parser.add_argument(
        "settings", metavar="data.NAME=VALUE", nargs="*", default=[],
        help="how --data is read, as for a run (default: as in FILE's own run)",
    )  # fmt: skip
    against = parser.add_argument_group("against what (default: the scan of FILE's own run)")
    against.add_argument("--truth", metavar="FILE", type=Path, help="the object it should be")
    against.add_argument("--data", metavar="FILE", type=Path, help="the scan it was made from")
    against.add_argument(
        "--split-halves",
        action="store_true",
        help="with --data: solve two halves of the patterns with FILE's probe and correlate them",
    )
    against.add_argument(
        "--instrument", choices=presets("instrument"), default="known",
        help="with --split-halves: what each half finds for itself besides the object, "
        "beginning with FILE's, as instrument=NAME of a run (default: %(default)s)",
    )  # fmt: skip
    how = parser.add_argument_group("how")
    how.add_argument(
        "--twin", action="store_true", help="allow the conjugate twin, turned by half a turn"
    )
    how.add_argument(
        "--max-shift", metavar="PX", type=float, default=4.0,
        help="largest shift that is undone, in pixels (default: %(default)g)",
    )  # fmt: skip
    how.add_argument(
        "--pixel-size-nm", metavar="X", type=float, help="side of an object pixel, for nm"
    )
    how.add_argument(
        "--values", choices=[str(v.value) for v in Values], default="auto",
        help="what --data holds; auto: integers are counts (default: %(default)s)",
    )  # fmt: skip
    how.add_argument(
        "--format", choices=[str(one.value) for one in DataFormat], default="auto",
        help="format of --data; auto: its content tells (default: %(default)s)",
    )  # fmt: skip
    how.add_argument(
        "--positions", metavar="FILE", type=Path,
        help="positions of --data, where it has none (default: FILE itself, a ptychodus product)",
    )  # fmt: skip
    where = parser.add_argument_group("where to")
    where.add_argument(
        "--out", metavar="FOLDER", type=Path,
        help="for evaluation.json and evaluation.png (default: outputs/evaluations/FILE's name)",
    )  # fmt: skip
    where.add_argument(
        "--json", metavar="FILE", type=Path, help="write the numbers there instead of into FOLDER"
    )
    return parser


def _check(given: argparse.Namespace) -> None:
    """Look at what was typed, before anything heavy is loaded.

    Raises:
        UserError: with a sentence for everything that cannot be.
    """
    for name in ("file", "truth"):
        setattr(given, name, _result_in(getattr(given, name)))
    faults = [
        fault
        for name in ("file", "truth", "data", "positions")
        if (path := getattr(given, name)) and (fault := _file_fault(name, path))
    ]
    recorded = run_of(given.file) is not None
    if not (given.truth or given.data or recorded):
        faults.append(
            "give something to judge FILE by: --truth FILE (the true object, or another "
            "reconstruction), --data FILE (the scan with its patterns), or both."
        )
    read = given.data or (recorded and not given.truth)
    for name in ("positions", "format", "values"):
        if getattr(given, name) not in (None, "auto") and not read:
            faults.append(f"--{name} says how --data is read, and there is none; leave it out.")
    if given.settings and not read:
        faults.append(
            f"{given.settings[0]} says how --data is read, and there is none; leave it out."
        )
    if given.split_halves and not read:
        faults.append("--split-halves needs the patterns: give the scan with --data FILE.")
    if given.instrument != "known" and not given.split_halves:
        faults.append(
            f"--instrument {given.instrument} is for the halves: add --split-halves; FILE itself "
            "is judged with its own probe and positions."
        )
    if not (math.isfinite(given.max_shift) and given.max_shift >= 0):
        faults.append(f"--max-shift must be pixels, at least 0, got {given.max_shift:g}.")
    size = given.pixel_size_nm
    if size is not None and not 0 < size < 1e9:
        faults.append(f"--pixel-size-nm must be nanometres above 0, got {size:g}.")
    for option, folder in (("--out", _folder(given)), ("--json", given.json and given.json.parent)):
        if folder and (there := _in_the_way(folder)):
            faults.append(f"{option}: {there} is a file, not a folder.")
    if given.json and given.json.is_dir():
        faults.append(f"--json: {given.json} is a folder; name a file in it.")
    if faults:
        raise UserError(*faults)


def _typed(given: argparse.Namespace) -> list[str]:
    """All that says how the scan is read, as settings.

    Raises:
        UserError: something else was typed, or a setting that says nothing about it.
    """
    own, typed = sort_words(given.settings, _refusal)
    for name, value in own.items():
        raise UserError(_foreign(f"{name}={value}"))
    named = {"data.values": given.values, "data.format": given.format}
    typed += [f"{name}={value}" for name, value in named.items() if value != "auto"]
    if given.positions:
        typed.append(f"data.positions_file={quoted(str(given.positions))}")
    return typed


def _refusal(name: str, text: str) -> str | None:
    if name.startswith("data."):
        return refusal(name, "an evaluation")
    return _foreign(text)


def _foreign(text: str) -> str:
    return f"{text}: an evaluation takes data.NAME=VALUE alone; see ptycho evaluate --help."


def _overwritten(given: argparse.Namespace, how: DataConfig) -> Iterator[str]:
    """A sentence for every result that would take the place of another file of this command."""
    picture = _folder(given) / "evaluation.png"
    numbers = given.json or _folder(given) / "evaluation.json"
    read = {"FILE": given.file, "--truth": given.truth, "--data": given.data}
    named = {
        "--positions" if given.positions == path else name: path
        for name, path in files_beside(how).items()
    }
    read |= named
    for result, option in ((picture, "--out"), (numbers, "--json" if given.json else "--out")):
        if is_special(result):
            yield f"{option}: {result} is a device or a pipe; name a file."
        for name, path in read.items():
            if path and path.is_file() and same_place(result, path):
                yield f"{option}: {result} is {name} itself; write to another place."
    if same_place(numbers, picture):
        yield f"--json: {numbers} is where the picture goes; name another file."


def _result_in(path: Path | None) -> Path | None:
    """The reconstruction in the folder of a run; any other path as it is."""
    inside = path and path / "reconstruction.npz"
    return inside if inside and inside.is_file() else path


def _file_fault(name: str, path: Path) -> str | None:
    option = "FILE" if name == "file" else f"--{name}"
    if path.is_dir():
        if name == "data" and _is_pair(path):
            return None
        none = " without a reconstruction.npz" if name not in ("data", "positions") else ""
        return f"{option}: {path} is a folder{none}; name the file in it."
    if not path.is_file():
        return f"{option}: no such file: {path.absolute()}; check the path."
    return None


def _is_pair(path: Path) -> bool:
    from ptycho.data.formats.ptychodus import recognises  # which loads numpy

    return recognises(path)


def _folder(given: argparse.Namespace) -> Path:
    if given.out is not None:
        return Path(given.out)
    file: Path = given.file
    # every run calls its result the same; its folder has the name
    usual = file.absolute().parent.name if file.stem == "reconstruction" else file.stem
    return Path("outputs/evaluations") / (usual or "object")


def _in_the_way(folder: Path) -> Path | None:
    """A file where a folder is wanted."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return None if there.is_dir() else there


if __name__ == "__main__":
    main()
