"""Settings become objects: the only reader of settings below the run itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptycho.config.choices import (
    DataSource,
    Lazy,
    LossMode,
    PatchInput,
    PatchOutput,
)
from ptycho.config.config import (
    DataConfig,
    ExecutionConfig,
    InstrumentConfig,
    LearningConfig,
    ModelConfig,
    PyTorchExecutionConfig,
    RunConfig,
    SolverConfig,
)
from ptycho.data.formats.registry import measure
from ptycho.data.grouping import make_groups, subsample
from ptycho.data.lazy import LazyAmplitude, in_memory_if_small
from ptycho.data.measurement import Measurement
from ptycho.data.preparation import prepare
from ptycho.data.scan import Scan
from ptycho.data.simulate import make
from ptycho.nn import patch_net
from ptycho.nn.object_net import CHANNELS, OUTPUTS, ObjectNet
from ptycho.nn.patch_net import PatchNet
from ptycho.nn.registry import make_generator
from ptycho.physics.detector import intensity
from ptycho.physics.instrument import Freedom
from ptycho.physics.likelihood import (
    absolute_misfit,
    amplitude_misfit,
    poisson_misfit,
    typical_amplitude,
    weighted,
)
from ptycho.physics.measured import Measured
from ptycho.physics.solver import Recipe
from ptycho.physics.sweep import Judge
from ptycho.training.cluster import place
from ptycho.training.objective import Objective
from ptycho.workflows.reading import reading_of
from ptycho.workflows.simulating import beam_of, simulation_of


def make_scan(
    data: DataConfig, patch_size: int, labelled: bool = False, *, number: int = 0
) -> Scan:
    """Read or simulate the scan of a run.

    Args:
        data: settings.
        patch_size: side N of a simulated pattern.
        labelled: with the object patches of the file.
        number: 0, or which of the further scans to train on (simulated ones only).
    """
    if data.source == DataSource.synthetic:
        scan = make(simulation_of(data, patch_size, number)).scan
    else:
        scan = read_scan(str(data.train_data_file), data, labelled)
    return chosen_of(scan, data)


def chosen_of(scan: Scan, data: DataConfig) -> Scan:
    """The patterns of a scan that the ``data`` group wants; few of them are read at once."""
    if more := _more_than(len(scan), data):
        scan = replace(scan, notes={**scan.notes, "count": more})
    scan = scan.first(data.n_images)
    kept = subsample(len(scan), data.n_subsample, data.subsample_seed, data.sequential_sampling)
    scan = scan if len(kept) == len(scan) else scan.take(kept)
    if data.lazy == Lazy.auto and isinstance(scan.amplitude, LazyAmplitude):
        return replace(scan, amplitude=in_memory_if_small(scan.amplitude))
    return scan


def _more_than(n: int, data: DataConfig) -> str:
    """A sentence on what asks for more patterns than there are; empty when nothing does."""
    for name in ("n_images", "n_subsample"):
        wanted = getattr(data, name)
        if wanted is not None and wanted > n:
            return f"data.{name}={wanted} wants more patterns than the {n} there are; all are used"
        n = wanted or n
    return ""


def read_scan(path: str, data: DataConfig, labelled: bool = False) -> Scan:
    """Read one file the way the ``data`` group says."""
    mine = path == data.train_data_file
    label = data.label if mine else Path(path).stem
    found = find_measurement(path, data, labelled)
    try:
        return prepare(
            found,
            values=data.values.value,
            label=label,
            patches=labelled,
            lazy=data.lazy.value,
            first=data.n_images,
            positions=data.positions,
            preprocess=data.preprocess,
            geometry=data.geometry,
            beam=beam_of(data),
        )
    finally:
        found.frames.close()


def further_scan(data: DataConfig, path: str) -> Scan:
    """One more scan to train on, of which the same is used as of the first."""
    return chosen_of(read_scan(path, data), data)


def find_measurement(path: str, data: DataConfig, labelled: bool = False) -> Measurement:
    """What one file holds, read the way the ``data`` group says."""
    return measure(Path(path), data.format.value, reading_of(path, data, labelled))


def make_network(model: ModelConfig) -> ObjectNet:
    """An untrained network."""
    generator = make_generator(model.generator, CHANNELS, OUTPUTS, model.n_filters_scale)
    return ObjectNet(generator)


def make_patch_network(model: ModelConfig, probe: Tensor) -> PatchNet:
    """An untrained network that predicts patches.

    Args:
        model: settings.
        probe: complex ``(mode, N, N)``.
    """
    lifted = model.patch_input == PatchInput.lifted
    seen = patch_net.inputs(lifted=lifted, probe_scale=model.probe_scale)
    block = patch_net.BLOCK**2
    size = probe.shape[-1]
    return PatchNet(
        make_generator(model.generator, block * seen, block * OUTPUTS, model.n_filters_scale),
        intensity(probe).sqrt().cpu(),
        window=size if model.probe_big or not model.pad_object else size // 2,
        lifted=lifted,
        real_imag=model.output == PatchOutput.real_imag,
        activation=model.amp_activation,
        probe_scale=model.probe_scale,
        smoothing=model.gaussian_smoothing_sigma,
    )


def make_objective(learning: LearningConfig, amplitude: Measured) -> Objective:
    """What the training of a patch network makes small; ``amplitude`` as for :func:`make_judge`."""
    return Objective(
        judge=make_judge(learning, amplitude),
        squared=learning.realspace_weight,
        absolute=learning.realspace_mae_weight,
        variation=learning.tv_weight,
    )


def groups_of(run: RunConfig, positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Groups ``(g, gridsize squared)`` of patterns at some positions."""
    data = run.data
    return make_groups(
        positions,
        members=run.model.gridsize**2,
        neighbours=data.neighbor_count,
        n_groups=data.n_groups,
        seed=data.subsample_seed,
        sequential=data.sequential_sampling,
        oversample=data.enable_oversampling,
    )


