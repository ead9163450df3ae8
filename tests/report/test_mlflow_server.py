"""Runs that log to a real server, which dies meanwhile; processes that share a database."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptycho.report.outbox import UNSENT
from tests.servers import Server, typed_run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

EPOCHS = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with Server(folder) as running:
        yield running


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


def runs(uri: str) -> list[Any]:
    found = client(uri).get_experiment_by_name("ptycho")
    return list(client(uri).search_runs([found.experiment_id])) if found else []


def until(
    true: Callable[[], Any], run: "subprocess.Popen[str] | None" = None, seconds: float = 120
) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert run is None or run.poll() is None, run.communicate()[0]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def epochs_done(uri: str) -> float:
    found = runs(uri)
    history = client(uri).get_metric_history(found[0].info.run_id, "train/loss") if found else []
    return len(history)


def test_a_server_that_dies_twice_costs_the_run_nothing(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with typed_run(
        folder, server.uri, trainer__nepochs=EPOCHS, execution__recon_log_every_n_epochs=100
    ) as run:
        try:
            until(lambda: epochs_done(server.uri) > 5, run)
            server.kill()
            until(lambda: (folder / UNSENT).exists(), run)
            run.send_signal(signal.SIGSTOP)  # or it might be over before the server is up
            server.start()
            run.send_signal(signal.SIGCONT)
            until(lambda: not (folder / UNSENT).exists(), run)
            before = epochs_done(server.uri)
            server.kill()
            said, _ = run.communicate(timeout=300)
        finally:
            run.kill()
    assert run.returncode == 0, said
    assert f"{server.uri}/#/experiments/1/runs/" in said
    assert said.count("stopped answering") == 2
    assert said.count("answers again") == 1
    assert "send them later with: ptycho sync" in " ".join(said.split())
    assert "Traceback" not in said
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert {"wts.h5.zip", "reconstruction.npz", UNSENT} <= {one.name for one in folder.iterdir()}

    server.start()
    assert 5 < before <= epochs_done(server.uri) < EPOCHS
    sync = [sys.executable, "-m", "ptycho", "sync", str(folder)]
    done = subprocess.run(sync, capture_output=True, text=True, check=True)
    assert "calls sent" in done.stdout
    (logged,) = runs(server.uri)
    assert logged.info.status == "FINISHED"
    history = client(server.uri).get_metric_history(logged.info.run_id, "train/loss")
    assert [one.step for one in history] == list(range(EPOCHS)), "each once and in order"
    times = [one.timestamp for one in history]
    assert times == sorted(times)
    kept = {one.path for one in client(server.uri).list_artifacts(logged.info.run_id)}
    assert {"wts.h5.zip", "reconstruction.png", "images", "env.json"} <= kept
    assert len(client(server.uri).list_artifacts(logged.info.run_id, "images")) == 2 * (
        1 + EPOCHS // 100
    )


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_does_not_wait_for_a_dead_server(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    folder = tmp_path / "run"
    with typed_run(
        folder, "http://127.0.0.1:1", trainer__nepochs=100_000,
        execution__recon_log_every_n_epochs=5,
    ) as run:  # fmt: skip
        try:
            until(lambda: list(folder.glob("epochs/*.png")), run)
            began = time.monotonic()
            run.send_signal(sent)
            said, _ = run.communicate(timeout=60)
            took = time.monotonic() - began
        finally:
            run.kill()
    assert run.returncode == code, said
    assert took < 15, said
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert "ptycho sync" in said
    assert (folder / UNSENT).exists()


def test_processes_share_a_database_without_losing_a_call(tmp_path: Path) -> None:
    steps, processes = 300, 6
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ptycho.report.mlflow import Dashboard, store_uri\n"
        "folder = Path(sys.argv[1])\n"
        "board = Dashboard(store_uri(folder, None), folder, 'ptycho', sys.argv[2], {},\n"
        "                  folder=folder / sys.argv[2])\n"
        "board.log_params({f'p{i}': i for i in range(150)})\n"
        "for step in range(int(sys.argv[3])):\n"
        "    board.log_metrics({'a': step, 'b': -step}, step)\n"
        "    board._outbox.wait(0.001)\n"  # one call each, instead of a few of many
        "board.finish('FINISHED')\n"
    )
    together = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(i), str(steps)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for i in range(processes)
    ]  # fmt: skip
    said = [one.communicate(timeout=500)[0] for one in together]
    assert [one.returncode for one in together] == [0] * processes, said
    assert not any("locked" in one for one in said), said
    assert not list(tmp_path.glob(f"*/{UNSENT}"))
    uri = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    found = runs(uri)
    assert len(found) == processes
    for run in found:
        assert run.info.status == "FINISHED"
        assert len(run.data.params) == 150
        for name in ("a", "b"):
            history = client(uri).get_metric_history(run.info.run_id, name)
            assert sorted(one.step for one in history) == list(range(steps))
