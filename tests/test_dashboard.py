"""The dashboard as people see it: MLflow's pages in a real browser."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ptycho.config.validate import check
from ptycho.report.mlflow_sweep import close_parent, open_parent
from ptycho.workflows.launch import launch
from tests.browser import CHROMIUM, DRIVER, Browser
from tests.runs import tiny_run
from tests.servers import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver here"),
]

NAME = "learning_rate_and_width"
RATES = ((5e-4, 1), (1.5e-3, 1), (2e-3, 2))
EXPAND = "//div[@role='row']//button[contains(@data-component-id, 'runnamecellrenderer')]"
SEARCH = "input[placeholder='Search metric charts']"
EXPERIMENT = "dashboard"


class Shown(NamedTuple):
    """A sweep in a running dashboard."""

    browser: Browser
    server: Server
    experiment: str
    best: str
    pictures: Path


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A parent with three trained children, before the eyes of a browser."""
    from mlflow import MlflowClient

    outputs = tmp_path_factory.mktemp("outputs")
    folder = outputs / "sweeps" / NAME
    folder.mkdir(parents=True)
    sweep = {
        "version": 1, "sampler": "grid", "metric": ["C"], "direction": ["max"], "n_trials": None,
        "params": {"trainer.learning_rate": "5e-4,1.5e-3,2e-3", "model.n_filters_scale": "1,2"},
        "pruner": "none", "experiment": EXPERIMENT, "overrides": [], "command": ["ptycho", "-m"],
    }  # fmt: skip
    common = {
        "logger__backend": "mlflow", "paths__outputs": str(outputs),
        "logger__experiment": EXPERIMENT, "trainer__nepochs": 12,
        "execution__recon_log_every_n_epochs": 3, "data__synthetic__n_patterns": 196,
    }  # fmt: skip
    parent, uri = open_parent(folder, check(tiny_run(**common)), sweep)
    (folder / "sweep.json").write_text(
        json.dumps(sweep | {"parent_run_id": parent, "tracking_uri": uri})
    )
    for number, (rate, scale) in enumerate(RATES):
        run = tiny_run(**common, trainer__learning_rate=rate, model__n_filters_scale=scale)
        job = folder / str(number)
        launch(run, job, [f"trainer.learning_rate={rate}", f"model.n_filters_scale={scale}"])
        status = json.loads((job / "status.json").read_text())
        stages = json.loads((job / "metrics.json").read_text())["stages"]
        status["metric"] = {"C": stages["refined"]["C"]}
        (job / "status.json").write_text(json.dumps(status))
    close_parent(folder)
    tags = MlflowClient(uri).get_run(parent).data.tags
    here = tmp_path_factory.mktemp("browser")
    pictures = Path("outputs") / "tests" / "dashboard"
    with Server(here, uri) as server, Browser(here) as browser:
        browser.open(f"{server.uri}/#/experiments")
        browser.click("//*[text()='Model training']")
        browser.click("//button[@aria-label='Close']")  # an assistant that covers a quarter
        browser.see(EXPERIMENT)
        place = MlflowClient(uri).get_experiment_by_name(EXPERIMENT).experiment_id
        yield Shown(browser, server, place, tags["ptycho.best_child"], pictures)
    print(f"screenshots: {pictures.absolute()}")


def drawn(browser: Browser, charts: int) -> None:
    """Wait until charts are there and have stopped moving."""
    lines = "return document.querySelectorAll('.js-plotly-plot .scatterlayer .js-line').length"
    browser.wait(lambda: browser.run(lines) >= charts, 60, f"{charts} lines of charts")
    time.sleep(2)


def test_the_parent_opens_onto_its_children_and_their_curves(shown: Shown) -> None:
    browser = shown.browser
    browser.open(f"{shown.server.uri}/#/experiments/{shown.experiment}/runs?compareRunsMode=CHART")
    browser.see(NAME)
    assert "learning_rate=" not in browser.text(), "the children are folded up"
    browser.click(EXPAND)
    browser.see(*(f"{n}: learning_rate={rate:.4g}" for n, (rate, _) in enumerate(RATES)))
    browser.write(SEARCH, "train/")
    drawn(browser, 3 * len(RATES))
    browser.see("train/loss", "train/learning_rate", "train/patterns_per_s")
    browser.screenshot(shown.pictures / "sweep.png")


def test_the_parent_has_a_table_of_its_children(shown: Shown) -> None:
    browser = shown.browser
    browser.open(f"{shown.server.uri}/#/experiments/{shown.experiment}/runs")
    browser.click(f"//a[contains(., '{NAME}')]")
    browser.see("Child runs", "3 jobs (3 finished), best first: C (max).", "ptycho.best_child")
    browser.see(f"{len(RATES) - 1}: learning_rate")
    browser.click("//button[contains(., 'Show more')]")
    browser.screenshot(shown.pictures / "parent.png")


def test_a_child_shows_its_metrics_and_its_pictures(shown: Shown) -> None:
    browser = shown.browser
    browser.open(f"{shown.server.uri}/#/experiments/{shown.experiment}/runs")
    browser.see(NAME)
    if "learning_rate=" not in browser.text():
        browser.click(EXPAND)
    number = len(RATES) - 1
    browser.click(f"//a[contains(., '{number}: learning_rate')]")
    browser.see("ptycho.data_sha256", "refined/C", "trainer.learning_rate")
    browser.click("//*[@role='tab' and contains(., 'Model metrics')]")
    browser.see("lift", "network", "refined")
    browser.write(SEARCH, "train/")
    drawn(browser, 3)
    browser.screenshot(shown.pictures / "child_metrics.png")

    browser.see("reconstruction")
    browser.find("//*[@role='slider']")
    images = "[...document.images].filter(i => i.naturalWidth > 200)"
    browser.wait(lambda: browser.run(f"return {images}.length"), 60, "the picture")
    browser.run(f"{images}[0].scrollIntoView({{block: 'end'}})")
    time.sleep(1)
    browser.screenshot(shown.pictures / "child_slider.png")


def test_the_final_picture_is_an_artifact(shown: Shown) -> None:
    browser = shown.browser
    browser.open(f"{shown.server.uri}/#/experiments/{shown.experiment}/runs/{shown.best}/artifacts")
    browser.click("//*[text()='reconstruction.png']")
    images = "return [...document.images].filter(i => i.naturalWidth > 900).length"
    browser.wait(lambda: browser.run(images), 60, "the picture")
    browser.see("wts.h5.zip", "config.resolved.yaml", "env.json", "metrics.json")
    time.sleep(1)
    browser.screenshot(shown.pictures / "child_picture.png")
