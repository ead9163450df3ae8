"""The only file besides ``ptycho.run`` that knows Hydra: schema, typed config, typo checks."""

import argparse
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from hydra import compose
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ptycho.config.config import ConfigError, RunConfig, UserError
from ptycho.config.describe import how_to_quote, quoted
from ptycho.config.process import plain_sentence
from ptycho.config.sweep_rules import alone_faults, missing_extras
from ptycho.config.typed_rules import idle_faults
from ptycho.config.typed_space import read_space
from ptycho.config.validate import alternatives, check, label_of, leaves, suggestion

T = TypeVar("T")

MENDABLE = (UserError, HydraException, OmegaConfBaseException, YAMLError)
"""What the user can mend; :func:`sentence` makes it readable."""
_JOBS_LOOKED_AT = 24  # a tenth of a second each; the rest of a long sweep is checked as it runs


def conf_dir() -> str:
    """The YAML groups: inside an installed package, beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    for candidate in (here / "conf", here.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return str(candidate)
    raise FileNotFoundError(f"the folder conf/ with config.yaml is missing beside {here}")


def presets(group: str) -> list[str]:
    """Names of the options of a YAML group."""
    return sorted(file.stem for file in (Path(conf_dir()) / group).glob("*.yaml"))


def preset(base: T, group: str, name: str) -> T:
    """A config, or a part of one, with what an option of a YAML group says of it."""
    found = OmegaConf.load(Path(conf_dir()) / group / f"{name}.yaml")
    merged = OmegaConf.merge(OmegaConf.structured(base), found)
    return cast(T, OmegaConf.to_object(merged))


@cache
def preset_settings(group: str, name: str) -> Mapping[str, Any]:
    """What an option of a YAML group sets, by the full names of the settings.

    Args:
        group: folder in ``conf``.
        name: file in it, without interpolations.
    """
    path = Path(conf_dir()) / group / f"{name}.yaml"
    anywhere = path.read_text(encoding="utf-8").startswith("# @package _global_")
    content = OmegaConf.to_container(OmegaConf.load(path))
    found = dict(_flat(content if anywhere else {group: content}, ""))
    typed = OmegaConf.structured(RunConfig)
    for setting, value in found.items():
        OmegaConf.update(typed, setting, value)
    return MappingProxyType({one: OmegaConf.select(typed, one) for one in found})


def _flat(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def register() -> None:
    """Make the typed dataclasses the schema of the YAML groups."""
    ConfigStore.instance().store(name="run_schema", node=RunConfig)
    OmegaConf.register_new_resolver("stem", _stem, replace=True)


def _stem(path: str | None) -> str:
    """``${stem:FILE}``: the name of a file without folder and ending."""
    return label_of(path) if path else "scan"


def to_run_config(cfg: DictConfig) -> RunConfig:
    """The typed and validated form of a composed config.

    Raises:
        ConfigError: with every fault.
    """
    extras = [*_extras(cfg, RunConfig, "")]
    if extras:
        raise ConfigError(*extras)
    if OmegaConf.get_type(cfg) is not RunConfig:  # a main file of the user's own, without schema
        cfg = DictConfig(OmegaConf.merge(OmegaConf.structured(RunConfig), cfg))
    run = OmegaConf.to_object(cfg)
    assert isinstance(run, RunConfig)
    return check(run)


def base_run(cfg: DictConfig) -> RunConfig:
    """Settings that the jobs of a sweep begin from; some of them may be missing still."""
    if OmegaConf.get_type(cfg) is not RunConfig:
        own = {name: cfg[name] for name in cfg if name != "hydra"}
        cfg = DictConfig(OmegaConf.merge(OmegaConf.structured(RunConfig), own))
    parts: dict[str, Any] = {
        item.name: OmegaConf.to_object(part)
        if OmegaConf.is_config(part := cfg[item.name])
        else part
        for item in fields(RunConfig)
    }
    return RunConfig(**parts)


def check_command_line(arguments: list[str]) -> list[RunConfig]:
    """Compose and validate what was typed, before anything is written.

    Args:
        arguments: the command line without the program.

    Returns:
        The settings of every job (of the first few in a long sweep); none when Hydra is asked
        for something else (help, a printed config).

    Raises:
        ConfigError: with every unknown name, wrong type and impossible value.
    """
    options, _ = get_args_parser().parse_known_args(arguments)
    if options.shell_completion or options.help or options.hydra_help:
        return []
    if options.config_dir and not Path(options.config_dir).is_dir():
        raise ConfigError(f"--config-dir: no such folder: {Path(options.config_dir).absolute()}")
    typed, found = _parse(options.overrides)
    own = _groups(options.config_dir)
    judged = [(one, _override_fault(one, own, options.multirun)) for one in typed]
    found += [fault for _, fault in judged if fault]
    if absent := [*missing_extras(options.overrides)]:
        raise ConfigError(*found, *absent)  # nothing can be composed
    runs: list[RunConfig] = []
    if not (options.cfg or options.info):
        if not options.multirun and (lone := [*alone_faults(options.overrides)]):
            raise ConfigError(*dict.fromkeys(found + lone))
        good = [one for one, fault in judged if not fault]
        with _searching(options.config_dir):
            runs, more = _every_job(options, good)
        found += _of_others(more, typed, options.overrides)
    if found:
        raise ConfigError(*dict.fromkeys(found))
    return runs


def is_multirun(arguments: list[str]) -> bool:
    """Whether several runs were asked for (``-m``)."""
    return bool(get_args_parser().parse_known_args(arguments)[0].multirun)


def sentence(error: Exception) -> str:
    """One clear line for an error of Hydra, OmegaConf, the YAML reader or the system."""
    if isinstance(error, OSError) and error.strerror:
        return plain_sentence(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={option} does not exist; {group} may be {', '.join(error.options)}."
    if isinstance(error, YAMLError) or not lines:
        return f"{type(error).__name__}: {' '.join(lines)}"
    key = next((line.removeprefix("full_key: ") for line in lines if "full_key: " in line), "")
    where = ""
    if lines[0].startswith("In '") and len(lines) > 1:  # Hydra names the file, then the reason
        where, lines = f" (in {lines[0].split(chr(39))[1]}.yaml)", lines[1:]
    text = lines[0]
    if key and text.startswith("Key '"):
        return _unknown(key, where)
    if isinstance(error.__cause__, OmegaConfBaseException):
        text += f" {str(error.__cause__).splitlines()[0]}"
    return (f"{key}: {text}" if key and key not in text else text) + where


def _unknown(name: str, where: str = "") -> str:
    return f"there is no setting {name}{where}.{suggestion(name, _names())}"


def _parse(texts: list[str]) -> tuple[list[Override], list[str]]:
    parser = OverridesParser.create()
    typed: list[Override] = []
    found: list[str] = []
    for text in texts:
        try:
            typed.append(parser.parse_override(text))
        except HydraException as error:
            if "=" not in text and Path(text).exists():
                found.append(_file_sentence(text))
                continue
            reason = next(line for line in str(error).splitlines() if line.strip())
            found.append(
                f"cannot read {text!r}: {reason.partition(' expecting ')[0]}. {how_to_quote(text)}"
            )
    return typed, found


def _of_others(found: list[str], typed: list[Override], texts: list[str]) -> list[str]:
    """Faults but those of settings that were typed and could not be read."""
    read = {one.input_line for one in typed}
    names = [text.lstrip("+~").partition("=")[0] for text in texts if text not in read]
    return [one for one in found if not any(name and name in one for name in names)]


def _file_sentence(text: str) -> str:
    return (
        f"{text}: to reconstruct a file, type data=file data.train_data_file={quoted(text)}; to "
        f"look at it first, ptycho doctor {shlex.quote(text)}."
    )


def _typed_names(typed: list[Override]) -> Iterator[str]:
    """Full names of the single settings that were typed, those of ``group={NAME: VALUE}`` too."""
    for one in typed:
        value = None if one.is_sweep_override() or one.is_delete() else one.value()
        below = value if isinstance(value, dict) else {}
        yield from [f"{one.key_or_group}.{name}" for name in below] or [one.key_or_group]


def _every_job(
    options: argparse.Namespace, typed: list[Override]
) -> tuple[list[RunConfig], list[str]]:
    """Settings of the jobs that were typed (the first few), and what is wrong with them."""
    lines = [str(one.input_line) for one in typed]
    jobs, names = [lines], [*_typed_names(typed)]
    if options.multirun:
        fixed = [str(one.input_line) for one in typed if not one.is_sweep_override()]
        try:
            sweep = base_run(compose(options.config_name or "config", overrides=fixed)).sweep
            space = read_space(lines, sweep, GlobalHydra.instance().config_loader())
        except MENDABLE as error:
            return [], _faults(error)
        listed, _ = _parse([f"{name}={text}" for name, text in sweep.params.items()])
        own = _groups(options.config_dir)
        slips = [fault for one in listed if (fault := _override_fault(one, own, True))]
        if slips:
            return [], [f"sweep.params: {fault}" for fault in slips]
        varied = space.samples() if sweep.sampler.draws else space.combinations()
        jobs = [[*space.fixed, *one] for one in islice(varied, _JOBS_LOOKED_AT)]
        names += space.params
    runs, found = _compose(options, jobs)
    if not found and len(runs) < _JOBS_LOOKED_AT:  # else a later job may read it
        found += idle_faults([*dict.fromkeys(names)], runs)
    return runs, found


def _compose(
    options: argparse.Namespace, jobs: list[list[str]]
) -> tuple[list[RunConfig], list[str]]:
    runs: list[RunConfig] = []
    found: list[str] = []
    for lines in jobs:
        try:
            cfg = compose(options.config_name or "config", overrides=lines)
            runs.append(to_run_config(cfg))
        except MENDABLE as error:
            found += _faults(error)
    return runs, found


def _faults(error: Exception) -> list[str]:
    if "HydraConfig was not set" in str(error):
        return []  # ${hydra:...} is known later
    return list(error.faults) if isinstance(error, UserError) else [sentence(error)]


@contextmanager
def _searching(own: str | None) -> Iterator[None]:
    """Hydra with our groups and, behind them, the user's folder, as its ``main`` looks for them."""
    setbase("1.3")
    path = create_config_search_path(conf_dir())
    if own:
        path.prepend("command-line", f"file://{Path(own).resolve()}", anchor="schema")
    Hydra.create_main_hydra2("ptycho", path)
    try:
        yield
    finally:
        GlobalHydra.instance().clear()


