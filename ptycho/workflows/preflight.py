"""What the settings cannot know: whether the files and the devices are there."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from ptycho.config.choices import (
    GENERATORS,
    WITH_BUNDLE,
    Accelerator,
    DataSource,
    LoggerBackend,
)
from ptycho.config.config import ConfigError, RunConfig
from ptycho.report.folder import BUNDLE, STATUS
from ptycho.training.cluster import place_faults


def check_surroundings(*runs: RunConfig) -> None:
    """Look for the files and devices of all runs without opening or starting anything.

    Raises:
        ConfigError: with a sentence for everything that is missing.
    """
    faults = [fault for run in runs for fault in every_fault(run)]
    if faults:
        raise ConfigError(*dict.fromkeys(faults))


def check_launcher(arguments: list[str]) -> None:
    """Refuse ``launcher=slurm`` where nobody can hand a job to SLURM.

    Args:
        arguments: as typed.

    Raises:
        ConfigError: the commands of SLURM are missing.
    """
    if "launcher=slurm" in arguments and not (which("sbatch") and which("srun")):
        raise ConfigError(
            "launcher=slurm finds no sbatch and srun on the PATH; type the command on a login node "
            "of the cluster, or choose launcher=joblib for this machine."
        )


def every_fault(run: RunConfig) -> list[str]:
    """Sentences about whatever is not there."""
    return [
        *file_faults(run), *device_faults(run), *place_faults(run.trainer),
        *generator_faults(run), *study_faults(run),
    ]  # fmt: skip


def study_faults(run: RunConfig) -> list[str]:
    """Sentences about what a sweep that draws its trials lacks."""
    sampler = run.sweep.sampler
    if not sampler.draws or find_spec("optuna"):
        return []
    return [
        f"sweep.sampler={sampler} needs the package optuna, which is not installed; type: "
        "pip install 'ptycho[sweep]'"
    ]


def generator_faults(run: RunConfig) -> list[str]:
    """Sentences about a generator of another package that is missing or broken."""
    name = run.model.generator
    if name in GENERATORS:
        return []  # and torch need not be loaded to say so
    from ptycho.nn.registry import make_generator

    try:
        make_generator(name, 1, 2, run.model.n_filters_scale)
    except ConfigError as error:
        return list(error.faults)
    return []


def file_faults(run: RunConfig) -> list[str]:
    """Sentences about files that are not where the settings say."""
    faults = []
    data = run.data
    if data.source == DataSource.file and data.train_data_file:
        faults += scan_faults("data.train_data_file", data.train_data_file, data.label)
    for name in ("positions_file", "probe_file"):
        if path := getattr(data, name):
            faults += partner_faults(f"data.{name}", path)
    if data.test_data_file:
        faults += scan_faults("data.test_data_file", data.test_data_file)
    for name in data.further_data_files:
        faults += scan_faults("data.further_data_files", name)
    for name in ("background_file", "bad_pixels_file"):
        side = getattr(data.preprocess, name)
        if side and not Path(side).is_file():
            faults.append(f"data.preprocess.{name}: no such file: {Path(side).absolute()}.")
    if run.task in WITH_BUNDLE and run.bundle:
        faults += missing_bundle(run.bundle)
    return faults + _output_faults(run.paths.outputs) + _logger_faults(run.logger.backend)


def _output_faults(outputs: str) -> list[str]:
    wanted = Path(outputs).absolute()
    there = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
    if not there.is_dir():
        return [f"paths.outputs={outputs}: {there} is a file, not a folder."]
    if not os.access(there, os.W_OK):
        return [f"paths.outputs={outputs}: {there} may not be written to."]
    return []


def _logger_faults(backend: LoggerBackend) -> list[str]:
    wanted = backend in (LoggerBackend.tensorboard, LoggerBackend.many)
    if not wanted or find_spec("tensorboard") or find_spec("tensorboardX"):
        return []
    return [
        f"logger.backend={backend} needs the package tensorboard, which is not installed; "
        "pip install 'ptycho[tensorboard]', or choose logger=csv or logger=mlflow."
    ]


def missing_bundle(path: str | Path) -> list[str]:
    """A sentence about a bundle that is not there."""
    there = Path(path)
    if (there / STATUS).is_file() and not any(
        (there / name).is_file() for name in (BUNDLE, "manifest.json")
    ):
        return [
            f"bundle: {there.absolute()} holds a run that made no {BUNDLE}; `ptycho resume {path}` "
            "goes on with an interrupted training."
        ]
    if there.exists():
        return []
    return [
        f"bundle: no such file or folder: {Path(path).absolute()}; training writes wts.h5.zip into "
        "its run folder."
    ]


def scan_faults(setting: str, path: str | Path, label: str = "") -> list[str]:
    """A sentence about the file of a scan that cannot be opened.

    Args:
        setting: that names it.
        path: of the file.
        label: of the scan, where a group of settings is known by it.
    """
    file = Path(path)
    group = f" (data={label})" if label else ""
    elsewhere = " or paths.data=FOLDER" if label else ""
    typed = f"point elsewhere with {setting}=FILE{elsewhere}"
    way_out = typed if "." in setting else f"name another file as {setting}"
    if file.is_dir():
        from ptycho.data.formats.ptychodus import recognises  # which loads numpy

        if recognises(file):
            return []
        return [f"{setting}: {file.absolute()} is a folder; name the file in it."]
    if not file.exists():
        return [
            f"{setting}: no such file: {file.absolute()}{group}. It must hold "
            "diffraction or diff3d (n, N, N), xcoords, ycoords and probeGuess (NPZ), or be in "
            f"another format of docs/formats.md. Put it there, or {way_out}."
        ]
    if not file.is_file():
        return [_no_file(setting, file)]
    if not os.access(file, os.R_OK):
        return [f"{setting}: {file.absolute()} may not be read; check its permissions."]
    return []


def _no_file(setting: str, there: Path) -> str:
    return (
        f"{setting}: {there.absolute()} is neither a file nor a folder, but a pipe, a socket or a "
        "device; name a file."
    )


def partner_faults(setting: str, path: str | Path) -> list[str]:
    """A sentence about a file that belongs to a scan and cannot be opened."""
    file = Path(path)
    if file.exists() and not (file.is_file() or file.is_dir()):
        return [_no_file(setting, file)]
    if not file.is_file():
        what = "is a folder; name a file" if file.is_dir() else "does not exist; check the path"
        return [f"{setting}: {file.absolute()} {what}."]
    if not os.access(file, os.R_OK):
        return [f"{setting}: {file.absolute()} may not be read; check its permissions."]
    return []


def device_faults(run: RunConfig) -> list[str]:
    """Sentences about devices that this machine lacks."""
    wanted, count = run.trainer.accelerator, run.trainer.devices
    several = isinstance(count, int) and count > 1 and wanted != Accelerator.cpu
    anything_goes = wanted in (Accelerator.auto, Accelerator.cpu) and not several
    if anything_goes and run.trainer.precision != "16-mixed":
        return []  # and torch need not be loaded to say so
    way_out = "Use trainer=cpu or trainer=auto."
    build = _build_without_gpu()
    if build and wanted in (Accelerator.gpu, Accelerator.cuda):
        return [f"trainer.accelerator={wanted} asks for a GPU, but {build}. {way_out}"]
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == Accelerator.mps and not mps:
        built = "is not on a Mac with Metal" if torch.backends.mps.is_built() else "has no MPS"
        return [f"trainer.accelerator=mps asks for Apple's GPU, but this torch {built}. {way_out}"]
    seen = _gpus(wanted)
    if wanted in (Accelerator.gpu, Accelerator.cuda) and not seen:
        return [f"trainer.accelerator={wanted} asks for a GPU, but {_why_no_cuda()}. {way_out}"]
    if run.trainer.precision == "16-mixed" and not (cuda and wanted != Accelerator.mps):
        return ["trainer.precision=16-mixed needs a CUDA device; use bf16-mixed or 32-true."]
    if several and isinstance(count, int) and 0 < seen < count:
        return [f"trainer.devices={count} asks for more GPUs than the {seen} that torch sees."]
    return []


def _build_without_gpu() -> str:
    """Why no GPU can be there, when torch's own files say so; empty otherwise.

    Reads the version file of a torch that is not loaded yet: loading takes seconds, and a
    refusal should not.
    """
    spec = None if "torch" in sys.modules or sys.platform == "darwin" else find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    version = (Path(spec.origin).parent / "version.py").read_text()
    found = dict(re.findall(r"^(\w+)(?:\s*:[^=]+)?\s*=\s*(.+)$", version, re.MULTILINE))
    if any(found.get(kind, "") != "None" for kind in ("cuda", "hip", "xpu") if kind in found):
        return ""
    return f"torch {found.get('__version__', '').strip(chr(39))} was built without CUDA"


def _gpus(wanted: Accelerator) -> int:
    """How many devices a choice of GPU can mean on this machine."""
    import torch

    if wanted != Accelerator.mps and torch.cuda.is_available():
        return torch.cuda.device_count()
    return int(wanted != Accelerator.cuda and torch.backends.mps.is_available())


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return 'CUDA_VISIBLE_DEVICES="" hides every GPU'
    return f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU or no driver"
