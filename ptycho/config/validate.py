"""Refuses impossible settings: all of them at once, each in a sentence.

Standard library only. Nothing here looks at files or devices; see
:mod:`ptycho.workflows.preflight` for those.
"""

import math
import operator
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from ptycho.config.beam_rules import beam_faults, simulation_faults
from ptycho.config.choices import (
    WITH_BUNDLE,
    Accelerator,
    Architecture,
    DataSource,
    Labels,
    LossMode,
    Task,
    Values,
)
from ptycho.config.config import (
    AdaptConfig,
    ConfigError,
    ExecutionConfig,
    InstrumentConfig,
    PyTorchExecutionConfig,
    RunConfig,
    SyntheticConfig,
    TrainerConfig,
    UncertaintyConfig,
)
from ptycho.config.data_rules import file_faults, reading_faults
from ptycho.config.lazy_rules import lazy_faults
from ptycho.config.patch_rules import patch_faults, teaches
from ptycho.config.sweep_rules import sweep_faults

_LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "at_least": ("at least", operator.ge),
    "above": ("greater than", operator.gt),
    "at_most": ("at most", operator.le),
}


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """Every setting below a config: full name, value, type hint and limits."""
    hints = typing.get_type_hints(type(config))
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", value, hints[item.name], dict(item.metadata)


def faults(run: RunConfig) -> list[str]:
    """Everything that is wrong with the settings of a run; empty when nothing is."""
    wrong = [*type_faults(run)]
    if wrong:
        return wrong  # the other checks rely on the types
    checks = (
        limit_faults, _task_faults, _data_faults, file_faults, reading_faults, lazy_faults,
        beam_faults, simulation_faults, patch_faults, _loss_faults, _trainer_faults,
        _instrument_faults, _solver_faults, _uncertainty_faults, _path_faults, _logger_faults,
        sweep_faults,
    )  # fmt: skip
    return [fault for find in checks for fault in find(run)]


def check(run: RunConfig) -> RunConfig:
    """The run itself, or a :class:`ConfigError` with every fault."""
    found = faults(run)
    if found:
        raise ConfigError(*found)
    return run


def check_execution(config: PyTorchExecutionConfig) -> None:
    """Turn plain strings into choices; raise :class:`ConfigError` with every fault."""
    found = [*type_faults(config)]
    if not found:
        found = [*limit_faults(config), *_hardware_faults(config), *_worker_faults(config)]
    if found:
        raise ConfigError(*found)


def type_faults(config: Any, prefix: str = "") -> Iterator[str]:
    """Values of the wrong type; choices given as plain strings become their enum member."""
    hints = typing.get_type_hints(type(config))
    for item in fields(config):
        name, value, hint = f"{prefix}{item.name}", getattr(config, item.name), hints[item.name]
        if typing.get_origin(hint) is list and isinstance(value, list):
            (kind,) = typing.get_args(hint)
            setattr(config, item.name, value := [_as_member(one, kind) or one for one in value])
        member = _as_member(value, hint)
        if is_dataclass(value):
            yield from type_faults(value, f"{name}.")
        elif member is not None:
            setattr(config, item.name, member)
        elif not any(_fits(value, kind) for kind in alternatives(hint)):
            yield f"{name} must be {_describe(alternatives(hint))}, got {_show(value)}."


def limit_faults(config: Any) -> Iterator[str]:
    """Values outside their limits or not among their choices."""
    for name, value, _, limits in leaves(config):
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} must be a finite number, got {value}."
            continue
        if "choices" in limits and value not in limits["choices"]:
            yield f"{name} must be one of {', '.join(limits['choices'])}, got {_show(value)}."
        for key, (phrase, holds) in _LIMITS.items():
            if key in limits and not holds(value, limits[key]):
                yield f"{name} must be {phrase} {limits[key]}, got {_show(value)}."


