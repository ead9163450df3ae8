"""Every setting changes something that can be seen, or is refused in a sentence.

Each setting stands once in ``TABLE`` with another value and with what to look at. Looking at
results is preferred to looking at objects; what a setting does exactly is tested elsewhere.
"""

import contextlib
import functools
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ptycho.config.config import ConfigError, RunConfig, UserError
from ptycho.config.typed_space import read_space
from ptycho.config.validate import check, faults, leaves, type_faults
from ptycho.data.formats.npz import write_npz
from ptycho.data.formats.ptychodus import write_pair
from ptycho.data.scan import Scan
from ptycho.data.tiles import Lifted
from ptycho.physics import sweep as sweep_
from ptycho.report.bundle import load_bundle
from ptycho.report.folder import State, read_jobs, read_sweep
from ptycho.report.ranking import ranked
from ptycho.training.module import ObjectTraining
from ptycho.workflows import (
    build,
    lessons,
    patch_train,
    patches,
    reconstruct,
    session,
    stages,
    status,
    uncertainty,
)
from ptycho.workflows import plan as plan_of_a_sweep
from ptycho.workflows import sweep as sweep_of_runs
from ptycho.workflows import train as train_
from ptycho.workflows.launch import launch
from ptycho.workflows.plan import Plan
from ptycho.workflows.preflight import check_surroundings
from ptycho.workflows.problem import Problem
from ptycho.workflows.reconstruct import network_on
from ptycho.workflows.solve import solve_alone
from tests.runs import (
    CPU,
    ask_no_git,
    dashboard_of,
    draw_nothing,
    launched,
    lifted,
    quiet,
    session_of,
    tiny_problem,
    tiny_run,
    tiny_scan,
)
from tests.sweeps import RATES, Jobs

Observer = Callable[[RunConfig, Path], Any]


@pytest.fixture(scope="session")
def scan_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans of integer amplitudes: without being told, one takes them for counts."""
    folder = tmp_path_factory.mktemp("scans")
    for seed in (1, 2):
        scan = tiny_scan(seed=seed)
        np.savez(
            folder / f"{seed}.npz", diffraction=np.round(scan.amplitude), probeGuess=scan.probe[0],
            ycoords=scan.positions[:, 0], xcoords=scan.positions[:, 1],
        )  # fmt: skip
    np.save(folder / "probe.npy", np.flip(scan.probe[0] + np.roll(scan.probe[0], 3, 1), 0))
    write_npz(folder / "test.npz", tiny_scan(seed=3))
    write_pair(folder / "moved", scan)
    counts = np.rint(np.square(tiny_scan(seed=4).amplitude)).astype(np.int32)
    counts[:, 3, 5] = 5000
    counts[:3] = 0
    np.savez(
        folder / "raw.npz", diffraction=counts, probeGuess=scan.probe[0],
        ycoords=scan.positions[:, 0], xcoords=scan.positions[:, 1],
    )  # fmt: skip
    np.save(folder / "image.npy", np.eye(32))
    named_files(folder, scan)
    launched(folder / "trained", trainer__nepochs=1)
    return folder


def named_files(folder: Path, scan: Scan) -> None:
    """A scan in a layout of nobody's, all of it twice and not the same, and a link to it."""
    bad = np.zeros(scan.amplitude.shape[1:], bool)
    bad[:3] = True
    with h5py.File(folder / "named.h5", "w") as file:
        for factor, group in enumerate(("one", "two"), 1):
            y, x = factor * scan.positions.T
            arrays = {
                "patterns": np.square(scan.amplitude) * factor,
                "positions": scan.positions * factor,
                "metres": scan.positions * 1e-8, "y": y, "x": x, "probe": factor * scan.probe,
                "object": scan.truth * factor, "bad": bad, "energy": 8000.0 * factor,
                "distance": 1.0 * factor, "pixel": 1e-4 * factor, "side": 1e-8 * factor,
            }  # fmt: skip
            for name, array in arrays.items():
                file[f"{group}/{name}"] = array
    with h5py.File(folder / "master.h5", "w") as file:
        file["one"] = h5py.ExternalLink("named.h5", "/one")


def digest(*arrays: Any) -> str:
    """Hash of the bits of tensors."""
    bits = hashlib.sha256()
    for array in arrays:
        bits.update(np.ascontiguousarray(torch.as_tensor(array).numpy()).tobytes())
    return bits.hexdigest()


# --- what can be looked at ---------------------------------------------------------------


def the_scan(run: RunConfig, _: Path) -> Any:
    scan = build.make_scan(run.data, run.model.N or 0)
    return scan.sha256, scan.label


def the_place(run: RunConfig, _: Path) -> Any:
    scan = build.make_scan(run.data, run.model.N or 0)
    return scan.pixel_size_m, scan.fresnel, digest(scan.positions)


