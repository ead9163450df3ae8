"""Positions in text files as ptychodus writes them: ``y,x`` (CSV) or ``x y`` (TXT), in metres.

The number of a row, comments counted, is the number of its pattern.
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
        DataError: a line is neither a comment nor a pair of numbers.
    """
    numbers, pairs = [], []
    commas = False
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST + 1), "")):
                if len(line) > _LONGEST or "\0" in line:
                    raise DataError(f"{path}: line {number + 1} is no pair of numbers.")
                if not (said := line.strip()) or said.startswith("#"):
                    continue
                commas = "," in said
                parts = said.split(",") if commas else said.split()
                first, second = (float(part) for part in (parts[0], parts[1]))
                pairs.append((first, second) if commas else (second, first))
                numbers.append(number)
    except (ValueError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        if isinstance(error, UnicodeDecodeError):
            raise DataError(f"{path}: neither text nor any format with positions.") from error
        raise DataError(
            f"{path}: line {number + 1} is no pair of numbers, got {said[:40]!r}; a line is y,x or "
            "x y, and comments begin with #."
        ) from error
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
