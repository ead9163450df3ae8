"""Every flag of the older command lines changes what is handed on, and what comes of it.

Each flag stands once in a table with words to type and with what to look at; the real command
runs with and without them.
"""

import contextlib
import csv
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ptycho import inference, train
from ptycho.data.formats.npz import write_npz
from ptycho.report.bundle import load_bundle
from ptycho.training.predictor import PatchPredictor
from ptycho.workflows import factory, session
from tests.runs import ask_no_git, dashboard_of, draw_nothing, tiny_scan

Look = Callable[["Ran"], Any]


@dataclass
class Ran:
    """What a command left behind."""

    folder: Path
    """Its folder; may not be there."""
    payload: Any
    """What the factory made; None when that was refused."""
    code: int
    said: str
    """On standard output."""
    batches: list[int]
    """Patterns that a network was asked for at once, in the order they came."""
    loaders: set[tuple[Any, ...]]
    """Workers, prefetching, persistence and pinning of the loaders that were used."""
    deterministic: set[bool]
    """Whether algorithms were so while a network was asked."""
    dashboards: list[Any]
    """What the dashboard was told."""

    def array(self, name: str) -> Any:
        with np.load(self.folder / "reconstruction.npz") as found:
            return found[name]

    def column(self, name: str) -> list[float]:
        with (self.folder / "metrics.csv").open() as file:
            return [float(row[name]) for row in csv.DictReader(file)]


# --- what can be looked at ---------------------------------------------------------------


def code(ran: Ran) -> Any:
    return ran.code


def stdout(ran: Ran) -> Any:
    return bool(ran.said)


def files(ran: Ran) -> Any:
    return {str(file.relative_to(ran.folder)) for file in ran.folder.rglob("*")}


def positions(ran: Ran) -> Any:
    return ran.array("xcoords").tolist()


def image(ran: Ran) -> Any:
    return hashlib.sha256(ran.array("object").tobytes()).hexdigest()


def probe(ran: Ran) -> Any:
    return hashlib.sha256(ran.array("probe").tobytes()).hexdigest()


def weights(ran: Ran) -> Any:
    found = load_bundle(ran.folder).weights
    return {name: hashlib.sha256(one.numpy().tobytes()).hexdigest() for name, one in found.items()}


def steps(ran: Ran) -> Any:
    return ran.column("step")


def rates(ran: Ran) -> Any:
    return ran.column("train/learning_rate")


def losses(ran: Ran) -> Any:
    return ran.column("train/loss")


def batches(ran: Ran) -> Any:
    return max(ran.batches)


def loaders(ran: Ran) -> Any:
    return ran.loaders


def determinism(ran: Ran) -> Any:
    return ran.deterministic


