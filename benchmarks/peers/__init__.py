"""Other packages on the same scans, each in an environment of its own.

``make bench-peers`` builds the environments; the scripts ``run_*.py`` are executed by them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import FailedError, Watch, execute

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-peers"


@dataclass(frozen=True)
class Peer:
    """A package and how it is run here."""

    name: str
    package: str
    """Names its script, its requirements and its environment."""
    title: str
    """For figures and tables."""
    known: dict[str, Any]
    """Settings when the probe is known."""
    unknown: dict[str, Any]
    """Settings that differ when the probe is optimised as well."""
    words: str
    """The same for people, and what else was tried."""
    least_python: tuple[int, int] = (3, 11)

    @property
    def script(self) -> Path:
        """What the package's own Python executes."""
        return HERE / f"run_{self.package}.py"

    @property
    def requirements(self) -> Path:
        """Exact versions."""
        return HERE / f"{self.package}.txt"

    @property
    def environment(self) -> Path:
        """Its virtual environment."""
        return ENVIRONMENTS / self.package

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.environment / "bin" / "python"

    def settings(self, fit_probe: bool) -> dict[str, Any]:
        """What the script is given."""
        return self.known | self.unknown if fit_probe else self.known


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "ptychi",
            "ptychi",
            "pty-chi LSQML",
            {
                "batch_size": 300, "batching": "UNIFORM", "momentum": 0.0, "noise": "GAUSSIAN",
                "step": 1.0,
            },
            {},
            "LSQML with the steps of its own examples and uniform batches (the sparse ones of "
            "PtychoShelves). Also tried: compact batches of 48, 96 and 300 with momentum 0.5, as "
            "its examples have them (25 dB only after 16 CPU s, half a decibel better after 60), "
            "uniform ones of 24, 48, 96 and 700, random ones of 12, 24 and 96, half steps, steps "
            "that decay, patches padded before they are shifted, the Poisson noise model: all "
            "within 28 to 31 dB after 40 CPU s.",
        ),
        Peer(
            "cdtools",
            "cdtools",
            "cdtools Adam",
            {
                "loss": "amplitude mse",
                "stages": [
                    {"epochs": 3, "lr": 0.02, "batch_size": 20},
                    {"epochs": 10, "lr": 0.005, "batch_size": 50},
                    {"epochs": 100_000, "lr": 0.002, "batch_size": 50},
                ],
            },
            {},
            "FancyPtycho with Adam in stages, as its example begins with 0.02 and polishes with "
            "0.005 in larger batches; weights, background and positions are known and fixed. Also "
            "tried: 0.005 throughout in batches of 10 and 50, 0.01 in batches of 20, 0.02 in "
            "batches of 10 and 50 (30 dB sooner, but 1 to 10 dB less in the end), stages that "
            "begin with batches of 10 or 50, and the Poisson loss (27 dB after 40 CPU s).",
        ),
        Peer(
            "ptyrad",
            "ptyrad",
            "PtyRAD Adam",
            {
                "batch_size": 32, "grouping": "random", "object_lr": 2e-2,
                "scheduler": {"name": "ExponentialLR", "configs": {"gamma": 0.95}},
            },
            {"probe_lr": 1e-2},
            "Adam on its normalised amplitude error in batches of 32, the rate falling by 5 % an "
            "iteration; constraints meant for electrons are off. Its own rate of 5e-4 gives 20 dB "
            "after 20 CPU s. Also tried: 2e-3, 5e-3 and 1e-2, constant and falling by 3, 5 and "
            "10 %, batches of 16 and 64, sparse groups (alike). For a wrong probe: 1e-3 and 1e-2.",
            least_python=(3, 12),
        ),
        Peer(
            "ptyrad_poisson",
            "ptyrad",
            "PtyRAD Adam, Poisson",
            {
                "batch_size": 32, "grouping": "random", "object_lr": 2e-2,
                "scheduler": {"name": "ExponentialLR", "configs": {"gamma": 0.97}},
                "loss": {"loss_single": {"state": False}, "loss_poissn": {"state": True}},
            },
            {"probe_lr": 1e-2},
            "The same with its Poisson loss, which its documentation has for low doses: slower at "
            "first and better in the end. The rate falls by 3 % an iteration; also tried: 4 and "
            "5 %, a rate of 5e-3, both losses together (like the amplitude error alone).",
            least_python=(3, 12),
        ),
    )
}  # fmt: skip


PACKAGES = {peer.package: peer for peer in PEERS.values()}
"""A peer for every environment."""


def run(
    peer: Peer, scan: Path, folder: Path, budget: float, fit_probe: bool, watch: Watch | None = None
) -> None:
    """Let a peer reconstruct a scan.

    Args:
        peer: which.
        scan: file that ptycho wrote.
        folder: where its snapshots go.
        budget: CPU seconds of reconstruction.
        fit_probe: whether the probe is to be optimised as well.
        watch: called with the CPU seconds of the newest snapshot while it runs.

    Raises:
        FailedError: it is not built or did not do it, with the reason in a sentence.
    """
    if not peer.python.is_file():
        raise FailedError("not built; run `make bench-peers`")
    command = [
        str(peer.python), str(peer.script), "--scan", str(scan), "--out", str(folder),
        "--budget", str(budget), "--settings", json.dumps(peer.settings(fit_probe)),
        *(["--fit-probe"] if fit_probe else []),
    ]  # fmt: skip
    # a busy machine gives a process half a core or less; a hung one is stopped at last
    execute(command, folder, limit=10 * budget + 300, watch=watch)
