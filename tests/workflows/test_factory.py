"""Payloads: what overrides become, what is refused, and what happens before any file is opened."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ptycho.config import legacy
from ptycho.config.choices import Accelerator, Architecture, Task
from ptycho.config.config import (
    DataConfig,
    ModelConfig,
    PyTorchExecutionConfig,
    RunConfig,
    TrainingConfig,
    UserError,
)
from ptycho.config.legacy import legacy_params
from ptycho.data.formats.npz import write_npz
from ptycho.report.bundle import NETWORK, Bundle, BundleError, load_bundle, save_bundle
from ptycho.report.files import plain_config
from ptycho.workflows import factory
from ptycho.workflows.factory import (
    InferencePayload,
    TrainingPayload,
    create_inference_payload,
    create_training_payload,
    inference_payload,
    training_payload,
)
from tests.runs import tiny_scan


@pytest.fixture(autouse=True)
def _own_params() -> Iterator[None]:
    with legacy_params():
        yield


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of 32 x 32 patterns."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    write_npz(path, tiny_scan())
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a wider network that was trained on 64 x 64 patterns."""
    path = tmp_path_factory.mktemp("bundle") / "wts.h5.zip"
    run = RunConfig(model=ModelConfig(N=64, n_filters_scale=3, lift_iterations=5))
    content = Bundle(
        weights={"w": torch.zeros(1)},
        physics={"probe": torch.zeros(1, 4, 4, dtype=torch.complex64)},
        config=plain_config(run),
        params={"intensity_scale": 2.5, "tile": [16, 16]},
    )
    save_bundle(path, content)
    return path


def training(scan: Path, overrides: dict[str, Any] | None = None, **more: Any) -> TrainingPayload:
    return create_training_payload(scan, "out", overrides, **more)


def inference(
    bundle: Path, scan: Path, overrides: dict[str, Any] | None = None, **more: Any
) -> InferencePayload:
    return create_inference_payload(bundle, scan, "out", overrides, **more)


def no_opening(*_: Any, **__: Any) -> Any:
    raise InterruptedError("a file was opened")


class TestTraining:
    def test_the_pattern_size_comes_from_the_scan(self, scan: Path):
        payload = training(scan)
        assert payload.training.model.N == 32
        assert payload.run.model.N == 32
        assert legacy.get("N") == 32

    def test_a_right_pattern_size_may_be_said(self, scan: Path):
        assert training(scan, {"N": 32}).training.model.N == 32

    def test_a_wrong_pattern_size_is_refused(self, scan: Path):
        with pytest.raises(UserError, match=r"model\.N=64 does not fit .*scan\.npz.* 32 x 32"):
            training(scan, {"N": 64})

    def test_other_sizes_have_their_ways(self, scan: Path):
        words = r"make patterns of 16: data\.preprocess\.crop=16 .* or .*bin=2 .* or .*resample=16"
        with pytest.raises(UserError, match=words):
            training(scan, {"N": 16})

    def test_the_pattern_size_is_that_of_prepared_patterns(self, scan: Path):
        for how, size in (({"crop": 24}, 24), ({"bin": 2}, 16), ({"pad": 40}, 40)):
            typed = {f"data.preprocess.{name}": value for name, value in how.items()}
            assert size == training(scan, typed).training.model.N
        with pytest.raises(UserError, match=r"model\.N=32 does not fit .* are 24 x 24 as prepared"):
            training(scan, {"data.preprocess.crop": 24, "N": 32})
        with pytest.raises(UserError, match=r"must be 16 x 16 to 2048 x 2048 pixels, got 8 x 8"):
            training(scan, {"data.preprocess.bin": 4})
        with pytest.raises(UserError, match=r"crop=40 is more than the 32 x 32 pixels"):
            training(scan, {"data.preprocess.crop": 40})

    def test_a_missing_scan_is_a_missing_file(self, tmp_path: Path):
        with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.npz"):
            training(tmp_path / "none.npz")

    def test_the_canonical_config_says_what_is_trained_on_what(self, scan: Path):
        made = training(scan, {"nepochs": 3, "n_images": 20, "n_filters_scale": 2}).training
        assert isinstance(made, TrainingConfig)
        assert (made.nepochs, made.n_images, made.model.n_filters_scale) == (3, 20, 2)
        assert made.train_data_file == str(scan)
        assert made.output_dir == "out"

    def test_params_hold_the_settings_under_their_old_names(self, scan: Path):
        training(scan, {"nepochs": 3})
        assert legacy.get("nepochs") == 3
        assert legacy.get("train_data_file_path") == str(scan)
        assert legacy.get("output_prefix") == "out"
        assert "learning_rate" not in legacy.cfg
        assert "accelerator" not in legacy.cfg

    @pytest.mark.parametrize("door", ["frame_shape", "ZipFile"])
    def test_params_are_filled_before_the_scan_is_opened(
        self, scan: Path, monkeypatch: pytest.MonkeyPatch, door: str
    ):
        target: Any = factory if door == "frame_shape" else zipfile
        monkeypatch.setattr(target, door, no_opening)
        with pytest.raises(Exception, match="a file was opened"):
            training(scan, {"nepochs": 3, "n_filters_scale": 2})
        assert legacy.get("nepochs") == 3
        assert legacy.get("n_filters_scale") == 2
        assert legacy.get("train_data_file_path") == str(scan)
        assert "N" not in legacy.cfg  # that is what the file would have said

    def test_impossible_settings_leave_params_alone(self, scan: Path):
        with pytest.raises(UserError, match=r"trainer\.nepochs must be at least 1, got 0"):
            training(scan, {"nepochs": 0})
        assert legacy.cfg == {}

    def test_a_simulated_scan_has_patterns_of_64(self):
        run = RunConfig(data=DataConfig(nphotons=1e5))
        assert training_payload(run, "out").training.model.N == 64


