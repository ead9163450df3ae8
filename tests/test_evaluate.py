"""The real command, as a user types it: laws, refusals, exit codes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho.config.choices import DataSource, Task
from ptycho.config.config import RunConfig
from ptycho.data.formats.npz import write_npz
from ptycho.data.formats.ptychodus import write_pair
from ptycho.data.scan import Scan
from ptycho.evaluate import main
from ptycho.workflows.launch import launch
from tests.products import ptychodus_arrays, write_product_h5, write_result
from tests.runs import TINY, put, tiny_scan

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scan() -> Scan:
    return replace(tiny_scan(photons=1e6), pixel_size_m=8e-9)


@pytest.fixture
def folder(tmp_path: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scan and the true object in the layout of our results."""
    write_npz(tmp_path / "scan.npz", scan)
    write_result(tmp_path / "truth.npz", scan)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pair(folder: Path, scan: Scan) -> Path:
    """A folder of ptychodus with the same scan."""
    write_pair(folder / "pair", scan)
    return folder / "pair"


@pytest.fixture
def quick(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, for laws about numbers: nobody looks at the pictures."""
    monkeypatch.setattr("ptycho.workflows.evaluation.save_verdict", lambda _, path: path.touch())
    return folder


def evaluated(file: str | Path, *options: str) -> dict[str, Any]:
    """The numbers that the command writes."""
    main([str(file), *options])
    path = Path(file)
    name = path.parent.name if path.stem == "reconstruction" else path.stem
    return json.loads(Path(f"outputs/evaluations/{name}/evaluation.json").read_text())


def refusals(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The sentences with which the command refuses."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert all(line.startswith("ptycho: ") for line in printed.err.splitlines())
    return [line.removeprefix("ptycho: ") for line in printed.err.splitlines()]


def unwritten(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """The sentences of a command that printed its table and could not write its files."""
    with pytest.raises(SystemExit) as ended:
        main(["truth.npz", "--truth", "scan.npz", *options])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    for words in ("phase PSNR (dB)", "note: "):
        assert words in printed.out
    return [line.removeprefix("ptycho: ") for line in printed.err.splitlines()]


class TestAgainstATruth:
    def test_the_truth_itself_is_perfect(self, quick: Path):
        found = evaluated("truth.npz", "--truth", "scan.npz")["against_truth"]
        figures, flat, noise = (found[name] for name in ("figures", "flat", "noise"))
        for part in ("phase", "amplitude"):
            # as alike as single precision can tell
            assert figures[f"{part}_pearson"] == pytest.approx(1, abs=1e-6)
            assert figures[f"{part}_ssim"] == pytest.approx(1, abs=1e-6)
            assert figures[f"{part}_psnr"] > 100
            assert flat[f"{part}_pearson"] == 0
            assert flat[f"{part}_psnr"] < noise[f"{part}_psnr"] < figures[f"{part}_psnr"]
        assert figures["frc_half_bit_px"] == 2
        assert figures["frc_half_bit_nm"] == pytest.approx(16)

    def test_another_canvas_shift_ramp_scale_and_phase_do_not_count(self, quick: Path, scan: Scan):
        obj = np.pad(scan.truth, ((9, 4), (3, 17)), constant_values=1)
        y, x = np.mgrid[: obj.shape[0], : obj.shape[1]]
        obj = (obj * 0.3 * np.exp(1j * (0.7 + 0.05 * y - 0.03 * x))).astype(np.complex64)
        there = scan.positions + np.array([9, 3])
        write_result(
            quick / "moved.npz", scan, object=obj, ycoords=there[:, 0], xcoords=there[:, 1]
        )
        found = evaluated("moved.npz", "--truth", "scan.npz")
        assert (
            "the two objects were placed by their positions, -9 and -3 pixels (y, x) apart"
            in found["notes"]
        )
        figures = found["against_truth"]["figures"]
        assert figures["phase_psnr"] > 80  # the ramp is found in single precision
        assert figures["amplitude_psnr"] > 80
        assert figures["frc_half_bit_px"] == 2

    def test_a_shift_is_undone_as_far_as_allowed(self, quick: Path, scan: Scan):
        np.savez(quick / "rolled.npz", object=np.roll(scan.truth, 3, axis=1))
        np.savez(quick / "alone.npz", object=scan.truth)
        far, near = (
            evaluated("rolled.npz", "--truth", "alone.npz", *how)["against_truth"]["figures"]
            for how in ((), ("--max-shift", "1"))
        )
        assert far["phase_pearson"] > 0.95  # what was rolled out of the picture is lost
        assert near["phase_pearson"] < 0.9

    def test_the_twin_counts_when_asked(self, quick: Path, scan: Scan):
        twin = np.conj(scan.truth[::-1, ::-1])
        np.savez(quick / "twin.npz", object=twin)
        np.savez(quick / "alone.npz", object=scan.truth)
        plain = evaluated("twin.npz", "--truth", "alone.npz")["against_truth"]["figures"]
        asked = evaluated("twin.npz", "--truth", "alone.npz", "--twin")["against_truth"]["figures"]
        assert plain["phase_pearson"] < 0.5
        assert asked["phase_pearson"] > 0.999

    @pytest.mark.parametrize("with_patterns", [True, False])
    def test_the_noise_floor_does_not_depend_on_free_scales(
        self, quick: Path, scan: Scan, with_patterns
    ):
        def floor(name: str, mine: float, true: float) -> dict[str, float]:
            write_result(quick / f"{name}_file.npz", scan, object=scan.truth * np.float32(mine))
            write_result(quick / f"{name}_truth.npz", scan, object=scan.truth * np.float32(true))
            how = ("--data", "scan.npz") if with_patterns else ()
            found = evaluated(f"{name}_file.npz", "--truth", f"{name}_truth.npz", *how)
            return found["against_truth"]["noise"]

        usual = floor("usual", 1, 1)
        for name, mine, true in (
            ("a", 0.2, 1), ("b", 5, 1), ("c", 1, 0.2), ("d", 1, 5), ("e", 1, 100), ("f", 0.2, 5),
        ):  # fmt: skip
            found = floor(name, mine, true)
            for figure in ("phase_psnr", "amplitude_psnr", "frc_area", "phase_mae"):
                assert found[figure] == pytest.approx(usual[figure], abs=1e-3), (name, figure)
            # in the units of the truth
            assert found["amplitude_mae"] == pytest.approx(true * usual["amplitude_mae"], rel=1e-3)

    def test_what_the_truth_is_is_told(self, quick: Path):
        notes = evaluated("truth.npz", "--truth", "scan.npz")["notes"]
        assert any(
            note.startswith("--truth: the object is the ") and note.endswith("shipped with a scan")
            for note in notes
        )

    def test_a_typed_pixel_size_wins(self, quick: Path):
        found = evaluated("truth.npz", "--truth", "scan.npz", "--pixel-size-nm", "5")
        assert found["pixel_size_m"] == pytest.approx(5e-9)
        assert found["against_truth"]["figures"]["frc_half_bit_nm"] == pytest.approx(10)


class TestAgainstThePatterns:
    def test_the_siemens_star_shipped_with_its_estimate(
        self, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        star = str(shared_data / "siemens_star_aps_n128.npz")
        found = evaluated(star, "--data", star)["against_data"]
        # by another script, of which these are the digits told
        assert round(found["figures"]["C"], 3) == 0.858
        assert round(found["figures"]["R"], 3) == 0.177
        assert round(found["flat"]["R"], 3) == 0.270
        assert found["flat"]["C"] == pytest.approx(0, abs=1e-3)

    @pytest.mark.parametrize("free", [False, True])
    def test_a_run_is_judged_as_it_judged_itself(self, quick: Path, scan: Scan, free: bool):
        flicker, rng = np.linspace(0.5, 1.5, len(scan))[:, None, None], np.random.default_rng(0)
        counts = np.square(scan.amplitude) * flicker + rng.poisson(9, scan.amplitude.shape)
        if free:
            write_npz(quick / "scan.npz", replace(scan, amplitude=np.sqrt(np.rint(counts))))
        run = RunConfig(task=Task.solve)
        run.instrument.flux_trainable = run.instrument.background_trainable = free
        for name, value in TINY.items():
            if not name.startswith("data."):
                put(run, name, value)
        put(run, "data.source", DataSource.file)
        put(run, "data.train_data_file", "scan.npz")
        launch(run, quick / "run", [])
        found = evaluated("run/reconstruction.npz", "--data", "scan.npz")
        itself = json.loads(Path("run/metrics.json").read_text())["stages"]
        for name in ("R", "C", "deviance"):
            # the same computation on another canvas
            assert found["against_data"]["figures"][name] == pytest.approx(
                itself["solver"][name], abs=1e-4
            )
            assert found["against_data"]["flat"][name] == pytest.approx(
                itself["flat"][name], abs=1e-4
            )

    def test_the_folder_of_a_run_stands_for_its_result(self, quick: Path, scan: Scan):
        (quick / "run").mkdir()
        write_result(quick / "run" / "reconstruction.npz", scan)
        judged = []
        for file, truth in (("run", "run"), ("run/reconstruction.npz", "run/reconstruction.npz")):
            main([file, "--truth", truth, "--data", "scan.npz"])
            judged.append(Path("outputs/evaluations/run/evaluation.json").read_text())
        assert judged[0] == judged[1]

    def test_a_perfect_model_is_at_the_noise_floor(self, quick: Path):
        found = evaluated("truth.npz", "--data", "scan.npz")["against_data"]
        # 64 patterns of 1,024 pixels: independent noise agrees to a few per cent
        for name in ("R", "C", "deviance_fitted"):
            assert found["figures"][name] == pytest.approx(found["noise"][name], rel=0.03)
        assert found["flat"]["deviance_fitted"] > 10 * found["noise"]["deviance_fitted"]

    def test_the_noise_floor_of_a_poor_object_is_that_of_the_truth(self, quick: Path, scan: Scan):
        write_result(quick / "flat.npz", scan, object=np.ones_like(scan.truth))
        alone = evaluated("flat.npz", "--data", "scan.npz")["against_data"]
        told = evaluated("flat.npz", "--data", "scan.npz", "--truth", "scan.npz")["against_data"]
        best = evaluated("truth.npz", "--data", "scan.npz")["against_data"]
        # the scale of the truth is rounded away before the photons are drawn
        assert told["noise"] == pytest.approx(best["noise"], rel=1e-3)
        assert told["figures"] == alone["figures"] == pytest.approx(alone["flat"])
        assert alone["noise"]["C"] == pytest.approx(0, abs=0.05)  # of an object without structure

    @pytest.mark.parametrize("size", [1e-20, 1e12])
    def test_the_units_of_the_object_do_not_matter(self, quick: Path, scan: Scan, size):
        obj, probe = (scan.truth * size).astype(np.complex64), scan.probe / np.float32(1e3)
        write_result(quick / "units.npz", scan, object=obj, probe=probe)
        found = evaluated("units.npz", "--data", "scan.npz")
        whole = evaluated("truth.npz", "--data", "scan.npz")["against_data"]["figures"]
        assert found["against_data"]["figures"] == pytest.approx(whole, rel=1e-4)
        assert "was divided by that" in found["notes"][0]

    def test_patterns_held_out_are_judged_by_themselves(self, quick: Path, scan: Scan):
        write_result(quick / "held.npz", scan, held_out=np.array([3, 40]))
        found = evaluated("held.npz", "--data", "scan.npz")["against_data"]
        assert found["held_out"] == [3, 40]
        assert found["figures"]["deviance"] == pytest.approx(
            found["figures"]["deviance_fitted"], rel=0.1
        )  # the truth knows neither
        assert {"C_held_out", "deviance"} <= set(found["noise"])
        assert "deviance" not in evaluated("truth.npz", "--data", "scan.npz")["against_data"][
            "figures"
        ]  # fmt: skip

    def test_spoiled_patterns_are_the_worst(self, quick: Path, scan: Scan):
        spoiled, dice = scan.amplitude.copy(), np.random.default_rng(0)
        for number in (5, 17, 40):
            spoiled[number] = dice.permutation(spoiled[number].ravel()).reshape(32, 32)
        write_npz(quick / "spoiled.npz", replace(scan, amplitude=spoiled))
        found = evaluated("truth.npz", "--data", "spoiled.npz")["against_data"]
        assert {one["pattern"] for one in found["worst"][:3]} == {5, 17, 40}
        assert found["worst"][2]["residual"] > 2 * found["worst"][3]["residual"]
        assert found["worst"][0]["residual"] == max(found["residual"])

    def test_an_empty_pattern_is_the_worst_of_all(self, quick: Path, scan: Scan):
        dark = scan.amplitude.copy()
        dark[9] = 0
        write_npz(quick / "dark.npz", replace(scan, amplitude=dark))
        worst = evaluated("truth.npz", "--data", "dark.npz")["against_data"]["worst"]
        assert worst[0] == {
            "pattern": 9, "y": pytest.approx(scan.positions[9, 0]),
            "x": pytest.approx(scan.positions[9, 1]), "residual": None,
        }  # fmt: skip

    def test_an_object_without_positions_or_probe_takes_those_of_the_scan(
        self, quick: Path, scan: Scan
    ):
        np.save(quick / "bare.npy", scan.truth)
        bare = evaluated("bare.npy", "--data", "scan.npz")
        whole = evaluated("truth.npz", "--data", "scan.npz")
        assert bare["against_data"]["figures"] == whole["against_data"]["figures"]
        assert bare["notes"] == [
            "FILE has no positions: those of the scan are used, on the same pixels",
            "FILE has no probe: that of the scan is used",
        ]

    def test_patches_beyond_the_object_see_emptiness(self, quick: Path, scan: Scan):
        inside = np.ones_like(scan.truth)
        inside[12:-12, 12:-12] = scan.truth[12:-12, 12:-12]
        there = scan.positions - 12
        write_result(quick / "whole.npz", scan, object=inside)
        write_result(
            quick / "cut.npz", scan, object=inside[12:-12, 12:-12],
            ycoords=there[:, 0], xcoords=there[:, 1],
        )  # fmt: skip
        cut, whole = (evaluated(f"{n}.npz", "--data", "scan.npz") for n in ("cut", "whole"))
        assert cut["against_data"]["figures"] == pytest.approx(whole["against_data"]["figures"])
        assert any("reach beyond the object, which is taken as empty" in n for n in cut["notes"])

    @pytest.mark.parametrize("offset", [(0.5, 0.5), (-1.0, 0.5)])
    def test_another_convention_of_pixels_is_suspected(self, quick: Path, scan: Scan, offset):
        there = scan.positions + np.array(offset)
        write_result(quick / "off.npz", scan, ycoords=there[:, 0], xcoords=there[:, 1])
        (said,) = evaluated("off.npz", "--data", "scan.npz")["notes"]
        assert f"moved by {-offset[0]:+g} and {-offset[1]:+g} pixels (y, x)" in said
        assert evaluated("truth.npz", "--data", "scan.npz")["notes"] == []


class TestProductsOfPtychodus:
    def test_metres_give_the_same_figures_as_pixels(self, quick: Path, scan: Scan):
        arrays = ptychodus_arrays(scan.truth[None], scan.probe[None], scan.positions)
        write_product_h5(quick / "product.h5", arrays)
        both = ("--truth", "scan.npz", "--data", "scan.npz")
        metres, pixels = evaluated("product.h5", *both), evaluated("truth.npz", *both)
        for against in ("against_truth", "against_data"):
            for row in ("figures", "flat", "noise"):
                assert metres[against][row] == pytest.approx(pixels[against][row], abs=1e-9)
        assert metres["pixel_size_m"] == pytest.approx(8e-9)

    def test_patterns_find_their_positions_by_number(self, quick: Path, scan: Scan):
        some = np.random.default_rng(0).permutation(64)[:50]
        numbers = np.concatenate([some, some[:2]])
        arrays = ptychodus_arrays(scan.truth, scan.probe[0], scan.positions[numbers])
        arrays["probe_position_indexes"] = numbers
        write_product_h5(quick / "some.h5", arrays)
        found = evaluated("some.h5", "--data", "scan.npz")
        assert found["against_data"]["numbers"] == sorted(some.tolist())
        assert found["notes"] == [
            "2 patterns have several positions in FILE, which are averaged",
            "14 patterns have no position in FILE and are left out",
        ]
        whole = evaluated("truth.npz", "--data", "scan.npz")["against_data"]["figures"]
        # of all patterns, three quarters in any order; shuffled ones would give C = 0
        assert found["against_data"]["figures"]["C"] == pytest.approx(whole["C"], abs=0.02)


class TestTwoHalves:
    def test_halves_of_a_scan_agree_and_those_of_noise_do_not(self, quick: Path, scan: Scan):
        seen = evaluated("truth.npz", "--data", "scan.npz", "--split-halves")["halves"]
        dice = np.random.default_rng(0)
        noise = dice.permuted(scan.amplitude.reshape(64, -1), axis=1).reshape(64, 32, 32)
        write_npz(quick / "noise.npz", replace(scan, amplitude=noise))
        unrelated = evaluated("truth.npz", "--data", "noise.npz", "--split-halves")["halves"]
        assert sum(seen["patterns"]) == 64
        assert seen["figures"]["frc_area"] > 0.7
        assert unrelated["figures"]["frc_area"] < 0.5 * seen["figures"]["frc_area"]
        assert seen["figures"]["frc_half_bit_px"] < 4
        assert seen["figures"]["frc_half_bit_nm"] == pytest.approx(
            8 * seen["figures"]["frc_half_bit_px"]
        )
        assert len(seen["frc"]["correlation"]) == len(seen["frc"]["half_bit"])

    def test_each_half_may_find_positions_for_itself(self, quick: Path, scan: Scan):
        off = np.random.default_rng(1).normal(0, 1, scan.positions.shape)
        write_npz(quick / "off.npz", replace(scan, positions=scan.positions + off))
        given = "off.npz", "--data", "off.npz", "--split-halves"
        kept = evaluated(*given)["halves"]["figures"]
        found = evaluated(*given, "--instrument", "positions")["halves"]["figures"]
        assert found["frc_area"] > kept["frc_area"] + 0.05

    def test_only_halves_find_an_instrument(self, quick: Path, capsys):
        given = "truth.npz", "--data", "scan.npz", "--instrument", "probe"
        (said,) = refusals(capsys, *given)
        assert "--instrument probe is for the halves: add --split-halves" in said

    def test_too_few_patterns(self, quick: Path, scan: Scan, capsys):
        write_npz(quick / "few.npz", scan.first(15))
        write_result(quick / "few_truth.npz", scan.first(15))
        (said,) = refusals(capsys, "few_truth.npz", "--data", "few.npz", "--split-halves")
        assert "two halves need at least 16 patterns, got 15" in said


class TestWhatIsLeftBehind:
    def test_the_table_the_files_and_where_they_are(self, folder: Path, capsys):
        main(["truth.npz", "--truth", "scan.npz", "--data", "scan.npz", "--out", "here"])
        printed = capsys.readouterr().out
        for words in (
            "this object", "flat object", "noise floor", "against the truth", "against 64 patterns",
            "phase PSNR (dB)", "FRC 1/2-bit (nm)", "worst patterns, with their R:",
            "here/evaluation.png", "here/evaluation.json",
        ):  # fmt: skip
            assert words in printed
        assert sorted(path.name for path in Path("here").iterdir()) == [
            "evaluation.json", "evaluation.png",
        ]  # fmt: skip
        assert Path("here/evaluation.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert not Path("outputs").exists()

    def test_what_was_there_is_replaced(self, folder: Path):
        Path("here").mkdir()
        Path("here/evaluation.json").write_text("old")
        Path("here/evaluation.png").write_text("old")
        main(["truth.npz", "--truth", "scan.npz", "--out", "here"])
        assert json.loads(Path("here/evaluation.json").read_text())["label"] == "truth"
        assert Path("here/evaluation.png").stat().st_size > 1000

    def test_the_numbers_go_where_they_are_wanted(self, folder: Path):
        main(["truth.npz", "--truth", "scan.npz", "--out", "here", "--json", "a/b/numbers.json"])
        assert json.loads(Path("a/b/numbers.json").read_text())["file"] == "truth.npz"
        assert [path.name for path in Path("here").iterdir()] == ["evaluation.png"]

    def test_a_result_is_filed_under_its_run(self, folder: Path, scan: Scan):
        Path("night_shift").mkdir()
        write_result(Path("night_shift/reconstruction.npz"), scan)
        main(["night_shift/reconstruction.npz", "--truth", "scan.npz"])
        assert Path("outputs/evaluations/night_shift/evaluation.json").is_file()


class TestRefusals:
    def test_nothing_to_judge_by(self, folder: Path, capsys):
        (said,) = refusals(capsys, "truth.npz")
        assert said.startswith("give something to judge FILE by: --truth FILE")

    def test_every_fault_is_told_at_once(self, folder: Path, capsys):
        said = refusals(
            capsys, "no.npz", "--truth", str(folder), "--split-halves", "--max-shift", "-1",
            "--pixel-size-nm", "0", "--out", "scan.npz/there", "--json", str(folder),
        )  # fmt: skip
        assert said == [
            f"FILE: no such file: {folder}/no.npz; check the path.",
            f"--truth: {folder} is a folder without a reconstruction.npz; name the file in it.",
            "--split-halves needs the patterns: give the scan with --data FILE.",
            "--max-shift must be pixels, at least 0, got -1.",
            "--pixel-size-nm must be nanometres above 0, got 0.",
            f"--out: {folder}/scan.npz is a file, not a folder.",
            f"--json: {folder} is a folder; name a file in it.",
        ]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "the following arguments are required: FILE; see ptycho evaluate --help."),
            (("truth.npz", "--trut"), "--truth: expected one argument"),
            (("truth.npz", "--colour", "red"), "unrecognized arguments: --colour red"),
            (("truth.npz", "--data", "scan.npz", "--values", "photons"), "invalid choice: 'photo"),
            (("truth.npz", "--truth", "x", "--max-shift", "far"), "invalid float value: 'far'"),
        ],
    )
    def test_slips_of_the_keyboard(self, folder: Path, capsys, arguments, words):
        (said,) = refusals(capsys, *arguments)
        assert words in said

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--json", "truth.npz"), "--json: truth.npz is FILE itself; write to another place."),
            (("--json", "./here/../scan.npz"), "/scan.npz is --data itself; write to another"),
            (("--json", "linked.npz"), "--json: linked.npz is --truth itself; write to another"),
            (
                ("--out", "here", "--json", "here/evaluation.png"),
                "--json: here/evaluation.png is where the picture goes; name another file.",
            ),
        ],
    )
    def test_nothing_that_was_given_is_overwritten(
        self, folder: Path, scan: Scan, capsys, options, words
    ):
        write_result(folder / "other.npz", scan)
        Path("linked.npz").symlink_to("other.npz")
        Path("here").mkdir()
        before = {path: path.read_bytes() for path in folder.glob("*.npz")}
        (said,) = refusals(
            capsys, "truth.npz", "--truth", "other.npz", "--data", "scan.npz", *options
        )
        assert words in said
        assert {path: path.read_bytes() for path in folder.glob("*.npz")} == before
        assert list(Path("here").iterdir()) == []

    def test_what_may_not_be_replaced(self, folder: Path, capsys):
        os.mkfifo("pipe.json")
        np.savez("mask.npz", np.zeros((32, 32), bool))
        mask = "data.preprocess.bad_pixels_file=mask.npz"
        words = ("truth.npz", "--data", "scan.npz", mask, "--json")
        (said,) = refusals(capsys, *words, "pipe.json")
        assert said == "--json: pipe.json is a device or a pipe; name a file."
        (said,) = refusals(capsys, *words, "mask.npz")
        assert said.startswith("--json: mask.npz is data.preprocess.bad_pixels_file itself; write")

    def test_a_picture_that_would_overwrite_what_is_judged(self, folder: Path, scan: Scan, capsys):
        Path("here").mkdir()
        with Path("here/evaluation.png").open("wb") as file:
            np.save(file, scan.truth)
        (said,) = refusals(capsys, "here/evaluation.png", "--truth", "scan.npz", "--out", "here")
        assert said == "--out: here/evaluation.png is FILE itself; write to another place."

    def test_files_that_cannot_be_used(self, folder: Path, scan: Scan, capsys):
        Path("text.npz").write_text("hello")
        np.savez("flat.npz", object=np.abs(scan.truth))
        np.savez("small.npz", object=scan.truth[:40, :40])
        write_result(Path("half.npz"), scan.first(30), xcoords=scan.positions[::2, 1][:30],
                     ycoords=scan.positions[::2, 0][:30])  # fmt: skip
        write_npz(Path("other.npz"), tiny_scan(patch_size=16, n_patterns=64))
        for arguments, words in {
            ("text.npz", "--truth", "truth.npz"): "text.npz: not a file that can be judged",
            ("truth.npz", "--truth", "text.npz"): "text.npz: not a file that can be judged",
            ("truth.npz", "--data", "text.npz"): "text.npz: not a scan in any known format",
            ("truth.npz", "--data", "truth.npz"): "diffraction or diff3d is missing",
            ("flat.npz", "--truth", "truth.npz"): "object must hold complex numbers, got float32",
            ("small.npz", "--truth", "truth.npz"): "small has no positions, so that nothing says",
            ("small.npz", "--data", "scan.npz"): "save xcoords and ycoords",
            ("half.npz", "--data", "scan.npz"): "30 positions and synthetic 64 patterns",
            ("truth.npz", "--data", "other.npz"): "a probe of 32 x 32 pixels and synthetic pattern",
        }.items():
            (said,) = refusals(capsys, *arguments)
            assert words in said
        assert not Path("outputs").exists()

    def test_an_object_that_lets_no_light_through(self, folder: Path, scan: Scan, capsys):
        write_result(folder / "black.npz", scan, object=0 * scan.truth)
        (said,) = refusals(capsys, "black.npz", "--data", "scan.npz")
        assert "no light comes through this object" in said

    def test_a_place_that_may_not_be_written_to(self, folder: Path, capsys, monkeypatch):
        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device", "here/evaluation.png")

        monkeypatch.setattr("ptycho.report.figures.Figure.savefig", full)
        (said,) = unwritten(capsys, "--out", "here")
        assert said == (
            "here cannot be written (No space left on device); name another place with --out."
        )
        assert [path.name for path in Path("here").iterdir()] == ["evaluation.json"]

    def test_numbers_that_cannot_be_written(self, folder: Path, capsys, monkeypatch):
        def closed(*_: Any) -> None:
            raise PermissionError(13, "Permission denied", "there/.numbers.json.1.part.json")

        monkeypatch.setattr("ptycho.workflows.evaluation.write_json", closed)
        (said,) = unwritten(capsys, "--out", "here", "--json", "there/numbers.json")
        assert said == (
            "there/numbers.json cannot be written (Permission denied); name another place with "
            "--json."
        )

    def test_an_interruption(self, folder: Path, capsys, monkeypatch):
        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("ptycho.workflows.evaluation.evaluate", stop)
        with pytest.raises(SystemExit) as ended:
            main(["truth.npz", "--truth", "scan.npz"])
        assert ended.value.code == 130
        assert capsys.readouterr().err == "ptycho: interrupted\n"


def ptycho(folder: Path, *arguments: str, flags: tuple[str, ...] = ()) -> Any:
    """Run ``python -m ptycho`` in a folder, on one thread of a machine without GPUs."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *flags, "-m", "ptycho", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


class TestTheProgram:
    def test_it_evaluates(self, folder: Path):
        done = ptycho(folder, "evaluate", "truth.npz", "--truth", "scan.npz")
        assert done.returncode == 0, done.stderr
        assert "phase PSNR" in done.stdout
        assert done.stderr == ""
        assert (folder / "outputs/evaluations/truth/evaluation.png").is_file()

    def test_it_refuses(self, folder: Path):
        done = ptycho(folder, "evaluate", "no.npz", "--data", "scan.npz")
        assert done.returncode == 2
        assert done.stderr == f"ptycho: FILE: no such file: {folder}/no.npz; check the path.\n"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--help",), "ptycho evaluate RUN | FILE"),
            (("evaluate", "--help"), "--split-halves"),
            (("--cfg", "job", "trainer.nepochs=3"), "nepochs: 3"),
        ],
    )
    def test_what_only_talks_loads_no_torch(self, tmp_path: Path, arguments, words):
        done = ptycho(tmp_path, *arguments, flags=("-X", "importtime"))
        assert done.returncode == 0
        assert words in done.stdout
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "ptycho.main" in loaded  # or the names below would say nothing
        assert not loaded & {"torch", "lightning", "mlflow", "matplotlib", "numpy"}
        assert not list(tmp_path.iterdir())

    def test_everything_else_is_a_run(self, tmp_path: Path):
        done = ptycho(tmp_path, "trainer.nepochs=0")
        assert done.returncode == 2
        assert done.stderr == "ptycho: trainer.nepochs must be at least 1, got 0.\n"


def test_a_scan_may_come_in_any_format(quick: Path, pair: Path) -> None:
    def judged(*arguments: str) -> Any:
        return evaluated(*arguments)["against_data"]["figures"]["C"]

    first = judged("truth.npz", "--data", "scan.npz")
    for options in (
        (str(pair),),
        (str(pair / "diffraction.h5"), "--positions", str(pair / "product.h5")),
        (
            str(pair / "diffraction.h5"),
            "--format",
            "ptychodus",
            "--positions",
            f"{pair}/product.h5",
        ),
    ):
        assert judged("truth.npz", "--data", *options) == first
    product = judged(str(pair / "product.h5"), "--data", str(pair / "diffraction.h5"))
    assert product == pytest.approx(first, abs=1e-6)


def test_how_a_scan_is_read_needs_a_scan(
    folder: Path, pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (said,) = refusals(capsys, "truth.npz", "--truth", "truth.npz", "--format", "npz")
    assert said == "--format says how --data is read, and there is none; leave it out."
    positions = ("--positions", str(pair / "product.h5"))
    (said,) = refusals(capsys, "truth.npz", "--data", "scan.npz", *positions)
    assert "its positions would not be read, scan.npz is PtychoPINN" in said