def make_recipe(solver: SolverConfig) -> Recipe:
    """How the solver steps."""
    return Recipe(
        batch_size=solver.batch_size,
        probe_floor=solver.probe_floor,
        precondition=solver.precondition,
        cutoff=solver.cutoff,
        cap=solver.cap,
        subsets=solver.subsets,
    )


def make_freedom(instrument: InstrumentConfig) -> Freedom:
    """What is found together with the object."""
    return Freedom(
        probe=instrument.probe_trainable,
        positions=instrument.positions_trainable,
        flux=instrument.flux_trainable,
        background=instrument.background_trainable,
        max_shift=instrument.max_shift,
    )


def make_judge(learning: LearningConfig, amplitude: Measured) -> Judge | None:
    """The distance to the patterns that training makes small; None where none has a weight.

    Args:
        learning: the weights.
        amplitude: all patterns ``(n, N, N)``, whose typical amplitude is the unit of errors.
    """
    poisson = learning.torch_loss_mode == LossMode.poisson
    likelihood = poisson_misfit if poisson else amplitude_misfit
    judges: list[tuple[float, Judge]] = []
    if learning.nll_weight:
        judges.append((learning.nll_weight, likelihood))
    if learning.mae_weight:
        judges.append((learning.mae_weight, absolute_misfit(typical_amplitude(amplitude))))
    return weighted(judges) if judges else None


def loader_arguments(execution: ExecutionConfig) -> dict[str, Any]:
    """How batches are prepared."""
    return {
        "num_workers": execution.num_workers,
        "pin_memory": execution.pin_memory,
        "persistent_workers": execution.persistent_workers,
        "prefetch_factor": execution.prefetch_factor,
    }


def trainer_arguments(run: RunConfig, execution: PyTorchExecutionConfig) -> dict[str, Any]:
    """Plain arguments of Lightning's Trainer."""
    clipping = execution.gradient_clip_val is not None
    return {
        "accelerator": execution.accelerator.value,
        "devices": _devices(execution),
        "num_nodes": execution.num_nodes,
        "strategy": execution.strategy,
        "precision": execution.precision,
        "max_epochs": run.trainer.nepochs,
        "accumulate_grad_batches": execution.accum_steps,
        "gradient_clip_val": execution.gradient_clip_val,
        "gradient_clip_algorithm": execution.gradient_clip_algorithm.value if clipping else None,
        "deterministic": execution.deterministic,
        "limit_train_batches": execution.limit_train_batches,
        "detect_anomaly": execution.detect_anomaly,
    }


def _devices(execution: PyTorchExecutionConfig) -> int | str:
    if execution.devices != "auto":
        return execution.devices
    # Lightning's auto takes every GPU; one process is what a plain run means
    if execution.strategy != "ddp":
        return 1
    here = place()
    return here.per_node if here else "auto"
