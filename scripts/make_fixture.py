r"""Cut a small scan out of a large one, for tests and bug reports.

    python scripts/make_fixture.py --source synthetic \
        --output tests/fixtures/minimal_dataset_v1.npz --subset-size 64

A JSON file of the same name beside it tells where it came from, frame by frame. Same source,
same bytes: nothing in either file tells when or on whose machine it was made.
"""

import argparse
import hashlib
import io
import json
import shlex
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.lib import format as format_
from numpy.typing import NDArray

from ptycho.config.config import UserError
from ptycho.config.process import exit_codes
from ptycho.data.appearing import appearing
from ptycho.data.archive import (
    PROBES,
    Archive,
    Array,
    opened_npz,
    read_metadata,
    read_positions,
)
from ptycho.data.formats.npz import PATTERNS, measure_npz, read_npz
from ptycho.data.scan import DataError
from ptycho.data.simulate import simulate
from ptycho.report.files import write_json

FORMAT_VERSION = 1
SYNTHETIC: dict[str, Any] = {
    "kind": "natural",
    "n_patterns": 1600,
    "patch_size": 64,
    "photons": 1e5,
    "step": 6.0,
    "jitter": 1.0,
    "probe_radius": 12.0,
    "seed": 0,
}
"""The built-in scan as ``python -m ptycho.run`` simulates it when nothing else is asked for."""

_FEWEST = 16
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first date that a ZIP file knows
_BY_FRAME = ("Y", "scan_index")
_COMPLEX = (*PROBES, "objectGuess", "Y")
_ONCE = (*PROBES, "objectGuess", "bad_pixels")


@dataclass
class Source:
    """A scan with everything of its file that a fixture keeps, frames first."""

    name: str
    sha256: str
    patterns: Array
    """``(n, N, N)``: counts or amplitudes."""
    positions: NDArray[np.float64]
    """``(n, 2)``: patch centres as (y, x) in object pixels."""
    arrays: dict[str, Array]
    """All else, by the names of the file."""
    metadata: dict[str, Any]
    done: list[str] = field(default_factory=list)
    """What was changed so far, in sentences."""
    left_out: list[str] = field(default_factory=list)
    """Arrays of the file that a fixture does not keep."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What a simulator was told."""


def read(path: Path) -> Source:
    """The scan of a file.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be used, with the reason in one sentence.
    """
    kind = read_npz(path, patches=True).notes["values"].partition(" ")[0]  # or says what is wrong
    found = measure_npz(path)
    patterns, layout = found.frames.read(slice(None)), found.notes["layout"]
    with opened_npz(path) as archive:
        metadata = read_metadata(archive)
        positions = read_positions(archive)
        kept = [key for key in (*_ONCE, *_BY_FRAME) if _fits(archive, key, len(positions))]
        arrays = {key: archive.read(key, "biufc", "numbers") for key in kept}
        used = {archive.one_of(*PATTERNS), "ycoords", "xcoords", "_metadata", *kept}
        left_out = sorted(set(archive.keys) - used)
    source = Source(
        path.name, _sha256(path), patterns, positions, arrays, metadata, left_out=left_out
    )
    if layout == "yxn":
        source.done.append("diffraction: frames moved from the last axis to the first")
    _settle_dtypes(source, kind)
    return source


def synthetic() -> Source:
    """The built-in scan, its patterns as counts.

    Raises:
        DataError: the simulator's amplitudes are not the roots of whole numbers.
    """
    scan = simulate(**SYNTHETIC)
    counts = np.rint(np.square(scan.amplitude, dtype=np.float64)).astype(np.int64)
    if not np.array_equal(np.sqrt(counts, dtype=np.float32), scan.amplitude):
        raise DataError(f"{scan.label}: the simulated patterns are no whole photons.")
    arrays = {"probeGuess": scan.probe[0], "objectGuess": scan.truth}
    known = {key: array for key, array in arrays.items() if array is not None}
    metadata = {"label": scan.label, "object_is_truth": True}
    source = Source(
        "synthetic", scan.sha256, counts, scan.positions, known, metadata, settings=SYNTHETIC
    )
    source.done.append("diffraction: counts, the simulated amplitudes squared and rounded")
    _settle_dtypes(source, "counts")
    return source


