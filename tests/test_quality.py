"""The quality reached on a small fixed set, kept in ``quality.json``: losing it is a defect.

    python -m tests.test_quality        # writes the file anew, after a deliberate change

Whole runs by the default settings, no times. With one thread and with two, the figures agreed to
four digits; other processors round differently. The tolerances are less than what the
solver loses by one full-resolution iteration fewer (0.3 dB on the chip), and far below what it
loses by a single subset (2.6 dB), without the Poisson finish or without the help for low
frequencies (5 dB each).
"""

import json
import tempfile
from pathlib import Path

import pytest

from ptycho.config.choices import LoggerBackend, SyntheticObject, Task
from ptycho.config.config import RunConfig
from ptycho.report.metrics import FLOORS, Figures
from ptycho.workflows.launch import launch

KEPT = Path(__file__).with_name("quality.json")

TOLERANCES = {
    "phase_psnr": 0.2, "amplitude_psnr": 0.2, "phase_ssim": 0.01, "amplitude_ssim": 0.02,
    "frc_area": 0.01, "C": 0.003, "R": 0.001, "deviance": 0.005,
}  # fmt: skip
"""How far a figure may lie from the one kept. Better is refused, too: keep the better one."""

LOOSE = 4.0
"""The network's are wider: a short training also amplifies rounding."""

SCANS = {
    "chip 1e6": (SyntheticObject.chip, 1e6),
    "natural 1e5": (SyntheticObject.natural, 1e5),
    "dead leaves 1e4": (SyntheticObject.dead_leaves, 1e4),
}


def reached(name: str) -> dict[str, Figures]:
    """Figures of every stage of a run on one of the scans."""
    run = RunConfig()
    run.data.synthetic.object, run.data.nphotons = SCANS[name]
    run.data.synthetic.n_patterns, run.model.N = 225, 64
    run.task = Task.train if name.startswith("natural") else Task.solve
    run.trainer.nepochs, run.trainer.batch_size = 20, 54
    run.execution.enable_progress_bar = False
    run.execution.enable_checkpointing = False
    run.logger.backend = LoggerBackend.none
    with tempfile.TemporaryDirectory() as folder:
        launch(run, Path(folder) / "run", [])
        rows = json.loads((Path(folder) / "run" / "metrics.json").read_text())["stages"]
    return {
        stage: {figure: row[figure] for figure in TOLERANCES}
        for stage, row in rows.items()
        if stage not in FLOORS
    }


@pytest.mark.parametrize("name", SCANS)
def test_quality_is_kept(name: str) -> None:
    kept = json.loads(KEPT.read_text())[name]
    found = reached(name)
    assert found.keys() == kept.keys()
    for stage, row in found.items():
        for figure, value in row.items():
            tolerance = TOLERANCES[figure] * (LOOSE if stage == "network" else 1)
            assert value == pytest.approx(kept[stage][figure], abs=tolerance), f"{stage}: {figure}"


def _keep() -> None:
    rows = {name: reached(name) for name in SCANS}
    rounded = {
        name: {
            stage: {figure: round(value, 4) for figure, value in row.items()}
            for stage, row in stages.items()
        }
        for name, stages in rows.items()
    }
    KEPT.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _keep()
