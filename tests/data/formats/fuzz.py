"""Reads damaged files, one after another, in a process of its own: ``fuzz.py SEED START FOLDER``.

Before each file its number is written to ``FOLDER/at``, so that whoever watches knows which one
hung or killed the process; what went wrong is written to ``FOLDER/found``, a line each.
"""

import faulthandler
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from ptycho.data.formats.registry import FORMATS, Reading, frame_shape, measure
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.products import read_product
from ptycho.data.scan import DataError
from tests.data.formats.mutations import damage
from tests.data.formats.samples import NAMES, Sample, sample

ALLOWED = (DataError, FileNotFoundError)
PATIENCE = 10.0
"""Seconds that reading a file of some kilobytes may take."""
MEMORY = 1500 * 2**20
"""Bytes that reading a file of some kilobytes may take, at most."""


def read_all(path: Path, name: str, how: Reading) -> None:
    """Everything that this package does with a file of a scan."""
    for what in (
        lambda: prepare(_complete(measure(path, name, how))),
        lambda: frame_shape(path, name, how),
        lambda: read_product(path),
    ):
        try:
            what()
        except ALLOWED as error:
            sentence = str(error)
            if "\n" in sentence or len(sentence) > 2000:
                raise AssertionError(f"not one sentence: {sentence!r}") from error


def _complete(found: Measurement) -> Measurement:
    if found.probe is not None:
        return found
    return replace(found, probe=np.ones((1, *found.frames.shape[1:]), np.complex64))


def spoil(whole: Sample, folder: Path, dice: random.Random, *, gently: bool = False) -> str:
    """Copy a sample and damage one of its files."""
    for file in whole.files:
        shutil.copy(file, folder / file.name)
    victim = dice.choice(whole.files)
    said = damage(folder / victim.name, dice, gently=gently)
    if dice.random() < 0.05:
        said += ", and once more: " + damage(folder / victim.name, dice, gently=gently)
    return f"{victim.name}: {said}"


def moved(whole: Sample, folder: Path) -> tuple[Path, Reading]:
    """What to read, now that the files of a sample are elsewhere."""
    how = whole.how
    partner = how.positions_file and folder / how.positions_file.name
    path = folder if whole.path.is_dir() else folder / whole.path.name
    return path, replace(how, positions_file=partner)


def main(seed: int, start: int, folder: Path) -> None:
    """Read damaged files until somebody ends it."""
    warnings.simplefilter("ignore")
    faulthandler.enable()
    wholes = {}
    shutil.rmtree(folder / "whole", ignore_errors=True)
    for name in NAMES:
        (folder / "whole" / name).mkdir(parents=True)
        wholes[name] = sample(name, folder / "whole" / name)
    soft = 6 * 2**30  # of addresses; memory itself is looked at below
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    place = folder / "damaged"
    for number in range(start, sys.maxsize):
        (folder / "now").write_text(f"{number} {time.time()}")
        (folder / "now").replace(folder / "at")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        dice = random.Random(f"{seed}/{number}")
        name = NAMES[number % len(NAMES)]
        said = ""
        try:
            said = spoil(wholes[name], place, dice)
        except Exception:
            continue  # damaged twice, and the second time h5py or numpy would not open it
        chosen = name if name in FORMATS and dice.random() < 0.3 else "auto"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        path, how = moved(wholes[name], place)
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            read_all(path, chosen, how)
        except Exception:
            _tell(folder, number, name, said, traceback.format_exc())
        faulthandler.cancel_dump_traceback_later()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if after > MEMORY and after > before + 2**28:
            _tell(folder, number, name, said, f"took {after / 2**20:.0f} MiB of memory")
            return


def _tell(folder: Path, number: int, name: str, said: str, what: str) -> None:
    with (folder / "found").open("a") as file:
        line = {"number": number, "format": name, "damage": said, "what": what}
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory():
        main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
