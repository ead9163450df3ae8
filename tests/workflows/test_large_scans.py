"""Scans that stay in their file: the same bits, few passes, nothing read that is not needed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch.utils.data

from ptycho.config.config import UserError
from ptycho.config.validate import faults, type_faults
from ptycho.data import in_order as in_order_
from ptycho.data import lazy
from ptycho.data import module as module_
from ptycho.data.formats.npz import write_npz
from ptycho.data.hdf5_frames import Hdf5Frames
from ptycho.data.lazy import LazyAmplitude
from ptycho.physics import measured
from ptycho.report.console import console
from ptycho.workflows import build, lessons
from ptycho.workflows.evaluation import Question, evaluate
from tests.runs import launched, session_of, tiny_run, tiny_scan

N, SIDE = 100, 32
BLOCKS = 4  # in which all patterns are looked at
FROM_FILE = {
    "data__source": "file", "data__nphotons": None, "model__N": None,
    "data__synthetic__n_patterns": 1600, "data__synthetic__step": 6.0,
    "data__synthetic__probe_radius": 12.0,
}  # fmt: skip


def save(path, number=0, scale=1.0, **more):
    """A scan of counts, or of amplitudes in some unit, as ptychodus writes training data."""
    scan = tiny_scan(n_patterns=N, seed=number)
    values = np.round(np.square(scan.amplitude)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        how = {"chunks": (7, SIDE, SIDE), "compression": "gzip", "shuffle": True}
        file.create_dataset("patterns", data=values * type(scale)(scale), **how)
        file["probe"] = scan.probe
        for axis, name in enumerate("yx"):
            file[f"probe_position_{name}_px"] = scan.positions[:, axis] - 0.5
        for name in ("height", "width"):
            file[f"object_pixel_{name}_m"] = 1e-8
        for name, array in more.items():
            file[name] = array
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    bad = np.random.default_rng(0).random((SIDE, SIDE)) < 0.02
    return {
        "good": save(folder / "good.h5", 0, 1),
        "bad": save(folder / "bad.h5", 0, 1, bad_pixels=bad),
        "second": save(folder / "second.h5", 1, 1),
    }


@pytest.fixture(autouse=True)
def in_small_blocks(monkeypatch):
    monkeypatch.setattr(lazy, "BLOCK_BYTES", -(-N // BLOCKS) * 4 * SIDE**2)


def figures(folder):
    """All that a run found out, without what depends on the clock."""
    with np.load(folder / "reconstruction.npz") as file:
        arrays = {name: file[name].tobytes() for name in file if name != "seconds"}
    content = json.loads((folder / "metrics.json").read_text())
    for row in content["stages"].values():
        row.pop("seconds", None)
    for part in ("training", "uncertainty"):
        for name in ("seconds", "patterns_per_s"):
            content.get(part, {}).pop(name, None)
    known = json.loads((folder / "env.json").read_text())
    return arrays, content, known["data_sha256"], known["data"]["photons"]


SOLVER = {"task": "solve"}
TRAINING = {"trainer__nepochs": 2}
CASES = {
    "solve": ("good", SOLVER | {"data__holdout_fraction": 0.0}),
    "solve with bad pixels, some held out": ("bad", SOLVER | {"data__holdout_fraction": 0.1}),
    "solve without keeping centres": ("bad", SOLVER | {"centres": 0}),
    "find the instrument": ("bad", SOLVER | {
        "instrument__positions_trainable": True, "instrument__probe_trainable": True,
        "instrument__flux_trainable": True,
    }),
    "some of the patterns, two halves": ("good", SOLVER | {
        "data__n_images": 80, "data__n_subsample": 60, "uncertainty__method": "halves",
    }),
    "train": ("bad", TRAINING | {"trainer__mae_weight": 0.3}),
    "train from two files": ("good", TRAINING | {"data__further_data_files": ["second"]}),
    "train patches with workers": ("bad", TRAINING | {
        "model__architecture": "pinn", "model__gridsize": 2, "execution__num_workers": 1,
    }),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_as_in_memory(case, files, tmp_path, monkeypatch):
    name, changes = CASES[case]
    changes = dict(changes)
    monkeypatch.setattr(measured, "COARSE_BYTES", changes.pop("centres", 2**28))
    if further := changes.get("data__further_data_files"):
        changes["data__further_data_files"] = [files[one] for one in further]
    told = [
        figures(
            launched(
                tmp_path / how, data__lazy=how, data__train_data_file=files[name],
                **FROM_FILE | changes,
            )
        )
        for how in ("never", "always")
    ]  # fmt: skip
    assert told[0] == told[1]


def test_amplitudes_without_a_dose_and_a_masked_probe(tmp_path):
    path = save(tmp_path / "unit.npz", 0, 1e-5)
    told = [
        figures(
            launched(
                tmp_path / how, data__lazy=how, data__train_data_file=path, task="solve",
                data__values="amplitude", model__probe_mask=True, **FROM_FILE,
            )
        )
        for how in ("never", "always")
    ]  # fmt: skip
    assert told[0] == told[1]
    assert told[0][3] == pytest.approx(1e5)


def read_by(monkeypatch):
    """How many rows every read asks the file for."""
    asked = []
    usual = Hdf5Frames.read

    def read(self, rows):
        found = usual(self, rows)
        asked.append(len(found))
        return found

    monkeypatch.setattr(Hdf5Frames, "read", read)
    return asked


@pytest.mark.parametrize("kept", [True, False])
def test_few_passes_over_the_file(kept, files, tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "COARSE_BYTES", 2**28 if kept else 0)
    asked = read_by(monkeypatch)
    run = {"solver__coarse_iterations": 3, "solver__iterations": 2, "solver__poisson_iterations": 1}
    launched(
        tmp_path / "run", task="solve", data__lazy="always", data__holdout_fraction=0.0,
        data__train_data_file=files["good"], **FROM_FILE | run,
    )  # fmt: skip
    few = [n for n in asked if n == 1]  # the shape, and whether amplitudes have a dose
    assert len(few) <= 3
    # one look at all, the centres (kept, or every time), the iterations, two for the score
    passes = (sum(asked) - len(few)) / N
    assert passes == pytest.approx(1 + (1 if kept else 3) + 2 + 1 + 2, abs=0.5)
    assert max(asked) <= N // BLOCKS + N  # 256 patterns are looked at at once for the score


def test_a_training_step_reads_its_own_patterns(files, tmp_path, monkeypatch):
    run = tiny_run(
        data__train_data_file=files["good"], data__lazy="always", trainer__batch_size=8, **FROM_FILE
    )
    with session_of(run, tmp_path) as opened:
        problem = opened.pose(build.make_scan(run.data, 0))
        first = problem.flat()
        cut = lessons.tiles(problem, lessons.Lifted(first, first, first.abs()), 8)
        asked = read_by(monkeypatch)
        cells = cut.sampler(cut.places, 8, 0).cells()
        for cell in cells:
            cut[cell]
        assert asked == [len(cell) for cell in cells]


@pytest.mark.filterwarnings("ignore:'pin_memory'")  # where there is no GPU
@pytest.mark.parametrize("architecture", ["object_pinn", "pinn"])
def test_settings_of_the_loader_act(architecture, files, tmp_path, monkeypatch):
    seen, usual = [], torch.utils.data.DataLoader

    def loader(*some, **how):
        seen.append({name: how.get(name) for name in wanted})
        made = usual(*some, **how)
        assert made.num_workers == 2
        assert made.persistent_workers
        assert made.prefetch_factor == 3
        assert made.pin_memory
        return made

    wanted = {
        "num_workers": 2, "persistent_workers": True, "prefetch_factor": 3, "pin_memory": True,
    }  # fmt: skip
    monkeypatch.setattr(module_, "DataLoader", loader)
    monkeypatch.setattr(in_order_, "DataLoader", loader)
    common = {
        "data__train_data_file": files["good"], "data__lazy": "always", "trainer__nepochs": 2,
        "model__architecture": architecture, **FROM_FILE,
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(module_, "DataLoader", usual)
        patch.setattr(in_order_, "DataLoader", usual)
        alone = figures(launched(tmp_path / "alone", **common))
    execution = {f"execution__{name}": value for name, value in wanted.items()}
    helped = figures(launched(tmp_path / "helped", **common, **execution))
    assert seen[0] == wanted
    assert len(seen) == (1 if architecture == "object_pinn" else 2)
    assert alone == helped


def test_it_is_said_at_the_start(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lazy, "usable_memory", lambda: 4 * N * SIDE**2)
    run = tiny_run(data__train_data_file=files["good"], task="solve", **FROM_FILE)
    with session_of(run, tmp_path) as opened:
        problem = opened.pose(build.make_scan(run.data, 0))
        assert isinstance(problem.scan.amplitude, LazyAmplitude)
        opened.describe(problem)
    said = " ".join(capsys.readouterr().out.split())
    assert "they stay in the file and are read as they are needed" in said
    # the first 20 of them fit
    few = tiny_run(data__train_data_file=files["good"], data__n_images=20, **FROM_FILE)
    assert isinstance(build.make_scan(few.data, 0).amplitude, np.ndarray)


def test_scans_are_not_drawn_that_memory_does_not_hold(files, tmp_path, monkeypatch):
    monkeypatch.setattr(lazy, "usable_memory", lambda: 4 * N * SIDE**2)
    with pytest.raises(UserError, match=r"uncertainty\.method=bootstrap draws whole scans in memo"):
        launched(
            tmp_path / "run", data__train_data_file=files["good"], task="solve",
            uncertainty__method="bootstrap", **FROM_FILE,
        )  # fmt: skip


def test_evaluation_finds_the_same(files, tmp_path, monkeypatch):
    folder = launched(
        tmp_path / "run", task="solve", data__train_data_file=files["bad"], **FROM_FILE
    )
    judged = []
    for memory in (2**40, 1):
        monkeypatch.setattr(lazy, "usable_memory", lambda memory=memory: memory)
        question = Question(file=folder / "reconstruction.npz", data=Path(files["bad"]))
        found = evaluate(question, console(quiet=True)).data
        judged.append((found.scores, found.residual.tolist(), [one.number for one in found.worst]))
    assert str(judged[0]) == str(judged[1])


def test_object_patches_of_the_file_are_no_small_thing(tmp_path):
    scan = tiny_scan()
    patches = np.ones(scan.amplitude.shape, np.complex64)
    write_npz(tmp_path / "scan.npz", replace(scan, patches=patches))
    how = FROM_FILE | {
        "data__train_data_file": str(tmp_path / "scan.npz"), "data__lazy": "always",
        "model__architecture": "supervised", "trainer__realspace_weight": 1.0,
        "trainer__nll_weight": 0.0, "model__overlap": "none",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"patches Y of the file are read into memory.*objectGuess or solver"):
        launched(tmp_path / "run", **how)
    launched(tmp_path / "run2", **how, data__labels="solver")


def test_further_files_are_seen_and_reported(files, tmp_path, capsys):
    run = tiny_run(
        data__train_data_file=files["good"], data__further_data_files=[files["second"]],
        data__lazy="always", data__n_images=64, **FROM_FILE,
    )  # fmt: skip
    with session_of(run, tmp_path) as opened:
        (lesson,) = lessons.further(opened, build.make_recipe(run.solver))
    assert lesson.sha256 == build.further_scan(run.data, files["second"]).sha256
    assert len(lesson.cut) == 64
    assert "and 1 more to learn from, 64 patterns: 0 MiB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data__lazy": "always"}, r"^data\.lazy=always says how a file is read, and data\.sourc"),
        (
            FROM_FILE | {"data__train_data_file": "a.h5", "data__lazy": "always",
                         "uncertainty__method": "combined"},
            r"^uncertainty\.method=combined draws whole scans .*; use uncertainty\.method=halves",
        ),
        (
            {"data__further_data_files": ["a.h5"], "task": "solve"},
            r"^data\.further_data_files=\['a\.h5'\] are for task=train, and this is task=solve\.",
        ),
        (
            {"data__further_data_files": ["a.h5"], "model__architecture": "pinn"},
            r"teach networks that correct an object, and model\.architecture=pinn predicts patches",
        ),
        ({"data__further_data_files": ["a.h5", ""]}, "must name scans, and one name is empty"),
        ({"data__further_data_files": ["a.h5", "a.h5"]}, r"a\.h5 is named twice as a scan"),
        (
            FROM_FILE | {"data__train_data_file": "a.h5", "data__further_data_files": ["a.h5"]},
            r"a\.h5 is named twice",
        ),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(changes, sentence):
    run = tiny_run(**changes)
    list(type_faults(run))  # plain strings become choices
    assert any(re.search(sentence, fault) for fault in faults(run)), faults(run)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.further_data_files: no such file: .*gone\.h5"):
        launched(tmp_path / "run", data__further_data_files=["gone.h5"])
    assert not (tmp_path / "run").exists()


def test_compressed_files_are_refused_by_name(tmp_path):
    scan = tiny_scan()
    path = tmp_path / "packed.npz"
    np.savez_compressed(
        path, diffraction=scan.amplitude, probeGuess=scan.probe[0],
        ycoords=scan.positions[:, 0], xcoords=scan.positions[:, 1],
    )  # fmt: skip
    how = FROM_FILE | {"data__train_data_file": str(path), "task": "solve"}
    with pytest.raises(UserError, match=r"packed\.npz: data\.lazy=always .* diffraction is compr"):
        launched(tmp_path / "run", data__lazy="always", **how)
    assert Path(launched(tmp_path / "run2", **how), "reconstruction.npz").is_file()
