"""What was found as a preset in the user's own folder of settings."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ptycho.config.config import DataConfig, UserError
from ptycho.data.appearing import appearing
from ptycho.report.diagnosis import Diagnosis
from ptycho.report.files import plain, plain_config


def preset_name(label: str) -> str:
    """A name that can be typed after ``data=``."""
    return re.sub(r"[^0-9A-Za-z]+", "_", label).strip("_").lower() or "scan"


def check_remedy(folder: Path, name: str) -> None:
    """Refuse a place where something lies already.

    Raises:
        UserError: there is a preset of this name, or a file where a folder is wanted.
    """
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if there.exists() and not there.is_dir():
        raise UserError(f"--config-dir: {there} is a file, not a folder.")
    for path in (_preset(folder, name), _mask(folder, name)):
        if path.exists():
            raise UserError(
                f"--fix: {path} exists already and is not overwritten; remove it, or give "
                "another name with --name NAME."
            )


def write_remedy(diagnosis: Diagnosis, data: DataConfig, folder: Path, name: str) -> list[Path]:
    """Write a preset with all settings that were typed and found, and a mask where one is needed.

    Args:
        diagnosis: what was found.
        data: settings so far.
        folder: of the user's settings; made if need be.
        name: of the preset.

    Returns:
        The files.
    """
    check_remedy(folder, name)
    preset, mask = _preset(folder, name), _mask(folder, name)
    preset.parent.mkdir(parents=True, exist_ok=True)
    found = dict(diagnosis.settings)
    written = [preset]
    if diagnosis.bad_pixels is not None:
        with appearing(mask) as temporary, temporary.open("wb") as file:
            np.save(file, diagnosis.bad_pixels)
        found["data.preprocess.bad_pixels_file"] = str(mask.resolve())
        written.append(mask)
    content = _changed(data)
    content["label"] = data.label if data.label != "scan" else diagnosis.label
    content["source"] = data.source.value
    if data.train_data_file:
        content["train_data_file"] = os.path.abspath(data.train_data_file)
    for setting, value in found.items():
        _put(content, setting.split(".")[1:], plain(value))
    lines = [f"# what ptycho doctor found in {diagnosis.source}: {diagnosis.verdict}"]
    lines += [
        f"# {one.topic}: {' '.join(one.said.split())}" for one in diagnosis.findings if one.settings
    ]
    text = "\n".join(lines) + "\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    with appearing(preset) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return written


def _preset(folder: Path, name: str) -> Path:
    return folder / "data" / f"{name}.yaml"


def _mask(folder: Path, name: str) -> Path:
    return folder / "data" / f"{name}_bad_pixels.npy"


def _changed(data: DataConfig) -> dict[str, Any]:
    """What was typed: settings with another value than they usually have, nested."""

    def differing(mine: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in mine.items():
            if isinstance(value, dict):
                if below := differing(value, usual[name]):
                    kept[name] = below
            elif value != usual[name]:
                kept[name] = value
        return kept

    return differing(plain_config(data), plain_config(DataConfig()))


def _put(content: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        content = content.setdefault(part, {})
    content[path[-1]] = value
