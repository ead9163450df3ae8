"""The only file besides ``ptycho.run`` that knows Hydra: schema, typed config, typo checks."""

import argparse
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ptycho.config.config import ConfigError, RunConfig
from ptycho.config.validate import check, leaves, suggestion


def conf_dir() -> str:
    """The YAML groups: inside an installed package, beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    for candidate in (here / "conf", here.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return str(candidate)
    raise FileNotFoundError(f"the folder conf/ with config.yaml is missing beside {here}")


def register() -> None:
    """Make the typed dataclasses the schema of the YAML groups."""
    ConfigStore.instance().store(name="run_schema", node=RunConfig)


def to_run_config(cfg: DictConfig) -> RunConfig:
    """The typed and validated form of a composed config.

    Raises:
        ConfigError: with every fault.
    """
    extras = [*_extras(cfg, RunConfig, "")]
    if extras:
        raise ConfigError(*extras)
    run = OmegaConf.to_object(cfg)
    assert isinstance(run, RunConfig)
    return check(run)


def check_command_line(arguments: list[str]) -> RunConfig | None:
    """Compose and validate what was typed, before anything is written.

    Args:
        arguments: the command line without the program.

    Returns:
        The settings of a single run; None when Hydra is asked for something else (help, a
        sweep, a printed config).

    Raises:
        ConfigError: with every unknown name, wrong type and impossible value.
    """
    options, _ = get_args_parser().parse_known_args(arguments)
    if options.shell_completion or options.help or options.hydra_help:
        return None
    typed = [_parse(one) for one in options.overrides]
    known = [name for name, *_ in leaves(RunConfig())]
    judged = [(one, _override_fault(one, known)) for one in typed]
    found = [fault for _, fault in judged if fault]
    good = [one.input_line for one, fault in judged if not fault and not one.is_sweep_override()]
    if options.cfg or options.info:
        run = None
    else:
        run, more = _compose(options, [line for line in good if line])
        found += more
    if found:
        raise ConfigError(*found)
    return None if options.multirun else run


def sentence(error: Exception) -> str:
    """One clear line for an error of Hydra or OmegaConf."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={option} does not exist; {group} may be {', '.join(error.options)}."
    key = next((line.removeprefix("full_key: ") for line in lines if "full_key: " in line), "")
    text = lines[0] if lines else type(error).__name__
    if isinstance(error.__cause__, OmegaConfBaseException):
        text += f" {str(error.__cause__).splitlines()[0]}"
    return f"{key}: {text}" if key and key not in text else text


def _parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = next(line for line in str(error).splitlines() if line.strip())
        raise ConfigError(f"cannot read {text!r}: {reason}. Settings are NAME=VALUE.") from error


def _compose(options: argparse.Namespace, lines: list[str]) -> tuple[RunConfig | None, list[str]]:
    if options.config_dir:
        lines = [*lines, f"hydra.searchpath=[file://{Path(options.config_dir).resolve()}]"]
    try:
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            run = to_run_config(compose(options.config_name or "config", overrides=lines))
    except ConfigError as error:
        return None, list(error.faults)
    except (HydraException, OmegaConfBaseException) as error:
        return None, [sentence(error)]
    return run, []


def _override_fault(one: Override, known: list[str]) -> str | None:
    """What is wrong with one typed setting, looking at its name and its type alone."""
    key = one.key_or_group
    if key.startswith("hydra") or "/" in key or "@" in key:
        return None
    if key in _groups() and isinstance(one.value(), str | list | None):
        return None
    node: Any = RunConfig
    for part in key.split("."):
        names = [item.name for item in fields(node)] if is_dataclass(node) else []
        if part not in names:
            return f"there is no setting {key}.{suggestion(key, [*known, *_groups()])}"
        node = getattr(node() if isinstance(node, type) else node, part)
    if one.is_delete():
        return f"{key} cannot be removed; every setting has a value (null where it may be empty)."
    return _type_fault(one, key)


def _type_fault(one: Override, key: str) -> str | None:
    if one.is_sweep_override() or is_dataclass(_default(key)):
        return None
    schema = OmegaConf.structured(RunConfig)
    try:
        OmegaConf.update(schema, key, one.value())
        # what OmegaConf accepts may still be outside the limits of this one setting
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        return f"{key}={one.get_value_element_as_str()}: {reason}."
    return None


def _default(key: str) -> Any:
    node: Any = RunConfig()
    for part in key.split("."):
        node = getattr(node, part)
    return node


def _groups() -> set[str]:
    return {path.name for path in Path(conf_dir()).iterdir() if path.is_dir()}


def _extras(cfg: DictConfig, schema: type, prefix: str) -> Iterator[str]:
    """Names that were added to the tree but that no dataclass knows."""
    node = schema()
    known = {item.name for item in fields(schema)}
    for name in map(str, cfg):
        if name not in known:
            every = [leaf for leaf, *_ in leaves(RunConfig())]
            yield f"there is no setting {prefix}{name}.{suggestion(f'{prefix}{name}', every)}"
        elif is_dataclass(getattr(node, name)) and OmegaConf.is_dict(cfg[name]):
            yield from _extras(cfg[name], type(getattr(node, name)), f"{prefix}{name}.")
