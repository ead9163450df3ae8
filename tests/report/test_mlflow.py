"""Runs as they stand in the dashboard afterwards, read back with MLflow's own client.

That ``logger=none`` does not import MLflow is tested in a process of its own, in
``tests/workflows/test_train.py``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho.config.config import ConfigError
from ptycho.config.validate import check, leaves
from ptycho.report.bundle import load_bundle
from ptycho.report.mlflow import Dashboard, DashboardError, store_uri
from ptycho.training.module import ObjectTraining
from tests.runs import launched, tiny_run, tiny_scan

pytestmark = pytest.mark.filterwarnings("ignore")


def client(outputs: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(store_uri(outputs, None))


def runs(outputs: Path, experiment: str = "ptycho") -> list[Any]:
    """Runs of an experiment, the newest first."""
    store = client(outputs)
    found = store.get_experiment_by_name(experiment)
    return list(store.search_runs([found.experiment_id])) if found else []


def artifacts(outputs: Path, run: Any) -> dict[str, int]:
    return {one.path: one.file_size for one in client(outputs).list_artifacts(run.info.run_id)}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one run was logged, from a working directory elsewhere."""
    torch.set_num_threads(1)
    here = tmp_path_factory.mktemp("outputs")
    cwd = Path.cwd()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    os.chdir(elsewhere)
    try:
        launched(
            here / "runs" / "first", logger__backend="mlflow", paths__outputs=str(here),
            trainer__nepochs=3, execution__recon_log_every_n_epochs=2,
            logger__register_model="object net",
        )  # fmt: skip
        assert not list(elsewhere.iterdir())
    finally:
        os.chdir(cwd)
    return here


def test_store_lies_below_the_outputs(outputs: Path) -> None:
    assert (outputs / "mlflow" / "mlflow.db").is_file()
    (run,) = runs(outputs)
    assert run.info.artifact_uri.startswith((outputs / "mlflow" / "artifacts").as_uri())
    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"


def test_relative_outputs_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = store_uri(Path("out"), None)
    assert uri == f"sqlite:///{tmp_path}/out/mlflow/mlflow.db"
    assert store_uri(Path("out"), "http://localhost:1") == "http://localhost:1"


def test_every_setting_is_a_parameter(outputs: Path) -> None:
    params = runs(outputs)[0].data.params
    assert set(params) == {name for name, *_ in leaves(tiny_run())}
    assert params["trainer.nepochs"] == "3"
    assert params["trainer.accelerator"] == "cpu"
    assert params["data.synthetic.object"] == "natural"


def test_metrics_have_a_value_per_epoch(outputs: Path) -> None:
    (run,) = runs(outputs)
    for name in ("train/loss", "train/learning_rate", "train/patterns_per_s"):
        history = client(outputs).get_metric_history(run.info.run_id, name)
        assert len(history) == 3, name
        assert len({one.step for one in history}) == 3
    for stage in ("lift", "network", "refined"):
        assert run.data.metrics[f"{stage}/C"] > 0.5
    assert not any(name.startswith(("flat", "noise")) for name in run.data.metrics)


def test_files_are_kept(outputs: Path) -> None:
    kept = artifacts(outputs, runs(outputs)[0])
    wanted = {
        "reconstruction.png", "reconstruction.npz", "wts.h5.zip", "config.resolved.yaml",
        "env.json", "metrics.csv", "metrics.json", "overrides.txt",
    }  # fmt: skip
    assert wanted <= set(kept)
    folder = outputs / "runs" / "first"
    assert all(kept[name] == (folder / name).stat().st_size for name in wanted)


def test_pictures_have_a_slider(outputs: Path) -> None:
    (run,) = runs(outputs)
    assert run.data.tags["mlflow.loggedImages"] == "True"
    shown = [one.path for one in client(outputs).list_artifacts(run.info.run_id, "images")]
    steps = sorted(name.split("+timestamp")[0] for name in shown if name.endswith(".png"))
    assert steps == ["images/reconstruction+step+0", "images/reconstruction+step+2"]
    assert "epochs" not in artifacts(outputs, run), "they are not kept twice"


def test_bundle_becomes_a_version_of_a_model(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import mlflow

    (run,) = runs(outputs)
    version = client(outputs).get_model_version("object net", "1")
    assert version.run_id == run.info.run_id
    assert version.tags["ptycho.data"] == "scan"
    assert version.tags["ptycho.architecture"] == "object_pinn"
    assert float(version.tags["ptycho.C"]) == pytest.approx(run.data.metrics["refined/C"], 1e-4)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(outputs, None))
    found = mlflow.artifacts.download_artifacts("models:/object net/1", dst_path=str(tmp_path))
    bundle = load_bundle(Path(found) / "wts.h5.zip")
    assert bundle.params["data_sha256"] == run.data.tags["ptycho.data_sha256"]
    launched(
        tmp_path / "run", logger__backend="mlflow", paths__outputs=str(outputs),
        logger__experiment="registry", trainer__nepochs=1, logger__register_model="object net",
    )  # fmt: skip
    assert "registered as models:/object net/2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "solve"}, "task=solve makes none"),
        ({"logger__backend": "csv"}, "is for MLflow"),
        ({"logger__register_model": "a/b"}, "must be a name of letters"),
        ({"logger__register_model": "  "}, "must be a name of letters"),
    ],
)
def test_a_model_that_cannot_be_registered_is_refused(changes: dict[str, Any], said: str) -> None:
    run = tiny_run(**({"logger__backend": "mlflow", "logger__register_model": "ok"} | changes))
    with pytest.raises(ConfigError, match=said):
        check(run)