def suggestion(name: str, known: list[str]) -> str:
    """``" Did you mean x?"`` for a near miss, else what the group holds.

    Near are: a slip of the pen, initials (``lr``), the right name in the wrong group.
    """
    group, _, word = name.rpartition(".")
    siblings = [one for one in known if one.rpartition(".")[0] == group]
    near = [*_near(word, siblings), *_near(word, known)]
    if near:
        return f" Did you mean {near[0]}?"
    words = ", ".join(one.rpartition(".")[2] for one in siblings)
    return f" {group or 'The top level'} has {words}." if siblings else ""


def _near(word: str, names: list[str]) -> list[str]:
    """The name whose last word, or whose initials, read most like the word."""
    readings: dict[str, str] = {}
    for name in names:
        last = name.rpartition(".")[2]
        initials = "".join(part[:1] for part in last.split("_"))
        readings.setdefault(last.lower(), name)
        if len(initials) > 1:
            readings.setdefault(initials.lower(), name)
    found = get_close_matches(word.lower(), readings, n=1, cutoff=0.75)
    return [readings[one] for one in found]


def _task_faults(run: RunConfig) -> Iterator[str]:
    if run.task in WITH_BUNDLE and not run.bundle:
        yield (
            f"bundle must name a trained bundle for task={run.task}, got nothing; "
            "type bundle=RUN_FOLDER/wts.h5.zip."
        )
    if run.task not in WITH_BUNDLE and run.bundle:
        yield (
            f"bundle is read by task=reconstruct and task=adapt only, and this is task={run.task}."
        )
    if run.task == Task.adapt:
        yield from _learning_faults(run)
    else:
        yield from _adapting_faults(run)


def _adapting_faults(run: RunConfig) -> Iterator[str]:
    """Settings of an adaptation where nothing is adapted."""
    instead = {"epochs": "trainer.nepochs", "learning_rate": "trainer.learning_rate"}
    for item in fields(usual := AdaptConfig()):
        value = getattr(run.adapt, item.name)
        if value != getattr(usual, item.name):
            other = instead.get(item.name) if run.task == Task.train else None
            yield (
                f"adapt.{item.name}={value:g} is for task=adapt, and this is task={run.task}; "
                + (f"leave it out, or type {other}={value:g}." if other else "leave it out.")
            )


def _learning_faults(run: RunConfig) -> Iterator[str]:
    """Settings of a training that an adaptation has its own of."""
    usual = TrainerConfig()
    for name, instead in (("nepochs", "epochs"), ("learning_rate", "learning_rate")):
        value = getattr(run.trainer, name)
        if value != getattr(usual, name):
            yield (
                f"trainer.{name}={value} is for task=train; for task=adapt "
                f"adapt.{instead} says it. Leave it out, or type adapt.{instead}={value}."
            )
    labelled = run.trainer.realspace_weight or run.trainer.realspace_mae_weight
    if labelled and run.adapt.stay_weight:
        yield (
            "adapt.stay_weight holds the network to its own first answer, trainer.realspace_weight "
            "and trainer.realspace_mae_weight to a label, and there can be one only; type "
            "adapt.stay_weight=0 to learn from the label, or leave those weights out."
        )


