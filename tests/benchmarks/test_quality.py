"""Seconds to a threshold, running what is measured, and the report, on made-up curves."""

import csv
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import curves, methods, peers, processes, quality, quality_report, scans, tasks
from benchmarks.curves import Curve, Judge, Point, first_crossing
from ptycho.data.formats.npz import write_npz
from ptycho.physics.instrument import Freedom
from ptycho.workflows.problem import pose
from tests.runs import CPU, tiny_scan

RNG = np.random.default_rng(0)


# --- seconds to a threshold ---------------------------------------------------------------


def test_a_threshold_is_interpolated():
    assert first_crossing([0, 2, 4], [10, 20, 40], 25) == pytest.approx(2.5)
    assert first_crossing([0, 2, 4], [10, 20, 40], 20) == pytest.approx(2)


def test_the_first_crossing_counts_though_it_falls_again():
    assert first_crossing([0, 1, 2, 3], [0, 30, 10, 40], 15) == pytest.approx(0.5)


def test_a_threshold_never_reached_has_no_seconds():
    assert math.isnan(first_crossing([0, 1], [0, 24.9], 25))
    assert math.isnan(first_crossing([], [], 25))


def test_a_curve_that_starts_above_is_there_at_once():
    assert first_crossing([3, 4], [30, 31], 25) == 3


def test_points_without_a_figure_are_passed_over():
    assert first_crossing([0, 1, 2], [0, math.nan, 20], 10) == pytest.approx(1)


def test_a_first_snapshot_beyond_the_threshold_is_an_upper_bound():
    """What came before it nobody knows."""
    curve = Curve("s", "m", (Point(2.0, 3.0, 1, {"phase_psnr": 30.0}),), {"phase_psnr": 10.0})
    assert curve.seconds_to("phase_psnr", 20) == 2.0
    assert curve.starts_beyond("phase_psnr", 20)
    assert not curve.starts_beyond("phase_psnr", 31)
    assert curve.last("phase_psnr") == 30
    assert math.isnan(curve.last("C"))


# --- scoring ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem():
    return pose(tiny_scan(), CPU)


def test_an_object_is_laid_where_its_origin_says(problem):
    judge = Judge(problem, probe_is_known=True)
    height, width = problem.shape
    numbers = np.arange(height * width).reshape(height, width).astype(np.complex64) + 1
    # a smaller object that begins inside, and a larger one that begins outside
    inner = judge.on_canvas(numbers[3:-2, 5:-1], problem.offset + np.array([3, 5]))
    np.testing.assert_array_equal(inner[3:-2, 5:-1], numbers[3:-2, 5:-1])
    assert (inner[:3] == 1).all()
    outer = judge.on_canvas(np.pad(numbers, ((4, 0), (0, 7))), problem.offset - np.array([4, 0]))
    np.testing.assert_array_equal(outer, numbers)


def test_the_truth_scores_perfectly_and_a_flat_object_at_its_floor(problem):
    judge = Judge(problem, probe_is_known=True)
    truth = problem.reconstruction([]).truth
    assert judge.score(truth)["phase_psnr"] == 200
    assert judge.floor["phase_psnr"] + 5 < judge.noise["phase_psnr"] < 60
    assert Judge(problem, probe_is_known=False).noise == {}
    assert judge.floor["phase_ssim"] < 0.2
    assert "C" not in judge.floor  # a truth says more than the patterns


def test_without_a_truth_the_patterns_judge(problem):
    unknown = pose(tiny_scan().__class__(**vars(tiny_scan()) | {"truth_is_known": False}), CPU)
    judge = Judge(unknown, probe_is_known=True)
    assert set(judge.floor) == {"R", "C"}
    assert judge.floor["C"] == pytest.approx(0, abs=1e-6)
    assert judge.score(problem.reconstruction([]).truth)["C"] > 0.5
    # with a wrong probe and no truth there is nothing to judge by
    assert Judge(unknown, probe_is_known=False).floor == {}


# --- processes ----------------------------------------------------------------------------

SPEAKS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from pathlib import Path
import protocol
protocol.one_thread()
out, truth = Path(sys.argv[2]), np.load(sys.argv[3])
sys.argv[1:] = []
recorder = protocol.Recorder(out, 0.5, lambda: truth["obj"] * recorder.iterations, truth["origin"])
try:
    while True:
        sum(range(200_000))
        recorder.tick()
