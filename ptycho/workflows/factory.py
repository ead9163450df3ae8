"""Payloads: everything a backend needs, made from overrides; ``params.cfg`` filled first."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ptycho.config import legacy
from ptycho.config.choices import DataSource, Task
from ptycho.config.config import (
    ConfigError,
    InferenceConfig,
    ModelConfig,
    PyTorchExecutionConfig,
    RunConfig,
    TrainingConfig,
    UserError,
)
from ptycho.config.patch_rules import object_faults
from ptycho.config.typed_rules import bundle_faults
from ptycho.config.validate import check, label_of, leaves, suggestion
from ptycho.data.arrangement import arrange
from ptycho.data.formats.registry import frame_shape
from ptycho.report.bundle import Bundle, load_bundle
from ptycho.workflows.preflight import missing_bundle, scan_faults
from ptycho.workflows.reading import reading_of

_FIRST_MEANT = ("data", "model", "trainer")  # solver and refine have batch_size and more, too


@dataclass(frozen=True)
class TrainingPayload:
    """What training needs."""

    run: RunConfig
    """All settings, validated."""
    training: TrainingConfig
    """The canonical configuration, as written to ``params.cfg``."""
    execution: PyTorchExecutionConfig
    """How the backend runs; not in ``params.cfg``."""
    overrides_applied: dict[str, tuple[Any, Any]]
    """Settings that differ from their default: name -> (default, value)."""


@dataclass(frozen=True)
class InferencePayload:
    """What reconstructing with a trained bundle needs."""

    run: RunConfig
    inference: InferenceConfig
    execution: PyTorchExecutionConfig
    bundle: Bundle
    """The trained network, as read."""
    overrides_applied: dict[str, tuple[Any, Any]]


Payload = TrainingPayload | InferencePayload


def create_training_payload(
    train_data_file: str | Path,
    output_dir: str | Path,
    overrides: dict[str, Any] | None = None,
    execution_config: PyTorchExecutionConfig | None = None,
) -> TrainingPayload:
    """Settings of a training, from a few overrides.

    Args:
        train_data_file: scan, in any format.
        output_dir: where the run writes.
        overrides: settings by full name (``trainer.nepochs``) or short (``nepochs``), where
            ``data``, ``model`` and ``trainer`` come before the other groups.
        execution_config: how to run; its fields win over the groups' defaults.

    Raises:
        FileNotFoundError: for a missing scan.
        ValueError: for an unknown override or an impossible value (``ConfigError``).
    """
    given = {"data.source": DataSource.file, "data.train_data_file": str(train_data_file)}
    return training_payload(_run_from(given, overrides, execution_config), output_dir)


def training_payload(run: RunConfig, output_dir: str | Path) -> TrainingPayload:
    """Validate, fill ``params.cfg``, and only then look at the scan for ``N``."""
    check(run)
    training = TrainingConfig(
        **_fields(run.data), **_fields(run.trainer, TrainingConfig), **_fields(run.instrument),
        model=run.model, output_dir=str(output_dir),
    )  # fmt: skip
    execution = execution_config(run)
    legacy.update_legacy_dict(legacy.cfg, training)
    if run.data.source == DataSource.file and run.data.train_data_file:
        _settle_size(run, Path(run.data.train_data_file))
    elif run.model.N is None:
        run.model.N = 64
    check(run)  # some limits depend on N
    legacy.update_legacy_dict(legacy.cfg, training)
    return TrainingPayload(run, training, execution, audit(run))


def create_inference_payload(
    model_path: str | Path,
    test_data_file: str | Path,
    output_dir: str | Path,
    overrides: dict[str, Any] | None = None,
    execution_config: PyTorchExecutionConfig | None = None,
) -> InferencePayload:
    """Settings of a reconstruction with a trained bundle; the model's come from the bundle.

    Raises:
        FileNotFoundError: for a missing bundle or scan.
        ValueError: for a bundle without weights, an unknown override, an impossible value.
    """
    given = {
        "task": Task.reconstruct,
        "bundle": str(model_path),
        "data.source": DataSource.file,
        "data.train_data_file": str(test_data_file),
    }
    known = [name for name, *_ in leaves(RunConfig())]
    run = _run_from(given, overrides, execution_config)
    asked = {_full_names(name, known)[0] for name in overrides or {}}
    return inference_payload(run, output_dir, frozenset(asked | _said_by(execution_config)))


def inference_payload(
    run: RunConfig, output_dir: str | Path, asked: frozenset[str] = frozenset()
) -> InferencePayload:
    """Validate, fill ``params.cfg``, and only then open bundle and scan.

    Args:
        run: settings.
        output_dir: where the run writes.
        asked: full names of settings that were typed: they hold, or are refused, also where
            they are what nobody has to type.
    """
    check(run)
    inference = InferenceConfig(
        model=run.model, model_path=run.bundle, test_data_file=run.data.train_data_file,
        values=run.data.values, n_images=run.data.n_images, output_dir=str(output_dir),
    )  # fmt: skip
    execution = execution_config(run)
    legacy.update_legacy_dict(legacy.cfg, inference)
    if missing := missing_bundle(str(run.bundle)):
        raise FileNotFoundError(*missing)
    bundle = load_bundle(Path(str(run.bundle)))
    trained = dict(bundle.config.get("model", {}))
    trained_size = trained.pop("N", None)  # the networks fit any pattern size
    _leave_stitching_to_the_user(run, trained, asked)
    _refuse_other_model(run, trained, asked)
    apply(run, "model", trained)
    if run.task == Task.adapt and run.model.architecture.predicts_patches:
        raise UserError(
            f"task=adapt moves networks on that correct an object, and {run.bundle} holds one that "
            f"predicts patches ({run.model.architecture}); use task=reconstruct."
        )
    if run.data.source == DataSource.file:
        _settle_size(run, Path(str(run.data.train_data_file)))
    elif run.model.N is None:
        run.model.N = trained_size
    check(run)  # some limits depend on N
    found = [*bundle_faults(asked, run)]
    if not run.model.architecture.predicts_patches:
        found += object_faults(run)
    if found:
        raise ConfigError(*found)
    legacy.set("intensity_scale", bundle.params["intensity_scale"])
    legacy.update_legacy_dict(legacy.cfg, inference)
    return InferencePayload(run, inference, execution, bundle, audit(run))


def run_from(settings: dict[str, Any]) -> RunConfig:
    """The settings of a run as its ``config.resolved.yaml`` holds them.

    Raises:
        ConfigError: for names that this version does not know, and impossible values.
    """
    run = RunConfig()
    unknown = [*_fill(run, settings, "")]
    if unknown:
        known = [name for name, *_ in leaves(run)]
        raise ConfigError(
            *(f"there is no setting {name}.{suggestion(name, known)}" for name in unknown)
        )
    return check(run)


def _fill(config: Any, values: dict[str, Any], prefix: str) -> Iterator[str]:
    """Set fields from nested dictionaries; yields the names that there are not."""
    for name, value in values.items():
        here = getattr(config, name, None)
        if name not in {item.name for item in fields(config)}:
            yield f"{prefix}{name}"
        elif is_dataclass(here) and isinstance(value, dict):
            yield from _fill(here, value, f"{prefix}{name}.")
        else:
            setattr(config, name, value)


def execution_config(run: RunConfig) -> PyTorchExecutionConfig:
    """``trainer``, ``execution`` and ``logger`` as the backend's one execution config."""
    return PyTorchExecutionConfig(
        **_fields(run.trainer, PyTorchExecutionConfig),
        **_fields(run.execution),
        logger_backend=run.logger.backend,
    )