def first(positions: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """The first frames in scan order."""
    return np.arange(size)


def nearest(positions: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """The frames nearest to the middle of the scan, in scan order."""
    middle = (positions.min(0) + positions.max(0)) / 2
    away = np.hypot(*(positions - middle).T)
    return np.sort(np.argsort(away, kind="stable")[:size])


STRATEGIES: dict[str, Callable[[NDArray[np.float64], int], NDArray[np.int64]]] = {
    "nearest": nearest,
    "first": first,
}


def cut(source: Source, strategy: str, size: int) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """Some frames of a scan, each with its own position, and the object under them.

    What is done to them is added to ``source.done``.

    Returns:
        The arrays of the fixture, and the numbers of its frames.

    Raises:
        UserError: the scan has fewer frames.
        DataError: the object does not lie under these frames, or the scan is not usable.
    """
    n, side = len(source.positions), source.patterns.shape[-1]
    if size > n:
        raise UserError(f"--subset-size {size}: {source.name} holds {n} frames; ask for fewer.")
    frames = STRATEGIES[strategy](source.positions, size)
    patterns, positions = source.patterns[frames], source.positions[frames]
    arrays = dict(source.arrays)
    if not patterns.any():
        raise DataError(f"{source.name}: every pattern of these {size} frames is empty.")
    for key, array in arrays.items():
        if key in _BY_FRAME or (key == "bad_pixels" and array.ndim == 3):
            arrays[key] = array[frames]
    source.done.append(f"frames: {size} of {n} kept ({strategy}), in the order of the source")
    if "objectGuess" in arrays:
        window, corner = _covered(source, positions, side)
        arrays["objectGuess"] = arrays["objectGuess"][window]
        positions = positions - corner
        source.done += [
            f"objectGuess: cropped to rows {window[0].start}:{window[0].stop} and columns "
            f"{window[1].start}:{window[1].stop}, all that the kept frames cover",
            f"ycoords, xcoords: less {corner[0]} and {corner[1]}, the first pixel of that crop",
        ]
    said = {"values": source.metadata["values"], "layout": "nyx"}
    return {
        "diffraction": patterns,
        "ycoords": positions[:, 0],
        "xcoords": positions[:, 1],
        **arrays,
        "_metadata": np.array(json.dumps(source.metadata | said, sort_keys=True)),
    }, frames


def write(path: Path, arrays: dict[str, Array]) -> None:
    """Write a compressed NPZ file that depends on its arrays alone."""
    with zipfile.ZipFile(path, "w") as file:
        for key, array in arrays.items():
            member = zipfile.ZipInfo(f"{key}.npy", _LONG_AGO)
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, 3
            content = io.BytesIO()
            format_.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
            file.writestr(member, content.getvalue(), compresslevel=9)


def _settle_dtypes(source: Source, kind: str) -> None:
    """Counts as the smallest whole numbers, all else in single precision."""
    patterns, whole = source.patterns, source.patterns.dtype.kind != "f"
    was = patterns.dtype
    if kind == "counts" and (whole or (patterns == np.floor(patterns)).all()):
        largest = int(patterns.max(initial=0))
        if largest >= 2**63:
            raise DataError(f"{source.name}: counts reach {largest:.3g}, more than can be counted.")
        source.patterns = patterns.astype(np.min_scalar_type(largest))
    elif kind == "counts":
        source.patterns = np.sqrt(patterns, dtype=np.float32)
        source.done.append("diffraction: amplitudes, the square root of counts with fractions")
        kind = "amplitude"
    else:
        source.patterns = patterns.astype(np.float32)
    source.metadata = source.metadata | {"values": kind}
    _note_dtype(source, "diffraction", was, source.patterns.dtype)
    for key in _COMPLEX:
        if (array := source.arrays.get(key)) is not None:
            source.arrays[key] = array.astype(np.complex64)
            _note_dtype(source, key, array.dtype, np.dtype(np.complex64))


def _note_dtype(source: Source, key: str, was: np.dtype[Any], now: np.dtype[Any]) -> None:
    if was != now:
        source.done.append(f"{key}: {was} stored as {now}")


def _fits(archive: Archive, key: str, n: int) -> bool:
    """Whether an array is there and can be cut along with the frames."""
    if not archive.has_optional(key):
        return False
    shape, _ = archive.header(key)
    return len(shape) == 2 if key == "objectGuess" else key in _ONCE or shape[:1] == (n,)


def _covered(
    source: Source, positions: NDArray[np.float64], side: int
) -> tuple[tuple[slice, slice], NDArray[np.int64]]:
    """Rows and columns of the object under all patches, and the first of either."""
    shape = np.array(source.arrays["objectGuess"].shape)
    corners = np.floor(positions + 0.5).astype(np.int64) - side // 2
    low, high = corners.min(0).clip(0), np.minimum(corners.max(0) + side, shape)
    if (low >= high).any():
        raise DataError(
            f"{source.name}: objectGuess {tuple(shape.tolist())} does not lie under the frames, "
            f"which cover rows {corners[:, 0].min()} to {corners[:, 0].max() + side} and columns "
            f"{corners[:, 1].min()} to {corners[:, 1].max() + side}; drop it from the file."
        )
    return (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))), low


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record(
    path: Path,
    source: Source,
    arrays: dict[str, Array],
    frames: NDArray[np.int64],
    *,
    strategy: str,
    command: str,
) -> dict[str, Any]:
    """What the JSON file says of a fixture.

    Args:
        path: the finished fixture.
        source: where it came from.
        arrays: what it holds.
        frames: numbers of its frames in the source.
        strategy: how they were chosen.
        command: what was typed.
    """
    return {
        "format_version": FORMAT_VERSION,
        "command": command,
        "source": {
            "name": source.name,
            "sha256": source.sha256,
            "frames": len(source.positions),
            **source.settings,
        },
        "subset": {"strategy": strategy, "size": len(frames), "frames": frames.tolist()},
        "transformations": source.done,
        "left_out": source.left_out,
        "arrays": {
            key: {"shape": list(array.shape), "dtype": str(array.dtype)}
            for key, array in arrays.items()
        },
        "sha256": _sha256(path),
    }