def _override_fault(one: Override, own_groups: set[str], multirun: bool) -> str | None:
    """What is wrong with one typed setting, looking at its name and its type alone."""
    key = one.key_or_group
    if not key:
        return f"cannot read {one.input_line!r}: the name is missing. Settings are NAME=VALUE."
    if one.is_sweep_override() and not multirun:
        return f"{one.input_line} names several values; add -m to run one after the other."
    if key == "sweep.params":
        return (
            "sweep.params is the list of a preset (sweep/NAME.yaml in --config-dir); on the "
            "command line type the settings themselves, as in seed=1,2."
        )
    if key == "hydra.sweep.subdir" and multirun:
        return (
            f"{one.input_line}: the folder of a job is its number, by which a sweep goes on where "
            "it stopped; leave it out. hydra.sweep.dir=FOLDER is the folder of all."
        )
    if (
        key.startswith("hydra.")
        or "/" in key
        or "@" in key
        or key in own_groups - _groups(conf_dir())
    ):
        return None
    if key in {*_groups(conf_dir()), "hydra"} and not isinstance(one.value(), dict):
        return _group_fault(one, key)
    node: Any = RunConfig()
    for part in key.split("."):
        if not is_dataclass(node) or part not in {item.name for item in fields(node)}:
            return _unknown(key)
        node = getattr(node, part)
    if one.is_delete():
        return f"{key} cannot be removed; every setting has a value (null where it may be empty)."
    return _type_fault(one, key)