def the_truth(run: RunConfig, _: Path) -> Any:
    truth = build.make_scan(run.data, run.model.N or 0).truth
    return None if truth is None else digest(truth)


def the_scan_or_refusal(run: RunConfig, folder: Path) -> Any:
    try:
        return the_scan(run, folder)
    except UserError as error:
        return str(error)


def where_patterns_are(run: RunConfig, _: Path) -> Any:
    return type(build.make_scan(run.data, run.model.N or 0).amplitude).__name__


def the_lessons(run: RunConfig, folder: Path) -> Any:
    with session_of(run, folder) as opened:
        found = lessons.further(opened, build.make_recipe(run.solver))
    return [(one.sha256, len(one.cut)) for one in found]


def the_held_out(run: RunConfig, folder: Path) -> Any:
    with session_of(run, folder) as opened:
        return opened.pose(tiny_scan()).held_out.tolist()


def the_lift(run: RunConfig, _: Path) -> Any:
    return digest(*vars(lifted(tiny_problem(), run)).values())


def the_solution(run: RunConfig, _: Path) -> Any:
    with quiet() as bars:
        recipe = build.make_recipe(run.solver)
        return digest(stages.solve(tiny_problem(), run.solver, recipe, bars))


def the_patterns_at_once(run: RunConfig, _: Path) -> Any:
    sizes: list[int] = []
    real = sweep_.extract_patches

    def spy(obj: Tensor, corners: Tensor, size: int) -> Tensor:
        sizes.append(len(corners))
        return real(obj, corners, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep_, "extract_patches", spy)
        the_solution(run, _)
    return max(sizes)


def the_instrument(run: RunConfig, folder: Path) -> Any:
    with session_of(run, folder) as opened:
        found = solve_alone(opened, opened.pose(tiny_scan()))
    free = [one for one in (found.flux, found.background) if one is not None]
    return digest(found.obj, found.probe, found.positions, *free)


def the_refinement(run: RunConfig, _: Path) -> Any:
    problem = tiny_problem()
    with quiet() as bars:
        recipe = build.make_recipe(run.solver)
        return digest(stages.refine(problem, problem.flat(), run.refine, recipe, bars))


def the_uncertainty(run: RunConfig, folder: Path) -> Any:
    with session_of(run, folder) as opened:
        problem = opened.pose(tiny_scan())
        found = solve_alone(opened, problem)
        estimate = uncertainty.estimate(opened, problem, found, solve_alone)
    return digest(estimate.variance)


@dataclass
class Fitted:
    """A training and what it left behind."""

    network: nn.Module
    rows: list[dict[str, float]]
    folder: Path


@functools.cache
def prepared() -> tuple[Problem, Lifted]:
    """What trainings start from."""
    problem = tiny_problem()
    return problem, lifted(problem)


def fit(run: RunConfig, folder: Path) -> Fitted:
    """Train as ``task=train`` does, and no more."""
    problem, first = prepared()
    with session_of(run, folder) as opened:
        network = network_on(build.make_network(run.model), CPU)
        label = lessons.label(opened, problem)
        tiles = lessons.tiles(problem, first, run.trainer.batch_size, label)
        history = train_.fit(opened, problem, network, tiles, first)
    return Fitted(network, history.rows, folder)


def fit_patches(run: RunConfig, folder: Path) -> tuple[nn.Module, Any]:
    """Train a patch network as ``task=train`` does; it, and what it predicts before and after."""
    problem = prepared()[0]
    with session_of(run, folder) as opened:
        batches = patch_train.batches_of(opened, problem)
        _, first = patches.lift(opened, problem, build.make_recipe(run.solver))
        network = build.make_patch_network(run.model, problem.probe)
        patch_train.fit(opened, problem, network, batches, first)
        predict = patches.predictor(problem, network, first)
        found = patches.stitch_patches(run, problem, predict)
    return network, found


def the_patch_network(run: RunConfig, folder: Path) -> Any:
    return digest(*fit_patches(run, folder)[0].state_dict().values())


def the_stitched(run: RunConfig, folder: Path) -> Any:
    return digest(fit_patches(run, folder)[1])


def the_groups(run: RunConfig, folder: Path) -> Any:
    problem = prepared()[0]
    with session_of(run, folder) as opened:
        try:
            return patch_train.batches_of(opened, problem).groups.tolist()
        except UserError as error:
            return str(error)


def the_probe(run: RunConfig, folder: Path) -> Any:
    with session_of(run, folder) as opened:
        return digest(opened.pose(tiny_scan()).probe)


def the_network(run: RunConfig, folder: Path) -> Any:
    try:
        return digest(*fit(run, folder).network.state_dict().values())
    except UserError as error:
        return str(error)


def the_epochs(run: RunConfig, folder: Path) -> Any:
    return len(fit(run, folder).rows)


