"""Files of a run folder: written whole or not at all."""

import csv
import json
import math
import os
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ptycho.data.appearing import appearing
from ptycho.data.reconstruction import Reconstruction


def plain(value: Any) -> Any:
    """Settings and figures as JSON and YAML know them: no enums, paths, NaN or numpy."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plain_config(config: Any) -> dict[str, Any]:
    """A config dataclass as nested plain dictionaries."""
    result: dict[str, Any] = plain(asdict(config))
    return result


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented."""
    text = json.dumps(plain(content), indent=2) + "\n"
    with appearing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # or a power cut may leave an empty one


def write_yaml(path: Path, content: Any) -> None:
    """Write YAML in the order given."""
    with appearing(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain(content), sort_keys=False), encoding="utf-8")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows; the columns are those of all rows together, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with appearing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_reconstruction(path: Path, reconstruction: Reconstruction) -> None:
    """Write ``object``, ``probe``, ``xcoords`` and ``ycoords`` (in pixels of that object).

    And ``phase_std`` and ``amplitude_std`` when they are known.
    """
    arrays: dict[str, Any] = {
        "object": reconstruction.obj,
        "probe": reconstruction.probe,
        "xcoords": reconstruction.positions[:, 1],
        "ycoords": reconstruction.positions[:, 0],
    }
    if reconstruction.fresnel is not None:
        arrays["fresnel_number"] = np.float64(reconstruction.fresnel)
    if reconstruction.pixel_size_m is not None:
        arrays["pixel_size_m"] = np.float64(reconstruction.pixel_size_m)
    for name in ("flux", "background"):
        if getattr(reconstruction, name) is not None:
            arrays[name] = getattr(reconstruction, name)
    if reconstruction.held_out.size:
        arrays["held_out"] = reconstruction.held_out
    if reconstruction.uncertainty is not None:
        arrays["phase_std"] = reconstruction.uncertainty.phase
        arrays["amplitude_std"] = reconstruction.uncertainty.amplitude
    with appearing(path) as temporary:
        np.savez(temporary, **arrays)
