"""What a run is judged by: figures by the names that ``sweep.metric`` may hold."""

from collections.abc import Sequence
from typing import Any

from ptycho.report.metrics import FLOORS

Judgement = float | tuple[float, ...] | None
"""What a run returns to whoever compares runs; None when there is nothing to judge."""

_END = "stages"


def figures_of(metrics: dict[str, Any], seconds: float, photons: float) -> dict[str, float]:
    """Every figure of a run by name.

    Args:
        metrics: as in ``metrics.json``.
        seconds: that the run took.
        photons: of a pattern.

    Returns:
        ``C`` and the others of the last stage, ``STAGE/C`` of each (``test_STAGE/C`` of a second
        scan), ``train/...`` of the training, ``seconds`` and ``photons``.
    """
    found: dict[str, float] = {"seconds": seconds, "photons": photons}
    for name, one in metrics.get("training", {}).items():
        if isinstance(one, int | float):
            found[f"train/{name}"] = one
    for group, rows in metrics.items():
        if not group.endswith(_END):
            continue
        prefix = group.removesuffix(_END)
        stages = {stage: row for stage, row in rows.items() if stage not in FLOORS}
        for stage, row in stages.items():
            found |= {f"{prefix}{stage}/{name}": value for name, value in row.items()}
        if stages and not prefix:
            found = list(stages.values())[-1] | found  # its seconds are not those of the run
    return {name: value for name, value in found.items() if value is not None and value == value}


def judged(metric: Sequence[str], figures: dict[str, float]) -> dict[str, float]:
    """The figures that were asked for, in that order, without those that are missing."""
    return {name: float(figures[name]) for name in metric if name in figures}


def as_returned(metric: Sequence[str], values: dict[str, float] | None) -> Judgement:
    """One number, or one for each metric; None when one is missing."""
    if not values or any(name not in values for name in metric):
        return None
    found = tuple(values[name] for name in metric)
    return found[0] if len(found) == 1 else found
