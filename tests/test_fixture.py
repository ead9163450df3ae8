"""The committed scan of 64 patterns is what its JSON file says; so is any other cut."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.data.formats.npz import read_npz
from ptycho.data.simulate import expected_photons
from ptycho.physics.patches import split_positions
from ptycho.physics.solver import Recipe
from ptycho.report.align import align
from ptycho.workflows.problem import pose
from scripts.make_fixture import SYNTHETIC, main
from tests.runs import CPU

REPOSITORY = Path(__file__).parents[1]
FIXTURE = REPOSITORY / "tests" / "fixtures" / "minimal_dataset_v1.npz"
SIDE = 8


def content(path: Path) -> dict[str, Any]:
    """All arrays of a file."""
    with np.load(path) as file:
        return dict(file)


def said(path: Path) -> dict[str, Any]:
    """What the JSON file beside it says."""
    return json.loads(path.with_suffix(".json").read_text())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(source: Path | str, output: Path, *more: str, size: int = 16) -> dict[str, Any]:
    """A fixture made by the command; its arrays."""
    main(["--source", str(source), "--output", str(output), "--subset-size", str(size), *more])
    return content(output)


def patches(file: dict[str, Any], side: int = SIDE) -> np.ndarray:
    """The object under every position of a file."""
    positions = np.stack([file["ycoords"], file["xcoords"]], 1)
    corners, _ = split_positions(torch.from_numpy(positions), side)
    found = [file["objectGuess"][y : y + side, x : x + side] for y, x in corners.tolist()]
    return np.stack(found)


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A scan in no order, whose every pattern tells the number of its frame; frames last."""
    rng = np.random.default_rng(1)
    n, shape = 50, (61, 47)
    counts = rng.poisson(3, (n, SIDE, SIDE))
    counts[:, 0, 0] = 1000 + np.arange(n)
    arrays = {
        "diff3d": np.moveaxis(counts, 0, -1).astype(np.float64),
        "ycoords": rng.uniform(4, shape[0] - 5, n),
        "xcoords": rng.uniform(4, shape[1] - 5, n),
        "probeGuess": rng.normal(size=(SIDE, SIDE)) + 1j,
        "objectGuess": rng.normal(size=shape) + 1j * rng.normal(size=shape),
        "Y": rng.normal(size=(n, SIDE, SIDE)) + 0j,
        "scan_index": 100 + np.arange(n),
        "bad_pixels": rng.random((n, SIDE, SIDE)) < 0.1,
        "weather": np.arange(3),
        "_metadata": np.array(json.dumps({"pixel_size_m": 1e-8, "beamline": "none"})),
    }
    path = tmp_path / "source.npz"
    np.savez(path, **arrays)
    return path, arrays


