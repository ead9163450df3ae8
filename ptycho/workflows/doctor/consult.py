"""A scan is looked at, told about and, if asked for, mended."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from ptycho.config.config import RunConfig
from ptycho.report.diagnosis import Diagnosis, Weight
from ptycho.report.doctor_page import save_doctor
from ptycho.report.doctor_table import doctor_table, typed
from ptycho.report.files import write_json
from ptycho.workflows.doctor.examine import examine
from ptycho.workflows.doctor.reading import read_for_doctor
from ptycho.workflows.doctor.remedy import check_remedy, preset_name, write_remedy

_SIMULATED = 64
"""Side of simulated patterns, as for a run."""
_NEEDED = ("positions", "order", "axes")
"""Findings without which nothing is reconstructed."""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    run: RunConfig
    """Settings so far."""
    overrides: tuple[str, ...]
    """As typed."""
    out: Path | None = None
    """Folder of page and numbers; None: named after the scan."""
    fix: bool = False
    """Whether to write a preset."""
    config_dir: Path = Path("conf_local")
    """The user's own settings."""
    name: str | None = None
    """Of the preset; None: named after the scan."""


def consult(request: Request, terminal: Console) -> Diagnosis:
    """Look at a scan, print what was found, write page, numbers and preset.

    Args:
        request: what was asked for.
        terminal: where to print.

    Raises:
        UserError: there is nothing to look at, or a preset would be overwritten.
        OSError: a file cannot be read or written.
    """
    data = request.run.data
    name = request.name or preset_name(data.label)
    if request.fix:
        check_remedy(request.config_dir, name)
    with terminal.status("reading") as status:
        found, refused = read_for_doctor(data, request.run.model.N or _SIMULATED)
        try:
            diagnosis = examine(found, data, lambda what: status.update(f"looking at {what}"))
        finally:
            found.frames.close()
    diagnosis = replace(diagnosis, findings=(*refused, *diagnosis.findings))
    terminal.print(f"{diagnosis.label}: {diagnosis.verdict}", markup=False, style="bold")
    terminal.print(doctor_table(diagnosis), soft_wrap=False)
    folder = request.out or Path(request.run.paths.outputs) / "doctor" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "doctor.json", diagnosis.plain())
    save_doctor(diagnosis, folder / "doctor.png")
    if said := left_open(diagnosis):
        terminal.print(said, markup=False)
    if request.fix:
        _mend(request, diagnosis, name, terminal)
    elif diagnosis.settings:
        words = [*request.overrides, *(typed(*one) for one in diagnosis.settings.items())]
        _command(words, terminal)
    for path in (folder / "doctor.png", folder / "doctor.json"):
        terminal.print(f"  {path}", markup=False)
    return diagnosis


def left_open(diagnosis: Diagnosis) -> str:
    """What no setting mends, though a reconstruction needs it, in a sentence; else empty."""
    topics = [
        f'"{one.topic}"'
        for one in diagnosis.findings
        if one.topic in _NEEDED and one.weight in (Weight.open, Weight.look)
    ]
    if not topics:
        return ""
    said = f"{' and '.join(topics)} above {'stay' if len(topics) > 1 else 'stays'} open"
    if diagnosis.settings:
        return f"{said}: the settings below are right by themselves, but do not mend that."
    return f"{said}, and no setting mends that."


def _mend(request: Request, diagnosis: Diagnosis, name: str, terminal: Console) -> None:
    written = write_remedy(diagnosis, request.run.data, request.config_dir, name)
    own = [one for one in request.overrides if not one.startswith("data")]
    _command(["--config-dir", str(request.config_dir), f"data={name}", *own], terminal)
    for path in written:
        terminal.print(f"  {path}", markup=False)


def _command(words: list[str], terminal: Console) -> None:
    line = " ".join(["python -m ptycho.run", *(shlex.quote(one) for one in words)])
    terminal.print(f"type: {line}", markup=False)