def _data_faults(run: RunConfig) -> Iterator[str]:
    data = run.data
    if not 0 < len(data.label) <= 100 or any(sign in data.label for sign in "/\\\0\n"):
        yield (
            f"data.label names folders and files: 1 to 100 characters without slashes, "
            f"got {data.label!r}."
        )
    if data.source == DataSource.synthetic:
        if data.train_data_file:
            yield (
                "data.train_data_file needs data.source=file (data=npz), "
                "but data.source is synthetic and would not read it."
            )
        if data.nphotons is None:
            yield "data.nphotons must say the photons per simulated pattern, got nothing."
        if data.values != Values.auto and not (data.test_data_file or data.further_data_files):
            yield (
                f"data.values={data.values} says how a file is read, "
                "and data.source=synthetic reads none. Leave it out."
            )
    else:
        if not data.train_data_file:
            yield (
                "data.train_data_file must name the scan for data.source=file, got nothing; "
                "type data.train_data_file=FILE.npz."
            )
        if data.nphotons is not None:
            yield (
                f"data.nphotons={data.nphotons:g} is the dose of a simulated scan; "
                "a measured scan carries its own counts. Leave it out."
            )
        if data.synthetic != SyntheticConfig():
            yield _simulated_fault(run)
    several = data.synthetic.n_objects
    if several > 1 and run.task != Task.train:
        yield (
            f"data.synthetic.n_objects={several} scans are for task=train, "
            f"and this is task={run.task}, which works on one. Leave it out."
        )
    elif several > 1 and run.model.architecture.predicts_patches:
        yield (
            f"data.synthetic.n_objects={several} scans teach networks that correct an object, and "
            f"model.architecture={run.model.architecture} predicts patches; leave it out."
        )
    if data.test_data_file == "":
        yield "data.test_data_file must name a scan, got nothing; leave it out to score none."
    if data.test_data_file and run.task != Task.train:
        yield f"data.test_data_file is scored by task=train only, and this is task={run.task}."


def _simulated_fault(run: RunConfig) -> str:
    """What to do where a file is to be read and a simulation was described, perhaps by a preset."""
    usual = {name: value for name, value, *_ in leaves(SyntheticConfig())}
    differing = ", ".join(
        f"data.synthetic.{name}={value}"
        for name, value, *_ in leaves(run.data.synthetic)
        if value != usual[name]
    )
    said = f"{differing}: this describes a simulated scan, and data.source=file reads one instead. "
    if run.data.labels != Labels.solver or run.data.synthetic.n_objects == 1:
        return f"{said}Leave it out, or use data=synthetic."
    return (
        f"{said}experiment=distill learns from simulated scans: run it without data=npz, then type "
        "task=reconstruct bundle=RUN_FOLDER data=npz data.train_data_file=FILE. Or leave "
        "experiment=distill out and let the solver teach on this scan alone: data.labels=solver "
        "trainer.realspace_weight=1."
    )


def _loss_faults(run: RunConfig) -> Iterator[str]:
    trainer = run.trainer
    labelled = [
        name for name in ("realspace_weight", "realspace_mae_weight") if getattr(trainer, name)
    ]
    labels = run.data.labels
    if run.model.architecture.predicts_patches:
        if run.model.architecture == Architecture.supervised:
            return  # it has no patterns to compare with
    elif labels != Labels.auto and not labelled and teaches(run):
        yield (
            f"data.labels={labels} says what trainer.realspace_weight and "
            "trainer.realspace_mae_weight compare with, and both are 0; give one of them a weight "
            "or leave data.labels out."
        )
    elif labels == Labels.Y and run.model.architecture == Architecture.object_pinn:
        yield (
            f"data.labels=Y are patches, and {run.model.architecture} predicts the whole object; "
            "choose objectGuess or solver."
        )
    measured = trainer.nll_weight or trainer.mae_weight
    if not (measured or labelled):
        yield (
            "trainer.nll_weight, trainer.mae_weight, trainer.realspace_weight and "
            "trainer.realspace_mae_weight are all 0: there is nothing to learn from; give one of "
            "them a weight."
        )
        return
    if trainer.intensity_scale_trainable and not measured:
        yield (
            "trainer.intensity_scale_trainable=true has no effect with trainer.nll_weight=0 and "
            "trainer.mae_weight=0: labels say nothing about photons. Leave it out."
        )
    if trainer.torch_loss_mode != LossMode.poisson and not trainer.nll_weight:
        yield (
            f"trainer.torch_loss_mode={trainer.torch_loss_mode} has no effect with "
            "trainer.nll_weight=0; leave one of them out."
        )


