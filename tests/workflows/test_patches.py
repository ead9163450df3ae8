"""Networks that predict patches, through whole runs."""

import json
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ptycho.config.config import UserError
from ptycho.data.formats.npz import write_npz
from ptycho.data.patch_batches import PatchBatch
from ptycho.data.scan import Scan
from ptycho.physics.patches import extract_patches, split_positions
from ptycho.report.bundle import BundleError, load_bundle, save_bundle
from ptycho.training.callbacks import CollapseError
from ptycho.training.objective import Objective
from ptycho.training.patch_module import PatchTraining
from ptycho.training.predictor import PatchPredictor
from ptycho.workflows import build, patch_train, patches
from ptycho.workflows.launch import launch
from ptycho.workflows.problem import with_masked_probe
from ptycho.workflows.reconstruct import network_on
from tests.runs import CPU, draw_nothing, launched, session_of, tiny_problem, tiny_run, tiny_scan
from tests.workflows.test_losses import from_file, stages
from tests.workflows.test_train import arrays, checkpoints, epochs, same, state

PINN: dict[str, Any] = {"model__architecture": "pinn", "trainer__tv_weight": 0.0}
UNREFINED: dict[str, Any] = {"refine__iterations": 0, "refine__poisson_iterations": 0}
SUPERVISED: dict[str, Any] = {
    "model__architecture": "supervised", "trainer__nll_weight": 0, "trainer__realspace_weight": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be looked at by many."""
    torch.set_num_threads(1)
    return launched(tmp_path_factory.mktemp("patches") / "run", trainer__nepochs=3, **PINN)


def losses(folder: Path) -> list[float]:
    return [float(row["train/loss"]) for row in epochs(folder)]


def test_it_leaves_what_every_training_leaves(run: Path) -> None:
    assert state(run)["state"] == "finished"
    assert list(stages(run)) == ["lift", "network", "refined", "flat", "noise"]
    assert stages(run)["refined"]["C"] > 0.5
    assert len(checkpoints(run)) == 2
    assert len(epochs(run)) == 3
    bundle = load_bundle(run / "wts.h5.zip")
    assert bundle.config["model"]["architecture"] == "pinn"
    assert bundle.params["tile"] == [32, 32]


def test_a_bundle_reconstructs_the_same_bits(run: Path, tmp_path: Path) -> None:
    again = launched(tmp_path / "run", task="reconstruct", bundle=str(run / "wts.h5.zip"))
    assert same(run / "reconstruction.npz", again / "reconstruction.npz")


def test_same_settings_same_bits(run: Path, tmp_path: Path) -> None:
    again = launched(tmp_path / "run", trainer__nepochs=3, **PINN)
    assert same(run / "reconstruction.npz", again / "reconstruction.npz")


def test_weights_of_another_network_are_refused(run: Path, tmp_path: Path) -> None:
    bundle = load_bundle(run / "wts.h5.zip")
    bundle.config["model"]["generator"] = "cnn"
    save_bundle(tmp_path / "wts.h5.zip", bundle)
    with pytest.raises(BundleError, match=r"model\.architecture=pinn with model\.generator=cnn"):
        launched(tmp_path / "run", task="reconstruct", bundle=str(tmp_path / "wts.h5.zip"))


LEARNS: dict[str, dict[str, Any]] = {
    "lifted on a canvas": {},
    "one canvas, all predicted": {"model__canvas_patterns": 16, "model__predicted_share": 1.0},
    "amplitude alone": {"model__patch_input": "amplitude"},
    "groups of four": {"model__gridsize": 2, "model__overlap": "group"},
    "groups on a canvas": {"model__gridsize": 2, "data__neighbor_count": 7},
    "every patch alone": {"model__overlap": "none"},
    "real and imaginary": {"model__output": "real_imag"},
    "the centre alone": {"model__probe_big": False},
    "amplitude error": {"trainer__torch_loss_mode": "amplitude"},
    "oversampled": {
        "model__gridsize": 2, "model__overlap": "group", "data__neighbor_count": 6,
        "data__n_groups": 80, "data__enable_oversampling": True,
    },
    "fourier": {"model__generator": "fno"},
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNS)
def test_every_layout_learns(name: str, tmp_path: Path) -> None:
    folder = launched(
        tmp_path / "run", trainer__nepochs=8, trainer__learning_rate=2e-3, **PINN, **LEARNS[name]
    )
    found = losses(folder)
    assert found[-1] < 0.9 * found[0]
    rows = stages(folder)
    assert rows["network"]["C"] > 0.1
    assert ("lift" in rows) == (name != "amplitude alone")


def test_a_second_scan_and_pictures(tmp_path: Path) -> None:
    second = replace(tiny_scan(seed=5, kind="dead_leaves", probe_radius=5.0), label="second")
    write_npz(tmp_path / "second.npz", second)
    folder = launched(
        tmp_path / "run", data__test_data_file=str(tmp_path / "second.npz"),
        execution__recon_log_every_n_epochs=1, **PINN,
    )  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["test_stages"]) == list(metrics["stages"])
    assert not same(folder / "reconstruction.npz", folder / "test_reconstruction.npz")
    settings = from_file(second, tmp_path / "second.npz")
    again = launched(
        tmp_path / "again", task="reconstruct", bundle=str(folder / "wts.h5.zip"), **settings
    )
    assert same(folder / "test_reconstruction.npz", again / "reconstruction.npz")
    shown = sorted((folder / "epochs").iterdir())
    assert [file.read_bytes()[1:4] for file in shown] == [b"PNG"] * 3, "and the beginning"


def test_collapse_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(CollapseError, match="training stopped in epoch"):
        launched(tmp_path / "run", trainer__learning_rate=1.0, trainer__nepochs=9, **PINN)


def test_a_learned_scale_is_kept(tmp_path: Path) -> None:
    folder = launched(
        tmp_path / "a", trainer__intensity_scale_trainable=True, trainer__learning_rate=5e-3,
        **PINN, **UNREFINED,
    )  # fmt: skip
    bundle = load_bundle(folder / "wts.h5.zip")
    assert bundle.params["intensity_gain"] != 1
    probe = torch.view_as_complex(bundle.physics["probe"]).numpy()
    np.testing.assert_array_equal(probe, arrays(folder / "reconstruction.npz")["probe"])
    again = launched(
        tmp_path / "b", task="reconstruct", bundle=str(folder / "wts.h5.zip"), **UNREFINED
    )
    assert same(folder / "reconstruction.npz", again / "reconstruction.npz")


# --- labels ---------------------------------------------------------------------------------


def known_patches(scan: Scan) -> np.ndarray:
    corners, _ = split_positions(torch.from_numpy(scan.positions), scan.patch_size)
    assert scan.truth is not None
    return extract_patches(torch.from_numpy(scan.truth), corners, scan.patch_size).numpy()


def with_labels(scan: Scan, path: Path) -> dict[str, Any]:
    """A file whose Y is turned by a phase of its own for every patch, and without an object."""
    turns = np.exp(1j * np.random.default_rng(0).uniform(0, 6, (len(scan), 1, 1)))
    settings = from_file(replace(scan, truth=None, truth_is_known=False), path)
    arrays = dict(np.load(path))
    np.savez(path, **arrays, Y=(known_patches(scan) * turns).astype(np.complex64))
    return settings


@pytest.mark.parametrize("source", ["objectGuess", "solver", "auto"])
def test_labels_are_learnt(tmp_path: Path, source: str) -> None:
    folder = launched(
        tmp_path / "run", data__labels=source, trainer__nepochs=10, trainer__learning_rate=3e-3,
        **SUPERVISED, **UNREFINED,
    )  # fmt: skip
    found = losses(folder)
    assert found[-1] < 0.9 * found[0]
    assert stages(folder)["network"]["phase_psnr"] > stages(folder)["flat"]["phase_psnr"] + 3


def test_the_absolute_difference_is_another_loss_than_the_squared(tmp_path: Path) -> None:
    """Of patches that hardly change, which differ by a little: squares make that less."""
    common = SUPERVISED | {
        "trainer__nepochs": 1, "trainer__learning_rate": 1e-9, "trainer__tv_weight": 0.0
    }  # fmt: skip
    of_both = {"trainer__realspace_weight": 1.0, "trainer__realspace_mae_weight": 1.0}
    squared, absolute, both = (
        losses(launched(tmp_path / str(number), **common | of_both | left_out))[0]
        for number, left_out in enumerate(
            [{"trainer__realspace_mae_weight": 0}, {"trainer__realspace_weight": 0}, {}]
        )
    )
    assert 3 * squared < absolute
    assert both == pytest.approx(squared + absolute, rel=1e-4)


def test_patches_of_the_file_are_learnt_whatever_their_phases(tmp_path: Path) -> None:
    settings = with_labels(tiny_scan(), tmp_path / "labelled.npz")
    folder = launched(
        tmp_path / "run", data__labels="Y", trainer__nepochs=10, trainer__learning_rate=3e-3,
        **SUPERVISED, **settings,
    )  # fmt: skip
    assert losses(folder)[-1] < 0.9 * losses(folder)[0]


def test_the_same_patches_from_both_sources_are_the_same_labels(tmp_path: Path) -> None:
    scan = tiny_scan()
    one = launched(
        tmp_path / "a", **SUPERVISED, trainer__nepochs=1, **from_file(scan, tmp_path / "a.npz")
    )
    settings = from_file(scan, tmp_path / "b.npz")
    content = dict(np.load(tmp_path / "b.npz"))
    np.savez(tmp_path / "b.npz", **content, Y=known_patches(scan))
    other = launched(tmp_path / "b", **SUPERVISED, trainer__nepochs=1, data__labels="Y", **settings)
    assert losses(one) == pytest.approx(losses(other), rel=1e-5)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("auto", r"neither Y \(n, N, N\), one complex object patch for every pattern, nor an obj"),
        ("Y", r"comes with no Y \(n, N, N\).*data\.labels=solver"),
        ("objectGuess", "comes with no objectGuess that covers it"),
    ],
)
def test_missing_labels_are_refused_in_a_sentence(tmp_path: Path, source: str, words: str) -> None:
    bare = replace(tiny_scan(), truth=None, truth_is_known=False)
    settings = from_file(bare, tmp_path / "bare.npz")
    with pytest.raises(UserError, match=rf"^data\.labels={source}: .*{words}"):
        launched(tmp_path / "run", data__labels=source, **SUPERVISED, **settings)


def test_labels_mix_with_patterns(tmp_path: Path) -> None:
    def phase_psnr(weight: float) -> float:
        folder = launched(
            tmp_path / f"{weight}", trainer__realspace_weight=weight, trainer__nepochs=10,
            trainer__learning_rate=3e-3, **PINN, **UNREFINED,
        )  # fmt: skip
        return float(stages(folder)["network"]["phase_psnr"])

    # labels of the true object help the patterns
    assert phase_psnr(1.0) > phase_psnr(0.0)


# --- what is stitched ------------------------------------------------------------------------


def stitched(folder: Path, scan: Scan | None = None, **changes: Any) -> torch.Tensor:
    """What an excited, untrained network makes of a scan."""
    run = tiny_run(**PINN, **changes)
    with session_of(run, folder) as opened:
        problem = opened.pose(scan or tiny_scan())
        torch.manual_seed(0)
        network = network_on(build.make_patch_network(run.model, problem.probe), CPU)
        with torch.no_grad():
            network.generator.head.weight.normal_(std=0.1)
        _, first = patches.lift(opened, problem, build.make_recipe(run.solver))
        return patches.stitch_patches(run, problem, patches.predictor(problem, network, first))


def test_held_out_patterns_are_not_stitched(tmp_path: Path) -> None:
    scan = tiny_scan()
    held = tiny_problem().held_out
    with session_of(tiny_run(**PINN), tmp_path / "posed") as opened:
        held = opened.pose(scan).held_out
    assert len(held)
    amplitude = scan.amplitude.copy()
    amplitude[held] = amplitude[held].mean()
    plain = stitched(tmp_path / "a", scan)
    assert torch.equal(plain, stitched(tmp_path / "b", replace(scan, amplitude=amplitude)))


@pytest.mark.parametrize(("size", "whole"), [(32, True), (34, True), (34, False), (33, False)])
def test_an_untrained_network_stitches_what_was_lifted(
    tmp_path: Path, size: int, whole: bool
) -> None:
    run = tiny_run(**PINN | {"model__N": size, "model__probe_big": whole})
    with session_of(run, tmp_path) as opened:
        problem = opened.pose(tiny_scan(patch_size=size))
        network = network_on(build.make_patch_network(run.model, problem.probe), CPU)
        _, first = patches.lift(opened, problem, build.make_recipe(run.solver))
        assert first is not None
        found = patches.stitch_patches(run, problem, patches.predictor(problem, network, first))
    torch.testing.assert_close(found, first.obj, rtol=1e-3, atol=1e-3)


def test_training_puts_central_windows_where_they_were_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A side that four does not divide has an odd centre: at first the canvas is the lift."""
    run = tiny_run(**PINN | {"model__N": 34, "model__probe_big": False})
    with session_of(run, tmp_path) as opened:
        problem = opened.pose(tiny_scan(patch_size=34))
        _, first = patches.lift(opened, problem, build.make_recipe(run.solver))
        assert first is not None
        network = network_on(build.make_patch_network(run.model, problem.probe), CPU)
        weights = patches.pixel_weights(run.model, problem.probe, network.window)
        module = PatchTraining(
            patches.predictor(problem, network, first), problem.experiment,
            build.make_objective(run.trainer, problem.amplitude), weights, lambda _: None,
        )  # fmt: skip
        monkeypatch.setattr(PatchTraining, "trainer", SimpleNamespace(world_size=1))
        monkeypatch.setattr(PatchTraining, "log", lambda *_, **__: None)
        which = torch.arange(len(problem.scan))
        nowhere = torch.zeros(len(which), 2, dtype=torch.int64)
        labels = extract_patches(first.obj, problem.experiment.corners, 34)
        batch = PatchBatch(problem.amplitude, which, nowhere, problem.shape, labels)
        with torch.no_grad():
            module.training_step(batch, 0)
            module.objective = Objective(judge=None, squared=1.0)
            assert float(module.training_step(batch, 0)) == pytest.approx(0, abs=1e-6)
        assert module.last is not None
        canvas = module.last[1]
    known = canvas != 1
    assert known.sum() > 30**2
    torch.testing.assert_close(canvas[known], first.obj[known], rtol=1e-3, atol=1e-3)


def test_central_windows_are_stitched_and_filled_around(tmp_path: Path) -> None:
    free = {"model__synchronise_phases": False, "data__holdout_fraction": 0.0}
    trimmed = {"execution__middle_trim": 6}
    whole = stitched(tmp_path / "a", **free)
    filled = stitched(tmp_path / "b", **free, **trimmed)
    bare = stitched(tmp_path / "c", **free, **trimmed, execution__pad_eval=False)
    problem = tiny_problem()
    light = torch.zeros(problem.shape)
    for y, x in problem.experiment.corners.tolist():
        light[y + 13 : y + 19, x + 13 : x + 19] += 1
    inside, outside = light > 0, light == 0
    assert not torch.allclose(filled[inside], whole[inside])
    torch.testing.assert_close(filled[inside], bare[inside], rtol=1e-3, atol=1e-3)
    # the lifted object stays in the holes: the network has not spoken there
    assert not torch.allclose(filled[outside], bare[outside], atol=1e-2)


def test_a_window_larger_than_what_is_predicted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"middle_trim must be at most the 16 pixels that are pred"):
        launched(tmp_path / "run", execution__middle_trim=20, model__probe_big=False, **PINN)