def test_tags_tell_where_a_run_comes_from(outputs: Path) -> None:
    tags = runs(outputs)[0].data.tags
    assert tags["ptycho.task"] == "train"
    assert tags["ptycho.data"] == "scan"
    assert tags["ptycho.folder"] == str(outputs / "runs" / "first")
    assert tags["ptycho.command"] == " ".join(sys.argv)
    assert len(tags["ptycho.data_sha256"]) == 64
    env = json.loads((outputs / "runs" / "first" / "env.json").read_text())
    assert tags["ptycho.data_sha256"] == env["data_sha256"]
    assert tags["mlflow.source.git.commit"] == str((env["git"] or {}).get("sha"))


@pytest.mark.parametrize(
    ("error", "status"), [(ArithmeticError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_status_of_what_did_not_finish(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException], status: str,
) -> None:  # fmt: skip
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(ObjectTraining, "training_step", fail)
    with pytest.raises(error):
        launched(
            tmp_path / "run", logger__backend="mlflow", paths__outputs=str(outputs),
            logger__experiment=status, logger__run_name="mine",
        )  # fmt: skip
    (run,) = runs(outputs, status)
    assert run.info.status == status
    assert run.info.run_name == "mine"


def test_tracking_uri_of_the_environment_is_respected(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(outputs, None))
    launched(
        tmp_path / "run", task="solve", logger__backend="mlflow",
        paths__outputs=str(tmp_path / "unused"), logger__experiment="environment",
    )  # fmt: skip
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (run,) = runs(outputs, "environment")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["solver/C"] > 0.5
    assert not (tmp_path / "unused" / "mlflow" / "mlflow.db").exists()


def test_many_means_all_of_them(outputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    folder = launched(
        tmp_path / "run", logger__backend="many", paths__outputs=str(outputs),
        logger__experiment="many", trainer__nepochs=1,
    )  # fmt: skip
    assert len(runs(outputs, "many")) == 1
    assert (folder / "csv" / "metrics.csv").is_file()
    assert list((folder / "tensorboard").glob("events*"))


def test_csv_writes_its_files_alone(outputs: Path, tmp_path: Path) -> None:
    folder = launched(tmp_path / "run", logger__backend="csv", paths__outputs=str(tmp_path))
    lines = (folder / "csv" / "metrics.csv").read_text().splitlines()
    assert "train/loss" in lines[0]
    assert len(lines) > 2
    assert not (folder / "tensorboard").exists()
    assert not (tmp_path / "mlflow").exists()


def test_tensorboard_writes_its_files_alone(outputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    folder = launched(tmp_path / "run", logger__backend="tensorboard", trainer__nepochs=1)
    assert list((folder / "tensorboard").glob("events*"))
    assert not (folder / "csv").exists()


def test_long_values_are_cut_and_many_are_sent_in_parts(outputs: Path, tmp_path: Path) -> None:
    from ptycho.report.mlflow import Dashboard

    uri = store_uri(outputs, None)
    board = Dashboard(uri, outputs, "limits", "run", {})
    board.log_params({f"p{i}": "x" * 7000 if i == 0 else i for i in range(250)})
    board.log_metrics({"good": 1.0, "bad": float("nan")})
    board.finish("FINISHED")
    (run,) = runs(outputs, "limits")
    assert len(run.data.params) == 250
    assert len(run.data.params["p0"]) == 6000
    assert run.data.metrics == {"good": 1.0}


def test_scan_of_the_tests_is_what_is_hashed(outputs: Path) -> None:
    tag = runs(outputs)[0].data.tags["ptycho.data_sha256"]
    assert tag == tiny_scan().sha256
    assert tag != tiny_scan(seed=1).sha256
    assert np.isfinite(runs(outputs)[0].data.metrics["train/loss"])


def test_a_database_that_is_none_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database")
    with pytest.raises(DashboardError, match=r"logger=mlflow cannot open .*or choose logger=csv"):
        Dashboard(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "ptycho", "a run", {})


@pytest.mark.slow
def test_processes_that_start_together_share_a_new_database(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ptycho.report.mlflow import Dashboard, store_uri\n"
        "folder = Path(sys.argv[1])\n"
        "Dashboard(store_uri(folder, None), folder, 'ptycho', sys.argv[2], {}).finish('FINISHED')\n"
    )
    together = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(i)], stderr=subprocess.PIPE, text=True
        )
        for i in range(3)
    ]
    said = [one.communicate(timeout=120)[1] for one in together]
    assert [one.returncode for one in together] == [0, 0, 0], said
    assert len(runs(tmp_path)) == 3
