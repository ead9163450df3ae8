"""What a sweep varies: one dimension for each setting, and what it may be."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

Value = str | int | float


@dataclass(frozen=True)
class Dimension:
    """One setting and what it may be."""

    name: str
    """As it is typed before the equals sign."""
    text: str
    """As it is typed behind it."""
    values: tuple[str, ...] = ()
    """The choices, as they are typed; empty for numbers between two ends."""
    low: float = 0.0
    high: float = 0.0
    """Both ends, themselves included."""
    step: float | None = None
    """Distance of neighbours; None: none, or 1 where ``whole``."""
    log: bool = False
    """Whether a factor counts, not a difference."""
    whole: bool = False
    """Whether only whole numbers are meant."""

    def typed(self, value: Value) -> str:
        """The override of one value."""
        return f"{self.name}={value if isinstance(value, str) else repr(value)}"

    def examples(self) -> tuple[str, ...]:
        """Overrides of every choice, or of both ends."""
        if self.values:
            return tuple(f"{self.name}={value}" for value in self.values)
        ends = (int(self.low), int(self.high)) if self.whole else (self.low, self.high)
        return tuple(self.typed(value) for value in ends)


@dataclass(frozen=True)
class Space:
    """What is the same in all jobs of a sweep, and what is not."""

    fixed: tuple[str, ...] = ()
    """Overrides of every job."""
    dimensions: tuple[Dimension, ...] = field(default_factory=tuple)

    @property
    def params(self) -> dict[str, str]:
        """Every dimension as it was typed."""
        return {one.name: one.text for one in self.dimensions}

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Overrides of every job of a grid, the last dimension moving fastest."""
        return product(*(one.examples() for one in self.dimensions))

    def samples(self) -> Iterator[tuple[str, ...]]:
        """A few jobs in which every choice, and both ends of every interval, stand once."""
        every = [one.examples() for one in self.dimensions]
        for row in range(max(map(len, every), default=1)):
            yield tuple(texts[min(row, len(texts) - 1)] for texts in every)
