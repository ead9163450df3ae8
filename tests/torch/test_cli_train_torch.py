"""``ptycho.train``: what its flags hand to the factory."""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ptycho import train
from ptycho.compat.request import requested
from ptycho.config.choices import Accelerator, LoggerBackend
from ptycho.config.config import PyTorchExecutionConfig
from ptycho.workflows import factory, launch

NEEDED = ("--train_data_file", "scan.npz", "--output_dir", "out")


class Handed(NamedTuple):
    """Arguments of ``create_training_payload``."""

    train_data_file: Any
    output_dir: Any
    overrides: dict[str, Any]
    execution: PyTorchExecutionConfig


class _EnoughError(Exception):
    """Ends a command when the factory was called."""


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives the command flags; returns what reaches the factory."""

    def give(*words: str) -> Handed:
        seen: list[Handed] = []

        def spy(*arguments: Any) -> Any:
            seen.append(Handed(*arguments))
            raise _EnoughError

        monkeypatch.setattr(factory, "create_training_payload", spy)
        with pytest.raises(_EnoughError):
            train.main([*NEEDED, *words])
        return seen[0]

    return give


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """Gives the command words; returns what it refuses them with."""

    def give(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            train.main([*words])
        assert ended.value.code == 2
        out, said = capsys.readouterr()
        assert not out
        assert "Traceback" not in said
        return said

    return give


class TestExecutionConfigCLI:
    def test_nothing_typed_is_the_preset_of_pinn(self, handed: Any) -> None:
        got = handed()
        assert (got.train_data_file, got.output_dir) == ("scan.npz", Path("out"))
        assert got.overrides == {
            "model.architecture": "pinn", "trainer.batch_size": 32, "trainer.tv_weight": 0,
        }  # fmt: skip
        assert got.execution == PyTorchExecutionConfig(learning_rate=3e-3)

    @pytest.mark.parametrize(
        ("words", "name", "value"),
        [
            ("--accelerator cpu", "accelerator", Accelerator.cpu),
            ("--deterministic", "deterministic", True),
            ("--no-deterministic", "deterministic", False),
            ("--num-workers 4", "num_workers", 4),
            ("--learning-rate 1e-4", "learning_rate", 1e-4),
            ("--scheduler Exponential", "scheduler", "Exponential"),
            ("--accumulate-grad-batches 4", "accum_steps", 4),
            ("--enable-checkpointing", "enable_checkpointing", True),
            ("--disable-checkpointing", "enable_checkpointing", False),
            ("--checkpoint-save-top-k -1", "checkpoint_save_top_k", -1),
            ("--checkpoint-save-top-k 3", "checkpoint_save_top_k", 3),
            ("--checkpoint-monitor val_loss", "checkpoint_monitor_metric", "val_loss"),
            ("--checkpoint-mode max", "checkpoint_mode", "max"),
            ("--early-stop-patience 5", "early_stop_patience", 5),
            ("--logger csv", "logger_backend", LoggerBackend.csv),
            ("--logger none", "logger_backend", LoggerBackend.none),
            ("--quiet", "quiet", True),
            ("--pin-memory", "pin_memory", True),
            ("--middle-trim 32", "middle_trim", 32),
            ("--middle-trim 32 --no-pad-eval", "pad_eval", False),
            ("--inference-batch-size 2", "inference_batch_size", 2),
            ("--num-workers 1 --prefetch-factor 5", "prefetch_factor", 5),
            ("--num-workers 1 --persistent-workers", "persistent_workers", True),
            ("--resume", "resume", "auto"),
            ("--recon-log-every-n-epochs 2", "recon_log_every_n_epochs", 2),
            ("--device cpu", "accelerator", Accelerator.cpu),
            ("--device cuda", "accelerator", Accelerator.cuda),
            ("--disable_mlflow", "logger_backend", LoggerBackend.none),
        ],
    )
    def test_a_flag_reaches_the_execution_config(
        self, handed: Any, words: str, name: str, value: Any
    ) -> None:
        got = handed(*words.split())
        assert getattr(got.execution, name) == value
        assert name not in {one.rpartition(".")[2] for one in got.overrides}

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("--n_images 64", {"data.n_images": 64}),
            ("--gridsize 2", {"model.gridsize": 2}),
            ("--batch_size 8", {"trainer.batch_size": 8}),
            ("--max_epochs 3", {"trainer.nepochs": 3}),
            ("--test_data_file b.npz", {"data.test_data_file": "b.npz"}),
            ("--probe-mask", {"model.probe_mask": True}),
            ("--no-probe-mask", {"model.probe_mask": False}),
            ("--patch-weighting uniform", {"model.patch_weighting": "uniform"}),
            ("--torch-loss-mode amplitude", {"trainer.torch_loss_mode": "amplitude"}),
            (
                "--torch-loss-mode mae",
                {"trainer.nll_weight": 0.0, "trainer.mae_weight": 1.0},
            ),
            ("--model object_pinn", {"model.architecture": "object_pinn"}),
        ],
    )
    def test_a_flag_reaches_the_overrides(
        self, handed: Any, words: str, expected: dict[str, Any]
    ) -> None:
        got = handed(*words.split()).overrides
        assert {name: got.get(name) for name in expected} == expected

    def test_a_model_brings_what_it_usually_needs(self, handed: Any) -> None:
        got = handed("--model", "supervised", "--batch_size", "7")
        assert got.overrides["trainer.realspace_weight"] == 1
        assert got.overrides["trainer.batch_size"] == 7
        assert got.execution.learning_rate == 1e-3
        whole = handed("--model", "object_pinn")
        assert whole.overrides == {"model.architecture": "object_pinn"}
        assert whole.execution == PyTorchExecutionConfig()

    def test_hyphens_and_underscores_are_one(self, handed: Any) -> None:
        got = handed("--learning_rate=0.5", "--max-epochs", "7", "--no_probe_mask")
        assert got.execution.learning_rate == 0.5
        assert got.overrides["trainer.nepochs"] == 7
        assert got.overrides["model.probe_mask"] is False

    def test_old_forms_warn_once_each(
        self, handed: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        handed("--device", "cpu", "--disable_mlflow")
        assert capsys.readouterr().err.splitlines() == [
            "ptycho: --device is deprecated; use --accelerator cpu.",
            "ptycho: --disable_mlflow is deprecated; use --logger none.",
        ]
        handed()
        assert not capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("--device cpu --accelerator cpu", "--device is the old form of --accelerator"),
            ("--logger csv --disable_mlflow", "--disable_mlflow is the old form of --logger"),
            ("--accelerator tpu", "--accelerator tpu is not supported: complex FFTs"),
            ("--accelerator xpu", "--accelerator must be one of auto, cpu, gpu, cuda, mps, tpu"),
            ("--ptycho_dir data", "--ptycho_dir and --train_data_file and --output_dir are of two"),
            ("--config old.json", "--config and --train_data_file and --output_dir are of two"),
            ("--max_epochs many", "--max_epochs must be a whole number, got many."),
            ("--learning-rate fast", "--learning-rate must be a number, got fast."),
            ("--learning-rate nan", "--learning-rate must be a finite number, got nan."),
            ("--learning-rate -1", "--learning-rate must be greater than 0, got -1.0."),
            ("--checkpoint-save-top-k -2", "--checkpoint-save-top-k must be at least -1, got -2."),
            ("--checkpoint-monitor acc", "--checkpoint-monitor must be one of train/loss, "),
            ("--checkpoint-mode best", "--checkpoint-mode must be one of min, max, got best."),
            ("--early-stop-patience 0", "--early-stop-patience must be at least 1, got 0."),
            ("--scheduler Cosine", "--scheduler must be one of Default, Exponential, "),
            ("--logger wandb", "--logger must be one of none, csv, tensorboard, mlflow, many"),
            ("--accumulate-grad-batches 0", "--accumulate-grad-batches must be at least 1"),
            ("--prefetch-factor 2", "--prefetch-factor 2 needs --num-workers of at least 1, got 0"),
            ("--persistent-workers", "--persistent-workers needs --num-workers of at least 1"),
            ("--gridsze 2", "there is no flag --gridsze; did you mean --gridsize?"),
            ("--probe-mask-sigma 2", "there is no flag --probe-mask-sigma any more: the edge"),
            ("--gridsize", "--gridsize: expected one argument"),
            ("--quiet=yes", "--quiet/--no-quiet: ignored explicit argument 'yes'"),
            ("stray", "stray is no flag and no value of one"),
            ("-- --quiet", "-- has no meaning here"),
            ("--num-workers 999", "--num-workers must be at most 256, got 999."),
            ("--disable-checkpointing --checkpoint-save-top-k 2", "--checkpoint-save-top-k 2 has"),
            ("--model supervised --torch-loss-mode mae", "--torch-loss-mode mae compares with pat"),
            ("--model supervised --torch-loss-mode amplitude", "--torch-loss-mode amplitude comp"),
            ("--test_data_file=", "--test_data_file must name a scan, got nothing"),
        ],
    )
    def test_what_cannot_be_is_one_sentence(self, refused: Any, words: str, said: str) -> None:
        got = refused(*NEEDED, *words.split())
        assert got.startswith(f"ptycho: {said}"), got
        assert got.count("\n") == 1

    @pytest.mark.parametrize(
        "path",
        ["/x/model.gridsize/trainer.nepochs=5.npz", "/x/accelerator=cpu.npz", "seed=1/a.npz"],
    )
    def test_paths_are_not_taken_for_settings(self, refused: Any, path: str) -> None:
        for named in (["--train_data_file", path], [f"--train_data_file={path}"]):
            got = refused(*named, "--output_dir", "out")
            said = f"ptycho: --train_data_file: no such file: {Path(path).absolute()}. "
            assert got.startswith(said)

    def test_every_digit_is_written_down(self) -> None:
        words = [*NEEDED, "--learning-rate", "0.000123456789", "--train_data_file", "a b"]
        assert requested(train.COMMAND, words).hydra == [
            "data=file", "model=pinn", "data.train_data_file='a b'",
            "trainer.learning_rate=0.000123456789",
        ]  # fmt: skip

    def test_what_to_do_must_be_said(self, refused: Any) -> None:
        assert refused().startswith(
            "ptycho: python -m ptycho.train needs --train_data_file FILE.npz and --output_dir"
        )
        assert "needs --output_dir FOLDER;" in refused("--train_data_file", "scan.npz")
        assert "goes with --ptycho_dir FOLDER" in refused("--config", "old.json")

    def test_help_is_grouped_and_loads_no_torch(self) -> None:
        check = (
            "import sys; from ptycho import train\n"
            "try: train.main(['--help'])\n"
            "finally: print('torch' in sys.modules, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
        assert done.stderr == "False\n"
        lines = done.stdout.splitlines()
        headings = [one[:-1] for one in lines if one[-1:] == ":" and not one.startswith(" ")]
        assert headings == [
            "options", "data and model", "execution", "checkpointing", "loss and probe",
            "logging", "deprecated", "examples",
        ]  # fmt: skip
        told = " ".join(done.stdout.split())
        assert "(default: 32; 192 with --model object_pinn, 48 with --model supervised)" in told
        assert "--deterministic, --no-deterministic" in told
        assert "(default: WarmupCosine)" in told


class TestOldFiles:
    """Flags and the file of the older interface together."""

    @pytest.mark.parametrize(
        ("words", "weight"), [((), 0.0), (("--torch-loss-mode", "poisson"), None)]
    )
    def test_a_flag_wins_over_the_loss_of_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], weight: Any
    ) -> None:
        seen: list[Handed] = []
        (tmp_path / "scan.npz").touch()
        (tmp_path / "old.json").write_text('{"training_config": {"torch_loss_mode": "mae"}}')
        monkeypatch.setattr(
            factory, "create_training_payload", lambda *handed: seen.append(Handed(*handed))
        )
        monkeypatch.setattr(launch, "launch_payload", lambda *_: None)
        train.main(["--ptycho_dir", str(tmp_path), "--config", f"{tmp_path}/old.json", *words])
        assert seen[0].overrides.get("trainer.nll_weight") == weight
