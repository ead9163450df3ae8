"""What watches a training: history, a guard against collapse, pictures, a progress bar."""

import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from rich.progress import Progress, TaskID
from torch import Tensor

from ptycho.config.config import UserError
from ptycho.physics.forward import Experiment
from ptycho.physics.instrument import Instrument


class CollapseError(UserError):
    """The training ran away from any image; the message says how."""


class History(Callback):
    """Keeps seconds, loss, learning rate and patterns per second of every epoch.

    Attributes:
        rows: one dictionary per epoch.
        gain: what the training found the predicted photons should be multiplied by.
        instrument: as it was known in the end; None where nothing of it was free.

    What an interrupted training knew is kept in its checkpoints.

    Args:
        tell: called with every row and its epoch.
        keep: called with all rows after every epoch.
    """

    def __init__(
        self,
        tell: Callable[[dict[str, float], int], None] | None = None,
        keep: Callable[[list[dict[str, float]]], None] | None = None,
    ) -> None:
        self.tell, self.keep = tell, keep
        self.rows: list[dict[str, float]] = []
        self.gain = 1.0
        self.instrument: Instrument | None = None
        self._began = self._epoch_began = self._rate = 0.0
        self._patterns = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, or let it go on."""
        self._began = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """The rows, for a checkpoint."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The rows of the epochs before the interruption."""
        self.rows = state_dict["rows"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_began = time.perf_counter()
        self._patterns = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count, and note the learning rate: when the epoch ends it is the next one's already."""
        self._rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._patterns += len(batch.which)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rate and keep the row."""
        now = time.perf_counter()
        rate = self._patterns * trainer.world_size / (now - self._epoch_began)
        pl_module.log("train/patterns_per_s", rate)
        pl_module.log("train/learning_rate", self._rate)
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step,
                "seconds": now - self._began,
                "train/loss": float(trainer.callback_metrics["train/loss"]),
                "train/learning_rate": self._rate,
                "train/patterns_per_s": rate,
            }
        )
        if self.keep is not None and trainer.is_global_zero:
            self.keep(self.rows)
        if self.tell is not None:
            self.tell(self.rows[-1], trainer.current_epoch)


class CollapseGuard(Callback):
    """Stops a training that ran away, whose object went flat or whose scale exploded.

    A low loss is no proof of an image: networks are known to end at a constant object.

    Args:
        setting: name of the learning rate, for the advice.

    Attributes:
        first: loss of the first batch: that of the lifted object where the network began as the
            identity.
    """

    flat = 0.02
    """Share of the first object's contrast below which amplitude or phase counts as flat."""
    huge = 20.0
    """Amplitude, relative to free space, that no sample has."""
    worse = 10.0
    """How many times the first loss no training recovers from."""
    hopeless = 0.5
    """Loss that counts as bad at all: an empty object costs less."""

    def __init__(self, setting: str = "trainer.learning_rate") -> None:
        self.setting, self.first = setting, math.inf

    def state_dict(self) -> dict[str, Any]:
        """The first loss, for a checkpoint."""
        return {"first": self.first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The first loss of a training that goes on."""
        self.first = state_dict["first"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the first loss."""
        if not math.isfinite(self.first):
            self.first = float(outputs["loss"]) * trainer.accumulate_grad_batches

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the last tile of the epoch."""
        loss = float(trainer.callback_metrics["train/loss"])
        fault = self.diagnose(loss, *pl_module.last)  # type: ignore[misc]
        # all processes stop together, or the others would wait for this one for ever
        if trainer.strategy.reduce_boolean_decision(fault is not None, all=False):
            what = fault or "another process saw its object collapse."
            raise CollapseError(
                f"training stopped in epoch {trainer.current_epoch}: {what} "
                f"Lower {self.setting}, or use task=solve; "
                "execution.collapse_guard=false trains on regardless."
            )

    def diagnose(self, loss: float, before: Tensor, after: Tensor) -> str | None:
        """A sentence about what is wrong with an object, or None.

        Args:
            loss: of the epoch.
            before: complex ``(H, W)``, the lifted object.
            after: complex ``(H, W)``, what the network made of it.
        """
        if not math.isfinite(loss) or not bool(torch.isfinite(after.abs()).all()):
            return "the loss or the object is no longer a number."
        if loss > max(self.worse * self.first, self.hopeless):
            return f"the loss rose to {loss:.3g}, at first it was {self.first:.3g}."
        largest = float(after.abs().max())
        if largest > max(self.huge, 2 * float(before.abs().max())):
            return f"the object's amplitude exploded to {largest:.3g} times free space."
        for name, contrast in (("amplitude", _amplitude_contrast), ("phase", _phase_contrast)):
            was, now = contrast(before), contrast(after)
            if was > 1e-3 and now < self.flat * was:
                return f"the object's {name} went flat (contrast {now:.2g}, at first {was:.2g})."
        return None


def _amplitude_contrast(obj: Tensor) -> float:
    return float(obj.abs().std())


def _phase_contrast(obj: Tensor) -> float:
    mean = obj.mean()
    return float((obj * mean.conj()).angle().std()) if float(mean.abs()) > 1e-6 else math.nan


class PictureEvery(Callback):
    """Hands the current reconstruction to ``save`` before the training and every so many epochs.

    Args:
        every: epochs.
        save: called with the number of epochs that were done.
    """

    def __init__(self, every: int, save: Callable[[int], None]) -> None:
        self.every, self.save = every, save

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what the training begins with; a training that goes on has done so."""
        if trainer.current_epoch == 0 and trainer.is_global_zero:
            self.save(0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save when it is time."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0 and trainer.is_global_zero:
            self.save(epoch)


class Moving(Protocol):
    """An instrument that is found while the training lasts."""

    every: int
    """Epochs."""

    @property
    def found(self) -> Instrument:
        """As it is known by now."""

    def __call__(self) -> Experiment:
        """Move it; the experiment from then on."""

    def take(self, found: Instrument) -> Experiment:
        """Go on from what was found before."""


class Recalibrate(Callback):
    """Has the instrument moved every so many epochs, not after the last; on every process alike.

    Args:
        moving: the instrument.
    """

    def __init__(self, moving: Moving) -> None:
        self.moving = moving
        self._before: Instrument | None = None

    def state_dict(self) -> dict[str, Any]:
        """What was found, for a checkpoint."""
        return dict(vars(self.moving.found))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What had been found when the training was interrupted."""
        self._before = Instrument(**state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on from there."""
        if self._before is not None:
            cast(Any, pl_module).use(self.moving.take(self._before))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move it when it is time."""
        epoch = trainer.current_epoch + 1
        if epoch % self.moving.every == 0 and epoch != trainer.max_epochs:
            cast(Any, pl_module).use(self.moving())


class SameSettings(Callback):
    """Refuses to train when the processes were told to do different things.

    Args:
        settings: a digest of what this process was told.
    """

    def __init__(self, settings: str) -> None:
        self.settings = settings

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with the first process; all of them stop together."""
        first = trainer.strategy.broadcast(self.settings)
        if trainer.strategy.reduce_boolean_decision(first != self.settings, all=False):
            raise UserError(
                "the processes of this training were started with different settings, and would "
                "have trained different networks; start them all with the same command line."
            )


class OwnSignals(Callback):
    """Leaves the signals to those who had them before Lightning took them.

    Its handler of SIGTERM talks to the other processes from within, and waits for ever for one
    that is busy. To be made before the trainer runs.

    Args:
        asked: the wish to end of a signal that came, or None.
    """

    def __init__(self, asked: Callable[[], BaseException | None]) -> None:
        self.before = signal.getsignal(signal.SIGTERM)
        self.asked = asked

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End, if a signal came and what it raised was lost."""
        wish = self.asked()
        if wish is not None:
            raise wish

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the handler back."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.before)


class SeedEpochs(Callback):
    """Sets the generators that belong to nobody anew for every epoch.

    A training that goes on after an interruption then draws what it would have drawn.

    Args:
        seed: the run's.
        sow: sets the generators.
    """

    def __init__(self, seed: int, sow: Callable[[int], None]) -> None:
        self.seed, self.sow = seed, sow

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sow."""
        drawn = np.random.SeedSequence((self.seed, trainer.current_epoch, trainer.global_rank))
        self.sow(int(drawn.generate_state(1)[0]))


class RunProgress(ProgressBar):
    """One bar over all epochs, with loss and patterns per second.

    Args:
        progress: a running rich progress display.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
        self._bar: TaskID | None = None

    def disable(self) -> None:
        """Lightning silences other ranks through this."""
        self.progress.disable = True

    def enable(self) -> None:
        """The opposite of :meth:`disable`."""
        self.progress.disable = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        batches = float(trainer.num_training_batches)
        total, done = batches * (trainer.max_epochs or 1), batches * trainer.current_epoch
        self._bar = self.progress.add_task("train", total=total, completed=int(done), note="")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance by one tile."""
        if self._bar is not None:
            self.progress.advance(self._bar)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch's figures."""
        metrics = trainer.callback_metrics
        if self._bar is not None and "train/loss" in metrics:
            rate = metrics.get("train/patterns_per_s")
            note = f"loss {float(metrics['train/loss']):.4g}"
            note += f"  {float(rate):,.0f} patterns/s" if rate is not None else ""
            self.progress.update(self._bar, note=note)
