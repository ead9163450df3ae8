"""The scan by which a reconstruction is judged, read as the run read it that made it."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho.config.choices import DataSource, Lazy
from ptycho.config.config import ConfigError, DataConfig, UserError
from ptycho.config.describe import plain
from ptycho.config.validate import leaves
from ptycho.data.formats.ptychodus import is_patterns_alone
from ptycho.data.scan import Scan
from ptycho.report.folder import RESULTS, read_run, run_of
from ptycho.workflows.build import make_scan
from ptycho.workflows.factory import run_from
from ptycho.workflows.problem import with_a_dose
from ptycho.workflows.recorded import find_files

_READING = ("values", "geometry", "positions", "preprocess")
"""Settings that say what patterns and positions mean, in whatever file."""
_LAYOUT = ("format", "keys")
"""Those that say where in a file they are."""
_OF_ITS_FILE = ("positions_file", "probe_file", "probe")
"""Those that belong to the run's first file alone."""
_DRAWN = ("n_images", "n_subsample", "subsample_seed", "sequential_sampling")
"""Those that say which of its patterns were drawn."""
_ALL = (*_READING, *_LAYOUT, *_OF_ITS_FILE, *_DRAWN)


@dataclass(frozen=True)
class Judge:
    """A scan, and how it was read."""

    scan: Scan
    source: str
    """Where it is."""
    notes: tuple[str, ...] = ()
    """What was decided, in sentences."""


def read_judge(
    result: Path, file: Path | None, reading: DataConfig, typed: tuple[str, ...]
) -> Judge:
    """Read the scan that judges a result.

    Args:
        result: file of the reconstruction.
        file: of the scan; None: that of the run that made the result.
        reading: settings as typed, else as usual.
        typed: full names of those that were typed; they win over those of the run.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be read.
        UserError: nothing says which scan, or what the run says is not understood.
    """
    recorded = _of_its_run(result)
    if recorded is None:
        if file is None:
            raise UserError(f"{result}: no run is recorded beside it; name its scan, --data FILE.")
        # numbers of patterns are those of the file: none is dropped
        data, size, notes = _usual(), 0, tuple[str, ...]()
        data.preprocess.drop_empty = False
    else:
        data, size = recorded
        if file is not None:
            data = _for_another(data, file)
        notes = _said(data)
    for name in typed:
        _copy(name.removeprefix("data."), reading, data)
    if file is not None:
        data.source, data.train_data_file = DataSource.file, str(file)
    data.label = reading.label
    if data.source == DataSource.file and data.positions_file is None:
        alone = is_patterns_alone(Path(str(data.train_data_file)))
        data.positions_file = str(result) if alone else None
    simulated = data.source == DataSource.synthetic
    source = "the simulated scan of its run" if simulated else str(data.train_data_file)
    return Judge(with_a_dose(make_scan(data, size)), source, notes)


def _usual() -> DataConfig:
    return DataConfig(label="", source=DataSource.file, lazy=Lazy.auto)


def _of_its_run(result: Path) -> tuple[DataConfig, int] | None:
    """What the run of a result says of its scan, and the side N of simulated patterns."""
    folder = run_of(result)
    if folder is None:
        return None
    recorded = read_run(folder)
    try:
        run = run_from(recorded.settings)
    except ConfigError as error:
        why = error.faults[0].rstrip(".")
        raise UserError(
            f"{folder}: its settings say how its scan was read, and this version does not "
            f"understand them ({why}); copy {result.name} to another folder to judge it alone."
        ) from None
    find_files(run, recorded.environment.get("cwd"))
    data = run.data
    if result.name == RESULTS[1]:
        data = _for_another(data, Path(str(data.test_data_file)), (*_READING, *_LAYOUT))
    elif data.n_subsample is None:
        data.n_images = None  # the first patterns are found among all
    return data, run.model.N or 0


def _for_another(data: DataConfig, file: Path, names: tuple[str, ...] = _READING) -> DataConfig:
    """The settings with which a file is read as the run read its own."""
    mine = data.train_data_file
    same = mine is not None and Path(mine).exists() and file.exists() and file.samefile(mine)
    found = _usual()
    for name in _ALL if same else names:
        setattr(found, name, deepcopy(getattr(data, name)))
    found.source, found.train_data_file = DataSource.file, str(file)
    return found


def _said(data: DataConfig) -> tuple[str, ...]:
    """A note of all that is not as usual."""
    usual = {name: value for name, value, *_ in leaves(_usual())}
    told = [
        f"data.{name}={plain(value)}"
        for name, value, *_ in leaves(data)
        if name.split(".")[0] in _ALL and value != usual[name]
    ]
    return (f"the scan is read as by its run: {' '.join(told)}",) if told else ()


def _copy(name: str, there: Any, here: Any) -> None:
    """Set a setting below ``here``, or all of a group, to what it is below ``there``."""
    *groups, last = name.split(".")
    for group in groups:
        there, here = getattr(there, group), getattr(here, group)
    setattr(here, last, deepcopy(getattr(there, last)))