except protocol.BudgetSpentError:
    pass
protocol.describe(out, ["numpy"], 1)
"""


def fake(tmp_path: Path, problem, code: str = SPEAKS) -> list[str]:
    """A command that speaks the protocol and hands the truth out."""
    script, answer = tmp_path / "fake.py", tmp_path / "answer.npz"
    script.write_text(code)
    np.savez(answer, obj=problem.reconstruction([]).truth, origin=problem.offset)
    here = str(Path(peers.__file__).parent)
    return [sys.executable, str(script), here, str(tmp_path / "out"), str(answer)]


def test_a_peer_that_speaks_the_protocol_is_scored(tmp_path, problem):
    heard = []
    out = tmp_path / "out"
    processes.execute(fake(tmp_path, problem), out, limit=60, watch=heard.append)
    points = curves.score_snapshots(out, Judge(problem, probe_is_known=True))
    seconds = [point.cpu for point in points]
    assert seconds == sorted(seconds)
    assert 0.5 <= seconds[-1] < 1.5  # it stops when the budget is spent
    assert len(seconds) >= 3
    # the truth times a number, up to rounding in single precision
    assert all(point.figures["phase_psnr"] > 100 for point in points)
    assert all(heard[i] <= heard[i + 1] for i in range(len(heard) - 1))
    assert (out / "about.json").is_file()


def test_the_clock_stands_still_while_an_object_is_kept(tmp_path):
    recorder = peers.protocol.Recorder(tmp_path, 1e9, lambda: busy(0.3), (0, 0))
    recorder._next = 0.0
    recorder.tick()
    assert (tmp_path / "snapshot_000.npz").is_file()
    assert recorder.clock.cpu < 0.1


def busy(seconds: float) -> np.ndarray:
    began = peers.protocol.time.process_time()
    while peers.protocol.time.process_time() - began < seconds:
        pass
    return np.ones((2, 2))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('no such optimiser')", r"exit code 1.*no such optimiser"),
        ("pass", "ended without a single snapshot"),
        ("import time; time.sleep(60)", "stopped after 1 s of wall time"),
    ],
)
def test_a_peer_that_fails_says_why(tmp_path, problem, code, words):
    with pytest.raises(processes.FailedError, match=words):
        processes.execute(fake(tmp_path, problem, code), tmp_path / "out", limit=1)


def test_a_script_refuses_more_than_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(SystemExit, match="OMP_NUM_THREADS must be 1 in the environment, got '2'"):
        peers.protocol.one_thread()


def test_a_peer_that_is_not_built_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    with pytest.raises(processes.FailedError, match="not built; run `make bench-peers`"):
        peers.run(peers.PEERS["ptyrad"], tmp_path / "scan.npz", tmp_path, 1.0, fit_probe=False)


# --- tasks --------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny scan under the name of a benchmark's, and its judge."""
    scan = tiny_scan()
    path = tmp_path / "scan.npz"
    write_npz(path, scan)
    monkeypatch.setattr(scans, "get", lambda *_, **__: path)
    return SimpleNamespace(path=path, judge=Judge(pose(scan, CPU), probe_is_known=True))


def test_what_ran_once_is_not_run_again_until_something_changes(tmp_path, tiny, monkeypatch):
    ran = []

    def run(task, folder, watch):
        ran.append(task)
        place = folder / task.runner
        place.mkdir(parents=True)
        obj = np.ones((60, 60), np.complex64)
        peers.protocol.save(place, 0, obj, (0, 0), 1.0, 2.0, 3)
        peers.protocol.describe(place, ["numpy"], 1)

    monkeypatch.setattr(tasks.Task, "run", run)

    def do(fresh=False, **changes):
        task = tasks.Task("chip_1e6", "cdtools", **changes)
        return tasks.curves(task, tiny.judge, tmp_path, fresh=fresh, note=lambda _: None)

    (first,), (second,) = do(), do()
    assert len(ran) == 1
    assert repr(first.points) == repr(second.points)  # NaN equals nothing
    assert first.points[0].figures["phase_psnr"] == pytest.approx(first.floor["phase_psnr"])
    do(budget=7.0)
    assert len(ran) == 2
    do(fresh=True)
    assert len(ran) == 3
    tiny.path.write_bytes(tiny.path.read_bytes() + b" ")
    do()
    assert len(ran) == 4