class TestOverrides:
    @pytest.mark.parametrize("name", ["trainer.nepochs", "nepochs"])
    def test_full_and_short_names(self, scan: Path, name: str):
        assert training(scan, {name: 3}).run.trainer.nepochs == 3

    @pytest.mark.parametrize(
        ("short", "full"),
        [
            ("batch_size", "trainer.batch_size"),  # not the solver's
            ("seed", "seed"),  # not the simulated scan's
            ("n_images", "data.n_images"),
            ("learning_rate", "trainer.learning_rate"),
        ],
    )
    def test_a_short_name_means_what_a_client_means(self, scan: Path, short: str, full: str):
        applied = training(scan, {short: 17 if short != "learning_rate" else 0.5})
        assert full in applied.overrides_applied
        others = set(applied.overrides_applied) - {full}
        assert others == {"data.source", "data.train_data_file", "model.N"}

    def test_an_ambiguous_short_name_is_refused(self, scan: Path):
        with pytest.raises(
            ValueError, match=r"^iterations can mean solver\.iterations or refine\.iterations; "
        ):
            training(scan, {"iterations": 3})

    def test_unknown_names_are_refused_all_at_once(self, scan: Path):
        with pytest.raises(
            ValueError,
            match=r"no setting nepoch\. Did you mean trainer\.nepochs\?\n"
            r".*no setting model\.lr\. Did you mean trainer\.learning_rate\?$",
        ):
            training(scan, {"nepoch": 3, "model.lr": 0.1})

    def test_a_wrong_type_is_refused(self, scan: Path):
        with pytest.raises(ValueError, match=r"^trainer\.nepochs must be a whole number, got 3\.5"):
            training(scan, {"nepochs": 3.5})

    def test_strings_become_choices_and_paths_strings(self, scan: Path):
        run = training(scan, {"accelerator": "cpu", "paths.outputs": Path("/o")}).run
        assert run.trainer.accelerator is Accelerator.cpu
        assert run.paths.outputs == "/o"

    def test_what_the_arguments_say_cannot_be_said_again(self, scan: Path):
        with pytest.raises(ValueError, match=r"data\.train_data_file is .*scan\.npz here, from"):
            training(scan, {"train_data_file": "other.npz"})
        with pytest.raises(ValueError, match=r"data\.source is file here"):
            training(scan, {"source": "synthetic"})

    def test_the_audit_lists_default_and_value(self, scan: Path):
        applied = training(scan, {"nepochs": 3, "learning_rate": 2e-3}).overrides_applied
        assert applied["trainer.nepochs"] == (50, 3)
        assert applied["model.N"] == (None, 32)
        assert "trainer.learning_rate" not in applied  # it is the default

    def test_an_execution_config_wins_over_defaults(self, scan: Path):
        how = PyTorchExecutionConfig(
            accelerator="cpu", learning_rate=0.5, num_workers=1, logger_backend="csv"
        )
        payload = training(scan, execution_config=how)
        assert payload.execution == how
        assert payload.run.trainer.learning_rate == 0.5
        assert payload.run.execution.num_workers == 1
        assert payload.run.logger.backend == "csv"
        assert payload.overrides_applied["execution.num_workers"] == (0, 1)

    def test_an_override_wins_over_an_execution_config(self, scan: Path):
        how = PyTorchExecutionConfig(learning_rate=0.5)
        payload = training(scan, {"learning_rate": 0.25}, execution_config=how)
        assert payload.execution.learning_rate == 0.25
        assert how.learning_rate == 0.5

    def test_an_execution_config_that_was_spoilt_later_is_refused(self, scan: Path):
        how = PyTorchExecutionConfig()
        how.accum_steps = 0
        with pytest.raises(UserError, match=r"trainer\.accum_steps must be at least 1, got 0"):
            training(scan, execution_config=how)


