"""Learning from labels: the known object, or what the solver makes of the same patterns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.config.config import RunConfig, UserError
from ptycho.config.validate import faults
from ptycho.data.formats.npz import write_npz
from ptycho.nn.object_net import ObjectNet
from ptycho.physics.agreement import absolute_difference, squared_difference
from ptycho.training.module import ObjectTraining
from ptycho.workflows import build, lessons, patch_train, stages
from ptycho.workflows.lessons import tiles
from tests.runs import (
    launched,
    lifted,
    quiet,
    session_of,
    tiny_problem,
    tiny_run,
    tiny_scan,
)

PATCHES: dict[str, Any] = {"model__architecture": "supervised"}
LABELLED = {"trainer__nll_weight": 0.0, "trainer__realspace_weight": 1.0}


def labelled(**changes: Any) -> RunConfig:
    run = tiny_run(**LABELLED | changes)
    assert not faults(run)
    return run


def label_of(run: RunConfig, folder: Path, **scan: Any) -> torch.Tensor | None:
    with session_of(run, folder) as opened:
        return lessons.label(opened, tiny_problem(**scan))


def test_the_solvers_label_is_what_it_solves(tmp_path: Path) -> None:
    run = labelled(data__labels="solver", solver__iterations=4)
    problem = tiny_problem()
    with quiet() as bars:
        solved = stages.solve(problem, run.solver, build.make_recipe(run.solver), bars)
    found = label_of(run, tmp_path / "run")
    assert found is not None
    assert torch.equal(found, solved)


def test_a_simulated_object_is_its_own_label(tmp_path: Path) -> None:
    problem = tiny_problem()
    for kind in ("auto", "objectGuess"):
        found = label_of(labelled(data__labels=kind), tmp_path / kind)
        assert found is not None
        np.testing.assert_array_equal(found.numpy(), problem.reconstruction([]).truth)


def test_no_weight_no_label(tmp_path: Path) -> None:
    run = tiny_run()
    assert not faults(run)
    assert label_of(run, tmp_path / "run") is None


def test_the_loss_is_the_distance_to_the_label() -> None:
    problem, first = tiny_problem(), lifted(tiny_problem())
    truth = problem.reconstruction([]).truth
    assert truth is not None
    batch = tiles(problem, first, 16, torch.from_numpy(truth))[np.arange(20, 36)]
    assert batch.label is not None
    assert batch.label.shape == batch.obj.shape
    module = ObjectTraining(
        ObjectNet(), problem.experiment, None, max, label_weights=(2.0, 3.0)
    )  # fmt: skip
    module.log = lambda *_, **__: None
    module._trainer = type("T", (), {"world_size": 1})()
    lit = batch.lit
    what = batch.obj[lit][None], batch.label[lit][None], (batch.light[lit] > 0.1).float()
    squared, absolute = squared_difference(*what), absolute_difference(*what)
    assert float(module.training_step(batch, 0).detach()) == pytest.approx(
        float(2 * squared + 3 * absolute)
    )


@pytest.mark.parametrize("kind", ["solver", "objectGuess"])
def test_labels_alone_teach(tmp_path: Path, kind: str) -> None:
    folder = launched(
        tmp_path / "run", data__labels=kind, trainer__nepochs=15, trainer__learning_rate=3e-3,
        refine__iterations=0, refine__poisson_iterations=0, model__lift_coarse_iterations=1,
        **LABELLED,
    )  # fmt: skip
    rows = json.loads((folder / "metrics.json").read_text())["stages"]
    assert rows["network"]["phase_psnr"] > rows["lift"]["phase_psnr"] + 2


def test_labels_and_patterns_together_lead_elsewhere(tmp_path: Path) -> None:
    found = [
        np.load(launched(tmp_path / f"{weight}", **common) / "reconstruction.npz")["object"]
        for weight in (0.0, 1.0)
        for common in [LABELLED | {"trainer__nll_weight": weight}]
    ]
    assert not np.array_equal(*found)


def test_further_scans_bring_labels_of_their_own(tmp_path: Path) -> None:
    run = labelled(data__labels="solver", data__synthetic__n_objects=2)
    with session_of(run, tmp_path / "run") as opened:
        (lesson,) = lessons.further(opened, build.make_recipe(run.solver))
    assert lesson.cut.label is not None
    assert lesson.cut.label.shape == lesson.cut.lifted.obj.shape


def test_without_the_object_one_sentence_says_what_to_type(tmp_path: Path) -> None:
    write_npz(tmp_path / "scan.npz", replace(tiny_scan(), truth=None, truth_is_known=False))
    from_file: dict[str, Any] = {
        "data__source": "file", "data__train_data_file": str(tmp_path / "scan.npz"),
        "data__nphotons": None, "data__synthetic__n_patterns": 1600, "data__synthetic__step": 6.0,
        "data__synthetic__probe_radius": 12.0,
    }  # fmt: skip
    with pytest.raises(UserError, match=r"data\.labels=auto needs an objectGuess .*labels=solver"):
        launched(tmp_path / "run", **from_file, **LABELLED)
    assert not (tmp_path / "run" / "wts.h5.zip").exists()
    folder = launched(tmp_path / "solver", **from_file, **LABELLED, data__labels="solver")
    assert (folder / "wts.h5.zip").exists()


@pytest.mark.parametrize(
    ("changes", "file", "words"),
    [
        ({}, None, "the true object of the simulation"),
        ({"data__labels": "solver"}, None, "the solver's own solution"),
        ({}, {"truth_is_known": False}, "objectGuess of the file, which is an estimate"),
        ({}, {"truth_is_known": True}, "objectGuess of the file, the true object by its _metadata"),
        (PATCHES, {}, "objectGuess of the file, the true object by its _metadata"),
        (PATCHES, {"patches": True}, "Y of the file"),
        (PATCHES | {"data__labels": "objectGuess"}, {"patches": True}, "objectGuess of the file"),
        ({"trainer__realspace_weight": 0.0, "trainer__nll_weight": 1.0}, None, None),
    ],
)
def test_where_labels_came_from_is_printed_and_kept(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    file: dict[str, Any] | None,
    words: str | None,
) -> None:
    settings: dict[str, Any] = {"trainer__nepochs": 1}
    if file is not None:
        file = dict(file)
        has_patches = file.pop("patches", False)
        path = tmp_path / "scan.npz"
        write_npz(path, replace(tiny_scan(), **file))
        if has_patches:
            arrays = dict(np.load(path, allow_pickle=False))
            np.savez(path, **arrays, Y=np.ones((64, 32, 32), np.complex64))
        settings |= {
            "data__source": "file", "data__train_data_file": str(path), "data__nphotons": None,
            "data__synthetic__n_patterns": 1600, "data__synthetic__step": 6.0,
            "data__synthetic__probe_radius": 12.0,
        }  # fmt: skip
    folder = launched(tmp_path / "run", **settings, **LABELLED | changes)
    kept = json.loads((folder / "env.json").read_text())["data"]["labels"]
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("labels: ")]
    if words is None:
        assert kept is None
        assert not printed
    else:
        assert kept.startswith(words)
        assert len(printed) == 1
        assert printed == [f"labels: {kept}"]


@pytest.mark.parametrize("angle", [0.7, 3.0])
def test_global_phase_of_the_label_changes_nothing(angle: float) -> None:
    problem, first = tiny_problem(), lifted(tiny_problem())
    truth = torch.from_numpy(problem.reconstruction([]).truth)
    found = []
    for label in (truth, truth * complex(np.cos(angle), np.sin(angle))):
        batch = tiles(problem, first, 16, label)[np.arange(20, 36)]
        module = ObjectTraining(
            build.make_network(tiny_run().model), problem.experiment, None, max,
            label_weights=(1.0, 1.0),
        )  # fmt: skip
        module.log = lambda *_, **__: None
        module._trainer = type("T", (), {"world_size": 1})()
        found.append(float(module.training_step(batch, 0).detach()))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("architecture", ["object_pinn", "supervised"])
def test_the_solver_makes_labels_without_what_is_held_out(
    tmp_path: Path, architecture: str
) -> None:
    scan, found = tiny_scan(), []
    weights = {"nll_weight": 0.0, "tv_weight": 0.0, "realspace_weight": 1.0}
    run = tiny_run(
        model__architecture=architecture, data__labels="solver",
        **{f"trainer__{name}": value for name, value in weights.items()},
    )  # fmt: skip
    for name in ("as it is", "spoilt"):
        with session_of(run, tmp_path / name) as opened:
            problem = opened.pose(scan)
            if architecture == "object_pinn":
                found.append(lessons.label(opened, problem))
            else:
                labels = patch_train.batches_of(opened, problem).labels
                assert labels is not None
                found.append(labels.source)
        assert len(problem.held_out)
        amplitude = scan.amplitude.copy()
        amplitude[problem.held_out] = amplitude[problem.held_out].mean()
        scan = replace(scan, amplitude=amplitude)
    assert found[0] is not None
    assert torch.equal(found[0], found[1])
