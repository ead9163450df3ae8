"""A server that is away: what is refused, what goes on, and what is sent later."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ptycho import sync
from ptycho.report import mlflow as mlflow_module
from ptycho.report import outbox as outbox_module
from ptycho.report.mlflow import Dashboard, DashboardError
from ptycho.report.mlflow_calls import Sender
from ptycho.report.outbox import UNSENT, AwayError, read_unsent
from tests.runs import launched

pytestmark = pytest.mark.filterwarnings("ignore")

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (outbox_module, mlflow_module):
        monkeypatch.setattr(module, "LITTLE_PATIENCE", 0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that stands in for the server once it is back."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    Dashboard(uri, folder, "away", "first", {}).finish("FINISHED")
    return uri


def client(store: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(store)


def named(store: str, name: str) -> list[Any]:
    place = client(store).get_experiment_by_name("away").experiment_id
    return list(client(store).search_runs([place], f"attributes.run_name = '{name}'"))


@pytest.fixture
def web() -> Iterator[int]:
    """A web server that answers a number named in its address."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(self.path.split("/")[1]))
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "uri", ["ftp://somewhere/x", "file:///tmp/mlruns", "some/folder", "http://no host"]
)
def test_an_address_that_is_no_server_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match=r"logger=mlflow cannot open .*or choose logger=csv"):
        Dashboard(uri, tmp_path, "away", "run", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("answer", [200, 401, 403, 404])
def test_a_server_of_something_else_is_refused(answer: int, web: int, tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match="logger=mlflow cannot open"):
        Dashboard(f"http://127.0.0.1:{web}/{answer}", tmp_path, "away", "run", {})


def test_a_server_that_fails_is_waited_for(web: int, tmp_path: Path) -> None:
    board = Dashboard(f"http://127.0.0.1:{web}/500", tmp_path, "away", "run", {})
    assert board.run_id is None
    board.finish("KILLED")


def test_a_server_that_says_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        board = Dashboard(uri, tmp_path, "away", "run", {})
        board.log_metrics({"loss": 1.0})
        began = time.perf_counter()
        board.finish("KILLED")
        assert time.perf_counter() - began < outbox_module.LITTLE_PATIENCE + 2
    assert [one["do"] for one in read_unsent(tmp_path / UNSENT).calls] == ["open", "metrics", "end"]


def test_a_run_goes_on_without_its_server_and_is_sent_later(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = launched(
        tmp_path / "late", logger__backend="mlflow", logger__tracking_uri=NOBODY,
        logger__experiment="away", execution__recon_log_every_n_epochs=1,
        logger__register_model="later", paths__outputs=str(tmp_path / "outputs"),
    )  # fmt: skip
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert caplog.text.count("does not answer") == 1
    assert caplog.text.count("stopped answering") == 0
    assert caplog.text.count(f"send them later with: ptycho sync {folder}") == 1
    assert "not registered as later yet" in capsys.readouterr().out

    moved = folder.rename(tmp_path / "moved")  # as from a cluster to a desk
    sync.main([str(moved), "--uri", store])
    assert "calls sent" in capsys.readouterr().out
    (run,) = named(store, "late")
    assert run.info.status == "FINISHED"
    history = client(store).get_metric_history(run.info.run_id, "train/loss")
    assert len(history) == 2
    assert all(one.timestamp < run.info.end_time + 1 for one in history), "its own time"
    kept = {one.path for one in client(store).list_artifacts(run.info.run_id)}
    assert {"images", "wts.h5.zip", "metrics.json", "model"} <= kept
    assert client(store).get_model_version("later", "1").run_id == run.info.run_id
    assert not (moved / UNSENT).exists()
    sync.main([str(moved)])
    assert "nothing was left to send" in capsys.readouterr().out


def test_sync_tells_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit) as error:
            sync.main(list(arguments))
        assert error.value.code == 2
        return capsys.readouterr().err

    assert "no such folder" in refused(str(tmp_path / "none"))
    assert "holds neither a run" in refused(str(tmp_path))
    assert "sync --help" in refused()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_module, "PATIENCE", 0.6)
        Dashboard(NOBODY, tmp_path, "away", "run", {}, folder=tmp_path).finish("KILLED")
        (tmp_path / "status.json").write_text("{}")
        assert "2 calls are left, 0 were sent" in refused(str(tmp_path))
    assert len(read_unsent(tmp_path / UNSENT).calls) == 2