def main(arguments: list[str] | None = None) -> None:
    """Write a fixture and its JSON file; exit codes as for a run.

    Args:
        arguments: the command line; from ``sys.argv`` when None.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    with exit_codes():
        given = _parser().parse_args(typed)
        output: Path = given.output
        _refuse_bad_names(given.source, output, given.subset_size)
        source = synthetic() if given.source == "synthetic" else read(Path(given.source))
        arrays, frames = cut(source, given.strategy, given.subset_size)
        sidecar = output.with_suffix(".json")
        with appearing(output) as temporary:
            write(temporary, arrays)
            said = record(
                temporary, source, arrays, frames, strategy=given.strategy, command=_command(typed)
            )
            size = temporary.stat().st_size
            write_json(sidecar, said)
        print(f"{output}: {len(frames)} of {len(source.positions)} frames, {size / 1000:.0f} kB")
        print(f"{sidecar}: where they came from")


def _refuse_bad_names(source: str, output: Path, size: int) -> None:
    if output.suffix != ".npz":
        raise UserError(f"--output must end in .npz, got {output}.")
    if not output.parent.is_dir():
        raise UserError(f"--output: no such folder: {output.parent}; make it first.")
    if output.exists() and source != "synthetic" and output.samefile(Path(source)):
        raise UserError(f"--output {output} is the source itself; give it another name.")
    if size < _FEWEST:
        raise UserError(f"--subset-size must be at least {_FEWEST}, got {size}.")


def _command(typed: list[str]) -> str:
    """What was typed, without the folders of this machine."""

    def known_elsewhere(word: str) -> str:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        return f"{flag}{equals}{Path(value).name if Path(value).is_absolute() else value}"

    words = ["python", "scripts/make_fixture.py", *map(known_elsewhere, typed)]
    return shlex.join(words)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are sentences of ours."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see scripts/make_fixture.py --help.")


def _parser() -> _Parser:
    lead, example, last = (__doc__ or "").split("\n\n")
    parser = _Parser(
        prog="make_fixture.py",
        description=f"{lead}\n\n{last}",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--source",
        required=True,
        metavar="FILE",
        help="a scan in NPZ; or the word synthetic, the built-in simulated scan",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE.npz", help="the fixture to write"
    )
    parser.add_argument(
        "--subset-size", type=int, default=64, metavar="N", help="frames to keep (64)"
    )
    parser.add_argument(
        "--strategy",
        choices=sorted(STRATEGIES),
        default="nearest",
        help="which frames: those nearest to the middle of the scan, or the first (nearest)",
    )
    return parser


if __name__ == "__main__":
    main()
