"""Numbers as people read them: as many digits as tell them apart."""

import math
from collections.abc import Iterable
from typing import Any

MISSING = "-"
"""Stands where no value is known."""


def column(values: Iterable[Any]) -> list[str]:
    """Values of one kind as texts: numbers with digits that tell the least alike apart.

    Two digits of the range of all are kept, at most seven after the point; whole numbers stay
    whole; what is no finite number is a dash.
    """
    every = [*values]
    known = [v for v in every if _is_number(v)]
    places = _places(known)
    return [_text(value, places) for value in every]


def single(value: Any, digits: int = 4) -> str:
    """One value by itself, a number with some significant digits."""
    if value is None or (_is_number(value, finite=False) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, float):
        return f"{value:.0f}" if 10**digits <= abs(value) < 1e7 else f"{value:.{digits}g}"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 8.2 s, 3 min 20 s, 5 h 12 min."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 100:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _places(values: list[Any]) -> int | None:
    """Digits after the point; None where no fixed number of them is any good."""
    if all(isinstance(v, int) for v in values):
        return 0
    largest, spread = max(map(abs, values)), max(values) - min(values)
    if spread == 0 or spread < 1e-5 * largest or largest < 1e-3:
        return None
    smallest = min(abs(v) for v in values if v) if any(values) else largest
    if largest / smallest > 1e4:
        return None
    return max(0, min(7, 2 - math.floor(math.log10(spread))))


def _text(value: Any, places: int | None) -> str:
    if _is_number(value) and places is not None:
        return f"{value:,.{places}f}"
    return single(value, digits=5 if places is None else 4)


def _is_number(value: Any, finite: bool = True) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (math.isfinite(value) or not finite)
