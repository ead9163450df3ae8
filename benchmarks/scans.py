"""The scans that everything is measured on: seeded, made when first asked for, kept.

    python -m benchmarks.scans

Four simulated scans of 2,025 sub-pixel positions (45 x 45, 6 pixels apart, 1 pixel of jitter)
with the soft ring of a zone plate on 64 x 64 pixels. Any of them has two twins with the same
patterns: where the name ends in ``_wrong_probe``, the probe handed to the reconstruction is wrong,
and where it ends in ``_wrong_positions``, the positions are. The
measured scans are used where a folder ``shared/data`` lies beside the repository.
"""

import hashlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ptycho.config.config import UserError
from ptycho.data import simulate as simulator
from ptycho.data.formats.npz import read_npz, write_npz
from ptycho.data.scan import Scan
from ptycho.data.synthetic import drawings, objects, paths
from ptycho.physics import illumination
from ptycho.physics.illumination import PUPIL

ROOT = Path(__file__).parents[1]
OUTPUTS = ROOT / "outputs" / "benchmarks"
FOLDER = OUTPUTS / "scans"
SHARED = ROOT.parent / "shared" / "data"

PATTERNS = 2025
COMMON = {"patch_size": 64, "step": 6.0, "jitter": 1.0, "probe_radius": 12.0, "seed": 0}
SIMULATED: dict[str, dict[str, Any]] = {
    "chip_1e6": {"kind": "chip", "photons": 1e6},
    "chip_1e4": {"kind": "chip", "photons": 1e4},
    "natural_1e6": {"kind": "natural", "photons": 1e6},
    "dead_leaves_1e5": {"kind": "dead_leaves", "photons": 1e5},
}
WRONG, WRONG_POSITIONS = "_wrong_probe", "_wrong_positions"
TWINS = WRONG, WRONG_POSITIONS
MEASURED = {
    "siemens_star": "siemens_star_aps_n128.npz",
    "gold_balls": "gold_balls_als_n128.npz",
}
TRUTH_IS_KNOWN = {"gold_balls"}  # a measured object and probe, their patterns simulated again

RADIUS_ERROR, PUPIL_ERROR, TILT, NOISE = 1.25, 1.1, 0.25, 0.1
SCATTER, SCALE_ERROR = 1.0, 0.01


def names() -> list[str]:
    """Every scan that is measured on here; of the twins, that of the first scan only."""
    here = [name for name, file in MEASURED.items() if (SHARED / file).is_file()]
    first = next(iter(SIMULATED))
    return [*SIMULATED, *(f"{first}{twin}" for twin in TWINS), *here]


def twins() -> set[str]:
    """Every twin that there can be."""
    return {f"{name}{twin}" for name in SIMULATED for twin in TWINS}


def original(name: str) -> str:
    """The scan that a twin has its patterns from; any other name as it is."""
    for twin in TWINS:
        name = name.removesuffix(twin)
    return name


def load(name: str, *, patterns: int = PATTERNS, folder: Path = FOLDER) -> Scan:
    """The scan of a name, see :func:`get`."""
    scan = read_npz(get(name, patterns=patterns, folder=folder), label=name)
    return replace(scan, truth_is_known=scan.truth_is_known or name in TRUTH_IS_KNOWN)


def get(name: str, *, patterns: int = PATTERNS, folder: Path = FOLDER) -> Path:
    """The file of a scan, made if it is not there yet.

    Args:
        name: one of :func:`names` or :func:`twins`.
        patterns: of a simulated scan; whole rows are made.
        folder: where simulated scans are kept, as ``NAME-HASH.npz``. The hash covers the
            arguments and the source text of the simulator.

    Raises:
        UserError: there is no such scan, or not here.
    """
    if name in MEASURED:
        return _measured(name)
    base = original(name)
    if name not in {*SIMULATED, *twins()}:
        raise UserError(f"There is no scan {name!r}; there are {', '.join(names())}.")
    arguments = COMMON | SIMULATED[base] | {"n_patterns": patterns}
    path = folder / f"{name}-{_hash(name, arguments)}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        scan = simulator.simulate(**arguments, label=name)
        if name.endswith(WRONG):
            scan = with_wrong_probe(scan)
        elif name.endswith(WRONG_POSITIONS):
            scan = with_wrong_positions(scan)
        write_npz(path, scan)
    return path


def with_wrong_probe(scan: Scan) -> Scan:
    """The twin of a simulated scan: the same patterns, another probe at hand.

    Its beam is 1.25 times as wide and its pupil 1.1 times as large, it is tilted by a quarter
    of a detector pixel along y (a phase ramp of a quarter turn across the patch) and carries
    complex white noise of a tenth of its own norm.
    """
    size = scan.patch_size
    radius = RADIUS_ERROR * COMMON["probe_radius"]
    probe = simulator.zone_plate_probe(size, radius, PUPIL_ERROR * PUPIL)
    rows = np.arange(size)[:, None] - size // 2
    tilted = probe * np.exp(2j * np.pi * TILT * rows / size)
    real, imaginary = np.random.default_rng(1).normal(size=(2, size, size))
    noise = real + 1j * imaginary
    wrong = tilted / norm(tilted) + NOISE * noise / norm(noise)
    wrong *= norm(scan.probe) / norm(wrong)
    return replace(scan, probe=wrong[None].astype(np.complex64))


def with_wrong_positions(scan: Scan) -> Scan:
    """The twin of a simulated scan: the same patterns, other positions at hand.

    Each is off by white noise of a pixel along each axis, and all distances are 1 % too long.
    """
    scatter = np.random.default_rng(2).normal(0, SCATTER, scan.positions.shape)
    centre = scan.positions.mean(0)
    wrong = centre + (1 + SCALE_ERROR) * (scan.positions - centre) + scatter
    return replace(scan, positions=wrong)


def norm(field: NDArray[Any]) -> float:
    """Euclidean norm."""
    return float(np.linalg.norm(field))


def _measured(name: str) -> Path:
    path = SHARED / MEASURED[name]
    if not path.is_file():
        raise UserError(f"The measured scan {name!r} is not here: no file {path}.")
    return path


def _hash(name: str, arguments: dict[str, Any]) -> str:
    text = json.dumps(arguments, sort_keys=True)
    text += "".join(map(inspect.getsource, (simulator, drawings, objects, paths, illumination)))
    if name.endswith(WRONG):
        constants = (RADIUS_ERROR, PUPIL_ERROR, TILT, NOISE)
        text += inspect.getsource(with_wrong_probe) + repr(constants)
    if name.endswith(WRONG_POSITIONS):
        text += inspect.getsource(with_wrong_positions) + repr((SCATTER, SCALE_ERROR))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def main() -> None:
    """Make all scans and list them."""
    table = Table("scan", "patterns", "N", "modes", "photons", "truth", "file", box=None)
    for name in names():
        scan = load(name)
        table.add_row(
            name, f"{len(scan):,}", str(scan.patch_size), str(len(scan.probe)),
            f"{scan.photons:.3g}", "known" if scan.truth_is_known else "unknown", get(name).name,
        )  # fmt: skip
    terminal = Console(soft_wrap=True)
    terminal.print(table)
    terminal.print(f"simulated ones in {FOLDER}", markup=False)


if __name__ == "__main__":
    main()
