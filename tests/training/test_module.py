import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from ptycho.data.module import ScanModule
from ptycho.data.tiles import TileDataset
from ptycho.nn.object_net import ObjectNet
from ptycho.physics.likelihood import poisson_misfit, poisson_nll
from ptycho.training.module import ObjectTraining
from ptycho.training.schedules import adamw
from ptycho.workflows import build
from ptycho.workflows.factory import execution_config
from ptycho.workflows.problem import Problem
from tests.runs import tiles_of, tiny_problem, tiny_run


class Watch(Callback):
    """Notes what the optimiser was given at each step."""

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.largest: list[float] = []
        self.losses: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        grads = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        self.norms.append(float(grads.norm()))
        self.largest.append(float(grads.abs().max()))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


class Clipped(Watch):
    """As above, but after clipping: Lightning clips after the hook, before the step."""

    def on_before_zero_grad(self, trainer: Any, module: Any, optimizer: Any) -> None:
        if any(p.grad is not None for p in module.parameters()):
            super().on_before_optimizer_step(trainer, module, optimizer)

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """A Trainer switches deterministic algorithms on for the whole process."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return tiny_problem()


@pytest.fixture(scope="module")
def tiles(problem: Problem) -> TileDataset:
    return tiles_of(problem)


def learn(
    problem: Problem,
    tiles: TileDataset,
    watch: Watch | None = None,
    workers: int = 0,
    **changes: Any,
) -> tuple[nn.Module, Watch]:
    """Train with the Trainer that the settings make."""
    run = tiny_run(**changes)
    watch = watch or Watch()
    lightning.seed_everything(run.seed, verbose=False)
    network = ObjectNet()
    module = ObjectTraining(
        network, problem.experiment, build.make_judge(run.trainer, problem.amplitude),
        lambda module: adamw(module.network.parameters(), run.trainer.learning_rate, 0.0),
    )  # fmt: skip
    trainer = lightning.Trainer(
        **build.trainer_arguments(run, execution_config(run)), callbacks=[watch], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, ScanModule(tiles, run.seed, num_workers=workers))
    return network, watch


def bits(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("loss", ["poisson", "amplitude"])
def test_loss_falls(problem: Problem, tiles: TileDataset, loss: str) -> None:
    _, watch = learn(
        problem, tiles, trainer__nepochs=12, trainer__learning_rate=3e-3,
        trainer__torch_loss_mode=loss,
    )  # fmt: skip
    first, last = sum(watch.losses[:4]), sum(watch.losses[-4:])
    assert last < 0.8 * first


def test_untrained_loss_is_that_of_the_lifted_object(problem: Problem, tiles: TileDataset) -> None:
    network = ObjectNet()
    module = ObjectTraining(network, problem.experiment, poisson_misfit, max)
    logged: dict[str, Tensor] = {}
    module.log = lambda name, value, **_: logged.update({name: value})
    module._trainer = type("T", (), {"world_size": 1})()
    batch = tiles[np.arange(20, 36)]
    loss = module.training_step(batch, 0).detach()
    predicted = problem.experiment(tiles.lifted.obj, batch.which)
    assert float(loss) == pytest.approx(float(poisson_nll(predicted, batch.amplitude.square())))
    assert torch.equal(logged["train/loss"], loss)
    assert module.last is not None
    assert torch.equal(module.last[0], batch.obj[batch.lit])


def test_the_losses_lead_elsewhere(problem: Problem, tiles: TileDataset) -> None:
    one, other = (
        learn(problem, tiles, trainer__nepochs=1, trainer__torch_loss_mode=loss)[0]
        for loss in ("poisson", "amplitude")
    )
    assert bits(one) != bits(other)


def test_gradients_are_clipped_by_norm(problem: Problem, tiles: TileDataset) -> None:
    _, free = learn(problem, tiles, Clipped(), trainer__gradient_clip_val=None)
    limit = 0.5 * min(free.norms)
    _, clipped = learn(problem, tiles, Clipped(), trainer__gradient_clip_val=limit)
    assert clipped.norms == pytest.approx([limit] * len(clipped.norms), rel=1e-3)


def test_gradients_are_clipped_by_value(problem: Problem, tiles: TileDataset) -> None:
    _, free = learn(problem, tiles, Clipped(), trainer__gradient_clip_val=None)
    limit = 0.5 * min(free.largest)
    _, clipped = learn(
        problem, tiles, Clipped(), trainer__gradient_clip_val=limit,
        trainer__gradient_clip_algorithm="value",
    )  # fmt: skip
    assert clipped.largest == pytest.approx([limit] * len(clipped.largest))
    assert max(clipped.norms) > 1.5 * limit, "clipped by norm, not by value"


@pytest.mark.parametrize(("batches", "steps"), [(1, 8), (2, 4), (4, 2)])
def test_accumulation_takes_fewer_steps(
    problem: Problem, tiles: TileDataset, batches: int, steps: int
) -> None:
    _, watch = learn(problem, tiles, trainer__accum_steps=batches)
    assert len(watch.losses) == 8
    assert len(watch.norms) == steps


def test_accumulation_averages_gradients(problem: Problem, tiles: TileDataset) -> None:
    # the zero head: the first step sees one network, however many batches are averaged
    plain = [
        learn(problem, tiles, trainer__nepochs=1, trainer__learning_rate=1e-12, **clip)[1]
        for clip in ({"trainer__accum_steps": 1}, {"trainer__accum_steps": 4})
    ]
    each, mean = plain[0].norms, plain[1].norms
    assert mean[0] <= sum(each) / 4 * (1 + 1e-4)
    assert mean[0] < 0.999 * max(each)


def test_same_seed_same_bits(problem: Problem, tiles: TileDataset) -> None:
    first, second = (bits(learn(problem, tiles)[0]) for _ in range(2))
    assert first == second


def test_other_seed_other_bits(problem: Problem, tiles: TileDataset) -> None:
    first, second = (bits(learn(problem, tiles, seed=seed)[0]) for seed in (0, 1))
    assert first != second


def test_worker_does_not_change_the_bits(problem: Problem, tiles: TileDataset) -> None:
    here, there = (bits(learn(problem, tiles, workers=n)[0]) for n in (0, 1))
    assert here == there


def test_bfloat16_trains(problem: Problem, tiles: TileDataset) -> None:
    exact, _ = learn(problem, tiles)
    rough, watch = learn(problem, tiles, trainer__precision="bf16-mixed")
    assert bits(rough) != bits(exact)
    assert all(p.dtype == torch.float32 for p in rough.parameters())
    assert all(loss < 1 for loss in watch.losses)


def test_correct_is_the_network_without_gradients(problem: Problem, tiles: TileDataset) -> None:
    module = ObjectTraining(ObjectNet(), problem.experiment, poisson_misfit, max)
    batch = tiles[np.arange(3)]
    planes = [plane[batch.lit][None] for plane in batch[:3]]
    with torch.no_grad():
        module.network.generator.head.bias.fill_(0.1)
    out = module.correct(*planes)
    assert not out.requires_grad
    torch.testing.assert_close(out, module.network(*planes).detach())


def test_optimiser_and_schedule_come_from_outside(tmp_path: Path) -> None:
    module = ObjectTraining(
        ObjectNet(), tiny_problem().experiment, poisson_misfit, lambda m: m.judge
    )
    assert module.configure_optimizers() is poisson_misfit
