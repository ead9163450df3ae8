"""The words of a command line: complaints as sentences, ``NAME=VALUE`` told apart."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from ptycho.config.fields import UserError


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are sentences of ours."""

    def error(self, message: str) -> NoReturn:
        """Raise them, and say where help is."""
        raise UserError(f"{message.removeprefix('argument ')}; see {self.prog} --help.")


def sort_words(
    words: list[str], refusal: Callable[[str, str], str | None]
) -> tuple[dict[str, str], list[str]]:
    """``to=NAME`` and ``overwrite=true`` by name, and the settings of runs as they were typed.

    Args:
        words: as typed.
        refusal: called with name and whole word; says why a setting is not taken.

    Raises:
        UserError: with a sentence for everything else.
    """
    own: dict[str, str] = {}
    typed, faults = [], []
    for text in words:
        name, equals, value = text.lstrip("+").partition("=")
        if not equals:
            faults.append(f"cannot read {text!r}: settings are NAME=VALUE.")
        elif name in own:
            faults.append(f"{name} was typed twice, {name}={own[name]} and {text}; leave one out.")
        elif name == "to":
            own[name] = value
        elif name == "overwrite":
            own[name] = value
            if value not in ("true", "false"):
                faults.append(f"overwrite must be true or false, got {value or 'nothing'}.")
        elif why := refusal(name, text):
            faults.append(why)
        else:
            typed.append(text)
    if faults:
        raise UserError(*faults)
    return own, typed
