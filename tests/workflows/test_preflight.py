"""Missing files and devices: a sentence each, before anything is opened or started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ptycho.config.choices import Accelerator, LoggerBackend, Task
from ptycho.config.config import ConfigError, DataConfig, LoggerConfig, PathsConfig, RunConfig
from ptycho.workflows import preflight
from ptycho.workflows.preflight import (
    check_launcher,
    check_surroundings,
    device_faults,
    every_fault,
    file_faults,
    partner_faults,
)


def measured(path: Path | str, **changes: Any) -> RunConfig:
    """A run on a file."""
    data = DataConfig(label="fly001", source="file", train_data_file=str(path))  # type: ignore[arg-type]
    return RunConfig(data=data, **changes)


def on(accelerator: str, **changes: Any) -> RunConfig:
    """A run on a device."""
    run = RunConfig(data=DataConfig(nphotons=1e5))
    run.trainer.accelerator = Accelerator(accelerator)
    for name, value in changes.items():
        setattr(run.trainer, name, value)
    return run


def machine(
    monkeypatch: pytest.MonkeyPatch, *, gpus: int = 0, built: bool = True, metal: bool = False
) -> None:
    """Pretend that torch sees these devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.version, "cuda", "12.8" if built else None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: metal)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: metal)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


class TestFiles:
    def test_a_missing_scan_says_where_what_and_how(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        (said,) = file_faults(measured("data/fly001.npz"))
        assert said.startswith(f"data.train_data_file: no such file: {tmp_path}/data/fly001.npz")
        assert "(data=fly001)" in said
        for key in ("diffraction or diff3d (n, N, N)", "xcoords", "ycoords", "probeGuess"):
            assert key in said
        assert said.endswith("data.train_data_file=FILE or paths.data=FOLDER.")

    def test_a_missing_second_scan_is_named_too(self, tmp_path: Path):
        scan = tmp_path / "a.npz"
        scan.touch()
        run = measured(scan)
        run.data.test_data_file = str(tmp_path / "b.npz")
        (said,) = file_faults(run)
        assert said.startswith(f"data.test_data_file: no such file: {tmp_path}/b.npz")

    def test_a_folder_is_no_scan(self, tmp_path: Path):
        assert file_faults(measured(tmp_path)) == [
            f"data.train_data_file: {tmp_path} is a folder; name the file in it."
        ]

    def test_a_pipe_is_no_scan(self, tmp_path: Path):
        """Whoever opens one waits for a writer."""
        os.mkfifo(tmp_path / "a.npz")
        (tmp_path / "b.npz").symlink_to("a.npz")
        (tmp_path / "whole").touch()
        (tmp_path / "c.npz").symlink_to("whole")
        for name in ("a.npz", "b.npz"):
            (said,) = file_faults(measured(tmp_path / name))
            assert f"{name} is neither a file nor a folder, but a pipe" in said
            assert partner_faults("data.probe_file", tmp_path / name)[0].endswith("name a file.")
        assert file_faults(measured(tmp_path / "c.npz")) == []

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_scan_must_be_readable(self, tmp_path: Path):
        scan = tmp_path / "a.npz"
        scan.touch(mode=0)
        (said,) = file_faults(measured(scan))
        assert "may not be read; check its permissions" in said

    def test_permissions_are_asked_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        scan = tmp_path / "a.npz"
        scan.touch()
        monkeypatch.setattr(os, "access", lambda path, how: how != os.R_OK)
        assert file_faults(measured(scan)) == [
            f"data.train_data_file: {scan} may not be read; check its permissions."
        ]

    def test_a_missing_bundle_is_named(self, tmp_path: Path):
        scan = tmp_path / "a.npz"
        scan.touch()
        run = measured(scan, task=Task.reconstruct, bundle=str(tmp_path / "b.zip"))
        (said,) = file_faults(run)
        assert said.startswith(f"bundle: no such file or folder: {tmp_path}/b.zip; training wr")

    def test_what_is_there_is_fine(self, tmp_path: Path):
        scan = tmp_path / "a.npz"
        scan.touch()
        assert file_faults(measured(scan, task=Task.reconstruct, bundle=str(tmp_path))) == []
        assert file_faults(RunConfig(data=DataConfig(nphotons=1e5))) == []


class TestDevices:
    @pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
    def test_a_torch_without_cuda(self, monkeypatch: pytest.MonkeyPatch, accelerator: str):
        machine(monkeypatch, built=False)
        assert device_faults(on(accelerator)) == [
            f"trainer.accelerator={accelerator} asks for a GPU, but torch {torch.__version__} was "
            "built without CUDA. Use trainer=cpu or trainer=auto."
        ]

    def test_a_machine_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch):
        machine(monkeypatch)
        (said,) = device_faults(on("gpu"))
        assert f"torch {torch.__version__} (CUDA 12.8) finds no GPU or no driver" in said

    def test_a_hidden_gpu(self, monkeypatch: pytest.MonkeyPatch):
        machine(monkeypatch)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        (said,) = device_faults(on("gpu"))
        assert 'CUDA_VISIBLE_DEVICES="" hides every GPU' in said

    def test_a_machine_without_metal(self, monkeypatch: pytest.MonkeyPatch):
        machine(monkeypatch, gpus=1)
        assert device_faults(on("mps")) == [
            "trainer.accelerator=mps asks for Apple's GPU, but this torch has no MPS. "
            "Use trainer=cpu or trainer=auto."
        ]
        monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
        (said,) = device_faults(on("mps"))
        assert "is not on a Mac with Metal" in said

    def test_a_gpu_may_be_apples_but_cuda_may_not(self, monkeypatch: pytest.MonkeyPatch):
        machine(monkeypatch, metal=True)
        assert device_faults(on("gpu")) == []
        assert device_faults(on("mps")) == []
        (said,) = device_faults(on("cuda"))
        assert said.startswith("trainer.accelerator=cuda asks for a GPU")

    @pytest.mark.parametrize(
        ("accelerator", "found"),
        [("auto", {}), ("auto", {"metal": True}), ("gpu", {"metal": True}), ("mps", {"metal": 1})],
    )
    def test_half_precision_needs_cuda(
        self, monkeypatch: pytest.MonkeyPatch, accelerator: str, found: dict[str, Any]
    ):
        machine(monkeypatch, **found)
        assert device_faults(on(accelerator, precision="16-mixed")) == [
            "trainer.precision=16-mixed needs a CUDA device; use bf16-mixed or 32-true."
        ]

    @pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
    def test_half_precision_on_cuda(self, monkeypatch: pytest.MonkeyPatch, accelerator: str):
        machine(monkeypatch, gpus=1)
        assert device_faults(on(accelerator, precision="16-mixed")) == []

    @pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
    def test_more_gpus_than_there_are(self, monkeypatch: pytest.MonkeyPatch, accelerator: str):
        machine(monkeypatch, gpus=2)
        assert device_faults(on(accelerator, devices=3, strategy="ddp")) == [
            "trainer.devices=3 asks for more GPUs than the 2 that torch sees."
        ]
        assert device_faults(on(accelerator, devices=2, strategy="ddp")) == []

    def test_an_apple_gpu_is_one(self, monkeypatch: pytest.MonkeyPatch):
        machine(monkeypatch, metal=True)
        (said,) = device_faults(on("mps", devices=2, strategy="ddp"))
        assert said.startswith("trainer.devices=2 asks for more GPUs than the 1")

    @pytest.mark.parametrize("found", [{}, {"built": False}, {"gpus": 1}, {"metal": True}])
    @pytest.mark.parametrize("accelerator", ["auto", "cpu"])
    def test_auto_and_cpu_are_always_there(
        self, monkeypatch: pytest.MonkeyPatch, accelerator: str, found: dict[str, Any]
    ):
        machine(monkeypatch, **found)
        assert device_faults(on(accelerator)) == []

    def test_the_cpu_runs_as_many_processes_as_asked(self, monkeypatch: pytest.MonkeyPatch):
        machine(monkeypatch, gpus=1)
        assert device_faults(on("cpu", devices=4, strategy="ddp")) == []


