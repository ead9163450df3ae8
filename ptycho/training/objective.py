"""What a training makes small, in numbers."""

from dataclasses import dataclass

from ptycho.physics.sweep import Judge


@dataclass(frozen=True)
class Objective:
    """What a training makes small."""

    judge: Judge | None
    """Compares expected photons with measured amplitudes; None: patterns are not looked at."""
    squared: float = 0.0
    """Weight of the squared difference to labels."""
    absolute: float = 0.0
    """Weight of the absolute difference to labels."""
    variation: float = 0.0
    """Weight of the total variation of the lit canvas."""