def test_a_failure_is_reported_and_tried_again(tmp_path, tiny, monkeypatch):
    def run(task, folder, watch):
        raise processes.FailedError("it rained")

    monkeypatch.setattr(tasks.Task, "run", run)
    task = tasks.Task("chip_1e6", "network")
    for _ in range(2):
        found = tasks.curves(task, tiny.judge, tmp_path, fresh=False, note=lambda _: None)
        assert [curve.method for curve in found] == ["network", "network_refined"]
        assert all(curve.failure == "it rained" and not curve.points for curve in found)
    assert not list(tmp_path.glob("chip_1e6-*"))


def test_only_what_makes_sense_runs_on_measured_scans():
    todo = list(tasks.plan(["siemens_star", "gold_balls"], tasks.RUNNERS, None, quick=False))
    ran = {(task.scan, task.runner) for task in todo}
    ours = {
        ("gold_balls", "solver"), ("gold_balls", "one_mode"), ("gold_balls", "two_modes"),
        ("siemens_star", "solver"), ("siemens_star", "measured"),
    }  # fmt: skip
    assert ran == ours | {("siemens_star", name) for name in peers.PEERS}


def test_positions_are_found_by_ours_alone():
    todo = list(tasks.plan(["chip_1e6_wrong_positions"], tasks.RUNNERS, None, quick=False))
    assert {(task.runner, task.instrument) for task in todo} == {
        ("solver", "positions"), ("network", "positions"),
    }  # fmt: skip
    wrong = tasks.Task("chip_1e6_wrong_probe", "solver")
    assert wrong.settings()["instrument.probe_trainable"]
    assert "instrument.probe_trainable" not in tasks.Task("chip_1e6", "solver").settings()


def test_peers_optimise_the_probe_only_where_it_is_wrong():
    right, wrong = tasks.Task("chip_1e6", "ptyrad"), tasks.Task("chip_1e6_wrong_probe", "ptyrad")
    assert (right.fit_probe, wrong.fit_probe) == (False, True)
    assert "probe_lr" in wrong.settings()


# --- our methods --------------------------------------------------------------------------


def test_our_solver_gives_a_point_for_every_path(tmp_path, problem, monkeypatch):
    monkeypatch.setattr(methods, "PATHS", ((3, 0, 0), (3, 4, 0), (3, 4, 2)))
    methods.solve(problem, tmp_path / "solver")
    points = curves.score_snapshots(tmp_path / "solver", Judge(problem, probe_is_known=True))
    assert {point.iteration for point in points} == {3, 7, 9}
    assert all(point.cpu > 0 for point in points)
    by_iteration = {point.iteration: point.figures["phase_psnr"] for point in points}
    assert by_iteration[9] > by_iteration[3] > Judge(problem, True).floor["phase_psnr"] + 1


def test_positions_found_are_held_against_the_true_ones(tmp_path, monkeypatch):
    scan = tiny_scan(photons=1e6)
    wrong = scans.with_wrong_positions(scan)
    room = Freedom(positions=True)
    monkeypatch.setattr(methods, "JOINT_PATHS", ((0, 1, 0), (6, 9, 4)))
    methods.solve(pose(wrong, CPU, freedom=room), tmp_path / "solver")
    judge = Judge(pose(wrong, CPU, freedom=room), False, true_positions=scan.positions)
    first, last = curves.score_snapshots(tmp_path / "solver", judge)
    assert judge.floor["position_px"] == pytest.approx(1.2, abs=0.3)
    assert last.figures["position_px"] < 0.6 * judge.floor["position_px"]
    assert last.figures["phase_psnr"] > first.figures["phase_psnr"]


def test_a_shift_of_all_positions_is_no_error():
    true = np.random.default_rng(0).uniform(0, 50, (40, 2))
    moved = curves.position_errors(true + 3, true)
    assert moved == pytest.approx({"position_px": 0, "scale_percent": 0}, abs=1e-9)
    spread = curves.position_errors(true * [1.01, 1.0], true)
    assert spread["scale_percent"] == pytest.approx(1)
    assert spread["position_px"] > 0


