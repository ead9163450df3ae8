"""``ptycho.inference``: what its flags hand to the factory."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ptycho import inference
from ptycho.config.choices import Accelerator, LoggerBackend
from ptycho.config.config import PyTorchExecutionConfig
from ptycho.workflows import factory

NEEDED = ("--model_path", "trained", "--test_data", "scan.npz", "--output_dir", "out")


class Handed(NamedTuple):
    """Arguments of ``create_inference_payload``."""

    model_path: Any
    test_data_file: Any
    output_dir: Any
    overrides: dict[str, Any]
    execution: PyTorchExecutionConfig


class _EnoughError(Exception):
    """Ends a command when the factory was called."""


class TestInferenceCLI:
    @pytest.fixture
    def handed(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Gives the command flags; returns what reaches the factory."""

        def give(*words: str) -> Handed:
            seen: list[Handed] = []

            def spy(*arguments: Any) -> Any:
                seen.append(Handed(*arguments))
                raise _EnoughError

            monkeypatch.setattr(factory, "create_inference_payload", spy)
            with pytest.raises(_EnoughError):
                inference.main([*NEEDED, *words])
            return seen[0]

        return give

    def test_all_frames_are_used_and_the_bundle_says_the_rest(self, handed: Any) -> None:
        assert handed() == Handed(
            "trained", "scan.npz", Path("out"), {"data.holdout_fraction": 0.0},
            PyTorchExecutionConfig(),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("words", "name", "value"),
        [
            ("--accelerator cpu", "accelerator", Accelerator.cpu),
            ("--device cuda", "accelerator", Accelerator.cuda),
            ("--num-workers 2", "num_workers", 2),
            ("--inference-batch-size 8", "inference_batch_size", 8),
            ("--no-deterministic", "deterministic", False),
            ("--middle-trim 32", "middle_trim", 32),
            ("--quiet", "quiet", True),
            ("--logger csv", "logger_backend", LoggerBackend.csv),
            ("--disable_mlflow", "logger_backend", LoggerBackend.none),
            ("--resume", "resume", "auto"),
        ],
    )
    def test_a_flag_reaches_the_execution_config(
        self, handed: Any, words: str, name: str, value: Any
    ) -> None:
        got = handed(*words.split())
        assert getattr(got.execution, name) == value
        assert got.overrides == {"data.holdout_fraction": 0.0}

    @pytest.mark.parametrize(
        ("words", "name", "value"),
        [
            ("--n_images 32", "data.n_images", 32),
            ("--patch-weighting uniform", "model.patch_weighting", "uniform"),
            ("--patch-weighting probe", "model.patch_weighting", "probe"),
        ],
    )
    def test_a_flag_reaches_the_overrides(
        self, handed: Any, words: str, name: str, value: Any
    ) -> None:
        got = handed(*words.split())
        assert got.overrides == {"data.holdout_fraction": 0.0, name: value}
        assert got.execution == PyTorchExecutionConfig()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((), "python -m ptycho.inference needs --model_path FOLDER and --test_data FILE.npz"),
            ((*NEEDED, "--accelerator", "tpu"), "--accelerator tpu is not supported"),
            ((*NEEDED, "--device", "cpu", "--accelerator", "cpu"), "--device is the old form"),
            ((*NEEDED, "--run_id", "1"), "--run_id and --model_path and --test_data and --output"),
            (("--run_id", "1"), "there is no flag --run_id any more: the models it names"),
            (("--infer_dir", "x"), "there is no flag --infer_dir any more: the models it names"),
            (
                ("--run_id", "1", "--file_index", "2"),
                "there are no flags --run_id, --file_index any",
            ),
            ((*NEEDED, "--n_images", "3"), "--n_images must be at least 16, got 3."),
            ((*NEEDED, "--n_images", "3.5"), "--n_images must be a whole number or empty (null)"),
            ((*NEEDED, "--patch-weighting", "gauss"), "--patch-weighting must be one of probe, un"),
            ((*NEEDED, "--gridsize", "2"), "there is no flag --gridsize any more: the bundle says"),
            ((*NEEDED[2:], "--model_path", "none"), "--model_path: no such file or folder: /"),
        ],
    )
    def test_what_cannot_be_is_one_sentence(
        self, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            inference.main([*words])
        assert ended.value.code == 2
        out, got = capsys.readouterr()
        assert not out
        assert got.startswith(f"ptycho: {said}"), got
        assert got.count("\n") == 1
