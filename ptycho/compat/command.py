"""An older command line becomes settings: parsed, translated, and spoken back in its own words.

Nothing is decided here: what a flag may be and what contradicts what is said by the settings,
whose sentences are translated back to flags.
"""

import argparse
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from ptycho.compat.flags import GONE, Flag, Groups, flags_of
from ptycho.config.config import (
    ExecutionConfig,
    PyTorchExecutionConfig,
    TrainerConfig,
    UserError,
)
from ptycho.config.describe import Setting, plain, settings
from ptycho.config.store import preset_settings, presets
from ptycho.config.validate import alternatives, suggestion
from ptycho.config.words import Parser

MAE_ALONE = "mae"
MAE = {"trainer.nll_weight": 0.0, "trainer.mae_weight": 1.0}
"""What ``--torch-loss-mode mae`` sets: no likelihood, the absolute error alone."""

_EXECUTION = {"logger.backend": "logger_backend"} | {
    f"{group}.{item.name}": item.name
    for group, kind in (("trainer", TrainerConfig), ("execution", ExecutionConfig))
    for item in fields(kind)
    if item.name in {one.name for one in fields(PyTorchExecutionConfig)}
}
"""Settings of the execution config, and what they are called there."""
_HYDRA_GROUPS = {"trainer": "--accelerator", "model": "--model", "logger": "--logger"}
_VALUE = r"(?P<is>=(?P<value>[^\s,;]*[^\s,;.:)]))?"


@dataclass(frozen=True)
class Command:
    """One of the older command lines."""

    prog: str
    about: str
    examples: str
    groups: Groups
    model: str | None = None
    """The model it learns unless told otherwise; None: that of a bundle."""
    usual: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from those of a plain run."""
    begins: tuple[str, ...] = ("data=file",)
    """What the same begins with when it is typed to ``ptycho.run``."""

    @property
    def flags(self) -> dict[str, Flag]:
        """By their keys."""
        return flags_of(self.groups)

    def read(self, words: list[str]) -> dict[str, Any]:
        """What was typed, by the keys of the flags; no defaults.

        Raises:
            UserError: with a sentence for every word that is no flag.
        """
        if "--" in words:
            raise UserError("-- has no meaning here: all words are flags and their values.")
        known = {_hyphens(one): one for one in self._spellings()}
        typed, others = self.parser().parse_known_args([*map(partial(_canonical, known), words)])
        unknown = [one for one in others if one.startswith("-")] or others
        if unknown:
            raise UserError(*_gone(unknown), *map(self._unknown, _not_gone(unknown)))
        return {name: value for name, value in vars(typed).items() if value is not None}

    def defaults(self, setting: str) -> dict[str, Any]:
        """What a setting is when nothing is typed: one value, or one for each model."""
        usual = settings()[setting].default
        if self.model is None:
            return {"": self.usual.get(setting, usual)}
        found = {
            name: preset_settings("model", name).get(setting, usual) for name in presets("model")
        }
        if setting == "model.architecture" or len(set(map(str, found.values()))) == 1:
            return {"": found[self.model]}
        return {self.model: found.pop(self.model)} | found

    def preset(self, model: str) -> dict[str, Any]:
        """Settings by their full names where nothing is typed and they differ from a plain run's.

        Args:
            model: what is learnt; one that does not exist is left to be refused.
        """
        if self.model is None:
            return dict(self.usual)
        more = preset_settings("model", model) if model in presets("model") else {}
        return {**self.usual, "model.architecture": model, **more}

    def typed_settings(self, typed: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that flags were typed for."""
        found: dict[str, Any] = {}
        for key, value in typed.items():
            flag = self.flags[key]
            if key == "torch_loss_mode" and value == MAE_ALONE:
                found |= MAE
            elif flag.setting:
                found[flag.setting] = _typed(value, settings()[flag.setting])
        return found

    @contextmanager
    def speaking(self, words: Sequence[str]) -> Iterator[None]:
        """Let what is refused name flags instead of settings.

        Args:
            words: as typed; names of files are left alone.
        """
        values = (one.partition("=")[2] if one.startswith("--") else one for one in words)
        own = [one for one in values if re.search("[./=]", one)]
        try:
            yield
        except UserError as error:
            raise UserError(*(self._translated(one, own) for one in error.faults)) from error
        except FileNotFoundError as error:
            raise UserError(self._translated(str(error), own)) from error

    def _translated(self, sentence: str, own: Sequence[str]) -> str:
        """A sentence in flags, but for what the user typed."""
        kept = [*(os.path.abspath(one) for one in own), *own]
        parts = re.split(f"({'|'.join(map(re.escape, kept))})", sentence) if kept else [sentence]
        return "".join(
            part if place % 2 else self.in_flags(part) for place, part in enumerate(parts)
        )

    def in_flags(self, sentence: str) -> str:
        """A sentence about settings as one about flags, where there are such."""
        flags: dict[str, Flag] = {}
        for flag in self.flags.values():
            if flag.setting and not flag.old:
                flags[flag.setting] = flag
                if flag.setting in _EXECUTION:
                    flags[_EXECUTION[flag.setting]] = flag
        flags["hydra.run.dir"] = self.flags["output_dir"]
        names = "|".join(map(_pattern, sorted(flags, key=len, reverse=True)))
        said = re.sub(
            rf"(?<![\w.-])(?P<name>{names})\b(?![.\w]\w){_VALUE}",
            partial(_as_flag, flags),
            sentence,
        )
        groups = {name: one for name, one in _HYDRA_GROUPS.items() if _key(one) in self.flags}
        return re.sub(
            rf"(?<![\w.-])(?P<name>{'|'.join(groups)})=(?P<value>[a-z_]+)",
            lambda found: f"{groups[found['name']]} {found['value']}",
            said,
        )

    def parser(self) -> argparse.ArgumentParser:
        """What argparse knows of it."""
        width = min(shutil.get_terminal_size().columns, 100)
        needed = " ".join(f"{one.name} {one.metavar}" for one in self.flags.values() if one.needed)
        parser = Parser(
            prog=self.prog, usage=f"{self.prog} {needed} [FLAGS]", description=self.about,
            epilog=self.examples, allow_abbrev=False,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=width),
        )  # fmt: skip
        for heading, flags in self.groups.items():
            group = parser.add_argument_group(heading)
            for flag in flags:
                self._add(group, flag)
        return parser

    def _add(self, group: Any, flag: Flag) -> None:
        setting = settings().get(flag.setting)
        switch = setting is not None and bool in alternatives(setting.hint)
        more: dict[str, Any] = {"dest": flag.key, "help": self._help(flag)}
        if flag.constant is not None:
            group.add_argument(flag.name, action="store_const", const=flag.constant, **more)
        elif switch and flag.off:
            group.add_argument(flag.name, action="store_true", default=None, **more)
            off = {"dest": flag.key, "help": "The opposite.", "default": None}
            group.add_argument(flag.off, action="store_false", **off)
        elif switch:
            group.add_argument(flag.name, action=argparse.BooleanOptionalAction, **more)
        else:
            group.add_argument(flag.name, metavar=metavar(flag), **more)

    def _help(self, flag: Flag) -> str:
        text = flag.about or settings()[flag.setting].text
        told = re.sub(r"``([^`]*)``", r"\1", text).replace("%", "%%")
        return f"{told} ({self.default_text(flag)})" if self.default_text(flag) else told

    def default_text(self, flag: Flag) -> str:
        """The default of a flag in words; empty where there is nothing to say."""
        if flag.needed or flag.default:
            return f"default: {flag.default}" if flag.default else "needed"
        if flag.old or not flag.setting or flag.constant is not None:
            return ""
        found = {model: plain(value) for model, value in self.defaults(flag.setting).items()}
        first, *others = found.items()
        if not others:
            return f"default: {first[1]}" if first[1] != "null" else "default: none"
        more = ", ".join(f"{value} with --model {model}" for model, value in others)
        return f"default: {first[1]}; {more}"

    def _spellings(self) -> Iterator[str]:
        for flag in self.flags.values():
            yield flag.name
            yield flag.off or f"--no-{flag.name[2:]}"

    def _unknown(self, word: str) -> str:
        name = word.partition("=")[0]
        if not name.startswith("-"):
            return f"{word} is no flag and no value of one; see {self.prog} --help."
        names = [one.key for one in self.flags.values()]
        near = suggestion(name.lstrip("-").replace("-", "_"), names)
        found = re.search(r"Did you mean (\w+)", near)
        more = f"did you mean {self.flags[found[1]].name}?" if found else f"see {self.prog} --help."
        return f"there is no flag {name}; {more}"


