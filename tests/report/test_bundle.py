import contextlib
import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ptycho.report import bundle as bundle_
from ptycho.report.bundle import (
    NAME,
    NETWORK,
    PHYSICS,
    Bundle,
    BundleError,
    load_bundle,
    save_bundle,
)

Members = dict[str, bytes]


@pytest.fixture
def bundle() -> Bundle:
    weights = {
        "stem.weight": torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last),
        "stem.bias": torch.randn(8),
        "half": torch.randn(3, dtype=torch.bfloat16),
    }
    probe = torch.view_as_real(torch.randn(2, 8, 8, dtype=torch.complex64))
    config = {"model": {"N": 8, "architecture": "object_pinn"}, "seed": None, "label": "straße"}
    return Bundle(weights, {"probe": probe}, config, {"intensity_scale": 2.5, "tile": [16, 24]})


@pytest.fixture
def path(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(tmp_path / "wts.h5.zip", bundle)
    return tmp_path / "wts.h5.zip"


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(path: Path, content: Members, sign: bool = False) -> None:
    """Write members as they are; ``sign``: with a manifest that vouches for them."""
    if sign:
        manifest = json.loads(content["manifest.json"])
        manifest["sha256"] = {
            name: hashlib.sha256(data).hexdigest()
            for name, data in content.items()
            if name != "manifest.json"
        }
        content = content | {"manifest.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def assert_equal(one: Bundle, other: Bundle) -> None:
    assert (one.config, one.params) == (other.config, other.params)
    for mine, its in ((one.weights, other.weights), (one.physics, other.physics)):
        assert set(mine) == set(its)
        for name in mine:
            assert mine[name].dtype == its[name].dtype
            assert torch.equal(mine[name], its[name])


def test_round_trip_keeps_every_bit(bundle: Bundle, path: Path) -> None:
    assert_equal(load_bundle(path), bundle)


def test_manifest_tells_what_is_inside(path: Path) -> None:
    content = members(path)
    manifest = json.loads(content["manifest.json"])
    assert manifest["backend"] == "pytorch"
    assert set(manifest["models"]) == {"autoencoder", "diffraction_to_obj"}
    assert set(manifest["sha256"]) == set(content) - {"manifest.json"}


def test_same_content_same_bytes(bundle: Bundle, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    save_bundle(other, bundle)
    assert other.read_bytes() == path.read_bytes()
    save_bundle(other, load_bundle(path))
    assert other.read_bytes() == path.read_bytes()


def test_other_weights_other_bytes(bundle: Bundle, path: Path, tmp_path: Path) -> None:
    bundle.weights["stem.bias"][0] += 1
    save_bundle(tmp_path / "other.zip", bundle)
    assert (tmp_path / "other.zip").read_bytes() != path.read_bytes()


def test_no_litter_beside_it(path: Path) -> None:
    assert [file.name for file in path.parent.iterdir()] == ["wts.h5.zip"]


def test_folder_with_a_bundle_in_it(bundle: Bundle, path: Path) -> None:
    assert_equal(load_bundle(path.parent), bundle)


def test_unpacked_folder(bundle: Bundle, path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "unpacked" / "README.txt").write_text("mine")
    assert_equal(load_bundle(tmp_path / "unpacked"), bundle)


def test_repacked_with_compression(bundle: Bundle, path: Path) -> None:
    rezip(path, members(path))
    assert_equal(load_bundle(path), bundle)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no bundle at"):
        load_bundle(tmp_path / "none.zip")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + b"\0" * 100])
def test_not_a_zip(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"wts.h5.zip is not a readable bundle"):
        load_bundle(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_cut_short_or_damaged(path: Path, compressed: bool) -> None:
    if compressed:
        rezip(path, members(path))
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(BundleError, match=NAME):
            load_bundle(path)
    for place in range(40, len(whole), len(whole) // 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        with contextlib.suppress(BundleError):  # and nothing else
            load_bundle(path)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no manifest.json: not a bundle of ptycho"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "params.json", NETWORK, PHYSICS])
def test_missing_member(path: Path, name: str) -> None:
    content = members(path)
    del content[name]
    rezip(path, content)
    with pytest.raises(BundleError, match=f"the bundle has no {name}; train it again"):
        load_bundle(path)


@pytest.mark.parametrize("name", ["config.json", "params.json", NETWORK, PHYSICS])
def test_changed_member(path: Path, name: str) -> None:
    content = members(path)
    content[name] = content[name].replace(b"1", b"2").replace(b"e", b"3") + b" "
    rezip(path, content)
    with pytest.raises(BundleError, match=f"{name} does not match its checksum"):
        load_bundle(path)


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/passwd", "a/../../b", "..\\evil", "C:evil", ".hidden", "sub/x"]
)
def test_member_that_points_outside(path: Path, name: str) -> None:
    rezip(path, members(path) | {name: b"{}"})
    with pytest.raises(BundleError, match="points outside the bundle; refused"):
        load_bundle(path)


@pytest.mark.parametrize("unpacked", [False, True])
def test_oversize_member_is_not_even_read(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpacked: bool
) -> None:
    largest = len(members(path)[NETWORK])
    if unpacked:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "u")
        path = tmp_path / "u"
    monkeypatch.setattr(bundle_, "_LARGEST", 2 * largest)
    load_bundle(path)
    monkeypatch.setattr(bundle_, "_LARGEST", largest - 1)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(BundleError, match=f"{NETWORK} unpacks to .* GiB; refused"):
        load_bundle(path)


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "params.json"])
@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_bad_json(path: Path, name: str, text: bytes) -> None:
    rezip(path, members(path) | {name: text}, sign=name != "manifest.json")
    with pytest.raises(BundleError, match=f"{name} is not JSON"):
        load_bundle(path)