def test_our_network_learns_and_refinement_costs_seconds(tmp_path, problem, monkeypatch):
    methods.train(problem, tmp_path, epochs=2)
    judge = Judge(problem, probe_is_known=True)
    plain, refined = (
        {point.iteration: point for point in curves.score_snapshots(tmp_path / name, judge)}
        for name in (methods.NETWORK, methods.REFINED)
    )
    assert set(plain) == set(refined) == {0, 1, 2}
    for epoch, point in plain.items():
        assert refined[epoch].cpu > point.cpu
    assert refined[0].figures["phase_psnr"] > plain[0].figures["phase_psnr"]
    # the network moved the object
    objects = [np.load(tmp_path / methods.NETWORK / f"snapshot_00{i}.npz")["obj"] for i in (0, 2)]
    assert np.abs(objects[0] - objects[1]).max() > 1e-4


def test_patch_network_is_trained_anew_for_every_point(tmp_path, problem):
    methods.train_patches(problem, tmp_path, epochs=2)
    judge = Judge(problem, probe_is_known=True)
    plain, refined = (
        {point.iteration: point for point in curves.score_snapshots(tmp_path / name, judge)}
        for name in (methods.PATCHES, methods.PATCHES_REFINED)
    )
    assert set(plain) == set(refined) == {1, 2}
    for epoch, point in plain.items():
        assert refined[epoch].cpu > point.cpu
    assert refined[2].figures["phase_psnr"] > judge.floor["phase_psnr"] + 3
    objects = [np.load(tmp_path / methods.PATCHES / f"snapshot_00{i}.npz")["obj"] for i in (0, 1)]
    assert np.abs(objects[0] - objects[1]).max() > 1e-4


def test_patch_network_runs_where_the_truth_is_known_and_the_probe_right():
    todo = tasks.plan([*scans.SIMULATED, *scans.twins(), *scans.MEASURED], ["patches"], None, False)
    assert [task.scan for task in todo] == [*scans.SIMULATED]
    assert {task.epochs for task in tasks.plan(["chip_1e6"], ["patches"], None, False)} == {16}


def test_epochs_of_the_network_spread_evenly_on_a_logarithmic_axis():
    assert methods.snapshots(1) == [0, 1]
    chosen = methods.snapshots(50)
    assert (chosen[0], chosen[-1]) == (0, 50)
    assert chosen == sorted(set(chosen))


# --- the report ---------------------------------------------------------------------------


def made_up(scan="chip_1e6", psnr=(20.0, 30.0, 46.0), method="solver", speed=1.0, **more):
    points = tuple(
        Point(
            speed * 2.0**i, 2 * speed * 2.0**i, i, {"phase_psnr": value, "phase_ssim": value / 50}
        )
        for i, value in enumerate(psnr)
    )
    field = np.exp(1j * RNG.uniform(0, 1, (40, 44))).astype(np.complex64)
    about = {"versions": {"numpy": "2"}, "python": "3.11", "threads": 1, "settings": {"step": 1}}
    floor = {"phase_psnr": 10.0, "phase_ssim": 0.0}
    noise = {"phase_psnr": 47.0, "phase_ssim": 0.99, "deviance": 1.0}
    return Curve(scan, method, points, floor, noise, field, field, about, **more)


FAILED = Curve("chip_1e6", "ptyrad", (), made_up().floor, made_up().noise,
               failure="not built; run `make bench-peers`")  # fmt: skip
