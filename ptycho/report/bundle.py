"""The trained bundle ``wts.h5.zip``: weights as safetensors, everything else as JSON.

Nothing in it is ever unpickled. A bundle may also be its unpacked folder.
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ptycho import __version__
from ptycho.config.config import UserError
from ptycho.data.appearing import appearing
from ptycho.report.files import plain
from ptycho.report.folder import BUNDLE

NAME = BUNDLE
FORMAT = 1
NETWORK = "diffraction_to_obj.safetensors"
PHYSICS = "physics.safetensors"
_LARGEST = 4 * 2**30  # bytes of one member, unpacked
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError,
)  # fmt: skip


class BundleError(UserError):
    """A bundle is missing a part, damaged or not one of ours."""


@dataclass(frozen=True)
class Bundle:
    """A trained network with what it needs to be used again."""

    weights: dict[str, torch.Tensor]
    """The network's state."""
    physics: dict[str, torch.Tensor]
    """``probe`` (mode, N, N) it was trained with, in square roots of photons."""
    config: dict[str, Any]
    """The resolved settings of the training run."""
    params: dict[str, Any]
    """``intensity_scale``, ``intensity_gain``, ``tile`` and the old parameter dictionary."""


def save_bundle(path: Path, bundle: Bundle) -> None:
    """Write a bundle; same content, same bytes."""
    members = {
        "config.json": _json(bundle.config),
        "params.json": _json(bundle.params),
        NETWORK: save(_contiguous(bundle.weights)),
        PHYSICS: save(_contiguous(bundle.physics)),
    }
    manifest = {
        "format": FORMAT,
        "package": "ptycho",
        "version": __version__,
        "backend": "pytorch",
        "models": {
            "diffraction_to_obj": [NETWORK],
            "autoencoder": [NETWORK, PHYSICS],
        },
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    with appearing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in {"manifest.json": _json(manifest), **members}.items():
            # a fixed date: equal bundles are equal files
            archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), data)


def load_bundle(path: Path) -> Bundle:
    """Read a bundle or its unpacked folder, checking every part against the manifest.

    Raises:
        FileNotFoundError: when there is nothing at ``path``.
        BundleError: when it is damaged, incomplete, oversized or not a bundle.
    """
    if not path.exists():
        raise FileNotFoundError(f"no bundle at {path}")
    if path.is_dir() and (path / NAME).is_file():
        path = path / NAME
    members = _read_folder(path) if path.is_dir() else _read_zip(path)
    manifest = _parse(path, "manifest.json", members)
    if manifest.get("backend") != "pytorch" or manifest.get("format") != FORMAT:
        raise BundleError(
            f"{path}: format {manifest.get('format')} for {manifest.get('backend')} is not "
            f"what this version reads (format {FORMAT} for pytorch); train it again."
        )
    sums = manifest.get("sha256")
    for name in ("config.json", "params.json", NETWORK, PHYSICS):
        if name not in members:
            raise BundleError(f"{path}: the bundle has no {name}; train it again.")
        found = hashlib.sha256(members[name]).hexdigest()
        if not isinstance(sums, dict) or found != sums.get(name):
            raise BundleError(f"{path}: {name} does not match its checksum; the bundle is damaged.")
    try:
        weights, physics = load(members[NETWORK]), load(members[PHYSICS])
    except SafetensorError as error:
        raise BundleError(f"{path}: the weights cannot be read: {error}.") from error
    config, params = (_parse(path, name, members) for name in ("config.json", "params.json"))
    _check_params(path, params)
    return Bundle(weights, physics, config, params)


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _check_member(path, info.filename, info.file_size)
            return {name: archive.read(name) for name in archive.namelist()}
    except _UNREADABLE as error:
        raise BundleError(
            f"{path} is not a readable bundle: {error}. It must be a {NAME} of ptycho; models of "
            "other packages are not read."
        ) from error


def _read_folder(path: Path) -> dict[str, bytes]:
    members = {}
    for file in path.iterdir():
        if file.is_file() and file.suffix in (".json", ".safetensors"):
            _check_member(path, file.name, file.stat().st_size)
            members[file.name] = file.read_bytes()
    return members


def _check_member(path: Path, name: str, size: int) -> None:
    if "/" in name or "\\" in name or name.startswith(".") or ":" in name:
        raise BundleError(f"{path}: the member {name!r} points outside the bundle; refused.")
    if size > _LARGEST:
        raise BundleError(f"{path}: {name} unpacks to {size / 2**30:.0f} GiB; refused.")


def _parse(path: Path, name: str, members: dict[str, bytes]) -> dict[str, Any]:
    try:
        content = json.loads(members[name])
    except KeyError as error:
        raise BundleError(
            f"{path} has no {name}: not a bundle of ptycho; name the folder of a training, or its "
            f"{NAME}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {name} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: {name} must hold an object.")
    return content


def _check_params(path: Path, params: dict[str, Any]) -> None:
    scale, tile = params.get("intensity_scale"), params.get("tile")
    if not isinstance(scale, int | float):
        raise BundleError(f"{path}: params.json must hold a number intensity_scale, got {scale}.")
    sides = tile if isinstance(tile, list) else []
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise BundleError(f"{path}: params.json must hold two sizes as tile, got {tile}.")


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # one layout for all: convolution weights may be channels-last
    return {name: one.detach().cpu().contiguous() for name, one in tensors.items()}


def _json(content: Any) -> bytes:
    return (json.dumps(plain(content), indent=2) + "\n").encode()
