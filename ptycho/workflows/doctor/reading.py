"""A scan as its file holds it, also where a run would refuse the file."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config.choices import DataSource, ProbeKind
from ptycho.config.config import DataConfig
from ptycho.data.archive import PROBES, NpzArchive, opened_npz
from ptycho.data.formats.npz import PATTERNS
from ptycho.data.frames import Array, ArrayFrames, Frames, Indices
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.scan import DataError
from ptycho.report.diagnosis import Finding, Weight
from ptycho.workflows.build import find_measurement, make_scan
from ptycho.workflows.simulating import beam_of

_FOR_A_PROBE = 512
"""Patterns from which one is made."""


class _First(Frames):
    """The first frames of others."""

    def __init__(self, frames: Frames, n: int) -> None:
        self._frames, self.path, self.name = frames, frames.path, frames.name
        self.shape, self.dtype = (n, *frames.shape[1:]), frames.dtype

    def read(self, rows: slice | Indices) -> Array:
        """Frames of some rows."""
        return self._frames.read(np.arange(len(self))[rows])

    def close(self) -> None:
        """Let go of the file."""
        self._frames.close()


def read_for_doctor(data: DataConfig, patch_size: int) -> tuple[Measurement, list[Finding]]:
    """What there is to look at, and what a reader would have said against it.

    Args:
        data: settings.
        patch_size: side N of a simulated pattern.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is beyond being looked at.
    """
    if data.source == DataSource.synthetic:
        return _simulated(data, patch_size), []
    path = Path(str(data.train_data_file))
    try:
        found, said = find_measurement(str(path), data), []
    except DataError as error:
        rescued = _rescued(path)
        if rescued is None:
            raise
        sentence = str(error).removeprefix(f"{path}: ")
        found = rescued
        said = [Finding("reading", Weight.look, f"a run refuses this file: {sentence}")]
    n = data.n_images
    found = found if n is None or n >= len(found) else first(found, n)
    if data.probe.kind == ProbeKind.file and data.probe_file is None:
        return found, said
    found, about_beam = _with_beam(found, data)
    return found, [*said, about_beam]


def first(found: Measurement, n: int) -> Measurement:
    """The first patterns of a scan."""
    bad = found.bad_pixels
    return replace(
        found,
        frames=_First(found.frames, n),
        positions=found.positions[:n],
        bad_pixels=bad[:n] if bad is not None and bad.ndim == 3 else bad,
        patches=None,
    )


def _anywhere(found: Measurement) -> Measurement:
    """The same in pixels of no meaning: a probe does not ask where patterns were taken."""
    return replace(found, positions=np.zeros((len(found), 2)), unit="px")


def _with_beam(found: Measurement, data: DataConfig) -> tuple[Measurement, Finding]:
    """The scan with the probe that the settings ask for."""
    name = f"data.probe.kind={data.probe.kind.value}"
    if data.probe.kind == ProbeKind.file:
        name = f"data.probe_file={data.probe_file}"
    try:
        scan = prepare(
            _anywhere(first(found, min(len(found), _FOR_A_PROBE))),
            values=data.values.value,
            preprocess=data.preprocess,
            geometry=data.geometry,
            beam=beam_of(data),
        )
    except DataError as error:
        said = f"{name} cannot be had: {str(error).removeprefix(f'{found.path}: ')}"
        return found, Finding("made probe", Weight.look, said)
    if scan.patch_size != min(found.frames.shape[1:]):
        said = f"{name} belongs to {scan.patch_size} pixels, as prepared; the file's own is taken."
        return found, Finding("made probe", Weight.note, said)
    said = f"as {name} says, not the file's own."
    return replace(found, probe=scan.probe), Finding("made probe", Weight.note, said)


def _simulated(data: DataConfig, patch_size: int) -> Measurement:
    scan = make_scan(data, patch_size)
    frames = ArrayFrames(np.asarray(scan.amplitude), Path("the simulated scan"), "patterns")
    return Measurement(
        frames=frames,
        positions=scan.positions,
        probe=scan.probe,
        obj=scan.truth,
        obj_is_truth=scan.truth_is_known,
        values="amplitude",
        why="as it is simulated",
        pixel_size_m=scan.pixel_size_m,
        label=scan.label,
    )


def _rescued(path: Path) -> Measurement | None:
    """An NPZ file with as much as can be read of it; None where that is nothing."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return None
    with opened_npz(path) as archive:
        patterns = _array(archive, PATTERNS)
        if patterns is None or patterns.ndim != 3 or patterns.dtype.kind not in "biuf":
            return None
        y, x = (_array(archive, (key,)) for key in ("ycoords", "xcoords"))
        probe, bad = _array(archive, PROBES), _array(archive, ("bad_pixels",))
    n = len(y) if y is not None else len(patterns)
    if patterns.shape[0] != n and patterns.shape[-1] == n:
        patterns = np.moveaxis(patterns, -1, 0)
    n = min(len(one) for one in (patterns, y, x) if one is not None and one.ndim)
    positions = np.zeros((n, 2))  # all alike: says nothing
    if y is not None and x is not None and y.ndim == x.ndim == 1:
        positions = np.stack([y[:n], x[:n]], axis=1).astype(np.float64)
    return Measurement(
        frames=ArrayFrames(patterns[:n], path, "diffraction"),
        positions=positions,
        probe=_as_probe(probe),
        bad_pixels=bad.astype(bool) if bad is not None and bad.ndim == 2 else None,
    )


def _array(archive: NpzArchive, keys: tuple[str, ...]) -> NDArray[Any] | None:
    """The first of some arrays that is there and can be read, with whatever it holds."""
    for key in keys:
        if key in archive.keys and not archive.is_pickled(key):
            try:
                return archive.as_it_is(key)
            except DataError:
                continue
    return None


def _as_probe(array: NDArray[Any] | None) -> NDArray[np.complex64] | None:
    if array is None or array.dtype.kind not in "iufc" or array.ndim not in (2, 3):
        return None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    modes = array if array.ndim == 3 else array[None]
    return modes.astype(np.complex64) if modes.shape[1] == modes.shape[2] else None