MEASURED = Curve(
    "siemens_star", "solver", (Point(1.0, 2.0, 3, {"R": 0.16, "C": 0.88}),), {"R": 0.27, "C": 0.0},
    {}, np.ones((30, 50), np.complex64), None, made_up().about,
)  # fmt: skip
FOUND = [
    made_up(),
    made_up(method="cdtools", psnr=(15.0, 20.0, 40.0), speed=10.0),
    made_up(method="ptychi", psnr=(12.0, 18.0, 24.0), speed=10.0),
    FAILED,
    MEASURED,
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    quality_report.write(FOUND, folder / "out", folder / "docs")
    return folder


def test_every_point_is_in_the_table(report):
    with (report / "out" / "quality.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"flat", "noise", "solver", "cdtools", "ptychi"}
    last = [r for r in rows if r["method"] == "cdtools" and r["figure"] == "phase_psnr"][-1]
    assert (float(last["cpu_s"]), float(last["wall_s"]), float(last["value"])) == (40, 80, 40)
    assert {r["figure"] for r in rows if r["scan"] == "siemens_star"} == {"R", "C"}


def test_the_page_has_a_row_per_method_and_a_reason_for_the_missing(report):
    page = (report / "out" / "quality.md").read_text()
    # 20 dB at once, 25 dB half-way between 1 and 2 s, 46 dB in the end
    assert "| our solver | ≤ 1.00 | 1.50 | 46.0 | 0.920 | 4.0 (8.0) |" in page
    assert "| pty-chi LSQML | 26.67 | - | 24.0 | 0.480 | 40.0 (80.0) |" in page
    assert "| PtyRAD Adam | not built; run `make bench-peers` |" in page
    assert "| our solver | 0.160 | 0.880 | 1.0 (2.0) |" in page
    assert "| flat object |  |  | 10.0 | 0.000 |  |" in page
    assert page.count("| photon noise |") == 1  # not where there is no truth
    assert "| photon noise |  |  | 47.0 | 0.990 |  |" in page
    widths = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in page.splitlines()
        if "our solver |" in line or "LSQML |" in line
    }
    assert widths <= {5, 7}


def test_the_ratios_name_the_best_of_the_others():
    (sentence,) = quality_report.ratios(FOUND)
    # the best peer is there after 20 + 1/4 of 20 s; ours after 1.5 s
    assert (
        "25 dB: the solver after 1.50 CPU s, cdtools Adam after 25.00 CPU s (1 : 16.7)" in sentence
    )
    assert "46.0 dB (4.0 CPU s), cdtools Adam 40.0 dB (40.0 CPU s), +6.0 dB" in sentence


def test_ratios_survive_peers_that_never_get_there():
    slow = made_up(method="ptychi", psnr=(12.0, 18.0, 24.0))
    (sentence,) = quality_report.ratios([made_up(), slow, FAILED])
    assert "no peer" in sentence
    assert quality_report.ratios([FAILED, MEASURED]) == []


def test_pictures_are_drawn_and_copied(report):
    for name in ("quality.png", "pictures.jpg"):
        with Image.open(report / "out" / name) as image:
            assert min(image.size) > 300
            grey = np.asarray(image.convert("L"), dtype=float)
        assert grey.std() > 10  # something is on it
        assert (report / "docs" / name).read_bytes() == (report / "out" / name).read_bytes()
    assert not (report / "docs" / "quality.csv").exists()


def test_a_diverged_object_is_drawn_and_has_no_seconds(tmp_path):
    gone = made_up(method="cdtools", psnr=(15.0, math.nan, math.nan))
    gone.picture[:] = np.nan
    quality_report.write([made_up(), gone], tmp_path, None)
    assert "| cdtools Adam | - | - | - |" in (tmp_path / "quality.md").read_text()


# --- the command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scans", "chop"], "There is no scan 'chop'; there are chip_1e4"),
        (["--methods", "magic"], "There is no method 'magic'; there are cdtools"),
    ],
)
def test_unknown_names_end_the_command(arguments, words, tmp_path, capsys):
    assert quality.main([*arguments, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().out


def test_an_interrupted_benchmark_says_how_to_go_on(tmp_path, tiny, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scans, "load", lambda *_, **__: tiny_scan())
    monkeypatch.setattr(tasks.Task, "run", interrupted)
    assert quality.main(["--scans", "chip_1e6", "--out", str(tmp_path / "q")]) == 130
    assert "the same command goes on from here" in capsys.readouterr().out


def test_the_command_goes_from_scan_to_page(tmp_path, tiny, monkeypatch, capsys):
    monkeypatch.setattr(scans, "load", lambda *_, **__: tiny_scan())
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path / "nothing")
    monkeypatch.setattr(
        tasks.Task, "run",
        lambda task, folder, watch: peers.run(peers.PEERS[task.runner], task.file, folder, 1, False)
        if task.runner in peers.PEERS
        else methods.solve(pose(tiny_scan(), CPU), folder / "solver")
        or peers.protocol.describe(folder, ["numpy"], 1),
    )  # fmt: skip
    monkeypatch.setattr(methods, "PATHS", ((3, 0, 0), (3, 4, 0)))
    arguments = [
        "--scans",
        "chip_1e6",
        "--methods",
        "solver",
        "ptyrad",
        "--out",
        str(tmp_path / "q"),
    ]
    threads = torch.get_num_threads()
    assert quality.main(arguments) == 0
    torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert "PtyRAD Adam: not built; run `make bench-peers`" in said
    assert "our solver" in (tmp_path / "q" / "quality.md").read_text()