def _why_gone(word: str) -> str | None:
    return GONE.get(_hyphens(word.partition("=")[0]))


def _not_gone(words: Sequence[str]) -> list[str]:
    return [one for one in words if not _why_gone(one)]


def _gone(words: Sequence[str]) -> Iterator[str]:
    """A sentence for each reason why flags of the older command lines are not here."""
    reasons: dict[str, list[str]] = {}
    for one in words:
        if why := _why_gone(one):
            reasons.setdefault(why, []).append(one.partition("=")[0])
    for why, names in reasons.items():
        flags = "flag" if len(names) == 1 else "flags"
        verb = "is" if len(names) == 1 else "are"
        yield f"there {verb} no {flags} {', '.join(names)} any more: {why}."


def metavar(flag: Flag) -> str:
    """What the value of a flag is called, or its choices."""
    if flag.metavar:
        return flag.metavar
    setting = settings()[flag.setting]
    if choices := flag.choices or setting.choices:
        return "{" + ",".join(choices) + "}"
    return {int: "N", float: "X"}.get(alternatives(setting.hint)[0], "TEXT")


def split_execution(chosen: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings that are overrides, and those of the execution config by their short names."""
    return (
        {name: value for name, value in chosen.items() if name not in _EXECUTION},
        {_EXECUTION[name]: value for name, value in chosen.items() if name in _EXECUTION},
    )


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


def _canonical(known: Mapping[str, str], word: str) -> str:
    """A word with the hyphens and underscores of the flag that is meant."""
    name, sign, value = word.partition("=")
    if not name.startswith("--"):
        return word
    return f"{known.get(_hyphens(name), name)}{sign}{value}"


def _typed(value: Any, setting: Setting) -> Any:
    """Text as the number a setting wants; anything else is left for the settings to refuse."""
    if not isinstance(value, str):
        return value
    readers: dict[Any, Callable[[str], Any]] = {int: int, float: float}
    for kind in alternatives(setting.hint):
        if kind in readers:
            try:
                return readers[kind](value)
            except ValueError:
                pass
    return value


def _pattern(name: str) -> str:
    """Where a setting is meant: a name that is an English word, only as the subject or with =."""
    word = re.escape(name)
    return word if re.search("[._]", name) else rf"(?:(?:^|(?<=\n)){word}(?=:| must )|{word}(?==))"


def _as_flag(flags: Mapping[str, Flag], found: re.Match[str]) -> str:
    flag, value = flags[found["name"]], found["value"]
    if value in ("true", "false") and found["is"]:
        return flag.name if value == "true" else flag.off or f"--no-{flag.name[2:]}"
    if flag.constant is not None and value == flag.constant:
        return flag.name
    return f"{flag.name} {value}" if found["is"] else flag.name


def _key(name: str) -> str:
    return Flag(name).key
