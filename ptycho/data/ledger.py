"""What frames hold in all, and which of them are used."""

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ptycho.config.data_config import PreprocessConfig
from ptycho.data.frames import Indices
from ptycho.data.resampling import Mask
from ptycho.data.scan import DataError

_ROUNDING = 2e-7  # of squared amplitudes in single precision


@dataclass
class Ledger:
    """What frames hold in all; decides which of them are used."""

    how: PreprocessConfig
    total: list[NDArray[np.float64]] = field(default_factory=list)
    """Counts of each frame."""
    mark: list[int] = field(default_factory=list)
    """A checksum of each."""
    hidden: int = 0
    """Pixels that are bad, in all frames."""
    pixels: int = 0

    def enter(self, amplitude: NDArray[np.float32], hides: bool) -> Mask:
        """Take some frames ``(b, N, N)`` down; returns which of them are used, ``(b,)``."""
        total = np.einsum("nyx,nyx->n", amplitude, amplitude, dtype=np.float64)
        whole = np.rint(total)  # roots of counts in single precision, squared again
        total = np.where(np.abs(total - whole) <= _ROUNDING * whole, whole, total)
        self.total.append(total)
        self.mark += [zlib.crc32(one) for one in amplitude]
        self.hidden += int(np.signbit(amplitude).sum()) if hides else 0
        self.pixels += amplitude.size
        return self._used(total)

    def _used(self, total: NDArray[np.float64]) -> Mask:
        used = total > 0 if self.how.drop_empty else np.ones(len(total), bool)
        if self.how.drop_below is not None:
            used &= total >= self.how.drop_below
        if self.how.drop_above is not None:
            used &= total <= self.how.drop_above
        return used

    def kept(self, name: str) -> Indices | None:
        """Numbers of the frames that are used; None: all.

        Raises:
            DataError: there are none.
        """
        total = np.concatenate([*self.total, np.empty(0)])
        used = self._used(total)
        if used.all():
            return None
        if not total.any():
            raise DataError(f"{name}: every pattern is empty.")
        if not used.any():
            raise DataError(
                f"{name}: no frame is left: they hold {total.min():.4g} to {total.max():.4g} "
                "counts; change data.preprocess.drop_below or drop_above."
            )
        return np.flatnonzero(used)

    def done(self) -> list[str]:
        """Which frames are not used, for the record."""
        total = np.concatenate([*self.total, np.empty(0)])
        empty = (total == 0) & self.how.drop_empty
        few = (total < (self.how.drop_below or 0)) & ~empty
        many = ~self._used(total) & ~empty & ~few
        counts = [(int(one.sum()), word) for one, word in
                  ((empty, "empty"), (few, "dark"), (many, "bright"))]  # fmt: skip
        return [f"{n} {word} {'frame' if n == 1 else 'frames'} dropped" for n, word in counts if n]

    def repeated(self) -> int:
        """How many frames hold what an earlier one holds, to the bit; empty ones do not count."""
        total = np.concatenate([*self.total, np.empty(0)])
        pairs = [pair for pair in zip(total.tolist(), self.mark, strict=True) if pair[0]]
        return len(pairs) - len(set(pairs))
