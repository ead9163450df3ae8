"""How a setting is written down, and what is raised when one cannot be."""

import re
from dataclasses import field
from typing import Any

_WORKER = re.compile(r"^Caught \w+ in [^\n]*\nOriginal Traceback .*\n[\w.]+: ", re.DOTALL)


def setting(default: Any, **limits: Any) -> Any:
    """A field with its limits: ``at_least``, ``above``, ``at_most`` or ``choices``.

    They are checked by :func:`ptycho.config.validate.faults`.
    """
    return field(default=default, metadata=limits)


class UserError(ValueError):
    """Something the user can mend; ``faults`` holds a sentence for each."""

    def __init__(self, *faults: str) -> None:
        # PyTorch raises what a loader's worker raised anew, with the traceback in its message
        self.faults = tuple(_WORKER.sub("", fault).strip() for fault in faults)
        super().__init__("\n".join(self.faults))


class ConfigError(UserError):
    """One or more settings are impossible."""


class PrunedError(UserError):
    """A sweep gave this run up: others were better at the same epoch."""
