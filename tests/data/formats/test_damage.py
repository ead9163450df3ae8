"""Whatever is damaged in a file, reading it ends in one sentence: no traceback, no hang."""

import atexit
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.fuzz import moved, read_all, spoil
from tests.data.formats.samples import NAMES, Sample, sample

ROOT = Path(__file__).parents[3]
PATIENCE = 30.0  # seconds for one file of some kilobytes


@cache
def whole(name: str) -> Sample:
    """A sample in a folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="ptycho_whole_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return sample(name, folder)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32))
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_refused_or_harmless(name, seed):
    """In this process, and therefore without bytes on which HDF5 itself might crash."""
    with tempfile.TemporaryDirectory() as there:
        folder = Path(there)
        try:
            spoil(whole(name), folder, random.Random(seed), gently=True)
        except Exception:
            return  # damaged twice, and the second time h5py or numpy would not open it
        path, how = moved(whole(name), folder)
        read_all(path, "auto", how)


class Watched:
    """A process that reads damaged files, and what came of it."""

    def __init__(self, seed: int, folder: Path) -> None:
        folder.mkdir()
        self.seed, self.folder = seed, folder
        self.crashed: list[tuple[int, int]] = []
        self.hung: list[int] = []
        self.start(0)

    def start(self, number: int) -> None:
        self.began = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.data.formats.fuzz", str(self.seed), str(number),
             str(self.folder)],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=(self.folder / "stderr").open("ab"),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def look(self) -> None:
        """Begin again after a file that killed the process, or on which it hangs."""
        number, since = self.at()
        if self.process.poll() is not None:
            if self.process.returncode:
                self.crashed.append((number, self.process.returncode))
            self.start(number + 1)
        elif time.time() - max(since, self.began) > PATIENCE:
            self.hung.append(number)
            self.stop()
            self.start(number + 1)

    def at(self) -> tuple[int, float]:
        """Number of the file that is read, and since when."""
        try:
            number, since = (self.folder / "at").read_text().split()
        except (OSError, ValueError):
            return -1, self.began
        return int(number), float(since)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def found(self) -> list[dict[str, str]]:
        path = self.folder / "found"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_no_damage_leads_to_a_traceback_a_hang_or_much_memory(tmp_path):
    """``PTYCHO_FUZZ_SECONDS`` and ``PTYCHO_FUZZ_SEED`` say how long and which files."""
    seconds = float(os.environ.get("PTYCHO_FUZZ_SECONDS", "180"))
    seed = int(os.environ.get("PTYCHO_FUZZ_SEED", random.SystemRandom().randrange(2**32)))
    watched = [Watched(seed + one, tmp_path / str(one)) for one in range(2)]
    end = time.time() + seconds
    try:
        while time.time() < end:
            time.sleep(0.2)
            for one in watched:
                one.look()
    finally:
        for one in watched:
            one.stop()
    read = sum(one.at()[0] for one in watched)
    crashed = [(one.seed, *what) for one in watched for what in one.crashed]
    print(f"seed {seed}: {read} damaged files in {seconds:g} s; HDF5 crashed on {len(crashed)}")
    found = [(one.seed, what) for one in watched for what in one.found()]
    hung = [(one.seed, number) for one in watched for number in one.hung]
    assert not hung, f"PTYCHO_FUZZ_SEED={seed}: hangs (seed, number): {hung}"
    assert not found, f"PTYCHO_FUZZ_SEED={seed}: " + "\n".join(
        f"{where} {what['number']} {what['format']} ({what['damage']}):\n{what['what']}"
        for where, what in found[:10]
    )
    assert not crashed, f"PTYCHO_FUZZ_SEED={seed}: crashes (seed, number, signal): {crashed}"
    assert read > seconds
