"""Amplitudes of a scan that stay in their file: read, and prepared, some at a time."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho.data.frames import Frames, Indices
from ptycho.data.memory import keep_tidy, usable_memory
from ptycho.data.scan import DataError
from ptycho.data.survey import Patterns, Survey, take_survey
from ptycho.physics.measured import Deferred

Step = Callable[[Frames, slice | Indices], Patterns]
"""Makes amplitudes ``(b, N, N)`` of some frames; may be pickled."""

LAZY = ("auto", "always", "never")
"""When amplitudes stay in their file."""

BLOCK_BYTES = 8 * 2**20
"""Of amplitudes made at once where all are looked at."""

SHARE = 4
"""``auto``: in memory, amplitudes may take one in so many bytes that this process may use."""

_GIB = 2**30

log = logging.getLogger(__name__)


@contextmanager
def _nobody_watches(total: int) -> Iterator[Callable[[], Any]]:
    yield lambda: None


Watch = Callable[[int], AbstractContextManager[Callable[[], Any]]]
"""Begins to show a look at so many blocks; what it gives is called after each."""

_watch: ContextVar[Watch] = ContextVar("watch", default=_nobody_watches)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Let somebody watch all looks at whole files, which take minutes where those are large."""
    before = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(before)


class LazyAmplitude:
    """Stands for the array of amplitudes ``(n, N, N)`` of a scan.

    Whatever is indexed is read anew; nothing is kept but a :class:`Survey`. It may be pickled,
    and read by several threads and processes at once.

    Args:
        frames: the patterns in their file.
        step: makes amplitudes of them.
        rows: which frames, in which order; all when None.
        factor: by which amplitudes are multiplied; None: as they are.

    Raises:
        DataError: the first pattern cannot be read.
    """

    dtype: np.dtype[Any] = np.dtype(np.float32)
    ndim = 3

    def __init__(
        self,
        frames: Frames,
        step: Step,
        rows: Indices | None = None,
        factor: np.float64 | None = None,
    ) -> None:
        self._frames, self._step, self._rows, self._factor = frames, step, rows, factor
        n = len(frames) if rows is None else len(rows)
        height, width = self[:1].shape[1:]
        self.shape = (n, height, width)
        self._survey: Survey | None = None

    def __len__(self) -> int:
        return len(self._frames) if self._rows is None else len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes that the array would take."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, which: int | slice | Indices) -> Patterns:
        if isinstance(which, (int, np.integer)):
            one: Patterns = self[np.array([which], dtype=np.int64)][0]
            return one
        rows: slice | Indices = which
        if self._rows is not None:
            rows = self._rows[which]
        found = self._step(self._frames, rows)
        if self._factor is not None:
            found = np.asarray(found * self._factor, dtype=np.float32)
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of them in memory, for who wants an array."""
        if copy is False:
            raise ValueError("these amplitudes are in a file: an array of them is a copy")
        whole = np.empty(self.shape, np.float32)
        for some in self.blocks():
            whole[some] = self[some]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def take(self, which: slice | Indices) -> "LazyAmplitude":
        """Some of them, not read yet."""
        rows = np.arange(len(self)) if self._rows is None else self._rows
        return LazyAmplitude(self._frames, self._step, rows[which], self._factor)

    def times(self, factor: np.float64) -> "LazyAmplitude":
        """All of them multiplied by a number, not read yet."""
        if self._factor is not None:
            factor = self._factor * factor
        return LazyAmplitude(self._frames, self._step, self._rows, factor)

    def blocks(self) -> Iterator[slice]:
        """All of them in order, about :data:`BLOCK_BYTES` at a time."""
        each = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        rows = max(BLOCK_BYTES // each, 1)
        for start in range(0, len(self), rows):
            yield slice(start, min(start + rows, len(self)))

    @property
    def surveyed(self) -> bool:
        """Whether all of them were looked at before."""
        return self._survey is not None

    def survey(self, look: Callable[[Patterns], Any] | None = None) -> Survey:
        """What all of them tell; they are read for it, once.

        Args:
            look: called with each of :meth:`blocks`, in order.

        Raises:
            DataError: a pattern cannot be read, or holds what no detector counts.
        """
        if self._survey is None:
            keep_tidy()
            blocks = list(self.blocks())
            with _watch.get()(len(blocks)) as tick:
                found = take_survey((self._shown(some, look) for some in blocks), self.shape, tick)
            if not found.energies.any():
                raise DataError(f"{self._frames.path}: every pattern is empty.")
            self._survey = found
        return self._survey

    def _shown(self, some: slice, look: Callable[[Patterns], Any] | None) -> Patterns:
        block = self[some]
        if look is not None:
            look(block)
        return block

    def __getstate__(self) -> dict[str, Any]:
        # no process that merely reads needs figures, and a checksum cannot be pickled
        return self.__dict__ | {"_survey": None}


class LazyTensor(Deferred):
    """The same amplitudes as tensors on a device.

    Args:
        source: the amplitudes.
        device: where what is read is put.
        which: int64 ``(m,)`` on the CPU: some of them; all when None.
    """

    def __init__(
        self,
        source: LazyAmplitude,
        device: torch.device | None = None,
        which: Tensor | None = None,
    ) -> None:
        self._source, self._which = source, which
        self.device = device or torch.device("cpu")
        self.shape = (len(source) if which is None else len(which), *source.shape[1:])

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        rows = which if isinstance(which, slice) else which.cpu()
        if self._which is not None:
            rows = self._which[rows]
        found = self._source[rows if isinstance(rows, slice) else rows.numpy()]
        return torch.from_numpy(found).to(self.device)

    def only(self, which: Tensor) -> "LazyTensor":
        """Some of them, not read yet."""
        which = which.cpu()
        return LazyTensor(
            self._source, self.device, which if self._which is None else self._which[which]
        )

    def norms(self, order: int = 2, size: int | None = None) -> Tensor:
        """Norm of every pattern, or of its central half, ``(m,)``, from the survey."""
        survey, side = self._source.survey(), self.shape[-1]
        known = {(2, side): survey.norms, (1, side): survey.lights, (2, side // 2): survey.central}
        found = known[order, size or side]
        return (found if self._which is None else found[self._which]).to(self.device)

    def bad(self, which: Tensor) -> Tensor | None:
        """Bad pixels of some; read only where they differ from pattern to pattern."""
        known = self._source.survey().bad
        if known is None:
            return None
        if self._alike(known):
            return (known > 0).to(self.device).expand(len(which), *self.shape[1:])
        bad = torch.signbit(self[which])
        return bad if bad.any() else None

    def bad_count(self, take: Tensor | None) -> Tensor | None:
        """In how many a pixel is bad; read only where they differ."""
        known = self._source.survey().bad
        if known is None or (take is None and self._which is None):
            return None if known is None else known.to(self.device)
        wanted = torch.arange(len(self)) if take is None else take.cpu()
        if self._alike(known):
            return ((known > 0).long() * len(wanted)).to(self.device)
        rows = max(BLOCK_BYTES // (4 * self.shape[-1] ** 2), 1)
        counts = [torch.signbit(self[some]).sum(0) for some in wanted.split(rows)]
        return torch.stack(counts).sum(0)

    def _alike(self, bad: Tensor) -> bool:
        """Whether all patterns have the same bad pixels."""
        return bool(((bad == 0) | (bad == len(self._source))).all())

    def to(self, device: torch.device) -> "LazyTensor":
        """The same amplitudes, to be put on a device."""
        return LazyTensor(self._source, device, self._which)


def as_measured(amplitude: Patterns | LazyAmplitude, device: torch.device) -> Tensor | LazyTensor:
    """The amplitudes of a scan on a device; what is in a file stays there."""
    if isinstance(amplitude, LazyAmplitude):
        return LazyTensor(amplitude, device)
    return torch.from_numpy(amplitude).to(device)


def left_in_file(
    frames: Frames, step: Step, side: int, lazy: str, notes: dict[str, str],
    first: int | None = None,
) -> LazyAmplitude | None:  # fmt: skip
    """Something that reads the amplitudes of a file when they are needed; None: read them now.

    Args:
        frames: the patterns in their file.
        step: makes amplitudes of them.
        side: N of those.
        lazy: ``auto`` leaves them in the file where they would take more than a quarter of the
            memory that this process may use; ``always`` and ``never``.
        notes: receive ``reading`` where they stay in the file.
        first: how many are wanted; all when None.

    Raises:
        DataError: the file cannot be read, or not some frames at a time.
    """
    if lazy not in LAZY:
        raise DataError(f"lazy must be one of {', '.join(LAZY)}, got {lazy!r}.")
    if lazy == "always":
        if frames.whole is not None:
            raise DataError(
                f"{frames.path}: data.lazy=always reads some patterns at a time, and "
                f"{frames.name} {frames.whole}; write the scan anew with ptycho convert (or "
                "numpy.savez, which does not compress), or use data.lazy=never."
            )
        notes["reading"] = "amplitudes stay in the file and are read as they are needed, as told"
        return LazyAmplitude(frames, step)
    if lazy == "never":
        return None
    usable, needed = usable_memory(), 4 * side**2 * min(first or len(frames), len(frames))
    if SHARE * needed <= usable:
        return None
    said = f"{needed / _GIB:.3g} GiB of the {usable / _GIB:.3g} GiB this process may use"
    if frames.whole:
        log.warning(
            "%s: %s %s, so that amplitudes take %s; written anew with ptycho convert, they "
            "can stay in the file", frames.path, frames.name, frames.whole, said,
        )  # fmt: skip
        return None
    notes["reading"] = (
        f"amplitudes would take {said}: they stay in the file and are read as they are needed"
    )
    return LazyAmplitude(frames, step)


def in_memory_if_small(amplitude: Patterns | LazyAmplitude) -> Patterns | LazyAmplitude:
    """Some amplitudes of a large file, read now where ``auto`` would not leave them there."""
    if isinstance(amplitude, LazyAmplitude) and SHARE * amplitude.nbytes <= usable_memory():
        return np.asarray(amplitude)
    return amplitude
