"""``task=train``: lift, learn, reconstruct, refine, score."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor, nn

from ptycho.config import legacy
from ptycho.config.choices import LoggerBackend, Task
from ptycho.config.config import LoggerConfig
from ptycho.config.process import quieten
from ptycho.config.signals import asked_to_end
from ptycho.data.module import ScanModule
from ptycho.data.patch_batches import PatchDataset
from ptycho.data.reconstruction import Reconstruction
from ptycho.data.tiles import Lifted, TileDataset
from ptycho.report.bundle import NAME, Bundle, save_bundle
from ptycho.report.figures import save_object_png
from ptycho.report.files import plain_config, write_csv
from ptycho.report.metrics import Figures
from ptycho.training.callbacks import (
    CollapseGuard,
    History,
    OwnSignals,
    PictureEvery,
    Recalibrate,
    RunProgress,
    SameSettings,
    SeedEpochs,
)
from ptycho.training.checkpoint import Checkpoints, WholeCheckpoints, epochs_done
from ptycho.training.choosing import KeepBest
from ptycho.training.cluster import environments
from ptycho.training.module import ObjectTraining
from ptycho.training.patch_module import PatchTraining
from ptycho.training.schedules import adamw, schedule
from ptycho.workflows import build, lessons, stages, uncertainty
from ptycho.workflows.lessons import Lesson, tiles
from ptycho.workflows.loggers import make_loggers
from ptycho.workflows.problem import Problem, with_curves
from ptycho.workflows.pruning import giving_up
from ptycho.workflows.recalibration import Recalibration
from ptycho.workflows.reconstruct import network_on, reconstruct_with
from ptycho.workflows.session import Session, sow
from ptycho.workflows.status import digest

LOSS = "train/loss"


def train(session: Session) -> dict[str, Figures]:
    """Train a network on one scan and reconstruct with it.

    Returns:
        Figures of every stage; empty on processes other than the first.
    """
    run = session.run
    problem = session.pose(build.make_scan(run.data, run.model.N or 0))
    test = test_problem(session)  # an unusable one is refused before the long work
    legacy.set("intensity_scale", problem.scale)
    if session.first:
        session.describe(problem, lessons.label_source(run, problem))
    recipe = build.make_recipe(run.solver)
    start, bars = problem, session.bars
    (problem, lifted), lift_seconds = stages.timed(
        session.device, lambda: stages.begin(start, run.model, recipe, bars)
    )
    network = network_on(build.make_network(run.model), session.device)
    label = lessons.label(session, problem)
    cut = tiles(problem, lifted, run.trainer.batch_size, label)
    further = lessons.further(session, recipe)
    history = fit(session, problem, network, cut, lifted, further)
    if not session.first:
        return {}
    gain, problem = history.gain, problem.knowing(history.instrument)
    seen: dict[str, list[int]] = {lesson.sha256: [] for lesson in further}
    save_network(session, problem.brightened(gain), network, cut.tile, gain, also_seen=seen)
    again = partial(reconstruct_with, network=network, tile=cut.tile, gain=gain)
    found = with_curves(again(session, problem, lifted=(lifted, lift_seconds)), curve(history))
    member = train_again if run.uncertainty.retrain else again
    figures = uncertainty.report(session, problem, found, member)
    say_training(session, history)
    if test is not None:
        session.terminal.print(f"test scan {test.scan.label}:", markup=False)
        uncertainty.report(session, test, again(session, test), again, prefix="test_")
    return figures


def train_again(session: Session, problem: Problem) -> Reconstruction:
    """Train another network, without saving or showing it, and reconstruct with it.

    Args:
        session: its folder receives the losses; its seed is the network's.
        problem: what to learn from.
    """
    run = replace(session.run, logger=LoggerConfig(backend=LoggerBackend.none))
    execution = replace(
        session.execution,
        logger_backend=LoggerBackend.none,
        enable_checkpointing=False,
        enable_progress_bar=False,
        recon_log_every_n_epochs=None,
        profiler=None,
    )
    alone = replace(session, run=run, execution=execution, dashboard=None)
    alone.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.seed)
    recipe = build.make_recipe(run.solver)
    problem, lifted = stages.begin(problem, run.model, recipe, alone.bars)
    network = network_on(build.make_network(run.model), alone.device)
    cut = tiles(problem, lifted, run.trainer.batch_size, lessons.label(alone, problem))
    history = fit(alone, problem, network, cut, lifted, lessons.further(alone, recipe))
    return reconstruct_with(
        alone,
        problem.knowing(history.instrument),
        network,
        cut.tile,
        lifted=(lifted, 0.0),
        gain=history.gain,
    )


def fit(
    session: Session,
    problem: Problem,
    network: nn.Module,
    cut: TileDataset,
    lifted: Lifted,
    further: Sequence[Lesson] = (),
    best: KeepBest | None = None,
) -> History:
    """Let Lightning train; the network is left on the device with its best weights.

    Args:
        session: settings and progress.
        problem: what to learn from first.
        network: what is trained.
        cut: tiles of that problem.
        lifted: its first answer.
        further: more scans to learn from.
        best: chooses the epoch to end with; None: the loss of the training does.
    """
    run = session.run
    module = ObjectTraining(
        network,
        problem.experiment,
        build.make_judge(run.trainer, problem.amplitude),
        make_optimiser(session),
        tv_weight=run.trainer.tv_weight,
        intensity_scale_trainable=run.trainer.intensity_scale_trainable,
        further=[lesson.experiment for lesson in further],
        label_weights=(run.trainer.realspace_weight, run.trainer.realspace_mae_weight),
    )
    batch = session.execution.inference_batch_size

    def predict() -> Tensor:
        return stages.correct(problem, module.correct, lifted, cut.tile, batch)

    again = Recalibration(run, problem, predict) if problem.freedom.any else None
    more = [lesson.cut for lesson in further]
    history = teach(session, problem, module, cut, predict, more=more, again=again, best=best)
    if module.brightness is not None:
        history.gain = module.brightness.gain
    return history


def teach(
    session: Session,
    problem: Problem,
    module: ObjectTraining | PatchTraining,
    batches: TileDataset | PatchDataset,
    predict: Callable[[], Tensor],
    *,
    more: Sequence[TileDataset] = (),
    again: Recalibration | None = None,
    best: KeepBest | None = None,
) -> History:
    """Let Lightning train; the module is left on the device with its best weights.

    A training that was interrupted goes on after the last epoch that was saved.

    Args:
        session: settings and progress.
        problem: the scan that is reconstructed.
        module: what is trained.
        batches: what it is trained on.
        predict: the present object, complex ``(H, W)``.
        more: tiles of further scans.
        again: moves what is free of the instrument.
        best: chooses the epoch to end with; None: the loss of the training does.
    """
    run, execution = session.run, session.execution
    board = session.dashboard
    history = History(board.log_metrics if board is not None else None, _table(session))
    checkpoints = _checkpoints(session)
    watchers = _callbacks(session, _picture(session, problem, predict), again)
    known: Callable[[], Problem] = (lambda: again.problem) if again else (lambda: problem)
    judge = giving_up(session, known, predict, lambda: history.rows[-1][LOSS])
    watchers += [judge] if judge else []
    loggers = make_loggers(session) if session.first else []
    trainer = Trainer(
        **build.trainer_arguments(run, execution),
        callbacks=[history, *watchers, *checkpoints, *([best] if best else [])],
        logger=loggers,
        default_root_dir=session.folder,
        enable_checkpointing=bool(checkpoints),
        enable_progress_bar=execution.enable_progress_bar,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the tiles share themselves out
        log_every_n_steps=1,
        profiler=_profiler(session),
        plugins=[WholeCheckpoints(), *environments(execution)],
    )  # fmt: skip
    before = session.checkpoint if checkpoints else None
    quieten()  # it sets its loggers up anew when it is loaded
    done = epochs_done(before)
    if done:
        all_ = run.trainer.nepochs
        said = f"the training goes on after {done} of {all_} epochs"
        if done >= all_:
            said = "the training was through; what follows it is done now"
        session.terminal.print(said, markup=False)
    data = ScanModule(batches, run.seed, more, epoch=done, **build.loader_arguments(execution))
    try:
        trainer.fit(module, data, ckpt_path=before, weights_only=True)
    except SystemExit as error:
        if error.code not in (None, 0, 1):
            raise
        raise KeyboardInterrupt from None  # which Lightning turned into an exit
    sow(run.seed)  # whether it was interrupted or not
    if best is not None:
        best.restore(module)
    elif checkpoints and checkpoints[0].best_model_path:
        _load_best(module, Path(checkpoints[0].best_model_path))
    module.to(session.device)  # Lightning hands it back on the CPU
    history.instrument = None if again is None else again.problem.instrument
    return history


def _table(session: Session) -> Callable[[list[dict[str, float]]], None] | None:
    """What writes the figures of all epochs, in the process that writes."""
    if not session.first:
        return None
    path = session.path("metrics.csv")
    return lambda rows: write_csv(path, rows)


def curve(history: History) -> dict[str, list[tuple[float, float]]]:
    """The loss over the seconds, for the picture."""
    return {LOSS: [(row["seconds"], row[LOSS]) for row in history.rows]}


def make_optimiser(session: Session) -> Callable[[ObjectTraining | PatchTraining], Any]:
    """What makes the optimiser and its schedule for a module."""
    how = session.run.trainer

    def make(module: ObjectTraining | PatchTraining) -> Any:
        optimiser = adamw(module.parameters(), how.learning_rate, how.weight_decay)
        moving = schedule(
            how.scheduler,
            optimiser,
            steps=int(module.trainer.estimated_stepping_batches),
            epochs=how.nepochs,
            warmup_steps=how.warmup_steps,
        )
        return {"optimizer": optimiser, "lr_scheduler": moving} if moving else optimiser

    return make


def _callbacks(
    session: Session, save: Callable[[int], None], again: Recalibration | None
) -> list[Callback]:
    execution = session.execution
    chosen: list[Callback] = [
        OwnSignals(asked_to_end),
        SameSettings(digest(session.run)),
        SeedEpochs(session.run.seed, sow),
    ]
    if execution.enable_progress_bar:
        chosen.append(RunProgress(session.bars))
    if execution.collapse_guard:
        adapts = session.run.task == Task.adapt
        chosen.append(CollapseGuard("adapt.learning_rate" if adapts else "trainer.learning_rate"))
    if execution.early_stop_patience is not None:
        chosen.append(EarlyStopping(LOSS, patience=execution.early_stop_patience, mode="min"))
    if execution.recon_log_every_n_epochs is not None:
        chosen.append(PictureEvery(execution.recon_log_every_n_epochs, save))
    if again is not None:
        chosen.append(Recalibrate(again))
    return chosen


def _checkpoints(session: Session) -> list[ModelCheckpoint]:
    """The best epochs and the last one, which Lightning's own ``save_last`` may miss."""
    execution = session.execution
    if not execution.enable_checkpointing:
        return []
    common: dict[str, Any] = {
        "dirpath": session.folder / "checkpoints",
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,  # an epoch that is trained again takes its own place
    }
    best = Checkpoints(
        filename="best-{epoch:03d}",
        monitor=known_metric(execution.checkpoint_monitor_metric),
        mode=execution.checkpoint_mode.value,
        save_top_k=execution.checkpoint_save_top_k,
        **common,
    )
    last = Checkpoints(filename="last", **common)
    return [best, last]


