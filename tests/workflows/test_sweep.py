"""What a sweep does with its jobs, whatever the jobs do."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ptycho.config.config import UserError
from ptycho.config.fields import PrunedError
from ptycho.report.folder import LOCK, read_run
from ptycho.workflows import study, sweep
from ptycho.workflows.claims import Claims
from ptycho.workflows.plan import Job, Plan
from ptycho.workflows.study import Study
from ptycho.workflows.sweep import SweepFailedError, conduct
from tests.sweeps import DRAWN, RATE, RATES, Jobs, planned, states, trials

SWEPT = {name.replace(".", "__"): value for name, value in DRAWN.items()}


@pytest.fixture(autouse=True)
def reports(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of which a report was asked for; it takes a second to draw."""
    asked: list[Path] = []
    monkeypatch.setattr(sweep, "_write_report", lambda plan, _: asked.append(plan.folder))
    return asked


def numbers(jobs: Jobs) -> list[int]:
    return [number for number, _ in jobs.done]


def written(folder: Path, number: int, **status: object) -> Path:
    path = folder / str(number)
    path.mkdir(parents=True, exist_ok=True)
    (path / "status.json").write_text(json.dumps(status))
    return path


class TestGrid:
    def test_every_combination_once_in_its_own_folder(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2", "logger=none", "data.n_images=range(20,41,10)")
        jobs = Jobs(tmp_path, plan.run)
        conduct(plan, jobs)
        assert [(number, " ".join(line[1:3])) for number, line in jobs.done] == [
            (0, "seed=1 data.n_images=20"), (1, "seed=1 data.n_images=30"),
            (2, "seed=1 data.n_images=40"), (3, "seed=2 data.n_images=20"),
            (4, "seed=2 data.n_images=30"), (5, "seed=2 data.n_images=40"),
        ]  # fmt: skip
        assert all(line[0] == "logger=none" and line[-1] == "execution.resume=auto"
                   for _, line in jobs.done)  # fmt: skip
        assert states(tmp_path) == ["finished"] * 6

    def test_a_report_is_written_when_nothing_is_left_to_do(
        self, tmp_path: Path, reports: list[Path]
    ):
        plan = planned(tmp_path, "seed=1,2")
        elsewhere = Claims(tmp_path)
        assert elsewhere.take(1)
        conduct(plan, Jobs(tmp_path, plan.run))
        assert not reports
        elsewhere.drop_all()
        conduct(plan, Jobs(tmp_path, plan.run))
        assert reports == [tmp_path]

    def test_a_quiet_one_says_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        plan = planned(tmp_path, "seed=1,2")
        plan.run.execution.quiet = True
        conduct(plan, Jobs(tmp_path, plan.run))
        assert states(tmp_path) == ["finished"] * 2
        assert capsys.readouterr().out == ""

    def test_another_start_does_what_is_not_finished(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2,3,4")
        first = Jobs(tmp_path, plan.run, lambda number: OSError("no disk") if number == 1 else None)
        with pytest.raises(SweepFailedError):
            conduct(plan, first)
        written(tmp_path, 3, state="interrupted")
        again = Jobs(tmp_path, plan.run)
        conduct(plan, again)
        assert numbers(again) == [1, 3]
        assert states(tmp_path) == ["finished"] * 4
        nothing = Jobs(tmp_path, plan.run)
        conduct(plan, nothing)
        assert not nothing.done

    def test_a_launcher_of_many_gets_all_at_once(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2,3", batch=None)
        jobs = Jobs(tmp_path, plan.run)
        conduct(plan, jobs)
        assert jobs.batches == [3]

    @pytest.mark.parametrize(
        ("typed", "changes", "words"),
        [
            (["seed=1,3"], {}, "what is varied was seed=1,2 and is seed=1,3."),
            (["seed=1,2", "task=solve"], {}, "what was typed was nothing more and is task=solve."),
            (["seed=1,2"], {"sweep__metric": ["R"]}, "sweep.metric was C and is R."),
        ],
    )
    def test_another_sweep_in_the_same_folder_is_refused(
        self, tmp_path: Path, typed: list[str], changes: dict, words: str
    ):
        plan = planned(tmp_path, "seed=1,2")
        conduct(plan, Jobs(tmp_path, plan.run))
        before = (tmp_path / "sweep.json").read_text()
        other = planned(tmp_path, *typed, **changes)
        jobs = Jobs(tmp_path, other.run)
        with pytest.raises(UserError, match=f"holds another sweep: {words}".replace(".", r"\.")):
            conduct(other, jobs)
        assert not jobs.done
        assert (tmp_path / "sweep.json").read_text() == before

    def test_what_may_change_between_starts(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2")
        conduct(plan, Jobs(tmp_path, plan.run))
        conduct(planned(tmp_path, "seed=1,2", "launcher=joblib", "execution.threads=2"),
                Jobs(tmp_path, plan.run))  # fmt: skip

    def test_jobs_of_an_earlier_kind_are_left_alone(self, tmp_path: Path):
        written(tmp_path, 0, state="finished")
        plan = planned(tmp_path, "seed=1,2")
        with pytest.raises(UserError, match=r"no sweep\.json"):
            conduct(plan, Jobs(tmp_path, plan.run))

    def test_what_another_process_works_on_is_left_to_it(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2,3")
        elsewhere = Claims(tmp_path)
        assert elsewhere.take(1)
        jobs = Jobs(tmp_path, plan.run)
        conduct(plan, jobs)
        assert numbers(jobs) == [0, 2]


class TestFailures:
    def test_the_others_are_done_and_the_end_says_why(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        plan = planned(tmp_path, "seed=1,2,3")
        jobs = Jobs(tmp_path, plan.run, lambda n: UserError("no light") if n == 1 else None)
        with pytest.raises(SweepFailedError) as caught:
            conduct(plan, jobs)
        assert caught.value.faults == ("1 of 3 jobs failed:", "job 1: no light")
        assert numbers(jobs) == [0, 1, 2]
        assert "Traceback" not in capsys.readouterr().err

    def test_a_mistake_of_ours_shows_where(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        plan = planned(tmp_path, "seed=1,2")
        with pytest.raises(SweepFailedError):
            conduct(
                plan, Jobs(tmp_path, plan.run, lambda n: ZeroDivisionError("oh") if n else None)
            )
        assert "ZeroDivisionError: oh" in capsys.readouterr().err

    def test_a_job_that_died_without_a_word_failed(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT)

        def die(jobs: list[tuple[int, list[str]]]) -> list[None]:
            for number, _ in jobs:
                written(tmp_path, number, state="running", attempts=1)
            raise RuntimeError("a worker was killed")

        with pytest.raises(SweepFailedError) as caught:
            conduct(plan, die)
        assert caught.value.faults[0] == "6 of 6 jobs failed:"
        assert "the launcher gave up: RuntimeError: a worker was" in caught.value.faults[1]
        assert [one.state.name for one in trials(tmp_path)] == ["FAIL"] * 6

    def test_so_did_one_whose_launcher_did_not_notice(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2")
        with pytest.raises(SweepFailedError, match="its process ended without a word"):
            conduct(plan, lambda jobs: [None])

    def test_a_job_that_could_not_be_composed_failed(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2")
        jobs = Jobs(tmp_path, plan.run)

        def launch(asked: list[tuple[int, list[str]]]) -> list[Exception | None]:
            (number, _), = asked  # fmt: skip
            return jobs(asked) if number else [UserError("model=nope does not exist")]

        with pytest.raises(SweepFailedError):
            conduct(plan, launch)
        assert read_run(tmp_path / "0").status["error"] == "model=nope does not exist"
        assert states(tmp_path) == ["failed", "finished"]

    def test_pruned_ones_are_no_failures(self, tmp_path: Path):
        plan = planned(tmp_path, "seed=1,2")

        def give_up(asked: list[tuple[int, list[str]]]) -> list[Exception | None]:
            for number, _ in asked:
                written(tmp_path, number, state="pruned")
            return [PrunedError("others were better")] * len(asked)

        conduct(plan, give_up)
        assert states(tmp_path) == ["pruned"] * 2


class TestStudy:
    def test_the_number_of_trials_is_the_total_of_all_starts(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT | {"sweep__n_trials": 4})
        first = Jobs(tmp_path, plan.run, lambda number: _stop_at(number, 2))
        with pytest.raises(SystemExit) as stopped:
            conduct(plan, first)
        assert stopped.value.code == 130
        again = Jobs(tmp_path, plan.run)
        conduct(plan, again)
        assert numbers(again) == [2, 3]  # the third begins anew, in its own folder
        assert first.done[2][1] == again.done[0][1]
        assert [one.state.name for one in trials(tmp_path)] == ["COMPLETE"] * 4
        more = planned(tmp_path, **SWEPT | {"sweep__n_trials": 6})
        further = Jobs(tmp_path, more.run)
        conduct(more, further)
        assert numbers(further) == [4, 5]
        assert json.loads((tmp_path / "sweep.json").read_text())["n_trials"] == 6

    def test_the_seed_of_a_trial_is_its_own(self, tmp_path: Path):
        whole = planned(tmp_path / "whole", **SWEPT)
        conduct(whole, one := Jobs(whole.folder, whole.run))
        parts = planned(tmp_path / "parts", **SWEPT)
        for _ in range(2):
            jobs = Jobs(parts.folder, parts.run, lambda number: _stop_at(number, 3, once=parts))
            with pytest.raises(SystemExit):
                conduct(parts, jobs)
        conduct(parts, Jobs(parts.folder, parts.run))
        drawn = [[trial.params for trial in trials(plan.folder)] for plan in (whole, parts)]
        assert drawn[0] == drawn[1]
        assert len({line[-2] for _, line in one.done}) == 6

    def test_a_finished_trial_is_told_when_its_sweep_died_before(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT | {"sweep__n_trials": 2})
        claims = Claims(tmp_path)
        with plan.lock:
            tmp_path.mkdir(exist_ok=True)
            sweep.begin(plan)
        study = Study(plan, claims)
        (job,) = study.take(1)
        claims.drop_all()  # as the system does when the process is killed
        written(tmp_path, job.number, state="finished", metric={"C": 0.5})
        jobs = Jobs(tmp_path, plan.run)
        conduct(plan, jobs)
        assert numbers(jobs) == [1]
        assert trials(tmp_path)[0].value == 0.5

    @pytest.mark.parametrize("drawn", [0, 1])
    def test_a_trial_whose_process_died_while_it_was_drawn_is_drawn_to_the_end(
        self, tmp_path: Path, drawn: int, monkeypatch: pytest.MonkeyPatch
    ):
        two = {RATE: "interval(0.001,0.1)", "trainer.tv_weight": "interval(0,0.1)"}
        plan = planned(tmp_path, **SWEPT | {"sweep__n_trials": 2, "sweep__params": two})
        real = study._drawn
        left = [drawn]

        def dying(*one: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return real(*one)

        monkeypatch.setattr(study, "_drawn", dying)
        with pytest.raises(SystemExit):
            conduct(plan, Jobs(tmp_path, plan.run))
        monkeypatch.setattr(study, "_drawn", real)
        assert [len(one.params) for one in trials(tmp_path)] == [drawn]
        conduct(plan, Jobs(tmp_path, plan.run))
        whole = planned(tmp_path / "whole", **SWEPT | {"sweep__n_trials": 2, "sweep__params": two})
        conduct(whole, Jobs(whole.folder, whole.run))
        found, expected = trials(tmp_path), trials(whole.folder)
        assert [one.state.name for one in found] == ["COMPLETE"] * 2
        assert found[1].params == expected[1].params
        assert found[0].params.keys() == two.keys()

    def test_what_a_batch_system_still_works_on_is_left_to_it(self, tmp_path: Path):
        from filelock import FileLock

        plan = planned(tmp_path, **SWEPT | {"sweep__n_trials": 2})
        with plan.lock:
            sweep.begin(plan)
        claims = Claims(tmp_path)
        (job,) = Study(plan, claims).take(1)
        claims.drop_all()
        path = written(tmp_path, job.number, state="running")
        with FileLock(path / LOCK):
            jobs = Jobs(tmp_path, plan.run)
            conduct(plan, jobs)
        assert numbers(jobs) == [1]

    def test_a_trial_that_kills_its_process_is_not_tried_for_ever(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT | {"sweep__n_trials": 1})
        with plan.lock:
            sweep.begin(plan)
        claims = Claims(tmp_path)
        Study(plan, claims).take(1)
        claims.drop_all()
        written(tmp_path, 0, state="running", deaths=2)
        with pytest.raises(SweepFailedError, match="died 3 times in a row"):
            conduct(plan, Jobs(tmp_path, plan.run))
        assert [one.state.name for one in trials(tmp_path)] == ["FAIL"]

    def test_a_run_without_its_metric_counts_as_failed(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT | {"sweep__n_trials": 1})

        def launch(asked: list[tuple[int, list[str]]]) -> list[None]:
            written(tmp_path, 0, state="finished", metric=None)
            return [None]

        with pytest.raises(SweepFailedError, match="it says nothing of C"):
            conduct(plan, launch)
        assert [one.state.name for one in trials(tmp_path)] == ["FAIL"]

    def test_one_that_fails_is_recorded_as_failed(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT)
        with pytest.raises(SweepFailedError):
            conduct(plan, Jobs(tmp_path, plan.run, lambda n: UserError("dark") if n == 3 else None))
        names = [one.state.name for one in trials(tmp_path)]
        assert names == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]

    def test_tpe_finds_what_is_best(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT | {"sweep__sampler": "tpe", "sweep__n_trials": 25})
        conduct(plan, Jobs(tmp_path, plan.run))
        rates = [one.params[RATE] for one in trials(tmp_path)]
        late = sorted(abs(rate - 0.03) for rate in rates[10:])
        assert late[len(late) // 2] < 0.01  # a draw at random is 0.03 away

    @pytest.mark.parametrize("pruner", ["median", "hyperband"])
    def test_what_falls_behind_is_given_up(self, tmp_path: Path, pruner: str):
        plan = planned(
            tmp_path,
            **SWEPT | {"sweep__n_trials": 12, "sweep__pruner": pruner, "sweep__startup_trials": 3,
                       "sweep__min_epochs": 2, "trainer__nepochs": 9},
        )  # fmt: skip
        conduct(plan, Jobs(tmp_path, plan.run))
        found = trials(tmp_path)
        given_up = [one for one in found if one.state.name == "PRUNED"]
        assert given_up
        assert all(min(one.intermediate_values) == 1 for one in found)
        assert all(max(one.intermediate_values) >= 2 for one in given_up)
        done = [one.value for one in found if one.value is not None and one not in given_up]
        assert len(done) >= 3
        # C is to be large: what is reported grows when the loss falls
        assert all(value < 0 for value in found[0].intermediate_values.values())

    def test_several_metrics_end_in_a_pareto_set(self, tmp_path: Path):
        plan = planned(
            tmp_path,
            **SWEPT | {"sweep__sampler": "nsga2", "sweep__metric": ["C", "seconds"],
                       "sweep__n_trials": 20},
        )  # fmt: skip
        conduct(plan, Jobs(tmp_path, plan.run))
        front = json.loads((tmp_path / "pareto.json").read_text())
        assert front["direction"] == ["max", "min"]
        # slower than the best C is dearer and worse
        rates = [trials(tmp_path)[one["job"]].params[RATE] for one in front["jobs"]]
        best = min(
            (one.params[RATE] for one in trials(tmp_path)), key=lambda rate: abs(rate - 0.03)
        )
        assert min(rates) == best
        assert len(rates) < 20

    def test_a_batch_is_no_larger_than_what_is_left(self, tmp_path: Path):
        plan = planned(tmp_path, batch=4, **SWEPT)
        jobs = Jobs(tmp_path, plan.run)
        conduct(plan, jobs)
        assert jobs.batches == [4, 2]

    def test_a_storage_that_cannot_be_opened_is_a_sentence(self, tmp_path: Path):
        plan = planned(tmp_path, **SWEPT | {"sweep__storage": "nonsense://x"})
        with pytest.raises(UserError, match=r"^sweep\.storage=nonsense://x: the study cannot be"):
            conduct(plan, Jobs(tmp_path, plan.run))


def _stop_at(number: int, at: int, once: Plan | None = None) -> None:
    if number == at or (once is not None and number == 1 and not (once.folder / "2").exists()):
        raise KeyboardInterrupt


def _work(folder: Path) -> None:
    plan = planned(folder, **SWEPT | {"sweep__n_trials": 20})
    jobs = Jobs(folder, plan.run)
    real = jobs.do

    def slowly(number: int, overrides: list[str]) -> Exception | None:
        assert not (folder / str(number)).exists(), "taken twice"
        time.sleep(0.02)
        return real(number, overrides)

    jobs.do = slowly  # type: ignore[method-assign]
    conduct(plan, jobs)


@pytest.mark.slow
def test_processes_share_a_study_without_a_word_to_each_other(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(tmp_path,)) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(100)
    assert [one.exitcode for one in workers] == [0, 0, 0]
    found = trials(tmp_path)
    assert [one.state.name for one in found] == ["COMPLETE"] * 20
    assert len({one.params[RATE] for one in found}) == 20  # and none drew what another did
    assert states(tmp_path) == ["finished"] * 20


class TestClaims:
    def test_one_process_has_it(self, tmp_path: Path):
        one, other = Claims(tmp_path), Claims(tmp_path)
        assert one.take(3)
        assert not other.take(3)
        one.drop(3)
        assert other.take(3)
        other.drop_all()
        assert one.take(3)

    def test_the_system_frees_it_when_the_process_is_killed(self, tmp_path: Path):
        code = (
            "import sys, time; from pathlib import Path;"
            "from ptycho.workflows.claims import Claims;"
            "c = Claims(Path(sys.argv[1])); c.take(0); print('taken', flush=True); time.sleep(60)"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        assert not Claims(tmp_path).take(0)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert Claims(tmp_path).take(0)


def test_sigterm_ends_a_sweep_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plan = planned(tmp_path, "seed=1,2")

    def launch(asked: list[tuple[int, list[str]]]) -> list[None]:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(10)
        return [None]

    with pytest.raises(SystemExit) as ended:
        conduct(plan, launch)
    assert ended.value.code == 143
    assert f"`ptycho resume {tmp_path}` goes on with it" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_threads_are_shared_out_and_those_of_a_begun_job_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ptycho.workflows.helpers.cores", lambda: 8)
    plan = planned(tmp_path, "seed=1,2")
    shared = Plan(tmp_path, plan.run, plan.space, None, sharing=2)
    jobs = Jobs(tmp_path, plan.run, lambda number: UserError("stop"))
    with pytest.raises(SweepFailedError):
        conduct(shared, jobs)
    assert all("execution.threads=4" in line for _, line in jobs.done)
    assert "execution.threads=4" in plan.overrides(Job(0, ("seed=1",)))
    assert "execution.threads=4" not in plan.overrides(Job(7, ("seed=1",)))
    typed = planned(tmp_path / "typed", "seed=1,2", "execution.threads=3")
    assert typed.with_threads(4).threads == ["execution.threads=3"]


def test_params_of_a_preset_are_left_aside_and_a_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plan = planned(tmp_path, "seed=1,2", **SWEPT | {"sweep__n_trials": 1})
    assert plan.space.params == {"seed": "1,2"}
    conduct(plan, Jobs(tmp_path, plan.run))
    assert f"sweep.params is left aside: {', '.join(RATES)}" in capsys.readouterr().out
