"""What the throughput benchmark measures with; nothing here is judged by a clock."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from benchmarks import clock, memory, parts, throughput
from benchmarks.bench import QUICK, default_run, open_bench, write_counts
from benchmarks.clock import Measured
from benchmarks.machine import cpu_name
from benchmarks.throughput_page import END_TO_END, PATCH_RATIO, RATIO, SOLVER, Goal, Report
from ptycho.config.config import ConfigError
from ptycho.data.formats.npz import read_npz
from ptycho.data.simulate import simulate
from ptycho.report.files import plain

CPU = torch.device("cpu")


class Ticking:
    """A clock on which every work takes a second."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def timed(self, work: Callable[[], Any]) -> tuple[Any, float]:
        before = len(self.runs)
        work()
        return None, 1.0 * (len(self.runs) - before)


class TestClock:
    def test_work_is_repeated_until_it_can_be_timed(self) -> None:
        ticking = Ticking()
        rate = clock.Repeated(lambda: ticking.runs.append(1), 7.0, ticking, 10.0)  # type: ignore[arg-type]
        assert rate() == 7.0
        assert rate.times >= 10
        done = len(ticking.runs)
        assert rate() == 7.0
        assert len(ticking.runs) == done + rate.times  # the second call searches no more

    def test_works_take_turns_and_the_first_round_is_dropped(self) -> None:
        order: list[str] = []

        def work(name: str) -> Callable[[], float]:
            return lambda: (order.append(name), float(len(order)))[1]

        found = clock.alternate(2, {"a": work("a"), "b": work("b")})
        assert order == ["a", "b"] * 3
        assert found == {"a": (3.0, 5.0), "b": (4.0, 6.0)}

    def test_precisions_differ(self) -> None:
        layer, x = nn.Conv2d(1, 1, 3), torch.rand(1, 1, 8, 8)
        with clock.autocast(CPU, "fp32"):
            assert layer(x).dtype == torch.float32
        with clock.autocast(CPU, "bf16"):
            assert layer(x).dtype == torch.bfloat16
        with pytest.raises(KeyError):
            clock.autocast(CPU, "32-true")

    def test_states_of_the_process_are_put_back(self) -> None:
        torch.use_deterministic_algorithms(True)
        try:
            with clock.any_order():
                assert not torch.are_deterministic_algorithms_enabled()
            assert torch.are_deterministic_algorithms_enabled()
        finally:
            torch.use_deterministic_algorithms(False)
        torch.set_num_threads(2)
        with clock.one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2


class TestMemory:
    def test_peak_is_that_of_the_command_alone(self, tmp_path: Path) -> None:
        ours = np.ones(6 * 10**7)  # 480 MB here must not count there
        code = "x = bytearray(b'1') * 10**8"
        found = memory.peak([sys.executable, "-c", code], tmp_path / "log")
        # the interpreter itself needs some 10 MB
        assert 1e8 < found["bytes"] < 2e8 < ours.nbytes
        assert found["seconds"] > 0

    def test_failure_says_what_was_said(self, tmp_path: Path) -> None:
        code = "raise SystemExit('no such scan')"
        with pytest.raises(RuntimeError, match=r"(?s)exit code 1.*no such scan"):
            memory.peak([sys.executable, "-c", code], tmp_path / "log")


def test_scan_is_written_as_counts(tmp_path: Path) -> None:
    assert write_counts(tmp_path / "scan.npz", 90) == 90
    scan = read_npz(tmp_path / "scan.npz")
    assert len(scan) == 90
    assert scan.notes["values"] == "counts (integer dtype uint16)"
    expected = simulate(kind="natural", n_patterns=90, patch_size=64, photons=1e5)
    np.testing.assert_array_equal(scan.amplitude, expected.amplitude)
    np.testing.assert_array_equal(scan.positions, expected.positions)


def test_processor_has_a_name() -> None:
    assert cpu_name().strip()


def report(**figures: Any) -> Report:
    """A report of made-up timings."""
    medians = {
        "training": 25.0,
        "patches": 7.0,
        "inference": 10.0,
        "solver": 16_000.0,
        "memory": 1.5,
    } | figures
    rows = [
        Measured("solver", SOLVER, "/s", (1.0, medians["solver"], 1e9)),
        Measured("training", RATIO, "x", (medians["training"],) * 2, "fp32"),
        Measured("training", RATIO, "x", (1.0,), "bf16"),
        Measured("training", PATCH_RATIO, "x", (medians["patches"],), "fp32"),
        Measured("inference", END_TO_END, "patterns/s", (5.0, 7.0), "fp32", "a note"),
        Measured("inference", RATIO, "x", (medians["inference"],), "fp32"),
        Measured("memory", "solve, 20,164 patterns", "GB", (medians["memory"],)),
    ]
    machine = {
        "cpu": "A Processor", "cores": 2, "device": "cpu", "threads": 2, "python": "3.11.7",
        "packages": {"ptycho": "0.1.0", "torch": "2.13.0"},
        "git": {"sha": "0123456789", "dirty": True},
    }  # fmt: skip
    options = {
        "patterns": 2025, "patterns_in_memory": 20_164, "quick": False, "repeats": 5,
        "shortest": 0.5, "command": "python -m benchmarks.throughput",
    }  # fmt: skip
    return Report(machine, options, rows)