def known_metric(name: str) -> str:
    """The metric that a name means."""
    return LOSS if name in ("train_loss", "val_loss") else name


def _load_best(module: ObjectTraining | PatchTraining, path: Path) -> None:
    saved = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(saved["state_dict"])


def _picture(
    session: Session, problem: Problem, predict: Callable[[], Tensor]
) -> Callable[[int], None]:
    def save(epoch: int) -> None:
        inside = problem.reconstruction([]).scanned
        path = session.path(f"epochs/epoch_{epoch:04d}.png")
        save_object_png(predict().cpu().numpy()[inside], path)
        if session.dashboard is not None:
            session.dashboard.log_picture(path, "reconstruction", epoch)

    return save


def _profiler(session: Session) -> Any:
    kind = session.execution.profiler
    if kind is None:
        return None
    from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler

    make = SimpleProfiler if kind == "simple" else AdvancedProfiler
    return make(dirpath=session.folder, filename="profile")


def save_network(
    session: Session,
    problem: Problem,
    network: nn.Module,
    tile: tuple[int, int],
    gain: float,
    *,
    lift: dict[str, Any] | None = None,
    also_seen: dict[str, list[int]] | None = None,
) -> None:
    """Write the bundle of a network trained on a scan.

    Args:
        session: settings, and where to write.
        problem: the scan.
        network: trained.
        tile: size of the tiles it was trained on.
        gain: learned factor of all photons.
        lift: settings ``solver`` by which its input is made; None: those of this run.
        also_seen: checksums of more scans it was trained on, and what it was not shown of them.
    """
    legacy.set("intensity_scale", problem.scale)
    config = plain_config(session.run)
    if lift is not None:
        config["solver"] = lift
    bundle = Bundle(
        weights=network.state_dict(),
        physics={"probe": torch.view_as_real(problem.probe)},
        config=config,
        params={
            **legacy.cfg,
            "intensity_scale": problem.scale,
            "intensity_gain": gain,
            "tile": list(tile),
            "data_sha256": problem.scan.sha256,
            "held_out": problem.held_out.tolist(),
            "also_seen": also_seen or {},
        },
    )
    save_bundle(session.path(NAME), bundle)


def say_training(session: Session, history: History, verb: str = "trained") -> None:
    """Record and print how long it took and how fast it went."""
    if not history.rows:
        return
    last = history.rows[-1]
    rates = sorted(row["train/patterns_per_s"] for row in history.rows)
    rate = rates[len(rates) // 2]
    session.metrics["training"] = {
        "seconds": last["seconds"], "epochs": len(history.rows), "loss": last[LOSS],
        "patterns_per_s": rate,
    }  # fmt: skip
    session.terminal.print(
        f"network {verb} for {last['seconds']:.1f} s, {len(history.rows)} of "
        f"{session.run.trainer.nepochs} epochs "
        f"({rate:,.0f} patterns/s), loss {last[LOSS]:.4g}"
    )


def test_problem(session: Session) -> Problem | None:
    """The second scan, if one was named."""
    data = session.run.data
    if not data.test_data_file:
        return None
    return session.pose(build.read_scan(data.test_data_file, data))