class TestInference:
    def test_the_model_is_the_trained_one(self, bundle: Path, scan: Path):
        payload = inference(bundle, scan)
        assert payload.run.task is Task.reconstruct
        assert payload.inference.model.n_filters_scale == 3
        assert payload.inference.model.lift_iterations == 5
        assert payload.inference.model.architecture is Architecture.object_pinn
        assert legacy.get("n_filters_scale") == 3
        assert legacy.get("intensity_scale") == 2.5

    def test_the_pattern_size_is_the_scans(self, bundle: Path, scan: Path):
        assert inference(bundle, scan).inference.model.N == 32
        with pytest.raises(UserError, match=r"model\.N=64 does not fit"):
            inference(bundle, scan, {"N": 64})

    def test_a_simulated_scan_has_the_bundles_pattern_size(self, bundle: Path):
        run = RunConfig(task=Task.reconstruct, bundle=str(bundle), data=DataConfig(nphotons=1e5))
        assert inference_payload(run, "out").run.model.N == 64
        run.model.N = 32
        assert inference_payload(run, "out").run.model.N == 32

    def test_a_model_setting_without_effect_is_refused(self, bundle: Path, scan: Path):
        with pytest.raises(
            UserError, match=r"^model\.n_filters_scale=2 was asked for, but .* trained with 3; leav"
        ):
            inference(bundle, scan, {"n_filters_scale": 2})
        assert inference(bundle, scan, {"n_filters_scale": 3}).run.model.n_filters_scale == 3

    def test_it_is_refused_also_where_it_is_the_default(self, bundle: Path, scan: Path):
        with pytest.raises(
            UserError, match=r"^model\.n_filters_scale=1 was asked for, but .* trained with 3; leav"
        ):
            inference(bundle, scan, {"n_filters_scale": 1})

    @pytest.mark.parametrize("typed", ["patch_weighting", "model.patch_weighting"])
    def test_stitching_that_was_typed_wins_over_the_bundle(
        self, bundle: Path, scan: Path, tmp_path: Path, typed: str
    ):
        content = load_bundle(bundle)
        trained = {
            "architecture": "pinn", "patch_weighting": "uniform", "synchronise_phases": False,
        }  # fmt: skip
        content.config["model"] |= trained
        path = tmp_path / "wts.h5.zip"
        save_bundle(path, content)
        plain = inference(path, scan).run.model
        assert (plain.patch_weighting, plain.synchronise_phases) == ("uniform", False)
        found = inference(path, scan, {typed: "probe"}).run.model
        assert (found.patch_weighting, found.synchronise_phases) == ("probe", False)
        found = inference(path, scan, {"synchronise_phases": True}).run.model
        assert (found.patch_weighting, found.synchronise_phases) == ("uniform", True)

    def test_missing_paths_are_missing_files(self, bundle: Path, scan: Path, tmp_path: Path):
        with pytest.raises(FileNotFoundError, match=r"none\.zip"):
            inference(tmp_path / "none.zip", scan)
        with pytest.raises(FileNotFoundError, match=r"none\.npz"):
            inference(bundle, tmp_path / "none.npz")

    def test_a_bundle_without_weights_is_refused(self, bundle: Path, scan: Path, tmp_path: Path):
        poor = tmp_path / "poor.zip"
        with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(poor, "w") as target:
            for name in source.namelist():
                if name != NETWORK:
                    target.writestr(name, source.read(name))
        with pytest.raises(ValueError, match=rf"poor\.zip: the bundle has no {NETWORK}"):
            inference(poor, scan)

    def test_a_folder_without_weights_is_refused(self, scan: Path, tmp_path: Path):
        with pytest.raises(BundleError, match=r"has no manifest\.json"):
            inference(tmp_path, scan)

    def test_an_unpacked_bundle_is_as_good(self, bundle: Path, scan: Path, tmp_path: Path):
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(tmp_path)
        assert inference(tmp_path, scan).inference.model.n_filters_scale == 3

    def test_unknown_overrides_are_refused(self, bundle: Path, scan: Path):
        with pytest.raises(ValueError, match=r"Did you mean execution\.inference_batch_size\?"):
            inference(bundle, scan, {"inference_batchsize": 3})

    @pytest.mark.parametrize("door", ["load_bundle", "ZipFile"])
    def test_params_are_filled_before_anything_is_opened(
        self, bundle: Path, scan: Path, monkeypatch: pytest.MonkeyPatch, door: str
    ):
        target: Any = factory if door == "load_bundle" else zipfile
        monkeypatch.setattr(target, door, no_opening)
        with pytest.raises(Exception, match="a file was opened"):
            inference(bundle, scan, {"n_images": 20})
        assert legacy.get("n_images") == 20
        assert legacy.get("model_path") == str(bundle)
        assert legacy.get("test_data_file_path") == str(scan)
        assert "intensity_scale" not in legacy.cfg  # the bundle's

    def test_how_to_run_is_the_callers(self, bundle: Path, scan: Path):
        how = PyTorchExecutionConfig(inference_batch_size=2)
        payload = inference(bundle, scan, execution_config=how)
        assert payload.execution.inference_batch_size == 2
        assert payload.overrides_applied["execution.inference_batch_size"] == (4, 2)