def audit(run: RunConfig) -> dict[str, tuple[Any, Any]]:
    """What differs from the defaults: name -> (default, value)."""
    defaults = {name: value for name, value, *_ in leaves(RunConfig())}
    return {
        name: (defaults[name], value) for name, value, *_ in leaves(run) if value != defaults[name]
    }


def apply(run: RunConfig, group: str, values: dict[str, Any]) -> None:
    """Set fields of one group from plain values; names the group lacks are ignored."""
    target = getattr(run, group)
    for name, value in values.items():
        if hasattr(target, name):
            setattr(target, name, value)
    check(run)


def _settle_size(run: RunConfig, path: Path) -> None:
    if missing := scan_faults("data.train_data_file", path):
        raise FileNotFoundError(*missing)
    data = run.data
    shape = frame_shape(path, data.format.value, reading_of(str(data.train_data_file), data))
    found = arrange(path, shape, data.preprocess).size
    prepared = " as prepared" if (found, found) != shape else ""
    if not 16 <= found <= 2048:
        raise UserError(
            f"{path}: patterns must be 16 x 16 to 2048 x 2048 pixels, got {found} x {found}"
            f"{prepared}; change data.preprocess.crop, bin, pad or resample."
        )
    if run.model.N not in (None, found):
        raise UserError(
            f"model.N={run.model.N} does not fit {path}, whose patterns are {found} x {found}"
            f"{prepared}; leave model.N out and it is taken from the file, or make patterns of "
            f"{run.model.N}: {_ways(found, int(run.model.N or 0))}."
        )
    run.model.N = found


