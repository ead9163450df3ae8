"""Whether two runs are the same experiment, and whether they came out the same."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

_NOT_COMPARED = ("seconds", "patterns_per_s")
"""Figures of the clock, which are never the same twice."""
_NOTHING = 1e-12  # figures closer than this are the same zero


class Verdict(StrEnum):
    """How two runs compare."""

    identical = "identical"
    within = "within tolerance"
    differ = "differ"


@dataclass(frozen=True)
class Compared:
    """One thing of two runs."""

    name: str
    recorded: Any
    now: Any
    same: bool


@dataclass(frozen=True)
class Figure:
    """One figure of two runs; None where it has no value."""

    name: str
    recorded: float | None
    now: float | None

    @property
    def difference(self) -> float:
        """Relative to the larger one; infinite where only one has a value."""
        if self.recorded is None or self.now is None:
            return 0.0 if self.recorded is self.now else math.inf
        apart = abs(self.recorded - self.now)
        size = max(abs(self.recorded), abs(self.now))
        return 0.0 if apart <= _NOTHING else apart / size

    @property
    def identical(self) -> bool:
        """To the last bit."""
        return self.recorded == self.now


@dataclass(frozen=True)
class Agreement:
    """All that can be said about two runs."""

    surroundings: list[Compared]
    figures: list[Figure]
    arrays: dict[str, bool] | None
    """Name -> whether it is equal to the last bit; None where one of the files is missing."""
    tolerance: float

    @property
    def apart(self) -> list[Figure]:
        """Figures that differ by more than is tolerated."""
        return [one for one in self.figures if one.difference > self.tolerance]

    @property
    def verdict(self) -> Verdict:
        """Whether they came out the same."""
        equal = all(one.identical for one in self.figures)
        if equal and all((self.arrays or {}).values()):
            return Verdict.identical
        return Verdict.differ if self.apart else Verdict.within


def compare_surroundings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Compared]:
    """Data, code, packages and machine of two ``env.json``."""

    def one(name: str, *path: str) -> Compared:
        was, is_ = _at(before, path), _at(now, path)
        return Compared(name, was, is_, was == is_)

    compared = [
        one("data sha256", "data_sha256"),
        one("code", "git", "sha"),
        one("uncommitted changes", "git", "diff_sha256"),
        one("python", "python"),
        one("device", "device"),
        one("device name", "device_name"),
        one("threads", "threads"),
        one("deterministic", "deterministic"),
        one("platform", "platform"),
    ]
    return [*compared, *_packages(before, now)]


def _packages(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Compared]:
    """All packages in one line where they are the same, else those that are not."""
    both = "installed" in before and "installed" in now
    group = "installed" if both else "packages"  # an older record has the main ones only
    was, is_ = before.get(group) or {}, now.get(group) or {}
    names = sorted({*was, *is_}) if both else sorted(was)
    other = [name for name in names if was.get(name) != is_.get(name)]
    if not other:
        every = f"{len(names)} packages"
        yield Compared("packages", every, every, True)
    for name in other:
        yield Compared(f"package {name}", was.get(name), is_.get(name), False)


def _at(nested: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = nested
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def compare_figures(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Figure]:
    """Every figure of two ``metrics.json``, but those of the clock."""
    was, is_ = dict(_figures(before)), dict(_figures(now))
    return [Figure(name, was.get(name), is_.get(name)) for name in dict.fromkeys([*was, *is_])]


def _figures(metrics: Any, prefix: str = "") -> Iterator[tuple[str, float | None]]:
    items = metrics.items() if isinstance(metrics, Mapping) else enumerate(metrics)
    for name, value in items:
        if name in _NOT_COMPARED:
            continue
        if isinstance(value, Mapping | list):
            yield from _figures(value, f"{prefix}{name}/")
        elif value is None or isinstance(value, int | float):
            yield f"{prefix}{name}", None if value is None else float(value)


def compare_arrays(before: Path, now: Path) -> dict[str, bool] | None:
    """Whether the arrays of two NPZ files are equal to the last bit, by name.

    None where a file is missing; a file that cannot be read is equal to nothing.
    """
    if not (before.is_file() and now.is_file()):
        return None
    try:
        return _compare_arrays(before, now)
    except (OSError, ValueError, BadZipFile):
        return {before.name: False}


def _compare_arrays(before: Path, now: Path) -> dict[str, bool]:
    with np.load(before, allow_pickle=False) as was, np.load(now, allow_pickle=False) as is_:
        return {
            name: name in was and name in is_ and _same(was[name], is_[name])
            for name in dict.fromkeys([*was.files, *is_.files])
        }


def _same(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def plain_agreement(found: Agreement) -> dict[str, Any]:
    """All of it for JSON."""
    return {
        "verdict": found.verdict.value,
        "tolerance": found.tolerance,
        "surroundings": {
            one.name: {"recorded": one.recorded, "now": one.now, "same": one.same}
            for one in found.surroundings
        },
        "arrays": found.arrays,
        "figures": {
            one.name: {
                "recorded": one.recorded,
                "now": one.now,
                "relative_difference": one.difference,
            }
            for one in found.figures
        },
    }
