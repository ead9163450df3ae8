"""Shared by all tests: seeds, one thread, and where the measured scans are."""

import gc
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.databases import copy_empty_ones

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # shells start what runs in the background deaf to Ctrl-C, and its children with it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the same examples every time; others with --hypothesis-profile=default
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30  # all tests together write a tenth of it


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests write in memory where there is room: SQLite waits for a disk, often."""
    given = config.option.basetemp or "PYTEST_DEBUG_TEMPROOT" in os.environ
    if not given and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Look for garbage less often: what was imported stays, and a test leaves little behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture(autouse=True)
def _same_every_time() -> None:
    """Seed every global generator; one thread, because workers share the cores."""
    copy_empty_ones()
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
        torch.default_generator.manual_seed(0)  # torch.manual_seed takes 2 ms for CUDA's sake


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of measured scans that are lent to the project, never part of it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the measured scans are not here: no folder {folder}")
    return folder
