"""What a run ran with: code, packages, machine, data."""

import functools
import hashlib
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ptycho import __version__

_PACKAGES = (
    "torch", "lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "scipy",
    "scikit-image", "h5py", "mlflow", "safetensors", "matplotlib", "optuna",
)  # fmt: skip
_HERE = Path(__file__).resolve().parent
_LONGEST_DIFF = 1_000_000  # bytes; longer ones are data, not changes of code


def environment(device: torch.device, seed: int) -> dict[str, Any]:
    """Everything needed to ask later whether two runs were the same experiment."""
    return {
        "git": git_state(_HERE),
        "packages": {"ptycho": __version__, **{name: _version(name) for name in _PACKAGES}},
        "installed": installed(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": _device_name(device),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "seed": seed,
        "command": sys.argv,
        "cwd": str(Path.cwd()),
    }


@functools.cache
def installed() -> dict[str, str]:
    """Version of every package that this Python finds, by name."""
    found = {str(one.name): str(one.version) for one in metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def uncommitted(folder: Path = _HERE) -> str:
    """What the code of a checkout differs from its commit by, as a patch; empty if too long."""
    changes = _git(folder, "diff", "HEAD") or ""
    return changes if len(changes.encode()) < _LONGEST_DIFF else ""


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and hash of the uncommitted difference; None outside a checkout."""
    sha = _git(folder, "rev-parse", "HEAD")
    if sha is None:
        return None
    difference = _git(folder, "diff", "HEAD") or ""
    return {
        "sha": sha.strip(),
        "dirty": bool(_git(folder, "status", "--porcelain")),
        "diff_sha256": hashlib.sha256(difference.encode()).hexdigest() if difference else None,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # an installed package may lie inside somebody else's repository
    return done.stdout if done.returncode == 0 and _is_ours(folder) else None


def _is_ours(folder: Path) -> bool:
    return (folder.parent.parent / "pyproject.toml").is_file()


@functools.cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
