"""The tables of the documentation, as Markdown."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ptycho import inference, train
from ptycho.compat.command import Command, metavar
from ptycho.compat.flags import GONE, Flag
from ptycho.compat.old_fields import CLIENT, SECTIONS, Old
from ptycho.config.config import RunConfig
from ptycho.config.describe import Setting, plain, settings
from ptycho.config.store import conf_dir, presets
from ptycho.config.validate import alternatives

COMMANDS = {"train": train.COMMAND, "inference": inference.COMMAND}
_LIMITS = {"at_least": "at least", "above": "above", "at_most": "at most"}
_WORDS = {
    "int": "whole number", "float": "number", "bool": "`true`, `false`", "text": "text",
    "null": "`null`", "list[str]": "list of text", "dict[str, str]": "names and text",
}  # fmt: skip


def every() -> dict[str, str]:
    """All tables by their names."""
    made = {"settings": "\n\n".join(_group(name) for name in _groups())}
    made["presets"] = "\n\n".join(_presets(name) for name in _alone())
    for name, command in COMMANDS.items():
        made[f"flags.{name}"] = "\n\n".join(_flags(command))
        made[f"hydra.{name}"] = _hydra(command)
    made["gone"] = _gone()
    for section, table in SECTIONS.items():
        made[f"old.{section}"] = _old(table)
    for kind, table in CLIENT.items():
        made[f"old.{kind}"] = _old(table)
    return made


def _table(head: str, rows: Iterable[Iterable[str]]) -> str:
    names, bar = head.split(", "), "\\|"
    lines = [names, ["---"] * len(names), *rows]
    cells = ("".join(f"| {cell.replace('|', bar)} " for cell in line) for line in lines)
    return "\n".join(f"{one}|".replace("|  |", "| |").replace("|  |", "| |") for one in cells)


# settings


def _groups() -> list[str]:
    """Parts of the tree in order; those of the top level together."""
    return list(dict.fromkeys(_part(one.name) for one in settings().values()))


def _part(name: str) -> str:
    return name.partition(".")[0] if "." in name else ""


def _group(part: str) -> str:
    members = [one for one in settings().values() if _part(one.name) == part]
    head = f"### `{part}`" if part else "### Top level"
    kind = type(getattr(RunConfig(), part)) if part else RunConfig
    about = f"{_code(str(kind.__doc__).splitlines()[0])}"
    rows = ((f"`{one.name}`", _kind(one), _default(one), _limits(one), _code(one.text),
             f"`{one.field}`", _flags_of(one)) for one in members)  # fmt: skip
    body = _table("setting, type, default, limits, what it does, field, flag", rows)
    options = f"\n\n{_presets(part, heading=False)}" if part and _has_presets(part) else ""
    return f"{head}\n\n{about}{options}\n\n{body}"


def _kind(one: Setting) -> str:
    words = one.kind.split(" | ")
    if "Direction" in one.kind:
        return "list of `min`, `max`"
    return ", ".join(_WORDS.get(word, f"`{word}`") for word in words)


def _default(one: Setting) -> str:
    value = one.default
    if isinstance(value, list | dict):
        return f"`[{', '.join(map(plain, value))}]`" if isinstance(value, list) else "`{}`"
    return f"`{plain(value)}`"


def _limits(one: Setting) -> str:
    return ", ".join(
        f"{words} {_number(one.limits[key])}" for key, words in _LIMITS.items() if key in one.limits
    )


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flags_of(one: Setting) -> str:
    found: dict[str, list[str]] = {}
    for name, command in COMMANDS.items():
        for flag in command.flags.values():
            if flag.setting == one.name and not flag.old:
                found.setdefault(f"`{flag.name}`", []).append(name)
    return ", ".join(
        flag if len(names) == len(COMMANDS) else f"{flag} ({names[0]})"
        for flag, names in found.items()
    )


# presets


def _has_presets(group: str) -> bool:
    return (Path(conf_dir()) / group).is_dir()


def _alone() -> list[str]:
    """Groups of presets that are no part of the tree."""
    folders = (one.name for one in sorted(Path(conf_dir()).iterdir()) if one.is_dir())
    return [name for name in folders if name not in _groups()]


def _presets(group: str, heading: bool = True) -> str:
    rows = (
        (f"`{group}={name}`", _code(comment), ", ".join(f"`{one}`" for one in sets) or "nothing")
        for name in presets(group)
        for comment, sets in [_option(group, name)]
    )
    body = _table("option, what it is, sets", rows)
    return f"### `{group}`\n\n{body}" if heading else body


def _option(group: str, name: str) -> tuple[str, list[str]]:
    """What a file says of itself, and what it sets."""
    text = (Path(conf_dir()) / group / f"{name}.yaml").read_text(encoding="utf-8")
    anywhere = text.startswith("# @package _global_")
    comments = re.findall(r"^#\s+([^@].*)$", text, re.M)
    inline = re.findall(r"\S\s+#\s+(.*)$", text, re.M)
    comment = comments[0] if comments else inline[0] if len(inline) == 1 else ""
    content = yaml.safe_load(text) or {}
    chosen = [
        f"{key.removeprefix('override /')}={value}"
        for one in content.pop("defaults", [])
        if isinstance(one, dict)
        for key, value in one.items()
    ]
    sets = _flat(content, "" if anywhere else f"{group}.")
    return comment, [*chosen, *(f"{key}={value}" for key, value in sets)]


def _flat(content: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", f"[{', '.join(map(plain, value))}]"
        else:
            yield f"{prefix}{name}", plain(value)


# flags


def _flags(command: Command) -> Iterator[str]:
    for heading, flags in command.groups.items():
        rows = (
            (_spelt(flag), _value(flag), command.default_text(flag).removeprefix("default: "),
             _about(flag), _field(flag), _typed(flag))
            for flag in flags
        )  # fmt: skip
        body = _table("flag, value, default, what it does, field, typed to `ptycho.run`", rows)
        yield f"### {heading.capitalize()}\n\n{body}"


def _is_switch(flag: Flag) -> bool:
    one = settings().get(flag.setting)
    return one is not None and flag.constant is None and bool in alternatives(one.hint)


def _spelt(flag: Flag) -> str:
    if not _is_switch(flag):
        return f"`{flag.name}`"
    return f"`{flag.name}`, `{flag.off or f'--no-{flag.name[2:]}'}`"


def _value(flag: Flag) -> str:
    if _is_switch(flag) or flag.constant is not None:
        return "none"
    choices = flag.choices or (settings()[flag.setting].choices if flag.setting else ())
    return ", ".join(f"`{one}`" for one in choices) or metavar(flag)


def _about(flag: Flag) -> str:
    return _code(flag.about or settings()[flag.setting].text)


def _field(flag: Flag) -> str:
    return f"`{settings()[flag.setting].field}`" if flag.setting else ""


def _typed(flag: Flag) -> str:
    if flag.hydra:
        return "; ".join(_after_colon(one) for one in flag.hydra.split("; "))
    if not flag.setting:
        return ""
    if flag.constant is not None:
        return f"`{flag.setting}={flag.constant}`"
    word = metavar(flag)
    value = "true" if _is_switch(flag) else "VALUE" if "{" in word else word
    return f"`{flag.setting}={value}`" + (", or `false`" if _is_switch(flag) else "")


def _after_colon(text: str) -> str:
    """``mae: a=0 b=1`` with the settings marked as code."""
    before, colon, typed = text.rpartition(": ")
    return f"{before}{colon}`{typed}`"


def _hydra(command: Command) -> str:
    """Flag by flag what is typed today."""
    rows = ((_spelt(one), _typed(one) or _about(one)) for one in command.flags.values())
    return _table("flag, typed to `ptycho.run`", rows)


def _gone() -> str:
    flags = {name for command in COMMANDS.values() for name in _hyphened(command)}
    rows = (
        (f"`{name}`" + (" of `ptycho.inference`" if name in flags else ""), _code(why))
        for name, why in GONE.items()
    )
    return _table("flag, why it is gone", rows)


def _hyphened(command: Command) -> Iterator[str]:
    yield from (one.name.replace("_", "-") for one in command.flags.values())


# old fields


def _old(table: dict[str, Old]) -> str:
    """Those with a counterpart first; then, by their reason, those without."""
    rows = [
        (f"`{name}`", _usual(one), ", ".join(f"`{word}`" for word in one.setting.split(", ")),
         one.note)
        for name, one in table.items() if one.setting
    ]  # fmt: skip
    reasons: dict[str, list[str]] = {}
    for name, one in table.items():
        if not one.setting:
            reasons.setdefault(one.note, []).append(f"`{name}`")
    without = [(", ".join(names), "", "none", why) for why, names in reasons.items()]
    return _table("there, its default, here, remark", [*rows, *without])


def _usual(one: Old) -> str:
    return "" if one.usual is None else f"`{plain(one.usual)}`"


def _code(text: str) -> str:
    return re.sub(r"``([^`]*)``", r"`\1`", text)