class Turned:
    """A predictor that gives every patch a phase of its own, and counts what is kept of them."""

    def __init__(self, real: PatchPredictor, count: int) -> None:
        self.real, self.lifted, self.network = real, real.lifted, real.network
        angles = 6 * torch.rand(count, generator=torch.Generator().manual_seed(0))
        self.turn = torch.polar(torch.ones(count), angles)
        self.alive: list[weakref.ref[torch.Tensor]] = []
        self.most = 0

    def __call__(self, amplitude: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, sum(one() is not None for one in self.alive))
        windows = self.real(amplitude, which) * self.turn[which, None, None]
        self.alive.append(weakref.ref(windows))
        return windows


def test_phases_of_patches_are_synchronised(tmp_path: Path) -> None:
    """Whatever phases patches are given, the stitched object is the same."""
    run = tiny_run(**PINN)
    with session_of(run, tmp_path) as opened:
        problem = opened.pose(tiny_scan())
        network = network_on(build.make_patch_network(run.model, problem.probe), CPU)
        _, first = patches.lift(opened, problem, build.make_recipe(run.solver))
        predict = patches.predictor(problem, network, first)
        turned: Any = Turned(predict, 64)
        plain = patches.stitch_patches(run, problem, predict)
        found = patches.stitch_patches(run, problem, turned)
        inside = problem.reconstruction([]).scanned
        plain, found = plain[inside], found[inside]
        phase = torch.vdot(found.flatten(), plain.flatten())
        away = (found * phase / phase.abs() - plain).abs().square().mean().sqrt()
        assert away < 0.1
        run.model.synchronise_phases = False
        loose = patches.stitch_patches(run, problem, turned)[inside]
        assert (loose - plain).abs().square().mean().sqrt() > 0.4


