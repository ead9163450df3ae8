"""Getting a trained network used to a new scan."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.config.config import ConfigError, RunConfig, UserError
from ptycho.report.bundle import BundleError, load_bundle, save_bundle
from ptycho.training.callbacks import CollapseError
from ptycho.training.module import ObjectTraining
from ptycho.workflows.launch import launch
from tests.runs import launched, tiny_run

USUAL = RunConfig().trainer.nepochs
UNSEEN = {"data__synthetic__seed": 5, "data__synthetic__object": "dead_leaves"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose lift is not the usual one."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return launched(folder, solver__cap=5.0, model__lift_coarse_iterations=1)


def adapted(folder: Path, bundle: Path, **changes: Any) -> Path:
    common: dict[str, Any] = {
        "task": "adapt", "bundle": str(bundle / "wts.h5.zip"), "trainer__nepochs": USUAL,
        "adapt__epochs": 20, "adapt__learning_rate": 3e-3, "model__lift_coarse_iterations": 6,
    }  # fmt: skip
    return launched(folder, **common | UNSEEN | changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    return adapted(tmp_path_factory.mktemp("adapted") / "run", trained)


def metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def state(folder: Path) -> str:
    return str(json.loads((folder / "status.json").read_text())["state"])


def test_network_before_and_after_stand_side_by_side(run: Path) -> None:
    stages = metrics(run)["stages"]
    assert list(stages) == ["lift", "network", "adapted", "refined", "flat", "noise"]
    assert stages["adapted"]["seconds"] > stages["network"]["seconds"]
    assert stages["adapted"]["C"] != stages["network"]["C"]
    assert metrics(run)["training"]["epochs"] == 20
    assert state(run) == "finished"


def test_before_is_what_reconstructing_gives(run: Path, trained: Path, tmp_path: Path) -> None:
    plain = launched(
        tmp_path / "run", task="reconstruct", bundle=str(trained / "wts.h5.zip"),
        model__lift_coarse_iterations=6, **UNSEEN,
    )  # fmt: skip
    mine, its = (metrics(folder)["stages"]["network"] for folder in (run, plain))
    assert mine | {"seconds": 0} == its | {"seconds": 0}


def test_learning_goes_on_from_trained_weights(run: Path, trained: Path, tmp_path: Path) -> None:
    still = adapted(
        tmp_path / "run", trained, adapt__learning_rate=1e-12, adapt__epochs=1,
        data__holdout_fraction=0.0,
    )  # fmt: skip
    before, after, moved = (
        load_bundle(folder / "wts.h5.zip").weights for folder in (trained, still, run)
    )
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, atol=1e-9, rtol=1e-6)
    assert not all(torch.allclose(moved[name], before[name]) for name in before)


def test_the_patterns_fit_better_afterwards(run: Path) -> None:
    stages, training = metrics(run)["stages"], metrics(run)["training"]
    assert stages["adapted"]["deviance"] < 0.9 * stages["network"]["deviance"]
    found, kept = training["held_out_deviance"], training["kept_epoch"]
    assert len(found) == 21
    assert found[kept] == min(found)
    # the table fits the overall scale to all patterns, not to the few held out
    assert found[0] == pytest.approx(stages["network"]["deviance"], rel=0.05)
    assert found[kept] == pytest.approx(stages["adapted"]["deviance"], rel=0.05)


def test_what_was_kept_is_told_in_the_figures_of_the_table(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = adapted(tmp_path / "run", trained)
    stages, epoch = metrics(folder)["stages"], metrics(folder)["training"]["kept_epoch"]
    assert epoch > 0
    before, after = (f"{stages[name]['deviance']:.3f}" for name in ("network", "adapted"))
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"the weights after epoch {epoch} were kept: "
        f"held-out deviance {before} before, {after} after" in said
    )


def test_what_does_not_help_is_not_kept(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = adapted(tmp_path / "run", trained, adapt__epochs=1, adapt__learning_rate=1e-6)
    content = metrics(folder)
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing was kept, adapted is network" in said
    assert content["training"]["kept_epoch"] == 0
    before, after = (content["stages"][name] | {"seconds": 0} for name in ("network", "adapted"))
    assert before == after
    weights = [load_bundle(one / "wts.h5.zip").weights for one in (trained, folder)]
    for name, weight in weights[0].items():
        assert torch.equal(weights[1][name], weight)


def test_without_patterns_held_out_the_loss_decides(trained: Path, tmp_path: Path) -> None:
    folder = adapted(tmp_path / "run", trained, data__holdout_fraction=0.0, adapt__epochs=2)
    content = metrics(folder)
    assert "kept_epoch" not in content["training"]
    assert content["stages"]["adapted"]["R"] != content["stages"]["network"]["R"]


def test_a_weight_for_staying_keeps_the_answer(trained: Path, tmp_path: Path) -> None:
    unrefined = {"refine__iterations": 0, "data__holdout_fraction": 0.0}

    def answer(name: str, **changes: Any) -> np.ndarray:
        folder = adapted(tmp_path / name, trained, **unrefined, **changes)
        with np.load(folder / "reconstruction.npz") as saved:
            return np.asarray(saved["object"])

    before = answer("before", adapt__learning_rate=1e-12, adapt__epochs=1)
    free, held = (
        answer(f"{weight}", adapt__stay_weight=weight, adapt__learning_rate=5e-4)
        for weight in (0.0, 10.0)
    )
    assert np.abs(held - before).mean() < 0.7 * np.abs(free - before).mean()


def test_reconstructing_with_the_new_bundle_gives_the_adapted_object(
    run: Path, tmp_path: Path
) -> None:
    again = launched(
        tmp_path / "run", task="reconstruct", bundle=str(run / "wts.h5.zip"),
        model__lift_coarse_iterations=6, **UNSEEN,
    )  # fmt: skip
    with np.load(run / "reconstruction.npz") as mine, np.load(again / "reconstruction.npz") as its:
        assert np.array_equal(mine["object"], its["object"])


def test_same_settings_same_bits(run: Path, trained: Path, tmp_path: Path) -> None:
    again = adapted(tmp_path / "run", trained)
    with np.load(run / "reconstruction.npz") as mine, np.load(again / "reconstruction.npz") as its:
        assert np.array_equal(mine["object"], its["object"])


def test_a_learned_scale_goes_on(trained: Path, tmp_path: Path) -> None:
    bundle = load_bundle(trained / "wts.h5.zip")
    brighter = replace(bundle, params=bundle.params | {"intensity_gain": 1.5})
    (tmp_path / "brighter").mkdir()
    save_bundle(tmp_path / "brighter" / "wts.h5.zip", brighter)
    same, learnt = (
        adapted(tmp_path / name, tmp_path / "brighter", adapt__epochs=2, **changes)
        for name, changes in {
            "same": {},
            "learnt": {
                "trainer__intensity_scale_trainable": True,
                "data__holdout_fraction": 0.0,
            },
        }.items()
    )
    gains = [load_bundle(one / "wts.h5.zip").params["intensity_gain"] for one in (same, learnt)]
    assert gains[0] == 1.5
    assert gains[1] != 1.5
    assert gains[1] == pytest.approx(1.5, rel=0.2)
    for name, folder in {"again": same, "learnt_again": learnt}.items():
        with_new = launched(
            tmp_path / name, task="reconstruct", bundle=str(folder / "wts.h5.zip"), **UNSEEN,
            data__holdout_fraction=0.0 if folder is learnt else 0.05,
            model__lift_coarse_iterations=6,
        )  # fmt: skip
        with (
            np.load(folder / "reconstruction.npz") as mine,
            np.load(with_new / "reconstruction.npz") as its,
        ):
            np.testing.assert_allclose(mine["probe"], its["probe"], rtol=1e-5)


def test_new_bundle_remembers_the_first_scan(run: Path, trained: Path) -> None:
    mine, before = (load_bundle(folder / "wts.h5.zip").params for folder in (run, trained))
    assert mine["data_sha256"] != before["data_sha256"]
    assert mine["also_seen"] == {before["data_sha256"]: before["held_out"]}
    assert mine["intensity_scale"] != before["intensity_scale"]


def test_nothing_it_was_trained_on_is_held_out(trained: Path, tmp_path: Path) -> None:
    same_scan: dict[str, Any] = {"data__synthetic__seed": 0, "data__synthetic__object": "natural"}
    folder = adapted(tmp_path / "run", trained, **same_scan, data__holdout_fraction=0.3)
    before = load_bundle(trained / "wts.h5.zip").params["held_out"]
    assert load_bundle(folder / "wts.h5.zip").params["held_out"] == before


def test_collapse_names_the_right_setting(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CollapseError, match=r"Lower adapt\.learning_rate"):
        adapted(tmp_path / "run", trained, adapt__learning_rate=1.0, adapt__epochs=9)
    assert state(tmp_path / "run") == "failed"
    assert not (tmp_path / "run" / "wts.h5.zip").exists()


def test_interruption_is_recorded(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ObjectTraining, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adapted(tmp_path / "run", trained)
    assert state(tmp_path / "run") == "interrupted"
    assert not (tmp_path / "run" / "wts.h5.zip").exists()


def test_no_bundle_no_run(tmp_path: Path) -> None:
    run = tiny_run(task="adapt", bundle=str(tmp_path / "none"), trainer__nepochs=USUAL)
    with pytest.raises(ConfigError, match="bundle: no such file or folder"):
        launch(run, tmp_path / "run", [])
    assert not (tmp_path / "run").exists()


def test_a_damaged_bundle_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "wts.h5.zip").write_bytes((trained / "wts.h5.zip").read_bytes()[:999])
    with pytest.raises(BundleError, match="is not a readable bundle"):
        adapted(tmp_path / "run", tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_patch_network_is_refused(tmp_path: Path, trained: Path) -> None:
    bundle = load_bundle(trained / "wts.h5.zip")
    config = bundle.config | {"model": bundle.config["model"] | {"architecture": "pinn"}}
    save_bundle(tmp_path / "wts.h5.zip", replace(bundle, config=config))
    with pytest.raises(UserError, match=r"predicts patches \(pinn\); use task=reconstruct"):
        adapted(tmp_path / "run", tmp_path)
    assert not (tmp_path / "run").exists()