def test_json_of_the_wrong_kind(path: Path) -> None:
    rezip(path, members(path) | {"config.json": b"[1, 2]"}, sign=True)
    with pytest.raises(BundleError, match=r"config.json must hold an object"):
        load_bundle(path)


@pytest.mark.parametrize(
    "change", [{"format": 99}, {"format": None}, {"backend": "tensorflow"}, {"sha256": ["x"]}]
)
def test_other_format(path: Path, change: dict[str, Any]) -> None:
    content = members(path)
    manifest = json.loads(content["manifest.json"]) | change
    rezip(path, content | {"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(BundleError, match=r"train it again|does not match its checksum"):
        load_bundle(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"tile": None}, "tile"), ({"tile": [8]}, "tile"), ({"tile": ["8", 8]}, "tile"),
        ({"tile": [0, 8]}, "tile"), ({"intensity_scale": "much"}, "intensity_scale"),
    ],
)  # fmt: skip
def test_params_without_what_is_needed(path: Path, change: dict[str, Any], word: str) -> None:
    content = members(path)
    params = json.loads(content["params.json"]) | change
    rezip(path, content | {"params.json": json.dumps(params).encode()}, sign=True)
    with pytest.raises(BundleError, match=f"params.json must hold .*{word}"):
        load_bundle(path)


class Payload:
    """Creates a file when unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.file,)


def as_torch_file(payload: Payload) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": payload}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("disguise", [pickle.dumps, as_torch_file])
@pytest.mark.parametrize("name", [NETWORK, PHYSICS, "config.json", "manifest.json"])
def test_pickle_in_disguise_is_never_opened(
    path: Path, tmp_path: Path, disguise: Callable[[Payload], bytes], name: str
) -> None:
    proof = tmp_path / "executed"
    evil = disguise(Payload(proof))
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.exists(), "the payload is a dud"
    proof.unlink()
    rezip(path, members(path) | {name: evil}, sign=name != "manifest.json")
    with pytest.raises(BundleError):
        load_bundle(path)
    path.write_bytes(evil)
    with pytest.raises(BundleError):
        load_bundle(path)
    assert not proof.exists()