class TestCommitted:
    def test_it_is_what_its_sidecar_says(self):
        record, arrays = said(FIXTURE), content(FIXTURE)
        assert record["format_version"] == 1
        assert record["sha256"] == sha256(FIXTURE)
        assert FIXTURE.stat().st_size < 300_000
        assert record["arrays"] == {
            name: {"shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in arrays.items()
        }
        assert len(record["subset"]["frames"]) == len(arrays["diffraction"]) == 64
        assert arrays["diffraction"].dtype == np.uint16
        assert record["command"] == (
            "python scripts/make_fixture.py --source synthetic "
            "--output tests/fixtures/minimal_dataset_v1.npz --subset-size 64"
        )
        assert str(REPOSITORY) not in FIXTURE.with_suffix(".json").read_text()

    def test_it_is_made_again(self, tmp_path: Path):
        made, kept = make("synthetic", tmp_path / "again.npz", size=64), content(FIXTURE)
        record, committed = said(tmp_path / "again.npz"), said(FIXTURE)
        for key in ("format_version", "subset", "transformations", "arrays"):
            assert record[key] == committed[key], key
        np.testing.assert_array_equal(made["xcoords"], kept["xcoords"])
        np.testing.assert_array_equal(made["ycoords"], kept["ycoords"])
        for key in ("objectGuess", "probeGuess"):
            np.testing.assert_allclose(made[key], kept[key], rtol=1e-4, atol=1e-4)
        if record["source"] == committed["source"]:
            np.testing.assert_array_equal(made["diffraction"], kept["diffraction"])
        else:
            # another processor rounds otherwise, and once one photon falls elsewhere all may do:
            # then both are draws of the same expectation, with a variance of 2 to each photon
            expected = expected_of(kept)
            apart = made["diffraction"].astype(float) - kept["diffraction"]
            lit = expected > 1
            assert np.mean(apart[lit] ** 2 / (2 * expected[lit])) < 1.03

    def test_its_counts_are_photons_of_its_object(self):
        arrays = content(FIXTURE)
        expected = expected_of(arrays)
        lit = expected > 1
        chi = np.square(arrays["diffraction"] - expected)[lit] / expected[lit]
        # 30,000 pixels or more: 1 % is their scatter; a wrong pairing of frames gives ten and more
        assert lit.sum() > 30_000
        assert chi.mean() == pytest.approx(1, abs=0.03)

    def test_a_solve_recovers_its_object(self):
        scan = read_npz(FIXTURE)
        assert scan.truth_is_known
        assert scan.notes["values"].startswith("counts")
        problem = pose(scan, CPU)
        recipe = Recipe()
        obj = problem.solver(recipe).run(problem.start(20, recipe), 20)
        found = problem.reconstruction([]).scanned
        truth = problem.reconstruction([]).truth[found]
        obj = align(obj.numpy()[found], truth)
        assert correlation(np.angle(obj), np.angle(truth)) > 0.98
        assert correlation(np.abs(obj), np.abs(truth)) > 0.9


def expected_of(arrays: dict[str, Any]) -> np.ndarray:
    """Photons that the object, probe and positions of a file let expect."""
    positions = np.stack([arrays["ycoords"], arrays["xcoords"]], 1)
    return expected_photons(arrays["objectGuess"], arrays["probeGuess"][None], positions)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


class TestCut:
    @pytest.mark.parametrize("strategy", ["nearest", "first"])
    def test_whatever_belongs_to_a_frame_stays_with_it(
        self, source: tuple[Path, dict[str, Any]], strategy: str, tmp_path: Path
    ):
        path, whole = source
        cut = make(path, tmp_path / "cut.npz", "--strategy", strategy)
        frames = np.array(said(tmp_path / "cut.npz")["subset"]["frames"])
        assert len(frames) == 16
        # three witnesses, all of the file itself: number in the pattern, in the index, in the list
        np.testing.assert_array_equal(cut["diffraction"][:, 0, 0] - 1000, frames)
        np.testing.assert_array_equal(cut["scan_index"] - 100, frames)
        np.testing.assert_array_equal(
            cut["diffraction"], whole["diff3d"][..., frames].T.swapaxes(1, 2)
        )
        np.testing.assert_array_equal(cut["bad_pixels"], whole["bad_pixels"][frames])
        np.testing.assert_allclose(cut["Y"], whole["Y"][frames], rtol=1e-6)
        # positions but for one shift of all
        for axis in ("ycoords", "xcoords"):
            shift = whole[axis][frames] - cut[axis]
            assert np.ptp(shift) < 1e-12
            assert shift[0] == pytest.approx(round(shift[0]), abs=1e-12)

    @pytest.mark.parametrize("strategy", ["nearest", "first"])
    def test_the_object_under_a_position_is_the_same(
        self, source: tuple[Path, dict[str, Any]], strategy: str, tmp_path: Path
    ):
        path, whole = source
        cut = make(path, tmp_path / "cut.npz", "--strategy", strategy)
        frames = said(tmp_path / "cut.npz")["subset"]["frames"]
        before = patches(whole)[frames].astype(np.complex64)
        np.testing.assert_array_equal(patches(cut), before)

    def test_the_nearest_are_a_compact_block_and_the_first_are_the_first(
        self, source: tuple[Path, dict[str, Any]], tmp_path: Path
    ):
        path, whole = source
        cut = make(path, tmp_path / "cut.npz")
        frames = said(tmp_path / "cut.npz")["subset"]["frames"]
        positions = np.stack([whole["ycoords"], whole["xcoords"]], 1)
        away = np.linalg.norm(positions - (positions.min(0) + positions.max(0)) / 2, axis=1)
        assert away[frames].max() < np.delete(away, frames).min()
        assert cut["objectGuess"].size < 0.6 * whole["objectGuess"].size
        make(path, tmp_path / "first.npz", "--strategy", "first")
        assert said(tmp_path / "first.npz")["subset"]["frames"] == list(range(16))

    def test_the_sidecar_names_source_command_and_changes(
        self, source: tuple[Path, dict[str, Any]], tmp_path: Path
    ):
        path, _ = source
        cut = make(path, tmp_path / "cut.npz")
        record = said(tmp_path / "cut.npz")
        assert record["source"] == {"name": "source.npz", "sha256": sha256(path), "frames": 50}
        assert record["sha256"] == sha256(tmp_path / "cut.npz")
        assert record["left_out"] == ["weather"]
        assert str(tmp_path) not in (tmp_path / "cut.json").read_text()
        assert record["command"].endswith("--source source.npz --output cut.npz --subset-size 16")
        done = "\n".join(record["transformations"])
        for words in ("frames moved", "float64 stored as uint16", "16 of 50", "cropped", "less"):
            assert words in done
        metadata = json.loads(str(cut["_metadata"]))
        assert metadata == {
            "pixel_size_m": 1e-8, "beamline": "none", "values": "counts", "layout": "nyx",
        }  # fmt: skip

    def test_same_source_same_bytes(self, source: tuple[Path, dict[str, Any]], tmp_path: Path):
        for name in ("one.npz", "two.npz"):
            make(source[0], tmp_path / name)
        assert sha256(tmp_path / "one.npz") == sha256(tmp_path / "two.npz")

    def test_fractions_stay_amplitudes_and_what_is_not_there_is_not_invented(
        self, source: tuple[Path, dict[str, Any]], tmp_path: Path
    ):
        _, whole = source
        bare = {key: whole[key] for key in ("xcoords", "ycoords", "probeGuess")}
        amplitude = np.sqrt(np.moveaxis(whole["diff3d"], -1, 0))
        np.savez(tmp_path / "bare.npz", diffraction=amplitude, **bare)
        cut = make(tmp_path / "bare.npz", tmp_path / "cut.npz")
        frames = said(tmp_path / "cut.npz")["subset"]["frames"]
        assert cut["diffraction"].dtype == np.float32
        np.testing.assert_array_equal(cut["diffraction"], amplitude[frames].astype(np.float32))
        np.testing.assert_array_equal(cut["xcoords"], whole["xcoords"][frames])
        assert set(cut) == {"diffraction", "xcoords", "ycoords", "probeGuess", "_metadata"}
        read = read_npz(tmp_path / "cut.npz")
        np.testing.assert_array_equal(read.amplitude, cut["diffraction"])

    def test_a_reader_sees_the_same_scan(self, source: tuple[Path, dict[str, Any]], tmp_path: Path):
        make(source[0], tmp_path / "cut.npz")
        frames = said(tmp_path / "cut.npz")["subset"]["frames"]
        whole, cut = read_npz(source[0], patches=True), read_npz(tmp_path / "cut.npz", patches=True)
        some = whole.take(np.array(frames))
        np.testing.assert_array_equal(cut.amplitude, some.amplitude)
        np.testing.assert_array_equal(np.signbit(cut.amplitude), np.signbit(some.amplitude))
        np.testing.assert_array_equal(cut.patches, some.patches)
        np.testing.assert_array_equal(cut.probe, some.probe)
        assert cut.pixel_size_m == some.pixel_size_m


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"--source": "nowhere.npz"}, "nowhere.npz: no such file"),
            ({"--subset-size": "51"}, "--subset-size 51: source.npz holds 50 frames; ask"),
            ({"--subset-size": "15"}, "--subset-size must be at least 16, got 15."),
            ({"--subset-size": "few"}, "invalid int value: 'few'; see scripts/make_fixture.py --h"),
            ({"--output": "cut.npy"}, "--output must end in .npz, got cut.npy."),
            ({"--output": "no/cut.npz"}, "--output: no such folder: no; make it first."),
            ({"--output": "source.npz"}, "--output source.npz is the source itself"),
            ({"--strategy": "luck"}, "invalid choice: 'luck'"),
            ({"--source": "text.npz"}, "text.npz: not an NPZ file"),
            ({"--source": "far.npz"}, "far.npz: objectGuess (61, 47) does not lie under"),
            ({"--source": "dark.npz"}, "dark.npz: every pattern of these 16 frames is empty."),
        ],
    )  # fmt: skip
    def test_in_a_sentence_and_nothing_is_written(
        self,
        change: dict[str, str],
        words: str,
        source: tuple[Path, dict[str, Any]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ):
        monkeypatch.chdir(tmp_path)
        Path("text.npz").write_text("no archive")
        if change.get("--source") == "far.npz":
            np.savez("far.npz", **source[1] | {"ycoords": source[1]["ycoords"] + 300})
        if change.get("--source") == "dark.npz":
            dark = source[1]["diff3d"].copy()
            dark[..., :16] = 0
            np.savez("dark.npz", **source[1] | {"diff3d": dark})
            change = change | {"--strategy": "first"}
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        given = {"--source": "source.npz", "--output": "cut.npz", "--subset-size": "16"} | change
        with pytest.raises(SystemExit, match="2"):
            main([word for pair in given.items() for word in pair])
        sentence = capsys.readouterr().err
        assert words in sentence
        assert sentence.count("\n") == 1
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_it_is_run_as_a_script(self):
        script = REPOSITORY / "scripts" / "make_fixture.py"
        done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "--source synthetic" in done.stdout


def test_the_built_in_source_is_what_a_run_simulates():
    from ptycho.config.config import RunConfig

    run = RunConfig()
    built_in = run.data.synthetic
    assert {
        "kind": built_in.object.value,
        "n_patterns": built_in.n_patterns,
        "patch_size": 64,
        "photons": 1e5,
        "step": built_in.step,
        "jitter": built_in.jitter,
        "probe_radius": built_in.probe_radius,
        "seed": built_in.seed,
    } == SYNTHETIC
