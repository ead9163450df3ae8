"""The old parameter dictionary: written one way, emptied between runs, never read by the core."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import ptycho
import ptycho.params
from ptycho.config import legacy
from ptycho.config.choices import LossMode, Values
from ptycho.config.config import (
    DataConfig,
    ExecutionConfig,
    HardwareConfig,
    InferenceConfig,
    ModelConfig,
    PyTorchExecutionConfig,
    RunConfig,
    TrainingConfig,
)
from ptycho.config.legacy import KEY_MAPPINGS, legacy_params, update_legacy_dict
from ptycho.workflows import launch as launch_module

PACKAGE = Path(ptycho.__file__).parent


@pytest.fixture(autouse=True)
def _clean():
    with legacy_params():
        yield


def test_the_old_names_are_those_the_clients_know():
    assert KEY_MAPPINGS == {
        "object_big": "object.big",
        "probe_big": "probe.big",
        "probe_mask": "probe.mask",
        "probe_trainable": "probe.trainable",
        "intensity_scale_trainable": "intensity_scale.trainable",
        "positions_provided": "positions.provided",
        "output_dir": "output_prefix",
        "train_data_file": "train_data_file_path",
        "test_data_file": "test_data_file_path",
    }


def test_fields_go_in_under_their_old_names_as_plain_values():
    config = TrainingConfig(
        train_data_file=Path("/a/b.npz"),  # type: ignore[arg-type]  # as a client might
        output_dir="out",
        nepochs=7,
        torch_loss_mode=LossMode.amplitude,
        values=Values.counts,
    )
    target: dict[str, object] = {}
    update_legacy_dict(target, config)
    assert target["train_data_file_path"] == "/a/b.npz"
    assert target["output_prefix"] == "out"
    assert target["nepochs"] == 7
    assert type(target["torch_loss_mode"]) is str
    assert target["torch_loss_mode"] == "amplitude"
    assert type(target["values"]) is str
    assert not set(KEY_MAPPINGS) & set(target)


def test_the_model_goes_in_flat():
    target: dict[str, object] = {}
    update_legacy_dict(target, InferenceConfig(model=ModelConfig(N=128, gridsize=1)))
    assert target["N"] == 128
    assert target["gridsize"] == 1
    assert target["architecture"] == "object_pinn"
    assert "model" not in target


def test_nothing_is_skipped_and_what_else_is_there_stays():
    target: dict[str, object] = {"N": 64, "theirs": 1, "test_data_file_path": "kept"}
    update_legacy_dict(target, TrainingConfig())
    assert target["N"] == 64
    assert target["theirs"] == 1
    assert target["test_data_file_path"] == "kept"
    assert None not in target.values()


def test_how_the_backend_runs_never_goes_in():
    target: dict[str, object] = {}
    update_legacy_dict(target, TrainingConfig(model=ModelConfig(N=64), output_dir="o"))
    update_legacy_dict(target, InferenceConfig(model=ModelConfig(N=64), output_dir="o"))
    execution = {item.name for item in fields(PyTorchExecutionConfig)}
    assert {"accelerator", "num_workers", "learning_rate", "logger_backend"} <= execution
    assert not execution & set(target)


def test_canonical_and_execution_settings_do_not_overlap():
    canonical = {item.name for kind in (DataConfig, ModelConfig) for item in fields(kind)}
    backend = {item.name for kind in (ExecutionConfig, HardwareConfig) for item in fields(kind)}
    assert not canonical & backend


def test_the_front_door_shows_the_same_dictionary():
    assert ptycho.params.cfg is legacy.cfg
    ptycho.params.set("N", 32)
    assert legacy.cfg["N"] == 32
    assert ptycho.params.get("N") == 32


def test_what_was_never_set_is_a_key_error():
    with pytest.raises(KeyError, match="nonsense"):
        ptycho.params.get("nonsense")


def test_a_run_starts_empty_and_leaves_things_as_they_were():
    legacy.set("theirs", 1)
    with legacy_params() as inside:
        assert inside is legacy.cfg
        assert inside == {}
        legacy.set("theirs", 2)
        legacy.set("ours", 3)
    assert legacy.cfg == {"theirs": 1}


def test_a_failed_run_leaves_things_as_they_were():
    legacy.set("theirs", 1)

    def fail() -> None:
        with legacy_params():
            legacy.set("ours", 3)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert legacy.cfg == {"theirs": 1}


def test_two_launches_do_not_see_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    seen = []

    def stop(*_: object) -> None:
        seen.append(dict(legacy.cfg))
        raise InterruptedError

    monkeypatch.setattr(launch_module, "open_session", stop)
    first = RunConfig(data=DataConfig(nphotons=1e5, n_images=20))
    second = RunConfig(data=DataConfig(nphotons=2e5))
    for run in (first, second):
        with pytest.raises(InterruptedError):
            launch_module.launch(run, tmp_path, [])
    assert seen[0]["n_images"] == 20
    assert seen[1]["nphotons"] == 2e5
    assert "n_images" not in seen[1]
    assert legacy.cfg == {}


def uses_of_legacy(path: Path) -> set[str]:
    """Names of ``ptycho.config.legacy`` or ``ptycho.params`` that a module uses."""
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in (
            "ptycho.config.legacy",
            "ptycho.params",
        ):
            used |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module in ("ptycho", "ptycho.config"):
            used |= {a.name for a in node.names if a.name in ("legacy", "params")}
        if isinstance(node, ast.Import):
            used |= {a.name for a in node.names if a.name.endswith((".legacy", ".params"))}
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "legacy"
        ):
            used.add(node.attr)
    return used


def test_only_the_doors_touch_the_old_dictionary():
    found = {
        str(path.relative_to(PACKAGE)): used
        for path in sorted(PACKAGE.rglob("*.py"))
        if (used := uses_of_legacy(path))
    }
    core = {name: used for name, used in found.items() if not name.startswith("compat/")}
    assert core == {
        "inference.py": {"legacy_params"},
        "train.py": {"legacy_params"},
        "params.py": {"cfg", "get", "set"},
        "workflows/factory.py": {"legacy", "cfg", "set", "update_legacy_dict"},
        "workflows/launch.py": {"legacy_params"},
        "workflows/train.py": {"legacy", "cfg", "set"},
    }


def lookups(path: Path) -> list[str]:
    """Where a module takes one value out of the old dictionary."""
    taken = ("legacy.cfg", "cfg", "params.cfg")
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            found += [ast.unparse(node)] if ast.unparse(node.value) in taken else []
        if isinstance(node, ast.Attribute) and node.attr == "get":
            names = (*taken, "legacy", "params")
            found += [ast.unparse(node)] if ast.unparse(node.value) in names else []
    return found


def test_no_workflow_looks_a_setting_up_in_the_old_dictionary():
    found = {path.name: lookups(path) for path in (PACKAGE / "workflows").glob("*.py")}
    assert {name: where for name, where in found.items() if where} == {}
    assert lookups(PACKAGE / "config" / "legacy.py") == ["cfg[key]"]  # it can find one