def _trainer_faults(run: RunConfig) -> Iterator[str]:
    yield from _hardware_faults(run.trainer, "trainer.")
    yield from _worker_faults(run.execution, "execution.")
    yield from _checkpoint_faults(run)


def _checkpoint_faults(run: RunConfig) -> Iterator[str]:
    """What says which checkpoints to keep, where none is written."""
    if run.execution.enable_checkpointing:
        return
    usual = ExecutionConfig()
    for name in ("checkpoint_save_top_k", "checkpoint_monitor_metric", "checkpoint_mode"):
        value = getattr(run.execution, name)
        if value != getattr(usual, name):
            yield (
                f"execution.{name}={value} has no effect with execution.enable_checkpointing=false;"
                " leave one of them out."
            )


def _instrument_faults(run: RunConfig) -> Iterator[str]:
    instrument = run.instrument
    if instrument.probe_modes is not None and not instrument.probe_trainable:
        yield (
            f"instrument.probe_modes={instrument.probe_modes} needs "
            "instrument.probe_trainable=true: a mode that is added must be found first."
        )
    if instrument.max_shift != InstrumentConfig().max_shift and not instrument.positions_trainable:
        yield (
            f"instrument.max_shift={instrument.max_shift:g} needs "
            "instrument.positions_trainable=true, or no position moves."
        )


def _solver_faults(run: RunConfig) -> Iterator[str]:
    if run.solver.cutoff is not None and not run.solver.precondition:
        yield (
            f"solver.cutoff={run.solver.cutoff} has no effect with solver.precondition=false; "
            "leave one of them out."
        )


def _uncertainty_faults(run: RunConfig) -> Iterator[str]:
    wanted, usual = run.uncertainty, UncertaintyConfig()
    for name in ("members", "seed"):
        if not wanted.method.draws and getattr(wanted, name) != getattr(usual, name):
            yield (
                f"uncertainty.{name} is for uncertainty.method=bootstrap or combined, "
                f"and uncertainty.method is {wanted.method}; leave one of them out."
            )
    if wanted.method != usual.method and run.task == Task.adapt:
        yield (
            f"uncertainty.method={wanted.method} is not for task=adapt; "
            "adapt first, then reconstruct with the new bundle."
        )
    if wanted.retrain:
        yield from _retraining_faults(run)


def _retraining_faults(run: RunConfig) -> Iterator[str]:
    method = run.uncertainty.method
    if not (method.draws or method.splits):
        yield (
            "uncertainty.retrain is for uncertainty.method=bootstrap, halves or combined, "
            f"and uncertainty.method is {method}."
        )
    if run.task != Task.train:
        yield f"uncertainty.retrain trains networks, which only task=train does, got {run.task}."
    if run.model.architecture != Architecture.object_pinn:
        yield (
            "uncertainty.retrain trains networks of model.architecture=object_pinn, "
            f"got {run.model.architecture}."
        )
    labelled = run.trainer.realspace_weight or run.trainer.realspace_mae_weight
    if labelled and run.data.labels != Labels.solver:
        yield (
            "uncertainty.retrain=true trains on scans that come without labels, "
            f"and data.labels={run.data.labels} takes them from the scan; type data.labels=solver, "
            "or leave trainer.realspace_weight and trainer.realspace_mae_weight out."
        )
    if run.trainer.strategy == "ddp":
        yield "uncertainty.retrain needs trainer.strategy=auto, got ddp."


def _path_faults(run: RunConfig) -> Iterator[str]:
    outputs = run.paths.outputs
    if not outputs.strip():
        yield "paths.outputs must name a folder, got nothing."
    if run.logger.backend.uses_mlflow and any(sign in outputs for sign in "?#%"):
        yield (
            f"paths.outputs={outputs} holds one of ? # %, which MLflow cannot have in the name "
            "of its database; choose another folder or logger=csv."
        )
    if not run.logger.experiment.strip():
        yield "logger.experiment must be a name, got nothing."


