import json
import subprocess
from pathlib import Path

import pytest

from tests.workflows.test_train import command, surroundings


@pytest.mark.parametrize("model", ["object_pinn", pytest.param("pinn", marks=pytest.mark.slow)])
def test_two_processes_train_into_one_folder(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "runs" / "run"
    words = command(
        folder,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.nepochs=2",
        f"model={model}",
    )
    done = subprocess.run(
        words, env=surroundings(), cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert [one.name for one in folder.parent.iterdir()] == ["run"]
    assert not (tmp_path / "outputs").exists()
    assert (folder / "wts.h5.zip").is_file()
    # 4 tiles an epoch, 2 for each process
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["step", "2", "4"]
    assert done.stdout.count("lift ") <= 2, "both processes reported"


@pytest.mark.slow
def test_two_processes_share_several_scans_and_adapt(tmp_path: Path) -> None:
    both = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    trained, adapted = tmp_path / "trained", tmp_path / "adapted"
    several = [*both, "data.synthetic.n_objects=3", "data.synthetic.object=mixed"]
    bundle = f"bundle={trained / 'wts.h5.zip'}"
    moving = ["task=adapt", bundle, "trainer.nepochs=50", "adapt.epochs=2", "data.synthetic.seed=4"]
    for folder, words in ((trained, several), (adapted, [*both, *moving])):
        done = subprocess.run(
            command(folder, *words), env=surroundings(), cwd=tmp_path, capture_output=True,
            text=True, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    # 12 tiles of all scans an epoch, then 4 of the one; half for each process
    for folder, steps in ((trained, ["step", "6", "12"]), (adapted, ["step", "2", "4"])):
        rows = (folder / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[1] for row in rows] == steps