class TestReport:
    def test_goals_are_judged(self) -> None:
        assert [goal.reached for goal in report().goals] == [True, True, False, True, True]
        worse = report(training=19.9, patches=5.9, inference=15.0, solver=14_999.0, memory=2.1)
        assert [goal.reached for goal in worse.goals] == [False, False, True, False, False]

    def test_what_was_measured_otherwise_is_not_judged(self) -> None:
        other = report()
        other.options["patterns_in_memory"] = 2025
        other.machine["device"] = "cuda:0"
        assert [goal.reached for goal in other.goals] == [True, True, False, None, None]
        assert [goal.reached for goal in replace(other, rows=[]).goals] == [None] * 4
        other.options["quick"] = True
        assert [goal.reached for goal in other.goals] == [None] * 5

    def test_goals_as_sentences(self) -> None:
        assert Goal("speed", 20, "x", 25.04).line() == "speed: 25 x (goal at least 20 x): reached"
        assert Goal("memory", 2, "GB", 2.5, at_most=True).line() == (
            "memory: 2.5 GB (goal at most 2 GB): NOT reached"
        )
        assert Goal("speed", 15_000, "", None).line() == (
            "speed: not measured (goal at least 15,000): not judged"
        )

    def test_json_holds_everything(self) -> None:
        found = json.loads(json.dumps(plain(report().plain())))
        row = found["measured"][0]
        assert (row["min"], row["median"], row["max"], row["repeats"]) == (1.0, 16_000.0, 1e9, 3)
        assert row["values"] == [1.0, 16_000.0, 1e9]
        assert len(found["measured"]) == 7
        assert found["machine"]["packages"]["torch"] == "2.13.0"
        assert found["options"]["repeats"] == 5
        assert [goal["reached"] for goal in found["goals"]] == [True, True, False, True, True]

    def test_page_and_terminal_say_the_same(self) -> None:
        made = report()
        terminal = Console(record=True, width=200, file=io.StringIO())
        made.print(terminal)
        for text in (terminal.export_text(), made.markdown()):
            for wanted in (made.headline(), *(goal.line() for goal in made.goals)):
                assert wanted in text
            assert "end to end: read, lay out, lift, network, write (a note)" in text
        table = [line for line in made.markdown().splitlines() if line.startswith("|")]
        assert {line.count("|") for line in table} == {7}
        assert f"| {END_TO_END} (a note) | fp32 | 6 | 5 | 7 | patterns/s |" in table

    def test_small_scans_are_confessed(self) -> None:
        made = report()
        made.options["quick"] = True
        assert "--quick: short repeats, small scans" in made.headline()

    def test_code_is_named_when_it_is_known(self) -> None:
        made = report()
        assert "ptycho 0.1.0 (0123456 and changes), torch 2.13.0" in made.headline()
        made.machine["git"] = None
        assert "ptycho 0.1.0, torch 2.13.0" in made.headline()


class TestCommand:
    def test_missing_device_is_refused(self, tmp_path: Path) -> None:
        if torch.cuda.is_available():
            pytest.skip("this machine has the device that must be missing")
        write_counts(tmp_path / "scan.npz", 81)
        run = default_run("cuda", None, tmp_path / "scan.npz")
        with (
            pytest.raises(ConfigError, match=r"trainer.accelerator=cuda asks for a GPU"),
            open_bench(run, tmp_path / "run", QUICK),
        ):
            pass

    def test_settings_are_the_defaults(self, tmp_path: Path) -> None:
        from ptycho.workflows.factory import audit

        run = default_run("auto", 1, tmp_path / "scan.npz")
        assert set(audit(run)) == {
            "data.source", "data.train_data_file", "execution.threads",
            "execution.enable_progress_bar", "logger.backend",
        }  # fmt: skip

    @pytest.mark.slow
    def test_every_goal_gets_its_figure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tiny = replace(QUICK, repeats=1, shortest=0.0, patterns=196, patterns_in_memory=81)
        monkeypatch.setattr("benchmarks.bench.QUICK", tiny)
        arguments = ["--quick", "--threads", "1", "--device", "cpu", "--docs", str(tmp_path)]
        file = tmp_path / "deep" / "all.json"
        monkeypatch.setattr("sys.argv", ["throughput", *arguments, "--json", str(file)])
        throughput.main()
        found = json.loads(file.read_text())
        assert len(found["goals"]) == 6
        assert all(goal["figure"] > 0 for goal in found["goals"])
        assert {row["part"] for row in found["measured"]} >= set(parts.PARTS)
        assert (tmp_path / "throughput.md").read_text().startswith("# Throughput")