def test_a_server_that_returns_is_told_everything(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 0.05)
    board = Dashboard(store, tmp_path, "away", "returns", {}, folder=tmp_path)
    real, away = Sender.__call__, threading.Event()

    def send(self: Sender, call: Any) -> None:
        if away.is_set():
            raise AwayError("no answer")
        real(self, call)

    monkeypatch.setattr(Sender, "__call__", send)
    board.log_metrics({"loss": 0.0}, 0)
    away.set()
    for step in range(1, 20):
        board.log_metrics({"loss": float(step)}, step)
        time.sleep(0.005)
    assert (tmp_path / UNSENT).exists()
    away.clear()
    board.finish("FINISHED")
    (run,) = named(store, "returns")
    history = client(store).get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(i, float(i)) for i in range(20)]
    assert len({one.timestamp for one in history}) > 10
    assert run.info.status == "FINISHED"
    assert caplog.text.count("stopped answering") == 1
    assert caplog.text.count("answers again") == 1
    assert not (tmp_path / UNSENT).exists()


def test_a_run_goes_on_under_its_own_name(tmp_path: Path, store: str) -> None:
    first = Dashboard(store, tmp_path, "away", "resumed", {"a": "1"}, folder=tmp_path)
    first.log_params({"lr": 1, "epochs": 2})
    first.log_metrics({"loss": 1.0}, 0)
    first.finish("KILLED")
    (run,) = named(store, "resumed")
    assert run.info.status == "KILLED"
    again = Dashboard(
        store, tmp_path, "away", "resumed", {"a": "2"}, folder=tmp_path, run_id=first.run_id
    )
    assert again.run_id == first.run_id
    assert named(store, "resumed")[0].info.status == "RUNNING"
    again.log_params({"lr": 1, "epochs": 3, "new": 4})
    again.log_metrics({"loss": 1.0}, 0)
    again.log_metrics({"loss": 0.5}, 1)
    again.finish("FINISHED")
    (run,) = named(store, "resumed")
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "1", "epochs": "2", "new": "4"}
    assert run.data.tags["a"] == "2"
    assert run.data.tags["ptycho.changed"] == "epochs=3"
    assert run.data.metrics["loss"] == 0.5


def test_a_resumed_run_sends_what_the_first_attempt_could_not(tmp_path: Path, store: str) -> None:
    first = Dashboard(NOBODY, tmp_path, "away", "patient", {}, folder=tmp_path)
    first.log_metrics({"loss": 1.0}, 0)
    first.finish("KILLED")
    assert first.run_id is None
    again = Dashboard(store, tmp_path, "away", "patient", {}, folder=tmp_path, run_id=None)
    again.log_metrics({"loss": 0.5}, 1)
    again.finish("FINISHED")
    (run,) = named(store, "patient")
    history = client(store).get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(0, 1.0), (1, 0.5)]
    assert run.info.status == "FINISHED"
    assert not (tmp_path / UNSENT).exists()


def test_a_run_that_was_deleted_there_is_begun_anew(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    lost = "0" * 32
    board = Dashboard(store, tmp_path, "away", "anew", {}, folder=tmp_path, run_id=lost)
    assert board.run_id not in (None, lost)
    assert f"holds no run {lost} any more" in caplog.text
    board.finish("FINISHED")
    assert len(named(store, "anew")) == 1


def test_an_answer_that_got_lost_does_not_make_two_runs(tmp_path: Path, store: str) -> None:
    sender = Sender(store, None, tmp_path)
    call = {
        "do": "open", "experiment": "away", "artifacts": None, "name": "once", "tags": {},
        "time": int(time.time() * 1000), "run_id": None,
    }  # fmt: skip
    sender(call)
    sender.run_id = None  # the server did it, and was not heard
    sender(call)
    (run,) = named(store, "once")
    assert sender.run_id == run.info.run_id