def monitored(ran: Ran) -> Any:
    saved = torch.load(ran.folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {name for name in saved["callbacks"] if name.startswith("Checkpoints")}


def patterns_told(ran: Ran) -> Any:
    with (ran.folder / "patch_stats.csv").open() as file:
        return len(list(csv.DictReader(file)))


def dashboards(ran: Ran) -> Any:
    return len(ran.dashboards)


def device(ran: Ran) -> Any:
    if ran.code:
        return ran.code
    return json.loads((ran.folder / "env.json").read_text())["device"]


OTHER = "cpu" if torch.cuda.is_available() else "cuda"
"""A device that ``auto`` is not."""


# --- every flag --------------------------------------------------------------------------


@dataclass
class Flip:
    """What to type, what it does to the payload, and where it must show."""

    words: str
    look: Look
    setting: str = ""
    """Of the payload's run; empty where a flag is no setting."""
    around: str = ""
    """Typed in both runs."""
    before: str = ""
    """Typed in the run without the flag."""
    without: tuple[str, ...] = ()
    """Flags of the usual command line that are left out in both runs."""
    instead: tuple[str, ...] = ()
    """Those that are left out in the run with the flag."""


TRAIN = {
    "train_data_file": Flip("--train_data_file {other}", positions, "data.train_data_file"),
    "test_data_file": Flip("--test_data_file {other}", files, "data.test_data_file"),
    "output_dir": Flip("--output_dir {folder}_moved", files),
    "resume": Flip("--resume", code, "execution.resume", "--output_dir {first}"),
    "n_images": Flip("--n_images 32", positions, "data.n_images"),
    "model": Flip("--model object_pinn", weights, "model.architecture"),
    "gridsize": Flip("--gridsize 2", weights, "model.gridsize"),
    "batch_size": Flip("--batch_size 8", steps, "trainer.batch_size"),
    "max_epochs": Flip("--max_epochs 2", steps, "trainer.nepochs"),
    "accelerator": Flip(f"--accelerator {OTHER}", device, "trainer.accelerator"),
    "deterministic": Flip("--no-deterministic", determinism, "execution.deterministic"),
    "learning_rate": Flip("--learning-rate 1e-4", rates, "trainer.learning_rate"),
    "scheduler": Flip("--scheduler Exponential", rates, "trainer.scheduler", "--max_epochs 2"),
    "accumulate_grad_batches": Flip("--accumulate-grad-batches 2", steps, "trainer.accum_steps"),
    "num_workers": Flip("--num-workers 1", loaders, "execution.num_workers"),
    "prefetch_factor": Flip(
        "--prefetch-factor 5", loaders, "execution.prefetch_factor", "--num-workers 1"
    ),
    "persistent_workers": Flip(
        "--persistent-workers", loaders, "execution.persistent_workers", "--num-workers 1"
    ),
    "pin_memory": Flip("--pin-memory", loaders, "execution.pin_memory"),
    "middle_trim": Flip("--middle-trim 8", image, "execution.middle_trim"),
    "pad_eval": Flip("--no-pad-eval", image, "execution.pad_eval", "--middle-trim 4"),
    "inference_batch_size": Flip(
        "--inference-batch-size 1", batches, "execution.inference_batch_size"
    ),
    "patch_weighting": Flip("--patch-weighting uniform", image, "model.patch_weighting"),
    "enable_checkpointing": Flip(
        "--disable-checkpointing", files, "execution.enable_checkpointing"
    ),
    "checkpoint_save_top_k": Flip(
        "--checkpoint-save-top-k -1", files, "execution.checkpoint_save_top_k", "--max_epochs 2"
    ),
    "checkpoint_monitor": Flip(
        "--checkpoint-monitor train/patterns_per_s", monitored,
        "execution.checkpoint_monitor_metric",
    ),
    "checkpoint_mode": Flip("--checkpoint-mode max", monitored, "execution.checkpoint_mode"),
    "early_stop_patience": Flip(
        "--early-stop-patience 1", steps, "execution.early_stop_patience",
        "--max_epochs 5 --learning-rate 1e-12",
    ),
    "torch_loss_mode": Flip("--torch-loss-mode amplitude", losses, "trainer.torch_loss_mode"),
    "probe_mask": Flip("--probe-mask", probe, "model.probe_mask"),
    "logger": Flip("--logger csv", files, "logger.backend"),
    "recon_log_every_n_epochs": Flip(
        "--recon-log-every-n-epochs 1", files, "execution.recon_log_every_n_epochs"
    ),
    "log_patch_stats": Flip("--log-patch-stats", files, "execution.log_patch_stats"),
    "patch_stats_limit": Flip(
        "--patch-stats-limit 1", patterns_told, "execution.patch_stats_limit",
        "--log-patch-stats --inference-batch-size 1",
    ),
    "quiet": Flip("--quiet", stdout, "execution.quiet"),
    "device": Flip(f"--device {OTHER}", device, "trainer.accelerator"),
    "disable_mlflow": Flip("--disable_mlflow", dashboards, "logger.backend", without=("--logger",)),
    "ptycho_dir": Flip(
        "--ptycho_dir {scans}", positions, "data.train_data_file",
        instead=("--train_data_file", "--output_dir"),
    ),
    "config": Flip(
        "--config {two_epochs}", steps, "trainer.nepochs", "--ptycho_dir {scans}",
        "--config {one_epoch}", ("--train_data_file", "--output_dir", "--max_epochs"),
    ),
}  # fmt: skip

INFERENCE = {
    "model_path": Flip("--model_path {second}", image, "bundle"),
    "resume": Flip("--resume", code, "execution.resume", "--output_dir {inferred}"),
    "test_data": Flip("--test_data {other}", positions, "data.train_data_file"),
    **{
        name: TRAIN[name]
        for name in (
            "output_dir", "n_images", "accelerator", "deterministic", "num_workers",
            "prefetch_factor", "pin_memory", "middle_trim", "pad_eval",
            "inference_batch_size", "patch_weighting", "log_patch_stats", "patch_stats_limit",
            "quiet", "device",
        )
    },
    "logger": Flip("--logger mlflow", dashboards, "logger.backend"),
    "disable_mlflow": Flip("--disable_mlflow", dashboards, "logger.backend", without=("--logger",)),
}  # fmt: skip


USUAL = {
    train: {
        "--train_data_file": "{scan}", "--output_dir": "{folder}", "--max_epochs": "1",
        "--logger": "none",
    },
    inference: {
        "--model_path": "{first}", "--test_data": "{scan}", "--output_dir": "{folder}",
        "--logger": "none",
    },
}  # fmt: skip
"""What both runs of a comparison type."""


def words(module: ModuleType, flip: Flip, after: bool, places: dict[str, str]) -> list[str]:
    """The command line without and with a flag."""
    left_out = flip.without + (flip.instead if after else ())
    usual = [text for one in USUAL[module].items() if one[0] not in left_out for text in one]
    typed = [*usual, *flip.around.split(), *(flip.words if after else flip.before).split()]
    return [one.format_map(places) for one in typed]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Scans, and folders of trainings."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "scans").mkdir()
    for name, seed in (("scan", 1), ("other", 2), ("scans/only", 3)):
        write_npz(folder / f"{name}.npz", tiny_scan(seed=seed))
    found = {name: f"{folder}/{name}.npz" for name in ("scan", "other")}
    found["scans"] = f"{folder}/scans"
    for name, epochs in (("one_epoch", 1), ("two_epochs", 2)):
        found[name] = f"{folder}/{name}.json"
        Path(found[name]).write_text(json.dumps({"training_config": {"epochs": epochs}}))
    with quick([]):
        for name, more in (("first", ""), ("second", "--gridsize 2")):
            found[name] = f"{folder}/{name}"
            train.main(words(train, Flip(more, code), True, found | {"folder": found[name]}))
        found["inferred"] = f"{folder}/inferred"
        known = found | {"folder": found["inferred"]}
        inference.main(words(inference, Flip("", code), True, known))
    return found


@contextlib.contextmanager
def quick(dashboards: list[Any]) -> Iterator[None]:
    """Without pictures and without a database, which would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        ask_no_git(patch)
        patch.setattr(session, "Dashboard", dashboard_of(dashboards))
        patch.setattr(session, "keep_files", lambda *_: None)
        yield


def run(module: ModuleType, words: list[str], folder: Path, capsys: Any) -> Ran:
    """The real command, watched."""
    payloads: list[Any] = []
    ran = Ran(folder, None, 0, "", [], set(), set(), [])
    asked, loaded = PatchPredictor.__call__, DataLoader.__iter__

    def made(make: Any) -> Any:
        def spy(*arguments: Any) -> Any:
            payloads.append(make(*arguments))
            return payloads[-1]

        return spy

    def ask(self: Any, amplitude: Any, which: Any) -> Any:
        ran.batches.append(len(amplitude))
        ran.deterministic.add(torch.are_deterministic_algorithms_enabled())
        return asked(self, amplitude, which)

    def load(self: Any) -> Any:
        ran.loaders.add(
            (self.num_workers, self.prefetch_factor, self.persistent_workers, self.pin_memory)
        )
        return loaded(self)

    with quick(ran.dashboards), pytest.MonkeyPatch.context() as patch:
        for name in ("create_training_payload", "create_inference_payload"):
            patch.setattr(factory, name, made(getattr(factory, name)))
        patch.setattr(PatchPredictor, "__call__", ask)
        patch.setattr(DataLoader, "__iter__", load)
        try:
            module.main(words)
        except SystemExit as ended:
            ran.code = int(ended.code or 0)
    ran.said = capsys.readouterr().out
    ran.payload = payloads[0] if payloads else None
    return ran


@pytest.mark.parametrize(
    ("module", "key"),
    [(module, key) for module, table in ((train, TRAIN), (inference, INFERENCE)) for key in table],
    ids=lambda one: one if isinstance(one, str) else one.__name__.rpartition(".")[2],
)
def test_a_flag_has_an_effect(
    module: ModuleType,
    key: str,
    places: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flip = (TRAIN if module is train else INFERENCE)[key]

    def do(after: bool) -> tuple[Any, Any]:
        place = tmp_path_factory.mktemp("run")
        monkeypatch.chdir(place)
        typed = words(module, flip, after, places | {"folder": str(place / "run")})
        ran = run(module, typed, place / "run", capsys)
        if not ran.folder.exists() and (place / "outputs" / "runs").exists():
            (ran.folder,) = (place / "outputs" / "runs").iterdir()
        return value_of(ran.payload, flip.setting), flip.look(ran)

    # most are compared with the same plain run: it is looked at once
    usually = f"{flip.setting} {flip.look.__name__} {words(module, flip, False, _Names())}"
    if usually not in _SEEN:
        _SEEN[usually] = do(False)
    before_handed, before = _SEEN[usually]
    handed, came = do(True)
    assert came != before, f"{flip.words} changes nothing"
    assert not flip.setting or handed != before_handed


class _Names(dict[str, str]):
    """Every place is called what it is."""

    def __missing__(self, name: str) -> str:
        return name


_SEEN: dict[str, tuple[Any, Any]] = {}


def value_of(payload: Any, setting: str) -> Any:
    """A setting as the factory handed it on."""
    assert payload is not None
    return functools.reduce(getattr, setting.split("."), payload.run) if setting else None


@pytest.mark.parametrize(("command", "table"), [(train, TRAIN), (inference, INFERENCE)])
def test_every_flag_stands_in_the_table(command: Any, table: dict[str, Flip]) -> None:
    assert command.COMMAND.flags.keys() == table.keys()
