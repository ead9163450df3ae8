"""The JSON files of settings that PtychoPINN's older interface reads."""

import json
import sys
from pathlib import Path
from typing import Any

from ptycho.config.config import UserError

FIELDS: dict[str, str] = {
    "training_config.epochs": "trainer.nepochs",
    "training_config.batch_size": "trainer.batch_size",
    "training_config.learning_rate": "trainer.learning_rate",
    "training_config.accum_steps": "trainer.accum_steps",
    "training_config.num_workers": "execution.num_workers",
    "inference_config.middle_trim": "execution.middle_trim",
}
"""Section and field of the file -> setting."""


def read_old_config(path: Path) -> dict[str, Any]:
    """Settings by their full names; what has no counterpart is named on the terminal.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--config: {path} is no JSON file that can be read: {error}.") from error
    found, left = {}, []
    for section, values in content.items():
        for name, value in values.items():
            full = f"{section}.{name}"
            if full in FIELDS:
                found[FIELDS[full]] = value
            else:
                left.append(full)
    if left:
        print(f"ptycho: {path}: without counterpart, left out: {', '.join(left)}", file=sys.stderr)
    return found