def test_blocks_are_stitched_to_the_same_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more patches are held at once however large the scan is."""
    sizes: list[int] = []
    real = patches.synchronised_phases

    def spy(windows: torch.Tensor, *more: Any) -> torch.Tensor:
        sizes.append(len(windows))
        return real(windows, *more)

    monkeypatch.setattr(patches, "synchronised_phases", spy)
    run = tiny_run(**PINN, execution__inference_batch_size=1)
    for count in (64, 144):
        with session_of(run, tmp_path / str(count)) as opened:
            problem = opened.pose(tiny_scan(n_patterns=count))
            network = network_on(build.make_patch_network(run.model, problem.probe), CPU)
            _, first = patches.lift(opened, problem, build.make_recipe(run.solver))
            plain = patches.predictor(problem, network, first)
            inside = problem.reconstruction([]).scanned
            wanted = patches.stitch_patches(run, problem, plain)[inside]
            assert sizes.pop() == count - len(problem.held_out)
            with monkeypatch.context() as patch:
                patch.setattr(patches, "BLOCK_BYTES", 20 * 32**2 * 8)
                turned: Any = Turned(plain, count)
                found = patches.stitch_patches(run, problem, turned)[inside]
            assert len(sizes) >= count // 21
            assert max(sizes) <= 21
            assert turned.most <= 2
            sizes.clear()
        phase = torch.vdot(found.flatten(), wanted.flatten())
        away = (found * phase / phase.abs() - wanted).abs().square().mean().sqrt()
        assert away < 0.03


@pytest.mark.parametrize(
    ("changes", "centre", "edge"),
    [
        ({"model__patch_weighting": "uniform"}, 1.0, 0.1),
        ({"model__patch_weighting": "uniform", "model__pad_object": False}, 1.0, 1.0),
    ],
)
def test_the_outskirts_count_little_unless_all_is_predicted_alike(
    changes: dict[str, Any], centre: float, edge: float
) -> None:
    run, problem = tiny_run(**PINN, **changes), tiny_problem()
    weights = patches.pixel_weights(run.model, problem.probe, 32)
    assert float(weights[16, 16]) == pytest.approx(centre)
    assert float(weights[0, 0]) == pytest.approx(edge)


def test_bright_pixels_of_the_probe_count_most() -> None:
    run, problem = tiny_run(**PINN, model__pad_object=False), tiny_problem()
    weights = patches.pixel_weights(run.model, problem.probe, 32)
    light = problem.probe.abs().square().sum(0)
    bright = light > 0.01 * light.max()
    torch.testing.assert_close(weights[bright], (light / light.max())[bright])
    assert weights.min() > 0


def test_the_masked_probe_is_zero_outside_the_circle(tmp_path: Path) -> None:
    masked = with_masked_probe(tiny_scan()).probe
    radius = np.hypot(*np.mgrid[-16:16, -16:16])
    assert not masked[:, radius > 8].any()
    np.testing.assert_array_equal(masked[:, radius <= 8], tiny_scan().probe[:, radius <= 8])
    folder = launched(tmp_path / "run", model__probe_mask=True, **PINN, **UNREFINED)
    probe = arrays(folder / "reconstruction.npz")["probe"]
    assert not probe[:, radius > 8].any()


def test_groups_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.n_groups=100 is more than the 61 patterns to"):
        launched(tmp_path / "run", data__n_groups=100, model__gridsize=2, **PINN)


def test_groups_hold_fitted_patterns_alone(tmp_path: Path) -> None:
    with session_of(tiny_run(**PINN, model__gridsize=2), tmp_path) as opened:
        problem = opened.pose(tiny_scan())
        groups = patch_train.batches_of(opened, problem).groups
    assert not set(groups.ravel()) & set(problem.held_out)
    assert set(groups.ravel()) == set(range(64)) - set(problem.held_out)


def test_nothing_it_was_trained_on_judges_it(run: Path, tmp_path: Path) -> None:
    bundle = {"task": "reconstruct", "bundle": str(run / "wts.h5.zip")}
    folder = launched(tmp_path / "run", **bundle, data__holdout_fraction=0.3)
    held_out = json.loads((folder / "env.json").read_text())["data"]["held_out"]
    assert held_out == len(load_bundle(run / "wts.h5.zip").params["held_out"]) == 3


def test_stitching_may_be_asked_for_anew_the_network_not(run: Path, tmp_path: Path) -> None:
    bundle: dict[str, Any] = {"task": "reconstruct", "bundle": str(run / "wts.h5.zip")}
    plain = launched(tmp_path / "a", **bundle, **UNREFINED)
    for name, more in {
        "b": {"model__patch_weighting": "uniform"},
        "c": {"model__synchronise_phases": False},
        "d": {"execution__middle_trim": 8},
    }.items():
        other = launched(tmp_path / name, **bundle, **UNREFINED, **more)
        assert not same(plain / "reconstruction.npz", other / "reconstruction.npz"), name
    with pytest.raises(UserError, match=r"model\.output=real_imag was asked for, but .*was tra"):
        launched(tmp_path / "e", **bundle, model__output="real_imag")


LOADERS: dict[str, dict[str, Any]] = {
    "workers": {"execution__num_workers": 2, "execution__prefetch_factor": 1},
    "pinned": {"execution__pin_memory": True},
}


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
@pytest.mark.parametrize("name", LOADERS)
def test_patterns_come_by_a_loader_that_changes_no_bit(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[DataLoader[Any]] = []
    real = DataLoader.__init__

    def spy(loader: DataLoader[Any], *some: Any, **more: Any) -> None:
        made.append(loader)
        real(loader, *some, **more)

    monkeypatch.setattr(DataLoader, "__init__", spy)
    again = launched(
        tmp_path / "run", task="reconstruct", bundle=str(run / "wts.h5.zip"),
        execution__inference_batch_size=1, **LOADERS[name],
    )  # fmt: skip
    (loader,) = made
    for setting, value in LOADERS[name].items():
        assert getattr(loader, setting.partition("__")[2]) == value
    alone = launched(
        tmp_path / "alone", task="reconstruct", bundle=str(run / "wts.h5.zip"),
        execution__inference_batch_size=1,
    )  # fmt: skip
    assert same(alone / "reconstruction.npz", again / "reconstruction.npz")


def test_a_loader_without_a_reader_is_refused(run: Path, tmp_path: Path) -> None:
    trained = launched(tmp_path / "object", trainer__nepochs=1)
    workers = {"execution__num_workers": 1, "execution__persistent_workers": True}
    wholly, patchwise = (
        tiny_run(task="reconstruct", bundle=str(one / "wts.h5.zip"), **workers)
        for one in (trained, run)
    )
    with pytest.raises(
        UserError, match=r"^execution\.num_workers says how batches of .*ect_pinn\)"
    ):
        launch(wholly, tmp_path / "a", ["execution.num_workers=1"])
    assert not (tmp_path / "a").exists()
    with pytest.raises(UserError, match=r"^execution\.persistent_workers keeps workers from one"):
        launch(patchwise, tmp_path / "b", ["execution.persistent_workers=true"])
    launch(wholly, tmp_path / "c", ["execution=mine"])  # a preset may


def test_stitching_that_was_typed_wins_also_where_it_is_the_default(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_nothing(monkeypatch)
    content = load_bundle(run / "wts.h5.zip")
    content.config["model"] |= {"patch_weighting": "uniform", "synchronise_phases": False}
    save_bundle(tmp_path / "wts.h5.zip", content)

    def found(name: str, bundle: Path, *typed: str) -> Path:
        """What this line makes of the bundle; the values typed are the defaults."""
        again = tiny_run(task="reconstruct", bundle=str(bundle), **UNREFINED)
        launch(again, tmp_path / name, list(typed))
        return tmp_path / name / "reconstruction.npz"

    as_typed = found("typed", tmp_path / "wts.h5.zip", "+model.patch_weighting=probe",
                     "model={synchronise_phases: true}")  # fmt: skip
    assert same(as_typed, found("probe", run / "wts.h5.zip"))
    half = found("half", tmp_path / "wts.h5.zip", "model=pinn", "model.patch_weighting=probe")
    bundled = found("bundled", tmp_path / "wts.h5.zip", "model=pinn")
    assert not same(half, as_typed)
    assert not same(half, bundled)
    assert not same(bundled, as_typed)
    content.config["model"]["overlap"] = "none"
    save_bundle(tmp_path / "alone.h5.zip", content)
    with pytest.raises(UserError, match=r"^model\.overlap=canvas was asked for, but .*with none"):
        found("refused", tmp_path / "alone.h5.zip", "model.overlap=canvas")


def test_central_windows_of_an_object_network_are_refused(tmp_path: Path) -> None:
    trained = launched(tmp_path / "a", trainer__nepochs=1)
    with pytest.raises(UserError, match=r"^execution\.middle_trim belongs to networks that"):
        launched(
            tmp_path / "b", task="reconstruct", bundle=str(trained / "wts.h5.zip"),
            execution__middle_trim=8,
        )  # fmt: skip


def test_hidden_pixels_do_not_matter_to_patches(tmp_path: Path) -> None:
    """What a bad pixel holds is seen neither by the network nor by its loss."""
    scan, found = tiny_scan(), []
    bad = np.random.default_rng(0).random((32, 32)) < 0.1
    for junk in (0.0, 99.0):
        amplitude = scan.amplitude.copy()
        amplitude[:, bad] = junk
        settings = from_file(replace(scan, amplitude=amplitude), tmp_path / f"{junk}.npz")
        content = dict(np.load(tmp_path / f"{junk}.npz"))
        np.savez(tmp_path / f"{junk}.npz", **content, bad_pixels=bad)
        found.append(launched(tmp_path / f"{junk}", trainer__nepochs=1, **PINN, **settings))
    assert same(*(folder / "reconstruction.npz" for folder in found))