def _logger_faults(run: RunConfig) -> Iterator[str]:
    model = run.logger.register_model
    if model is not None and not re.fullmatch(r"[\w .-]*\w[\w .-]*", model):
        yield (
            "logger.register_model must be a name of letters, digits, spaces and _ . -, "
            f"got {_show(model)}."
        )
    if model is not None and run.task not in (Task.train, Task.adapt):
        yield (
            "logger.register_model registers the bundle that task=train or task=adapt makes, "
            f"and task={run.task} makes none; leave it out."
        )
    if run.logger.backend.uses_mlflow:
        return
    for name in ("run_name", "tracking_uri", "register_model"):
        if getattr(run.logger, name) is not None:
            yield (
                f"logger.{name} is for MLflow (logger=mlflow or many), "
                f"and logger.backend is {run.logger.backend}."
            )


def _hardware_faults(hardware: Any, prefix: str = "") -> Iterator[str]:
    if hardware.accelerator == Accelerator.tpu:
        yield (
            f"{prefix}accelerator=tpu is not supported: complex FFTs do not run there. "
            "Use gpu, mps, cpu or auto."
        )
    if hardware.accelerator == Accelerator.cpu and hardware.precision == "16-mixed":
        yield (
            f"{prefix}precision=16-mixed needs a CUDA device; on the CPU use bf16-mixed or 32-true."
        )
    devices = hardware.devices
    if isinstance(devices, str) and devices != "auto":
        yield f"{prefix}devices must be a number of devices or auto, got {_show(devices)}."
    elif isinstance(devices, int) and devices < 1:
        yield f"{prefix}devices must be at least 1, got {devices}."
    elif isinstance(devices, int) and devices > 1 and hardware.strategy != "ddp":
        yield (
            f"{prefix}devices={devices} needs {prefix}strategy=ddp (trainer=ddp), "
            f"got {hardware.strategy}."
        )
    if hardware.num_nodes > 1 and hardware.strategy != "ddp":
        yield (
            f"{prefix}num_nodes={hardware.num_nodes} needs {prefix}strategy=ddp (trainer=ddp), "
            f"got {hardware.strategy}."
        )


def _worker_faults(execution: Any, prefix: str = "") -> Iterator[str]:
    if execution.num_workers == 0:
        if execution.persistent_workers:
            yield f"{prefix}persistent_workers=true needs {prefix}num_workers of at least 1, got 0."
        if execution.prefetch_factor is not None:
            yield (
                f"{prefix}prefetch_factor={execution.prefetch_factor} needs "
                f"{prefix}num_workers of at least 1, got 0."
            )


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if is_union else (hint,)


def _as_member(value: Any, hint: Any) -> Enum | None:
    for kind in alternatives(hint):
        if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(value, str):
            return kind.__members__.get(str(value))
    return None


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if typing.get_origin(kind) is list:
        (inner,) = typing.get_args(kind)
        return isinstance(value, list) and all(_fits(one, inner) for one in value)
    if typing.get_origin(kind) is dict:
        names, values = typing.get_args(kind)
        return isinstance(value, dict) and all(
            _fits(name, names) and _fits(one, values) for name, one in value.items()
        )
    return isinstance(value, kind)


def _describe(allowed: tuple[Any, ...]) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    parts = []
    for kind in allowed:
        if kind is type(None):
            parts.append("empty (null)")
        elif isinstance(kind, type) and issubclass(kind, Enum):
            parts.append("one of " + ", ".join(kind.__members__))
        elif typing.get_origin(kind) is list:
            parts.append(f"a list [...], each {_describe(typing.get_args(kind))}")
        else:
            parts.append(words.get(kind, str(kind)))
    return " or ".join(parts)


def _show(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if text and text.isprintable() else repr(text)


def label_of(path: str) -> str:
    """A name for the scan in a file: that of the file, as far as ``data.label`` may be it."""
    return re.sub(r"[/\\\0\n]", "_", Path(path).stem)[:100] or "scan"
