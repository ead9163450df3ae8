"""What a command line asks for, ready for the factories."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ptycho.compat.command import MAE, MAE_ALONE, Command, split_execution
from ptycho.compat.flags import OLD_INTERFACE
from ptycho.compat.old_config import read_old_config
from ptycho.config.choices import Architecture
from ptycho.config.config import PathsConfig, PyTorchExecutionConfig, UserError
from ptycho.config.describe import plain, quoted

_ARGUMENTS = ("bundle", "data.train_data_file")  # of the factories, which set them themselves


@dataclass(frozen=True)
class Request:
    """Arguments of the factories."""

    scan: str
    folder: Path
    """Where the run writes."""
    overrides: dict[str, Any]
    """Settings by their full names, but those of the next."""
    execution: dict[str, Any]
    """Of :class:`PyTorchExecutionConfig`."""
    hydra: list[str] = field(default_factory=list)
    """The same as typed to ``ptycho.run``, but for the folder."""
    bundle: str = ""
    """Of a reconstruction."""

    def execution_config(self) -> PyTorchExecutionConfig:
        """How to run.

        Raises:
            ConfigError: with every impossible value.
        """
        return PyTorchExecutionConfig(**self.execution)


def requested(command: Command, words: list[str]) -> Request:
    """What a command line asks for.

    Args:
        command: whose.
        words: as typed, without the program.

    Raises:
        UserError: with a sentence for every fault that can be seen without the settings.
    """
    _refuse_mixture(command, words)
    typed = _renewed(command.read(words))
    before: dict[str, Any] = {}
    if "ptycho_dir" in typed or "config" in typed:
        typed, before = _through_the_old_interface(typed)
    else:
        _refuse_missing(command, typed)
    if typed.get("torch_loss_mode") not in (None, MAE_ALONE):
        before = {name: value for name, value in before.items() if name not in MAE}
    own = before | command.typed_settings(typed)
    model = str(own.get("model.architecture", command.model))
    if model == Architecture.supervised and typed.get("torch_loss_mode") == MAE_ALONE:
        raise UserError(
            "--torch-loss-mode mae compares with patterns, and --model supervised learns labels "
            "alone; leave --torch-loss-mode out."
        )
    overrides, execution = split_execution(command.preset(model) | own)
    scan = str(overrides.pop("data.train_data_file"))
    return Request(
        scan=scan,
        folder=Path(str(typed.get("output_dir") or _new_folder(scan))),
        overrides=overrides,
        execution=execution,
        hydra=_typed_to_hydra(command, model, own),
        bundle=str(overrides.pop("bundle", "")),
    )


def _refuse_mixture(command: Command, words: list[str]) -> None:
    """Refuse the older interface and today's in one command line."""
    names = {word.partition("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    new = [flag.name for flag in command.flags.values() if flag.needed]
    before, now = (
        [one for one in some if one.replace("-", "_") in names] for some in (OLD_INTERFACE, new)
    )
    if before and now:
        raise UserError(
            f"{' and '.join(before)} and {' and '.join(now)} are of two interfaces, an older one "
            f"and today's, and cannot be mixed; leave {' and '.join(before)} out."
        )


def _refuse_missing(command: Command, typed: Mapping[str, Any]) -> None:
    missing = [flag for flag in command.flags.values() if flag.needed and not typed.get(flag.key)]
    if missing:
        raise UserError(
            f"{command.prog} needs {' and '.join(f'{one.name} {one.metavar}' for one in missing)}; "
            "see --help."
        )


def _renewed(typed: dict[str, Any]) -> dict[str, Any]:
    """``--device`` becomes ``--accelerator``, ``--disable_mlflow`` ``--logger none``; says so."""
    said, faults = dict(typed), []
    for old, new in (("device", "accelerator"), ("disable_mlflow", "logger")):
        if old not in said:
            continue
        value = said.pop(old)
        if new in said:
            faults.append(f"--{old} is the old form of --{new}; leave --{old} out.")
        else:
            print(f"ptycho: --{old} is deprecated; use --{new} {value}.", file=sys.stderr)
        said[new] = value
    if faults:
        raise UserError(*faults)
    return said


def _through_the_old_interface(
    typed: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Flags of today, and the settings of the file, for the older way to say what to do."""
    said = dict(typed)
    folder, config = said.pop("ptycho_dir", None), said.pop("config", None)
    if not folder:
        raise UserError(
            "--config goes with --ptycho_dir FOLDER; or name the scan with --train_data_file and "
            "the folder of the run with --output_dir, and use flags."
        )
    print(
        "ptycho: --ptycho_dir and --config are deprecated; use --train_data_file and flags, as "
        "docs/migration.md lists them.",
        file=sys.stderr,
    )
    said["train_data_file"] = str(_only_scan(Path(folder)))
    return said, read_old_config(Path(config)) if config is not None else {}


def _only_scan(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"--ptycho_dir: no such folder: {folder.absolute()}.")
    found = sorted(folder.glob("*.npz"))
    if len(found) != 1:
        many = f"{len(found)} of them" if found else "none"
        raise UserError(
            f"--ptycho_dir: {folder} must hold one scan (*.npz), and there are {many}; name one "
            "with --train_data_file FILE.npz --output_dir FOLDER."
        )
    return found[0]


def _new_folder(scan: str) -> Path:
    """A folder of its own among the runs, for who named none."""
    began = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path(PathsConfig().outputs) / "runs" / f"{began}_train_{Path(scan).stem}"


def _typed_to_hydra(command: Command, model: str, own: Mapping[str, Any]) -> list[str]:
    words = [*command.begins] if command.model is None else [*command.begins, f"model={model}"]
    values = {**command.usual, **own}
    values.pop("model.architecture", None)
    return words + [f"{name}={_typed_value(value)}" for name, value in values.items()]


def _typed_value(value: Any) -> str:
    is_text = value is not None and not isinstance(value, int | float)
    return quoted(plain(value)) if is_text else plain(value)