def _group_fault(one: Override, key: str) -> str | None:
    is_option = one.is_sweep_override() or isinstance(one.value(), str | list)
    if not (is_option or one.is_delete()):
        return f"{one.input_line} names no option of {key}; leave it out, or type {key}=OPTION."
    if one.is_add() or one.is_force_add():
        line = str(one.input_line).lstrip("+")
        return f"{key} is there already; type {line} without the plus."
    return None


def _type_fault(one: Override, key: str) -> str | None:
    if one.is_sweep_override():
        return None  # each value is tried when the jobs are composed
    default, value = _default(key), one.value()
    if is_dataclass(default):
        names = ", ".join(item.name for item in fields(default))
        wrong = not isinstance(value, dict)
        return f"{key} is a group; type {key}.NAME=VALUE with {names}." if wrong else None
    kinds = _kinds()[key]
    if bool in kinds and not (_is_truth(value) or (value is None and type(None) in kinds)):
        said = one.get_value_element_as_str()
        return f"{key} must be true or false, got {said}."  # OmegaConf takes any number for true
    try:
        OmegaConf.update(OmegaConf.structured(RunConfig), key, value)
        # what OmegaConf accepts may still be outside the limits of this one setting
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        return f"{key}={one.get_value_element_as_str()}: {reason}."
    return None


@cache
def _kinds() -> dict[str, tuple[Any, ...]]:
    """The types that each setting may have."""
    return {name: alternatives(hint) for name, _, hint, _ in leaves(RunConfig())}


def _is_truth(value: Any) -> bool:
    words = ("true", "false", "yes", "no", "on", "off", "0", "1")
    return str(value).lower() in words or (isinstance(value, str) and "${" in value)


def _default(key: str) -> Any:
    node: Any = RunConfig()
    for part in key.split("."):
        node = getattr(node, part)
    return node


def _groups(folder: str | None) -> set[str]:
    """Names of the groups in a folder of YAML files."""
    return {path.name for path in Path(folder).iterdir() if path.is_dir()} if folder else set()


def _names() -> list[str]:
    """Everything that can be typed before an equals sign."""
    every = [name for name, *_ in leaves(RunConfig())]
    groups = [item.name for item in fields(RunConfig)]
    return list(dict.fromkeys([*every, *groups, *sorted(_groups(conf_dir()))]))


def _extras(cfg: DictConfig, schema: type, prefix: str) -> Iterator[str]:
    """Names that were added to the tree but that no dataclass knows."""
    node = schema()
    known = {item.name for item in fields(schema)}
    for name in map(str, cfg):
        if name not in known:
            yield _unknown(f"{prefix}{name}")
        elif is_dataclass(getattr(node, name)) and OmegaConf.is_dict(cfg[name]):
            yield from _extras(cfg[name], type(getattr(node, name)), f"{prefix}{name}.")
