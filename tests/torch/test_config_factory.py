"""``PyTorchExecutionConfig``: how the backend runs, checked where it is made."""

import dataclasses
import pickle
import re
from typing import Any

import pytest

from ptycho.config.choices import Accelerator, ClipAlgorithm, Direction, LoggerBackend, Scheduler
from ptycho.config.config import (
    ConfigError,
    ExecutionConfig,
    HardwareConfig,
    OptimiserConfig,
    PyTorchExecutionConfig,
    RunConfig,
)
from ptycho.workflows.factory import execution_config

DEFAULTS = {
    "accelerator": "auto",
    "strategy": "auto",
    "devices": "auto",
    "deterministic": True,
    "precision": "32-true",
    "gradient_clip_val": 3e-3,
    "gradient_clip_algorithm": "norm",
    "accum_steps": 1,
    "num_workers": 0,
    "pin_memory": False,
    "persistent_workers": False,
    "prefetch_factor": None,
    "learning_rate": 2e-3,
    "scheduler": "WarmupCosine",
    "enable_progress_bar": True,
    "enable_checkpointing": True,
    "checkpoint_save_top_k": 1,
    "checkpoint_monitor_metric": "train/loss",
    "checkpoint_mode": "min",
    "early_stop_patience": None,
    "logger_backend": "mlflow",
    "recon_log_every_n_epochs": None,
    "inference_batch_size": 4,
    "middle_trim": None,
    "pad_eval": None,
}

CHOICES: list[tuple[str, str, Any]] = [
    *(("accelerator", one, Accelerator(one)) for one in ("auto", "cpu", "gpu", "cuda", "mps")),
    *(
        ("scheduler", one, Scheduler(one))
        for one in (
            "Default",
            "Exponential",
            "MultiStage",
            "Adaptive",
            "WarmupCosine",
            "ReduceLROnPlateau",
        )
    ),
    *(("logger_backend", one, LoggerBackend(one)) for one in ("csv", "tensorboard", "mlflow")),
    ("logger_backend", "none", LoggerBackend.none),
    ("gradient_clip_algorithm", "norm", ClipAlgorithm.norm),
    ("gradient_clip_algorithm", "value", ClipAlgorithm.value),
    ("checkpoint_mode", "max", Direction.max),
    *(("precision", one, one) for one in ("32-true", "bf16-mixed", "16-mixed")),
    *(("checkpoint_save_top_k", one, one) for one in (-1, 0, 3)),
    *(("checkpoint_monitor_metric", one, one) for one in ("train_loss", "val_loss")),
    ("strategy", "ddp", "ddp"),
    ("devices", 1, 1),
    ("early_stop_patience", None, None),
    ("middle_trim", 32, 32),
    ("pad_eval", True, True),
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"accelerator": "tpu"}, r"^accelerator=tpu is not supported.*Use gpu, mps, cpu or auto\.$"),
    ({"accelerator": "xpu"}, r"^accelerator must be one of auto, cpu, .*, tpu, got xpu\.$"),
    ({"strategy": "fsdp"}, r"^strategy must be one of auto, ddp, got fsdp\.$"),
    ({"devices": 0}, r"^devices must be at least 1, got 0\.$"),
    ({"devices": "all"}, r"^devices must be a number of devices or auto, got all\.$"),
    ({"devices": 2}, r"^devices=2 needs strategy=ddp"),
    ({"precision": "64-true"}, r"^precision must be one of 32-true.*got 64-true\.$"),
    ({"precision": "16-mixed", "accelerator": "cpu"}, r"^precision=16-mixed needs a CUDA device"),
    ({"deterministic": "yes"}, r"^deterministic must be true or false, got yes\.$"),
    ({"gradient_clip_val": -1.0}, r"^gradient_clip_val must be greater than 0, got -1\.0\.$"),
    ({"accum_steps": 0}, r"^accum_steps must be at least 1, got 0\.$"),
    ({"num_workers": -1}, r"^num_workers must be at least 0, got -1\.$"),
    ({"persistent_workers": True}, r"^persistent_workers=true needs num_workers of at least 1"),
    ({"prefetch_factor": 2}, r"^prefetch_factor=2 needs num_workers of at least 1, got 0\.$"),
    ({"learning_rate": 0.0}, r"^learning_rate must be greater than 0, got 0\.0\.$"),
    ({"scheduler": "Cosine"}, r"^scheduler must be one of Default, .*, got Cosine\.$"),
    ({"checkpoint_save_top_k": -2}, r"^checkpoint_save_top_k must be at least -1, got -2\.$"),
    ({"checkpoint_monitor_metric": "acc"}, r"^checkpoint_monitor_metric must be one of .*acc\.$"),
    ({"checkpoint_mode": "best"}, r"^checkpoint_mode must be one of min, max, got best\.$"),
    ({"early_stop_patience": 0}, r"^early_stop_patience must be at least 1, got 0\.$"),
    ({"logger_backend": "wandb"}, r"^logger_backend must be one of none, .*, got wandb\.$"),
    ({"inference_batch_size": 0}, r"^inference_batch_size must be at least 1, got 0\.$"),
    ({"middle_trim": 0}, r"^middle_trim must be at least 1, got 0\.$"),
]


class TestExecutionConfigDefaults:
    def test_defaults_are_those_that_are_documented(self):
        made = PyTorchExecutionConfig()
        assert {name: getattr(made, name) for name in DEFAULTS} == DEFAULTS

    def test_defaults_are_those_of_a_run(self):
        assert execution_config(RunConfig()) == PyTorchExecutionConfig()

    def test_fields_are_those_of_the_groups(self):
        groups = (HardwareConfig, OptimiserConfig, ExecutionConfig)
        names = {item.name for group in groups for item in dataclasses.fields(group)}
        fields = {item.name for item in dataclasses.fields(PyTorchExecutionConfig)}
        assert fields == names | {"logger_backend"}

    def test_it_travels_to_other_processes(self):
        made = PyTorchExecutionConfig(learning_rate=0.5)
        assert pickle.loads(pickle.dumps(made)) == made


class TestExecutionConfigChoices:
    @pytest.mark.parametrize(("name", "value", "expected"), CHOICES)
    def test_every_choice_is_taken_and_typed(self, name: str, value: Any, expected: Any):
        got = getattr(PyTorchExecutionConfig(**{name: value}), name)
        assert got == expected
        assert type(got) is type(expected)

    def test_workers_with_their_companions(self):
        made = PyTorchExecutionConfig(num_workers=2, persistent_workers=True, prefetch_factor=3)
        assert made.prefetch_factor == 3

    def test_several_devices_with_ddp(self):
        assert PyTorchExecutionConfig(devices=2, strategy="ddp").devices == 2


class TestExecutionConfigRefusals:
    @pytest.mark.parametrize(("changes", "words"), REFUSED)
    def test_the_impossible_is_refused_by_name(self, changes: dict[str, Any], words: str):
        with pytest.raises(ConfigError, match=words):
            PyTorchExecutionConfig(**changes)

    def test_all_refusals_come_at_once(self):
        with pytest.raises(ConfigError) as caught:
            PyTorchExecutionConfig(accelerator="tpu", accum_steps=0, prefetch_factor=2)
        names = [re.split("[ =]", one)[0] for one in caught.value.faults]
        assert names == ["accum_steps", "accelerator", "prefetch_factor"]

    def test_unknown_names_are_refused(self):
        with pytest.raises(TypeError, match="acceleratr"):
            PyTorchExecutionConfig(acceleratr="cpu")  # type: ignore[call-arg]