class TestTogether:
    def test_files_and_devices_are_told_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        machine(monkeypatch)
        run = measured(tmp_path / "a.npz")
        run.trainer.accelerator = Accelerator.gpu
        with pytest.raises(ConfigError) as caught:
            check_surroundings(run)
        files, devices = caught.value.faults
        assert files.startswith("data.train_data_file: no such file")
        assert devices.startswith("trainer.accelerator=gpu")

    def test_jobs_of_a_sweep_do_not_repeat_each_other(self, tmp_path: Path):
        with pytest.raises(ConfigError) as caught:
            check_surroundings(*(measured(tmp_path / name) for name in ("a", "a", "b")))
        assert [one.split(" (")[0] for one in caught.value.faults] == [
            f"data.train_data_file: no such file: {tmp_path}/{name}" for name in ("a", "b")
        ]

    def test_nothing_missing_nothing_said(self):
        check_surroundings(on("cpu"))


def test_a_file_in_place_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "outputs"
    blocked.write_text("")
    run = RunConfig(paths=PathsConfig(outputs=str(blocked / "below")))
    with pytest.raises(ConfigError, match=r"paths\.outputs=.*outputs is a file, not a folder"):
        check_surroundings(run)


def test_a_logger_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    run = RunConfig(logger=LoggerConfig(backend=LoggerBackend.tensorboard))
    with pytest.raises(ConfigError, match="needs the package tensorboard"):
        check_surroundings(run)


def test_a_cpu_build_is_recognised_without_loading_torch() -> None:
    code = (
        "import sys\n"
        "from ptycho.config.config import Accelerator, RunConfig, TrainerConfig\n"
        "from ptycho.workflows.preflight import device_faults\n"
        "print(device_faults(RunConfig(trainer=TrainerConfig(accelerator=Accelerator.gpu))))\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    sentence, loaded = done.stdout.splitlines()
    if torch.version.cuda is not None or sys.platform == "darwin":
        pytest.skip("this torch may find a GPU")
    assert f"torch {torch.__version__} was built without CUDA" in sentence
    assert loaded == "False"


def test_slurm_needs_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check_launcher(["-m", "launcher=joblib"])
    with pytest.raises(ConfigError) as caught:
        check_launcher(["-m", "launcher=slurm"])
    assert caught.value.faults == (
        "launcher=slurm finds no sbatch and srun on the PATH; type the command on a login node of "
        "the cluster, or choose launcher=joblib for this machine.",
    )
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    check_launcher(["-m", "launcher=slurm"])


def test_processes_that_nobody_starts_are_missed() -> None:
    (said,) = every_fault(on("cpu", strategy="ddp", num_nodes=2))
    assert said.startswith("trainer.num_nodes=2: the processes of several machines are started by")