def the_registry(run: RunConfig, folder: Path) -> Any:
    from mlflow import MlflowClient

    run.paths.outputs = str(folder)
    the_run_folder(run, folder / "run")
    client = MlflowClient(f"sqlite:///{folder.absolute()}/mlflow/mlflow.db")
    return {one.name for one in client.search_registered_models()}


def the_files(run: RunConfig, folder: Path) -> Any:
    return {file.name for file in fit(run, folder).folder.rglob("*")}


def the_run_folder(run: RunConfig, folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        ask_no_git(patch)
        launch(run, folder, [])
    return {file.name for file in folder.iterdir()}


def the_statistics(run: RunConfig, folder: Path) -> Any:
    """Patterns of which something is told."""
    the_run_folder(run, folder)
    table = folder / "patch_stats.csv"
    return table.is_file() and len(table.read_text().splitlines())


def the_words(run: RunConfig, folder: Path) -> Any:
    """Whether anything is said."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        the_run_folder(run, folder)
    return bool(said.getvalue())


def the_second_start(run: RunConfig, folder: Path) -> Any:
    """What happens to a run in the folder of an interrupted one of the same settings."""
    with status.claimed(run, folder) as before:
        before.write(State.interrupted)
    try:
        return the_run_folder(run, folder)
    except UserError as error:
        return str(error).replace(str(folder), "FOLDER")


def the_bundle(run: RunConfig, folder: Path) -> Any:
    the_run_folder(run, folder)
    steps = len((folder / "metrics.csv").read_text().splitlines())
    weights = load_bundle(folder / "wts.h5.zip").weights
    return steps, digest(*(weights[name] for name in sorted(weights)))


def the_run_folder_of_stages(run: RunConfig, folder: Path) -> Any:
    the_run_folder(run, folder)
    return load_bundle(folder / "wts.h5.zip").params["tile"]


class _EnoughError(Exception):
    """Ends a training before it began."""


def the_trainer(run: RunConfig, folder: Path) -> lightning.Trainer:
    """The real Trainer, as it was about to fit."""
    seen: list[Any] = []

    def stop(trainer: Any, module: Any, data: Any, **_: Any) -> None:
        seen.extend((trainer, data))
        raise _EnoughError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lightning.Trainer, "fit", stop)
        with pytest.raises(_EnoughError):
            fit(run, folder)
    trainer = seen[0]
    trainer.scan_module = seen[1]
    return trainer


def the_devices(run: RunConfig, folder: Path) -> Any:
    try:
        check_surroundings(run)
    except ConfigError as error:
        return str(error)
    trainer = the_trainer(run, folder)
    return trainer.num_devices, type(trainer.strategy), type(trainer.accelerator)


def the_nodes(run: RunConfig, folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:  # as on the first of them, started by torchrun
        for name in ("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "GROUP_RANK"):
            patch.setenv(name, "0")
        for name in ("WORLD_SIZE", "GROUP_WORLD_SIZE"):
            patch.setenv(name, str(run.trainer.num_nodes))
        return the_trainer(run, folder).num_nodes


def the_callbacks(run: RunConfig, folder: Path) -> Any:
    trainer = the_trainer(run, folder)
    best = trainer.checkpoint_callback
    return {type(one) for one in trainer.callbacks}, best and (best.monitor, best.mode)


def the_loader(run: RunConfig, folder: Path) -> Any:
    loader = the_trainer(run, folder).scan_module.train_dataloader()
    return (
        loader.num_workers, loader.pin_memory, loader.persistent_workers, loader.prefetch_factor
    )  # fmt: skip


def the_process(run: RunConfig, folder: Path) -> Any:
    def now() -> tuple[int, bool]:
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    before = now()
    with session_of(run, folder):
        inside = now()
    assert now() == before, "the session did not put the process back"
    return inside


def the_anomaly_detection(run: RunConfig, folder: Path) -> Any:
    seen: list[bool] = []
    real = ObjectTraining.training_step

    def spy(module: ObjectTraining, *batch: Any) -> Tensor:
        seen.append(torch.is_anomaly_enabled())
        return real(module, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectTraining, "training_step", spy)
        fit(run, folder)
    return set(seen)


def the_tiles_at_once(run: RunConfig, folder: Path) -> Any:
    problem, sizes = tiny_problem(), []

    def network(obj: Tensor, pull: Tensor, light: Tensor) -> Tensor:
        sizes.append(len(obj))
        return obj

    with session_of(run, folder) as opened:
        reconstruct.reconstruct_with(opened, problem, network, (32, 32))
    return max(sizes)


def the_dashboard(run: RunConfig, folder: Path) -> Any:
    told: list[Any] = []

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(session, "Dashboard", dashboard_of(told))
        with session_of(run, folder):
            pass
    return [one for one in told if one != folder.name]


def the_composition(run: RunConfig, _: Path) -> Any:
    """Where Hydra would write and look, given these paths."""
    from hydra import compose, initialize_config_dir

    from ptycho.config.store import conf_dir, register

    register()
    typed = ["data=fly001", f"paths.data={run.paths.data}", f"paths.outputs={run.paths.outputs}"]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", overrides=typed, return_hydra_config=True)
    return cfg.data.train_data_file, cfg.hydra.run.dir.rpartition("/")[0]


def the_sweep(run: RunConfig, folder: Path) -> Any:
    helpers: list[int] = []

    class Helpers(sweep_of_runs.Helpers):
        def __init__(self, count: int, *more: Any) -> None:
            helpers.append(count)
            super().__init__(0, *more)

    plan = Plan(folder, run, read_space([], run.sweep))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep_of_runs, "Helpers", Helpers)
        patch.setattr(sweep_of_runs, "_write_report", lambda *_: None)
        # Hyperband sorts trials by the name of their study, which is new every time
        patch.setattr(plan_of_a_sweep, "_study_name", lambda _: "study")
        sweep_of_runs.conduct(plan, Jobs(folder, run))
    runs, record = read_jobs(folder), read_sweep(folder)
    jobs = [(one.overrides, one.state, one.status.get("epoch")) for one in runs]
    best = [one.job.number for one in ranked(runs, record["metric"], record["direction"])]
    return jobs, best, record["metric"], helpers, (folder / "study.db").exists()


def refused(run: RunConfig, _: Path) -> Any:
    return faults(run)


# --- every setting ------------------------------------------------------------------------


@dataclass
class Flip:
    """Another value of a setting, and where it must show."""

    value: Any
    look_at: Observer
    around: dict[str, Any] = field(default_factory=dict)
    """Settings without which this one is not used."""


PATCHES = {
    "model.architecture": "pinn", "trainer.nepochs": 1, "execution.enable_checkpointing": False,
}  # fmt: skip
SWEPT = {"sweep.sampler": "random", "sweep.n_trials": 7, "sweep.params": RATES}
MODELLED = SWEPT | {"sweep.sampler": "tpe"}
PRUNED = SWEPT | {
    "sweep.n_trials": 12, "sweep.pruner": "median", "sweep.startup_trials": 2,
    "trainer.nepochs": 9,
}  # fmt: skip
GROUPS = PATCHES | {"model.gridsize": 2}
CHOSEN = GROUPS | {"data.neighbor_count": 6, "data.n_groups": 40}
LEARNT = PATCHES | {"trainer.realspace_weight": 1.0}
DESCRIBED = PATCHES | {"execution.log_patch_stats": True, "execution.inference_batch_size": 1}
TRIMMED = PATCHES | {"execution.middle_trim": 4}
FROM_FILE = {"data.source": "file", "data.train_data_file": "{scans}/1.npz", "data.nphotons": None}
RAW = FROM_FILE | {"data.train_data_file": "{scans}/raw.npz"}
MEASURED = FROM_FILE | {
    "data.geometry.energy_ev": 8e3, "data.geometry.distance_m": 1.0,
    "data.geometry.detector_pixel_m": 1e-4,
}  # fmt: skip
ZONE_PLATE = {"data.probe.kind": "zone_plate"}
MIRRORS = {"data.probe.kind": "rectangular"}
DISK = {"data.probe.kind": "disk"}
METRES = {"data.geometry.pixel_size_m": 1e-8}
LIT = METRES | {"data.geometry.energy_ev": 8e3, "data.probe.defocus_m": 2e-6}
PAIRED = FROM_FILE | {"data.train_data_file": "{scans}/moved/diffraction.h5"}
NAMED = FROM_FILE | {
    "data.train_data_file": "{scans}/named.h5", "data.keys.patterns": "one/patterns",
    "data.keys.positions": "one/positions", "data.keys.probe": "one/probe",
}  # fmt: skip
APART = NAMED | {
    "data.keys.positions": None, "data.keys.positions_y": "one/y", "data.keys.positions_x": "one/x",
}  # fmt: skip
LENGTHS = NAMED | {
    "data.keys.positions": "one/metres", "data.keys.energy": "one/energy",
    "data.keys.distance": "one/distance", "data.keys.detector_pixel": "one/pixel",
}  # fmt: skip
MASTER = NAMED | {"data.train_data_file": "{scans}/master.h5"}
LOADED = {"execution.num_workers": 1}
LOGGED = {"logger.backend": "mlflow"}
ADAPTING = {
    "task": "adapt", "bundle": "{scans}/trained/wts.h5.zip", "trainer.nepochs": 50,
    "data.synthetic.seed": 5, "adapt.epochs": 1,
    "data.holdout_fraction": 0.0,  # nothing that could send the network back
}  # fmt: skip
STEADY = {"trainer.scheduler": "Default"}
SOLVED = {"task": "solve"}

TABLE: dict[str, Flip] = {
    "task": Flip("solve", the_run_folder, {"trainer.nepochs": 1}),
    "seed": Flip(1, the_network),
    "bundle": Flip("wts.h5.zip", refused),  # with task=reconstruct: tests/workflows/test_train
    "data.label": Flip("mine", the_scan),
    "data.source": Flip("file", the_scan, FROM_FILE),
    "data.train_data_file": Flip("{scans}/2.npz", the_scan, FROM_FILE),
    "data.test_data_file": Flip("{scans}/test.npz", the_run_folder, {"trainer.nepochs": 1}),
    "data.format": Flip("ptychodus_training", the_scan_or_refusal, FROM_FILE),
    "data.positions_file": Flip("{scans}/moved/product.h5", the_scan_or_refusal, PAIRED),
    "data.keys.patterns": Flip("two/patterns", the_scan, NAMED),
    "data.keys.positions": Flip("two/positions", the_scan, NAMED),
    "data.keys.positions_y": Flip("two/y", the_scan, APART),
    "data.keys.positions_x": Flip("two/x", the_scan, APART),
    "data.keys.probe": Flip("two/probe", the_scan, NAMED),
    "data.keys.object": Flip("one/object", the_truth, NAMED),
    "data.keys.bad_pixels": Flip("one/bad", the_scan, NAMED),
    "data.keys.energy": Flip("two/energy", the_place, LENGTHS),
    "data.keys.distance": Flip("two/distance", the_place, LENGTHS),
    "data.keys.detector_pixel": Flip("two/pixel", the_place, LENGTHS),
    "data.keys.pixel_size": Flip("two/side", the_place, LENGTHS),
    "data.keys.follow_links": Flip(True, the_scan_or_refusal, MASTER),
    "data.values": Flip("amplitude", the_scan, FROM_FILE),
    "data.lazy": Flip("always", where_patterns_are, FROM_FILE),
    "data.further_data_files": Flip(["{scans}/2.npz"], the_lessons),
    "data.n_images": Flip(32, the_scan),
    "data.n_subsample": Flip(40, the_scan),
    "data.subsample_seed": Flip(1, the_scan, {"data.n_subsample": 40}),
    "data.sequential_sampling": Flip(True, the_scan, {"data.n_subsample": 40}),
    "data.n_groups": Flip(40, the_groups, PATCHES),
    "data.neighbor_count": Flip(6, the_groups, GROUPS),
    "data.enable_oversampling": Flip(True, the_groups, CHOSEN | {"data.n_groups": 100}),
    "data.labels": Flip("solver", the_network, {"trainer.realspace_weight": 1.0}),
    "data.holdout_fraction": Flip(0.2, the_held_out),
    "data.nphotons": Flip(1e4, the_scan),
    "data.geometry.energy_ev": Flip(9e3, the_place, MEASURED),
    "data.geometry.distance_m": Flip(1.1, the_place, MEASURED),
    "data.geometry.detector_pixel_m": Flip(5e-5, the_place, MEASURED),
    "data.geometry.pixel_size_m": Flip(1e-8, the_place, FROM_FILE),
    "data.geometry.near_field": Flip(True, the_place, MEASURED),
    "data.geometry.focus_distance_m": Flip(
        0.1, the_place, MEASURED | {"data.geometry.near_field": True}
    ),
    "data.positions.unit": Flip("um", the_place, MEASURED),
    "data.positions.swap": Flip(True, the_place, FROM_FILE),
    "data.positions.flip_y": Flip(True, the_place, FROM_FILE),
    "data.positions.flip_x": Flip(True, the_place, FROM_FILE),
    "data.positions.scale": Flip(1.1, the_place, FROM_FILE),
    "data.preprocess.zero_frequency": Flip("corner", the_scan, FROM_FILE),
    "data.preprocess.transpose": Flip(True, the_scan, FROM_FILE),
    "data.preprocess.flip_y": Flip(True, the_scan, FROM_FILE),
    "data.preprocess.flip_x": Flip(True, the_scan, FROM_FILE),
    "data.probe_file": Flip("{scans}/probe.npy", the_scan, FROM_FILE),
    "data.probe.kind": Flip("average", the_scan, FROM_FILE),
    "data.probe.radius": Flip(7.0, the_scan, FROM_FILE | DISK | {"data.probe.radius": 5.0}),
    "data.probe.radius_m": Flip(5e-8, the_scan, DISK | METRES),
    "data.probe.pupil": Flip(0.2, the_scan, ZONE_PLATE),
    "data.probe.outer_zone_m": Flip(8e-8, the_scan, ZONE_PLATE | METRES),
    "data.probe.aperture": Flip(0.002, the_scan, MIRRORS | LIT),
    "data.probe.aspect": Flip(2.0, the_scan, MIRRORS),
    "data.probe.stop": Flip(0.0, the_scan, ZONE_PLATE),
    "data.probe.defocus": Flip(20.0, the_scan, FROM_FILE),
    "data.probe.defocus_m": Flip(1e-6, the_scan, DISK | LIT),
    "data.probe.modes": Flip(2, the_scan),
    "data.probe.mode_powers": Flip([3.0, 1.0], the_scan),
    "data.preprocess.center_y": Flip(15.0, the_scan, RAW),
    "data.preprocess.center_x": Flip(15.25, the_scan, RAW),
    "data.preprocess.find_center": Flip(True, the_scan, RAW),
    "data.preprocess.crop": Flip(24, the_scan, RAW),
    "data.preprocess.bin": Flip(2, the_scan, RAW),
    "data.preprocess.pad": Flip(36, the_scan, RAW),
    "data.preprocess.resample": Flip(30, the_scan, RAW),
    "data.preprocess.minimum": Flip(2.0, the_scan, RAW),
    "data.preprocess.maximum": Flip(1000.0, the_scan, RAW),
    "data.preprocess.saturation": Flip(1000.0, the_scan, RAW),
    "data.preprocess.background": Flip(1.0, the_scan, RAW),
    "data.preprocess.background_file": Flip("{scans}/image.npy", the_scan, RAW),
    "data.preprocess.bad_pixels_file": Flip("{scans}/image.npy", the_scan, RAW),
    "data.preprocess.mask_hot": Flip(True, the_scan, RAW),
    "data.preprocess.drop_empty": Flip(False, the_scan, RAW),
    "data.preprocess.drop_below": Flip(9e4, the_scan, RAW),
    "data.preprocess.drop_above": Flip(9e4, the_scan, RAW),
    "data.synthetic.object": Flip("chip", the_scan),
    "data.synthetic.exponent": Flip(2.0, the_scan, {"data.synthetic.object": "grf"}),
    "data.synthetic.spokes": Flip(20, the_scan, {"data.synthetic.object": "siemens"}),
    "data.synthetic.phase": Flip(2.0, the_scan),
    "data.synthetic.delta_over_beta": Flip(10.0, the_scan),
    "data.synthetic.independent": Flip(True, the_scan, {"data.synthetic.object": "chip"}),
    "data.synthetic.scan": Flip("fermat", the_scan),
    "data.synthetic.position_error": Flip(1.0, the_scan),
    "data.synthetic.fly_steps": Flip(3, the_scan),
    "data.synthetic.flux_jitter": Flip(0.1, the_scan),
    "data.synthetic.background": Flip(1.0, the_scan),
    "data.synthetic.detector_blur": Flip(1.0, the_scan),
    "data.synthetic.read_noise": Flip(2.0, the_scan),
    "data.synthetic.saturation": Flip(500.0, the_scan),
    "data.synthetic.dead_pixels": Flip(0.01, the_scan),
    "data.synthetic.gap": Flip(2, the_scan),
    "data.synthetic.beamstop": Flip(3.0, the_scan),
    "data.synthetic.n_patterns": Flip(81, the_scan),
    "data.synthetic.step": Flip(3.0, the_scan),
    "data.synthetic.jitter": Flip(0.5, the_scan),
    "data.synthetic.probe_radius": Flip(5.0, the_scan),
    "data.synthetic.seed": Flip(1, the_scan),
    "data.synthetic.n_objects": Flip(2, the_lessons),
    "model.architecture": Flip("pinn", the_run_folder_of_stages, {"trainer.nepochs": 1}),
    "model.generator": Flip("cnn", the_network),
    "model.N": Flip(24, the_scan),
    "model.gridsize": Flip(2, the_groups, PATCHES),
    "model.patch_input": Flip("amplitude", the_patch_network, PATCHES),
    "model.output": Flip("real_imag", the_patch_network, PATCHES),
    "model.amp_activation": Flip("sigmoid", the_patch_network, PATCHES),
    "model.overlap": Flip("none", the_patch_network, PATCHES),
    "model.canvas_patterns": Flip(4, the_patch_network, PATCHES),
    "model.predicted_share": Flip(1.0, the_patch_network, PATCHES),
    "model.object_big": Flip(False, the_patch_network, PATCHES),
    "model.pad_object": Flip(False, the_patch_network, PATCHES),
    "model.probe_big": Flip(False, the_patch_network, PATCHES),
    "model.patch_weighting": Flip("uniform", the_patch_network, PATCHES),
    "model.probe_scale": Flip(2.0, the_patch_network, PATCHES),
    "model.gaussian_smoothing_sigma": Flip(1.0, the_patch_network, PATCHES),
    "model.synchronise_phases": Flip(False, the_stitched, PATCHES),
    "model.probe_mask": Flip(True, the_probe),
    "model.n_filters_scale": Flip(2, the_network, {"trainer.nepochs": 1}),
    "model.lift_coarse_iterations": Flip(5, the_lift),
    "model.lift_iterations": Flip(1, the_lift),
    "trainer.accelerator": Flip("gpu", the_devices),
    "trainer.devices": Flip(2, the_devices, {"trainer.strategy": "ddp", "trainer.devices": 1}),
    "trainer.num_nodes": Flip(2, the_nodes, {"trainer.strategy": "ddp", "trainer.devices": 1}),
    "trainer.strategy": Flip("ddp", the_devices, {"trainer.devices": 1}),
    "trainer.precision": Flip("bf16-mixed", the_network),
    "trainer.learning_rate": Flip(1e-3, the_network),
    "trainer.weight_decay": Flip(0.5, the_network),
    "trainer.scheduler": Flip("Exponential", the_network),
    "trainer.warmup_steps": Flip(3, the_network),
    "trainer.gradient_clip_val": Flip(1e-4, the_network),
    "trainer.gradient_clip_algorithm": Flip(
        "value", the_network, {"trainer.gradient_clip_val": 1e-4}
    ),
    "trainer.accum_steps": Flip(2, the_network),
    "trainer.nepochs": Flip(3, the_epochs),
    "trainer.batch_size": Flip(9, the_network),
    "trainer.torch_loss_mode": Flip("amplitude", the_network),
    "trainer.nll_weight": Flip(0.5, the_network, {"trainer.mae_weight": 1.0}),
    "trainer.mae_weight": Flip(1.0, the_network),
    "trainer.realspace_weight": Flip(1.0, the_network),
    "trainer.realspace_mae_weight": Flip(1.0, the_network),
    "trainer.tv_weight": Flip(1.0, the_network),
    "trainer.intensity_scale_trainable": Flip(True, the_network),
    "execution.deterministic": Flip(False, the_process),
    "execution.threads": Flip(2, the_process),
    "execution.num_workers": Flip(1, the_loader),
    "execution.pin_memory": Flip(True, the_loader),
    "execution.persistent_workers": Flip(True, the_loader, LOADED),
    "execution.prefetch_factor": Flip(5, the_loader, LOADED),
    "execution.enable_progress_bar": Flip(True, the_callbacks),
    "execution.quiet": Flip(True, the_words, SOLVED),
    "execution.enable_checkpointing": Flip(False, the_files),
    "execution.resume": Flip("auto", the_second_start, SOLVED),
    "execution.checkpoint_save_top_k": Flip(-1, the_files),
    "execution.checkpoint_monitor_metric": Flip("train/patterns_per_s", the_callbacks),
    "execution.checkpoint_mode": Flip("max", the_callbacks),
    "execution.early_stop_patience": Flip(
        1, the_epochs, {"trainer.learning_rate": 1e-12, "trainer.nepochs": 9}
    ),
    "execution.collapse_guard": Flip(
        False, the_network, STEADY | {"trainer.learning_rate": 1.0, "trainer.nepochs": 5}
    ),
    "execution.recon_log_every_n_epochs": Flip(1, the_files),
    "execution.inference_batch_size": Flip(1, the_tiles_at_once),
    "execution.limit_train_batches": Flip(1, the_network),
    "execution.detect_anomaly": Flip(True, the_anomaly_detection),
    "execution.profiler": Flip("simple", the_files),
    "execution.middle_trim": Flip(8, the_stitched, PATCHES),
    "execution.pad_eval": Flip(False, the_stitched, TRIMMED),
    "execution.log_patch_stats": Flip(True, the_run_folder, PATCHES),
    "execution.patch_stats_limit": Flip(1, the_statistics, DESCRIBED),
    "instrument.probe_trainable": Flip(True, the_instrument),
    "instrument.probe_modes": Flip(2, the_instrument, {"instrument.probe_trainable": True}),
    "instrument.positions_trainable": Flip(True, the_instrument),
    "instrument.max_shift": Flip(0.01, the_instrument, {"instrument.positions_trainable": True}),
    "instrument.flux_trainable": Flip(True, the_instrument),
    "instrument.background_trainable": Flip(True, the_instrument),
    "solver.coarse_iterations": Flip(5, the_solution),
    "solver.iterations": Flip(4, the_solution),
    "solver.poisson_iterations": Flip(3, the_solution),
    "solver.batch_size": Flip(10, the_patterns_at_once),
    "solver.probe_floor": Flip(0.1, the_solution),
    "solver.precondition": Flip(False, the_solution),
    "solver.cutoff": Flip(0.2, the_solution),
    "solver.cap": Flip(2.0, the_solution),
    "solver.subsets": Flip(1, the_solution),
    "refine.iterations": Flip(3, the_refinement),
    "refine.poisson_iterations": Flip(2, the_refinement),
    "uncertainty.method": Flip("fisher", the_run_folder, SOLVED),
    "uncertainty.members": Flip(1, the_uncertainty, {"uncertainty.method": "bootstrap"}),
    "uncertainty.seed": Flip(1, the_uncertainty, {"uncertainty.method": "bootstrap"}),
    "uncertainty.retrain": Flip(
        True, the_run_folder, {"uncertainty.method": "bootstrap", "trainer.nepochs": 1}
    ),
    "adapt.epochs": Flip(2, the_bundle, ADAPTING),
    "adapt.learning_rate": Flip(2e-3, the_bundle, ADAPTING),
    "adapt.stay_weight": Flip(0.0, the_bundle, ADAPTING),
    "sweep.sampler": Flip("tpe", the_sweep, SWEPT),
    "sweep.metric": Flip(["R"], the_sweep, SWEPT),
    "sweep.direction": Flip(["min"], the_sweep, SWEPT),
    "sweep.n_trials": Flip(3, the_sweep, SWEPT),
    "sweep.params": Flip({"trainer.tv_weight": "interval(0,1)"}, the_sweep, SWEPT),
    "sweep.pruner": Flip("hyperband", the_sweep, PRUNED),
    "sweep.min_epochs": Flip(5, the_sweep, PRUNED),
    "sweep.startup_trials": Flip(2, the_sweep, MODELLED),
    "sweep.seed": Flip(1, the_sweep, SWEPT),
    "sweep.workers": Flip(2, the_sweep, SWEPT),
    "sweep.storage": Flip("sqlite:///elsewhere.db", the_sweep, SWEPT),
    "logger.backend": Flip("csv", the_files),
    "logger.experiment": Flip("mine", the_dashboard, LOGGED),
    "logger.run_name": Flip("mine", the_dashboard, LOGGED),
    "logger.tracking_uri": Flip("http://127.0.0.1:1", the_dashboard, LOGGED),
    "logger.register_model": Flip("mine", the_registry, LOGGED | {"trainer.nepochs": 1}),
    "paths.outputs": Flip("elsewhere", the_dashboard, LOGGED),
    "paths.data": Flip("elsewhere", the_composition),
}


_SEEN: dict[str, Any] = {}


def settings(scans: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Values with the folder of the scans filled in."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(one) for one in value]
        return value.format(scans=scans) if isinstance(value, str) else value

    return {name: filled(value) for name, value in values.items()}


def test_every_setting_stands_in_the_table() -> None:
    known = {name for name, *_ in leaves(RunConfig())}
    assert not known - set(TABLE), "a new setting: say here what it does"
    assert not set(TABLE) - known, "no longer a setting"


@pytest.mark.parametrize("name", TABLE)
def test_setting_has_an_effect(
    name: str, scan_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flip = TABLE[name]
    usual = settings(scan_files, flip.around)
    if name == "data.source":
        usual["data.source"] = "synthetic"
        usual["data.nphotons"] = 1e5
    before = tiny_run(**usual)
    after = tiny_run(**usual | settings(scan_files, {name: flip.value}))
    values = [{leaf: value for leaf, value, *_ in leaves(run)} for run in (before, after)]
    assert {leaf for leaf in values[0] if values[0][leaf] != values[1][leaf]} == {name}
    if flip.look_at is refused:
        assert not refused(before, tmp_path)
        assert any(name in sentence for sentence in refused(after, tmp_path))
        return
    list(type_faults(before))  # plain strings become choices
    assert not list(type_faults(after))
    # most settings are compared with the same plain run: it is looked at once
    usually = f"{flip.look_at.__name__} {before}"
    if usually not in _SEEN:
        _SEEN[usually] = flip.look_at(before, tmp_path / "before")
    seen = flip.look_at(after, tmp_path / "after")
    assert seen != _SEEN[usually], f"{name}={flip.value} changes nothing"


@pytest.mark.parametrize(
    "look_at",
    sorted(
        {flip.look_at for flip in TABLE.values()} - {the_registry}, key=lambda one: one.__name__
    ),
    ids=lambda one: one.__name__,
)
def test_observers_see_the_same_twice(
    look_at: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # or everything would seem to have an effect
    monkeypatch.chdir(tmp_path)
    for backend in ("none", "mlflow") if look_at is the_dashboard else ("none",):
        runs = [check(tiny_run(logger__backend=backend)) for _ in range(2)]
        one, other = (
            look_at(run, tmp_path / f"{backend}{i}" / "run") for i, run in enumerate(runs)
        )
        assert one == other


def test_outputs_move_the_run_folder_too() -> None:
    here, there = (
        the_composition(tiny_run(paths__outputs=one), Path()) for one in ("outputs", "elsewhere")
    )
    assert here[1] == "outputs/runs"
    assert there[1] == "elsewhere/runs"
