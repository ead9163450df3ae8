"""Building the peers' environments, without building any, and the stand-in for torchvision."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks import peers
from benchmarks.peers import build

STUB = peers.HERE / "torchvision_stub" / "torchvision" / "transforms.py"


def blur(*arguments):
    spec = importlib.util.spec_from_file_location("stub_transforms", STUB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GaussianBlur(*arguments)


@pytest.mark.parametrize("shape", [(31, 40), (2, 31, 40), (2, 3, 31, 40)])
def test_the_stand_in_blurs_as_scipy_does(shape):
    image = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    got = blur(9, 1.5)(image)
    wanted = ndimage.gaussian_filter(image.numpy(), 1.5, axes=(-2, -1), mode="mirror", radius=4)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-6)  # its kernel is single precision


def test_the_kernel_is_wide_along_x_and_high_along_y():
    point = torch.zeros(21, 21)
    point[10, 10] = 1
    spread = blur((7, 3), 50.0)(point)  # so wide that it is a box
    assert (int((spread > 0).any(0).sum()), int((spread > 0).any(1).sum())) == (7, 3)
    assert float(spread.sum()) == pytest.approx(1, rel=1e-5)


def test_a_kernel_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="kernel_size must be odd and positive, got 4"):
        blur(4, 1.0)


@pytest.mark.parametrize("peer", peers.PEERS.values(), ids=list(peers.PEERS))
def test_versions_are_exact_and_the_script_is_there(peer):
    assert peer.script.is_file()
    lines = peer.requirements.read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "./"))]
    assert wanted
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in wanted)
    assert peer.words


def test_two_ways_to_run_a_package_share_its_environment():
    first, second = peers.PEERS["ptyrad"], peers.PEERS["ptyrad_poisson"]
    assert first.environment == second.environment
    assert sorted(peers.PACKAGES) == ["cdtools", "ptychi", "ptyrad"]


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """Environments in a temporary folder; commands are noted, not run."""
    ran: list[list[str]] = []

    def run(command, **_):
        ran.append(command)
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(build.subprocess, "run", run)
    return ran


CDTOOLS = peers.PEERS["cdtools"]


def test_what_is_built_is_not_built_again_until_its_versions_change(workshop, monkeypatch):
    assert build.build(CDTOOLS, ["--index-url", "https://example.org"]) is None
    assert len(workshop) == 2
    assert workshop[1][0] == str(CDTOOLS.python)
    assert "https://example.org" in workshop[1]
    assert build.build(CDTOOLS) is None
    assert len(workshop) == 2
    monkeypatch.setattr(build, "_digest", lambda _: "other versions")
    assert build.build(CDTOOLS) is None
    assert len(workshop) == 4


def test_what_cannot_be_built_is_said_and_tried_again(workshop, monkeypatch):
    real = build.subprocess.run

    def failing(command, **options):
        done = real(command, **options)
        if "pip" in command:
            done.returncode = 1
            done.stderr = "noise\nERROR: no matching distribution\n\n"
        return done

    monkeypatch.setattr(build.subprocess, "run", failing)
    assert build.build(CDTOOLS) == "cannot be built: ERROR: no matching distribution"
    build.build(CDTOOLS)
    assert len(workshop) == 4


def test_a_peer_without_its_python_is_left_out(workshop, monkeypatch):
    monkeypatch.setattr(build, "find_python", lambda _: None)
    problem = build.build(peers.PEERS["ptyrad"])
    assert problem == "left out, it needs Python 3.12 or newer and none that runs was found."
    assert not workshop


def test_one_failure_does_not_end_the_build(workshop, monkeypatch, capsys):
    sentences = {"cdtools": None, "ptychi": "cannot be built: no", "ptyrad": "left out."}
    monkeypatch.setattr(build, "build", lambda peer, _: sentences[peer.package])
    assert build.main([]) == 0
    said = capsys.readouterr().out
    assert "cdtools: ready" in said
    assert "ptychi: cannot be built: no" in said
    sentences["cdtools"] = "cannot be built: no"
    assert build.main([]) == 1


def test_this_python_is_taken_when_it_is_new_enough():
    assert build.find_python((3, 11)) == sys.executable


def test_an_interpreter_that_does_not_run_is_passed_over(tmp_path, monkeypatch):
    def script(name: str, body: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    script("bin/python3.90", "echo version not installed >&2; exit 127")
    works = script(".pyenv/versions/3.91.0/bin/python", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(build.Path, "home", lambda: tmp_path)
    assert build.find_python((3, 90)) == works
    assert build.find_python((3, 200)) is None


def test_a_python_that_is_too_old_does_not_do():
    assert build.runs(sys.executable, (3, 11))
    assert not build.runs(sys.executable, (3, 99))
    assert not build.runs("/nowhere/python", (3, 11))
