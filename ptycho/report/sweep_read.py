"""A sweep read from its folder alone, whatever state it is in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ptycho.config.choices import Direction
from ptycho.config.config import UserError
from ptycho.report.folder import SWEEP, RunFolder, State, read_history, read_run, read_sweep
from ptycho.report.metrics import FLOORS
from ptycho.report.ranking import pareto
from ptycho.report.sweep_rows import (
    LOSS,
    RATE,
    Job,
    Metric,
    Stand,
    Sweep,
    complete,
    number_or_none,
)

_LOWER = ("seconds", "photons", "loss", "deviance", "mae", "frc_half_bit", "frc_one_seventh")
"""Words in the names of figures of which less is better; R is one, too."""
_AMONG_RUNS = ("hydra", "sweep", "launcher", "logger", "paths")
"""Settings that say how jobs are run, not what they do."""


def gather(path: Path) -> Sweep:
    """Read the folder of a sweep, whatever state it is in.

    Raises:
        UserError: when it is no folder, holds a single run or holds no jobs.
    """
    folders = [*_folders(path)]
    record = _record(path)
    swept = _swept(record, folders)
    metrics = _metrics(record, folders)
    jobs = [_job(folder, [*swept], metrics) for folder in folders]
    front = pareto({job.number: _costs(job, metrics) for job in jobs if complete(job, metrics)})
    return Sweep(path, record, metrics, swept, _best_first(jobs, metrics, front), front)


def usual_direction(name: str) -> Direction:
    """What is usually good: low for errors, costs and resolved periods."""
    last = name.rpartition("/")[2]
    low = last == "R" or any(word in last for word in _LOWER)
    return Direction.min if low else Direction.max


def _folders(path: Path) -> Iterator[RunFolder]:
    if path.is_file():
        raise UserError(f"{path} is a file; name the folder of a sweep.")
    if not path.is_dir():
        raise UserError(f"no such folder: {path.absolute()}; check the path.")
    if (path / "status.json").is_file() or (path / "config.resolved.yaml").is_file():
        parent = path.resolve().parent
        of_one = path.resolve().name.isdigit()
        raise UserError(
            f"{path} holds a single run, "
            + (f"job {path.resolve().name} of the sweep {parent}; name that folder." if of_one
               else "not a sweep; its figures are in metrics.json, its picture is "
               "reconstruction.png.")
        )  # fmt: skip
    numbered = [one for one in path.iterdir() if one.is_dir() and one.name.isdigit()]
    if not numbered:
        inside = sorted(one.name for one in path.iterdir() if _holds_jobs(one))
        where = f"; sweeps in it: {', '.join(inside[-5:])}" if inside else ""
        raise UserError(f"{path} holds no jobs (folders named 0, 1, 2 ...){where}.")
    for one in sorted(numbered, key=lambda one: int(one.name)):
        yield _readable(one)


def _readable(path: Path) -> RunFolder:
    """A run, empty but for a sentence where a file of it is damaged; the others count still."""
    try:
        run = read_run(path)
        State(run.status.get("state", State.running))
    except (ValueError, OSError, yaml.YAMLError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return RunFolder(path, status={"error": f"its files cannot be read: {said}"})
    return run


def _record(path: Path) -> dict[str, Any]:
    try:
        return read_sweep(path)
    except ValueError as error:
        raise UserError(f"{path / SWEEP} cannot be read: {error}.") from None


def _holds_jobs(path: Path) -> bool:
    return path.is_dir() and any(one.name.isdigit() and one.is_dir() for one in path.iterdir())


def _metrics(record: dict[str, Any], folders: list[RunFolder]) -> list[Metric]:
    """As the sweep recorded them, else as the jobs were set to be judged, else C."""
    settings = next((one.settings for one in folders if one.settings), {})
    source = record if record.get("metric") else settings.get("sweep") or {}
    names = source.get("metric") or ["C"]
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    said = source.get("direction") or []
    said = [said] if isinstance(said, str) else said
    known = [d for d in said if d in {*Direction}]
    given = known if len(known) == len(names) else [usual_direction(name) for name in names]
    return [Metric(name, Direction(d)) for name, d in zip(names, given, strict=True)]


def _swept(record: dict[str, Any], folders: list[RunFolder]) -> dict[str, str]:
    """What was varied, as the sweep recorded it, else as its jobs differ."""
    params = record.get("params")
    if isinstance(params, dict) and params:
        return {str(name): str(how) for name, how in params.items()}
    typed = [dict(map(_split, one.overrides)) for one in folders if one.overrides]
    differing = _differing(typed) or _differing([_flat(o.settings) for o in folders if o.settings])
    return {name: ", ".join(dict.fromkeys(map(str, values))) for name, values in differing.items()}


def _differing(every: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Settings that are not the same in all of several jobs, with their values."""
    names = dict.fromkeys(name for one in every for name in one)
    found = {name: [one[name] for one in every if name in one] for name in names}
    return {
        name: values
        for name, values in found.items()
        if (len(values) < len(every) or any(value != values[0] for value in values))
        and name.partition(".")[0] not in _AMONG_RUNS
    }


