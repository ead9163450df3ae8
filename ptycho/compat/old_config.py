"""The JSON files of settings that PtychoPINN's older interface reads, as settings of today.

Which field is which setting is said by the table in :mod:`ptycho.compat.old_fields`; here is what
needs more than one field to say.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from importlib.metadata import entry_points
from math import isqrt
from pathlib import Path
from typing import Any

from ptycho.compat.old_fields import old_field
from ptycho.config.choices import GENERATORS
from ptycho.config.config import RunConfig, UserError
from ptycho.config.validate import limit_faults, type_faults

_LOSSES = ("training_config.torch_loss_mode", "model_config.loss_function")
_SIDES = ("data_config.grid_size", "data_config.gridsize", "data_config.C")


def read_old_config(path: Path) -> dict[str, Any]:
    """Settings by their full names; what has no counterpart is named on the terminal.

    Args:
        path: JSON file with sections ``data_config``, ``model_config``, ``training_config``,
            ``inference_config`` and ``datagen_config``, any of them.

    Raises:
        UserError: it cannot be read, or says what cannot be.
    """
    reading = _Reading(_fields(path))
    try:
        reading.translate()
    except UserError as error:
        raise UserError(*(f"{path}: {fault}" for fault in error.faults)) from error
    if reading.left:
        print(f"ptycho: {path}: {reading.rest()}", file=sys.stderr)
    return {setting: value for setting, (_, value) in reading.found.items()}


def _fields(path: Path) -> dict[str, Any]:
    """What a file says, by section and field; what is null says nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except OSError as error:
        raise UserError(f"--config: {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"--config: {path} is no JSON file: {error}.") from error
    if not isinstance(content, dict):
        raise UserError(
            f"--config: {path} must hold sections such as data_config, and holds {_short(content)}."
        )
    wrong = [name for name, one in content.items() if not isinstance(one, dict | None)]
    if wrong:
        raise UserError(
            *(
                f"--config: {path}: {name} must be a section with fields, "
                f"got {_short(content[name])}."
                for name in wrong
            )
        )
    return {
        f"{section}.{name}": value
        for section, values in content.items()
        for name, value in (values or {}).items()
        if value is not None
    }


@dataclass
class _Reading:
    """A file on its way to settings."""

    old: dict[str, Any]
    """By section and field."""
    found: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Setting -> the field that says so, and its value today."""
    left: dict[str, Any] = field(default_factory=dict)
    """Fields without counterpart that say something."""

    def translate(self) -> None:
        """Fill ``found`` and ``left``.

        Raises:
            UserError: with a sentence for every field that says what cannot be.
        """
        for name, value in self.old.items():
            self._translate(name, value)
        for settle in (
            self._layout, self._groups, self._chance, self._generator, self._loss, self._devices,
            self._clipping, self._window,
        ):  # fmt: skip
            settle()
        faults = [*self._faults()]
        if faults:
            raise UserError(*faults)

    def rest(self) -> str:
        """What was left out, in words."""
        known = [name for name in self.left if old_field(*name.split(".", 1))]
        unknown = [name for name in self.left if name not in known]
        said = []
        if known:
            fields = ", ".join(f"{name}={_short(self.left[name])}" for name in known)
            said.append(f"without a counterpart and left out (docs/migration.md): {fields}")
        if unknown:
            said.append(f"never heard of and left out: {', '.join(unknown)}")
        return "; ".join(said) + "."

    def _translate(self, name: str, value: Any) -> None:
        old = old_field(*name.split(".", 1))
        if old is None:
            self.left[name] = value
        elif old.setting and not old.settled:
            word = isinstance(value, str)
            self.found[old.setting] = name, old.words.get(value, value) if word else value
        elif not old.setting and value and value != old.usual:
            self.left[name] = value

    def _layout(self) -> None:
        """What says nothing beside another field, and would be refused beside it."""
        if self._is("model.pad_object", False) and self._is("model.probe_big", False):
            del self.found["model.probe_big"]  # all of N x N counts alike
        if self._supervised():
            self._drop("trainer.intensity_scale_trainable")  # labels say nothing about photons

    def _groups(self) -> None:
        given = [name for name in _SIDES if name in self.old]
        if not given:
            return
        name, *others = given
        side = _side(name, self.old[name])
        for other in others:
            if _side(other, self.old[other]) != side:
                self.left[other] = self.old[other]
        if self._is("model.object_big", False):
            return  # every patch stands alone
        self.found["model.gridsize"] = name, side
        neighbours = self.old.get("data_config.K")
        if neighbours is not None and side > 1:
            if not _whole(neighbours):
                raise _wrong("data_config.K", "a whole number", neighbours)
            self.found["data.neighbor_count"] = "data_config.K", neighbours + 1

    def _chance(self) -> None:
        if (seed := self.old.get("data_config.subsample_seed")) is None:
            return
        chosen = {"data.n_groups", "data.neighbor_count"} & self.found.keys()
        for setting in ("seed", *(["data.subsample_seed"] if chosen else [])):
            self.found[setting] = "data_config.subsample_seed", seed

    def _generator(self) -> None:
        name = "model_config.architecture"
        wanted = self.old.get(name, "cnn")
        if name in self.old:
            foreign = [one.name for one in entry_points(group="ptycho.generators")]
            if wanted not in (*GENERATORS, *foreign):
                raise _wrong(name, f"one of {', '.join([*GENERATORS, *foreign])}", wanted)
            self.found["model.generator"] = name, wanted
        mode = f"model_config.{'cnn' if wanted == 'cnn' else 'generator'}_output_mode"
        if mode in self.old:
            self.found["model.output"] = mode, self._word(mode)
        if self._is("model.output", "real_imag"):
            self.found.pop("model.amp_activation", None)  # there is no amplitude to make
            self._drop("model.gaussian_smoothing_sigma")

    def _loss(self) -> None:
        told = [name for name in _LOSSES if name in self.old]
        if self._supervised():
            told = [name for name in told if name.endswith("loss_function")]
        elif not told and self.old.get("training_config.nll") is False:
            self._weigh("training_config.nll", "trainer.nll_weight", "trainer.mae_weight")
        if not told:
            return
        mode = self.old[told[0]]
        if not isinstance(mode, str) or mode.lower() not in ("poisson", "mae"):
            raise _wrong(told[0], "Poisson or MAE", mode)
        if self._supervised():
            if mode.lower() == "mae":
                self._weigh(told[0], "trainer.realspace_weight", "trainer.realspace_mae_weight")
        elif mode.lower() == "mae":
            self._weigh(told[0], "trainer.nll_weight", "trainer.mae_weight")
        else:
            self.found["trainer.torch_loss_mode"] = told[0], "poisson"

    def _weigh(self, name: str, without: str, instead: str) -> None:
        self.found |= {without: (name, 0.0), instead: (name, 1.0)}

    def _devices(self) -> None:
        name = "training_config.device"
        if name in self.old:
            device = self.old[name]
            first = device.partition(":")[0] if isinstance(device, str) else device
            self.found["trainer.accelerator"] = name, first
        name = "training_config.n_devices"
        number = self.old.get(name, 1)
        if number == "auto":
            return
        if not _whole(number) or number < 0:
            raise _wrong(name, "a whole number of devices", number)
        if number > 1:
            self.found["trainer.devices"] = name, number
            self.found["trainer.strategy"] = name, "ddp"
        name = "training_config.strategy"
        if self.old.get(name, "ddp") not in ("ddp", "auto"):
            self.left[name] = self.old[name]

    def _clipping(self) -> None:
        if self._is("trainer.gradient_clip_algorithm", "agc"):
            self._drop("trainer.gradient_clip_algorithm")
            self._drop("trainer.gradient_clip_val")
        elif self._is("trainer.gradient_clip_val", 0):
            self.found["trainer.gradient_clip_val"] = "training_config.gradient_clip_val", None

    def _window(self) -> None:
        if not self.found.get("execution.log_patch_stats", ("", False))[1]:
            self.found.pop("execution.patch_stats_limit", None)  # of nothing
        name = "inference_config.pad_eval"
        if name not in self.old:
            return
        if "execution.middle_trim" in self.found:
            self.found["execution.pad_eval"] = name, self.old[name]
        elif not self.old[name]:
            self.left[name] = self.old[name]

    def _supervised(self) -> bool:
        return self._is("model.architecture", "supervised")

    def _is(self, setting: str, value: Any) -> bool:
        found = self.found.get(setting, ("", None))[1]
        return found is not None and type(found) in (type(value), float) and found == value

    def _word(self, name: str) -> Any:
        old = old_field(*name.split(".", 1))
        value = self.old[name]
        return old.words.get(value, value) if old and isinstance(value, str) else value

    def _drop(self, setting: str) -> None:
        """Leave a setting out, and say so where it said something."""
        name, value = self.found.pop(setting, ("", None))
        if value:
            self.left[name] = value

    def _faults(self) -> Iterator[str]:
        """A sentence for every value that its setting cannot have."""
        for setting, (name, value) in self.found.items():
            run = RunConfig()
            *groups, last = setting.split(".")
            setattr(reduce(getattr, groups, run), last, value)
            for fault in [*type_faults(run)] or [*limit_faults(run)]:
                yield f"{name}: {fault}"


def _side(name: str, value: Any) -> int:
    """Patterns per group side."""
    if name.endswith(".C"):
        if _whole(value) and value > 0 and isqrt(value) ** 2 == value:
            return isqrt(value)
        raise _wrong(name, "a square, such as 4: groups are as high as wide", value)
    if name.endswith(".gridsize"):
        if _whole(value):
            return int(value)
        raise _wrong(name, "a whole number", value)
    if isinstance(value, list) and len(value) == 2 and _whole(value[0]) and value[0] == value[1]:
        return int(value[0])
    raise _wrong(name, "two equal whole numbers, such as [2, 2]: groups are as high as wide", value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(name: str, wanted: str, value: Any) -> UserError:
    return UserError(f"{name} must be {wanted}, got {_short(value)}.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary of JSON, in which no name may come twice."""
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))} comes twice")
    return dict(pairs)
