"""What is written beside every setting, for help and reference pages.

Standard library only.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from enum import Enum
from functools import cache, reduce
from typing import Any

from ptycho.config.config import RunConfig
from ptycho.config.validate import alternatives, leaves

_PLAIN = re.compile(r"[A-Za-z0-9_.+/:-]+")
_MEANS_MORE = re.compile(r"null|true|false|[+-]?(inf|nan|[0-9.][0-9._]*(e[+-]?[0-9_]+)?)", re.I)
_KINDS = {int: "int", float: "float", bool: "bool", str: "text"}


@dataclass(frozen=True)
class Setting:
    """One field of the tree of settings."""

    name: str
    """As typed: ``trainer.nepochs``."""
    field: str
    """Where it is written down: ``LearningConfig.nepochs``."""
    kind: str
    """Type in words; choices are listed."""
    hint: Any
    default: Any
    limits: dict[str, Any]
    text: str
    """Its docstring, on one line."""

    @property
    def choices(self) -> tuple[str, ...]:
        """What it may be, if that is a list."""
        for kind in alternatives(self.hint):
            if isinstance(kind, type) and issubclass(kind, Enum):
                return tuple(kind.__members__)
        return tuple(self.limits.get("choices", ()))


@cache
def settings() -> dict[str, Setting]:
    """Every setting of a run by its full name, in order."""
    return {name: _setting(name, *more) for name, *more in leaves(RunConfig())}


def plain(value: Any) -> str:
    """A value as it is typed, to the last digit."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return "null" if value is None else str(value)


def quoted(value: str) -> str:
    """A text as Hydra's command line reads it: as that very text, whatever is in it."""
    if _PLAIN.fullmatch(value) and not _MEANS_MORE.fullmatch(value):
        return value
    if "${" in value:  # else OmegaConf would fill it in
        value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    # Hydra takes backslashes as they are, but those before a quote
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return f"'{value}'"


def how_to_quote(text: str) -> str:
    """What to do about ``NAME=VALUE`` that Hydra cannot read, in a sentence."""
    name, _, value = text.partition("=")
    if value.isascii() or set(value) & set("'\"$`\\!"):
        return (
            "Settings are NAME=VALUE; a value with spaces or signs needs quotes of its own: "
            "'NAME=\"VALUE\"'."
        )
    return f"A value with letters beyond a to z needs quotes of its own: {name}=\"'{value}'\"."


def _setting(name: str, default: Any, hint: Any, limits: dict[str, Any]) -> Setting:
    *groups, field = name.split(".")
    group = reduce(getattr, groups, RunConfig())
    kind: Any = type(group)  # a type is hashable, whatever mypy says of its instances
    owner, text = _docstrings(kind)[field]
    words = _kind(hint, limits.get("choices", ()))
    return Setting(name, f"{owner}.{field}", words, hint, default, limits, text)


@cache
def _docstrings(kind: type) -> dict[str, tuple[str, str]]:
    """Field -> the class that has it first, and the string below it."""
    found: dict[str, tuple[str, str]] = {}
    for owner in reversed(kind.__mro__[:-1]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for before, after in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)):
                continue
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[before.target.id] = owner.__name__, " ".join(str(after.value.value).split())
    return found


def _kind(hint: Any, choices: tuple[str, ...]) -> str:
    words = []
    for kind in alternatives(hint):
        if kind is type(None):
            words.append("null")
        elif isinstance(kind, type) and issubclass(kind, Enum):
            words += kind.__members__
        elif kind is str and choices:
            words += choices
        else:
            words.append(_KINDS.get(kind, str(kind)))
    return " | ".join(words)