def _split(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.lstrip("+"), value


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _job(folder: RunFolder, swept: list[str], metrics: list[Metric]) -> Job:
    history = read_history(folder.path)
    figures = _figures(folder, history)
    recorded = folder.status.get("metric")
    said = recorded if isinstance(recorded, dict) else {}
    values = {m.name: number_or_none(said.get(m.name, _found(folder, figures, m.name)))
              for m in metrics}  # fmt: skip
    return Job(
        folder,
        _stand(folder),
        _settings(folder, swept),
        {name: value for name, value in values.items() if value is not None},
        figures,
        _error(folder),
        history,
    )


def _stand(folder: RunFolder) -> Stand:
    if folder.state is None:
        return Stand.unrecorded
    if folder.state == State.running and not folder.alive:
        return Stand.killed
    return Stand(folder.state.value)


def _error(folder: RunFolder) -> str:
    said = folder.status.get("error")
    return " ".join(str(said).split()) if said else ""


def _settings(folder: RunFolder, swept: list[str]) -> dict[str, Any]:
    """Values of what was varied: typed ones, else those that options of a group stand for."""
    typed = dict(map(_split, folder.overrides))
    settled = _flat(folder.settings)
    found = {name: settled.get(name, typed.get(name)) for name in swept}
    return {
        name: value
        for name, value in found.items()
        if value is not None or name in settled or name in typed
    }


def _figures(folder: RunFolder, history: list[dict[str, float]]) -> dict[str, float]:
    last = _last_stage(folder.metrics)
    training = folder.metrics.get("training") or {}
    losses = [v for row in history if (v := number_or_none(row.get(LOSS))) is not None]
    rates = sorted(r for one in history if (r := number_or_none(one.get(RATE))) is not None)
    found = {
        "C": last.get("C"),
        "R": last.get("R"),
        "seconds": folder.status.get("seconds"),
        RATE: training.get("patterns_per_s", rates[len(rates) // 2] if rates else None),
        LOSS: training.get("loss", losses[-1] if losses else None),
        "photons": (folder.environment.get("data") or {}).get("photons"),
    }
    return {name: v for name, value in found.items() if (v := number_or_none(value)) is not None}


def _found(folder: RunFolder, figures: dict[str, float], name: str) -> Any:
    """A metric from ``metrics.json``, for runs that recorded none in their status."""
    if folder.state != State.finished:
        return None
    if name in figures:
        return figures[name]
    stage, _, figure = name.rpartition("/")
    stages = folder.metrics.get("stages") or {}
    return (stages.get(stage) or {}).get(figure) if stage else _last_stage(folder.metrics).get(name)


def _last_stage(metrics: dict[str, Any]) -> dict[str, Any]:
    stages = [row for name, row in (metrics.get("stages") or {}).items() if name not in FLOORS]
    return stages[-1] if stages and isinstance(stages[-1], dict) else {}


def _costs(job: Job, metrics: list[Metric]) -> list[float]:
    return [metric.cost(job.metrics[metric.name]) for metric in metrics]


def _best_first(jobs: list[Job], metrics: list[Metric], front: frozenset[int]) -> list[Job]:
    stands = [*Stand]

    def place(job: Job) -> tuple[Any, ...]:
        judged = complete(job, metrics)
        beaten = len(metrics) > 1 and job.number not in front
        costs = _costs(job, metrics) if judged else []
        return stands.index(job.stand), not judged, beaten, costs, job.number

    return sorted(jobs, key=place)