def _ways(found: int, wanted: int) -> str:
    """What makes patterns of another side."""
    ways = [f"data.preprocess.resample={wanted} (the same angles)"]
    if wanted < found:
        ways.insert(0, f"data.preprocess.crop={wanted} (its middle)")
        if found % wanted == 0:
            ways.insert(1, f"data.preprocess.bin={found // wanted} (sums of pixels)")
    return " or ".join(ways)


def _leave_stitching_to_the_user(
    run: RunConfig, trained: dict[str, Any], asked: frozenset[str]
) -> None:
    """How patches are put together may be asked for anew; the network is the same."""
    for name in ("patch_weighting", "synchronise_phases"):
        usual = getattr(ModelConfig(), name)
        if f"model.{name}" in asked or getattr(run.model, name) != usual:
            trained.pop(name, None)


def _refuse_other_model(run: RunConfig, trained: dict[str, Any], asked: frozenset[str]) -> None:
    """A typed model setting that the trained network does not have would be without effect."""
    usual = _fields(ModelConfig())
    faults = [
        f"model.{name}={value} was asked for, but {run.bundle} was trained with {trained[name]}; "
        "leave it out."
        for name, value in _fields(run.model).items()
        if name in trained
        and value != trained[name]
        and (f"model.{name}" in asked or value != usual[name])
    ]
    if faults:
        raise UserError(*faults)


def _run_from(
    given: dict[str, Any],
    overrides: dict[str, Any] | None,
    execution: PyTorchExecutionConfig | None,
) -> RunConfig:
    run = RunConfig()
    if execution is not None:
        for group in (run.trainer, run.execution):
            for name in _fields(group):
                if hasattr(execution, name):
                    setattr(group, name, getattr(execution, name))
        run.logger.backend = execution.logger_backend
    known = [name for name, *_ in leaves(run)]
    named = {name: _full_names(name, known) for name in overrides or {}}
    faults = [fault for name, full in named.items() if (fault := _name_fault(name, full, given))]
    if faults:
        raise UserError(*faults)
    typed = {named[name][0]: value for name, value in (overrides or {}).items()}
    label = {"data.label": label_of(given["data.train_data_file"])}  # as data=file does
    for full, value in (label | given | typed).items():
        _set(run, full, value)
    return run


def _said_by(execution: PyTorchExecutionConfig | None) -> set[str]:
    """Settings in which an execution config differs from the usual one, by their full names."""
    if execution is None:
        return set()
    usual = PyTorchExecutionConfig()
    return {
        name
        for name, *_ in leaves(RunConfig())
        if name.split(".")[0] in ("trainer", "execution")
        and hasattr(usual, last := name.rpartition(".")[2])
        and getattr(execution, last) != getattr(usual, last)
    }


def _full_names(name: str, known: list[str]) -> list[str]:
    """What a name can mean."""
    if name in known:
        return [name]
    same = [one for one in known if one.rpartition(".")[2] == name]
    return [one for one in same if one.split(".")[0] in _FIRST_MEANT] or same


def _name_fault(name: str, full: list[str], given: dict[str, Any]) -> str | None:
    if not full:
        known = [one for one, *_ in leaves(RunConfig())]
        return f"there is no setting {name}.{suggestion(name, known)}"
    if len(full) > 1:
        return f"{name} can mean {' or '.join(full)}; write the full name."
    if full[0] in given:
        return f"{full[0]} is {given[full[0]]} here, from the arguments; leave it out."
    return None


def _set(run: RunConfig, full: str, value: Any) -> None:
    node: Any = run
    *groups, name = full.split(".")
    for group in groups:
        node = getattr(node, group)
    setattr(node, name, str(value) if isinstance(value, Path) else value)


def _fields(config: Any, target: type | None = None) -> dict[str, Any]:
    """Fields of a config by name, those only that ``target`` has too."""
    wanted = {item.name for item in fields(target)} if is_dataclass(target) else None
    return {
        item.name: getattr(config, item.name)
        for item in fields(config)
        if wanted is None or item.name in wanted
    }
