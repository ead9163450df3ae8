"""Positions in text files as ptychodus writes them: ``y,x`` (CSV) or ``x y`` (TXT), in metres.

The number of a row is the number of its pattern. Rows that were commented out are counted, lines of
a header are not.
"""

from pathlib import Path

import numpy as np

from ptycho.data.formats.places import Places
from ptycho.data.scan import DataError

_LONGEST = 4096  # characters of a line
_METRES = 1e-2  # no scan in pixels lies so close to the corner


def read_text(path: Path) -> Places:
    """Positions of a CSV or TXT file; commas tell which.

    Raises:
        DataError: a line is neither a comment nor a pair of numbers, or lines differ in kind.
    """
    numbers: list[int] = []
    pairs: list[tuple[float, float]] = []
    commas, header = False, 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST + 1), ""), 1):
                if len(line) > _LONGEST or "\0" in line:
                    raise DataError(f"{path}: line {number} is no pair of numbers.")
                if not (said := line.strip()) or said.startswith("#"):
                    header += not pairs and header == number - 1 and not _was_row(said)
                    continue
                first, second = _pair(path, number, said)
                if pairs and commas != ("," in said):
                    raise DataError(
                        f"{path}: line {number} has {_sign(not commas)} between its numbers, "
                        f"{said[:40]!r}, and those before have {_sign(commas)}; y,x and x y are "
                        "not mixed in a file."
                    )
                commas = "," in said
                pairs.append((first, second) if commas else (second, first))
                numbers.append(number - 1 - header)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: neither text nor any format with positions.") from error
    if not pairs:
        raise DataError(f"{path}: holds not a single position.")
    positions = np.array(pairs, np.float64)
    near = bool(0 < np.abs(positions).max() < _METRES)
    return Places(
        path=path,
        name="its table",
        positions=positions,
        unit="m" if near else "px",
        numbers=np.array(numbers, np.int64),
        notes=(f"rows read as {'y,x' if commas else 'x y'} in {'metres' if near else 'pixels'}",),
    )


def _pair(path: Path, number: int, said: str) -> tuple[float, float]:
    """The two numbers of a line, in its own order."""
    parts = said.split(",") if "," in said else said.split()
    try:
        first, second = (float(part) for part in parts)
    except ValueError as error:
        held = f", which has {len(parts)} values" if len(parts) > 2 else ""
        raise DataError(
            f"{path}: line {number} is no pair of numbers, got {said[:40]!r}{held}; a line is y,x "
            "or x y (with decimal points and nothing else), and comments begin with #."
        ) from error
    return first, second


def _was_row(comment: str) -> bool:
    """Whether a comment is a row that was commented out."""
    said = comment.lstrip("# \t")
    try:
        return len([float(part) for part in said.replace(",", " ").split()]) == 2
    except ValueError:
        return False


def _sign(comma: bool) -> str:
    return "a comma" if comma else "blanks"
