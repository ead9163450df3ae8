"""What networks that predict patches may be asked for, and what only they may be asked for.

Standard library only; part of :mod:`ptycho.config.validate`.
"""

from collections.abc import Iterator
from dataclasses import fields

from ptycho.config.choices import (
    Activation,
    Architecture,
    Labels,
    LossMode,
    Overlap,
    PatchOutput,
    Task,
)
from ptycho.config.config import ExecutionConfig, GroupingConfig, PatchConfig, RunConfig

_TAUGHT = ("n_groups", "neighbor_count", "enable_oversampling", "labels")
_EVERYWHERE = ("n_subsample", "subsample_seed", "sequential_sampling", "labels")


def patch_faults(run: RunConfig) -> Iterator[str]:
    """Settings of patches that contradict each other or the architecture."""
    if run.model.architecture.predicts_patches:
        yield from _overlap_faults(run)
        yield from _canvas_faults(run)
        yield from _window_faults(run)
        yield from _output_faults(run)
        yield from _grouping_faults(run)
        yield from _label_faults(run)
    elif run.task != Task.reconstruct:  # there, the bundle knows the architecture
        yield from object_faults(run)
    yield from _statistics_faults(run)
    yield from _teaching_faults(run)
    yield from _sampling_faults(run)


def object_faults(run: RunConfig) -> Iterator[str]:
    """Settings that an object network would not read."""
    who = run.model.architecture
    groups: list[tuple[str, PatchConfig | GroupingConfig, PatchConfig | GroupingConfig]]
    groups = [("model", run.model, PatchConfig()), ("data", run.data, GroupingConfig())]
    for group, config, usual in groups if teaches(run) else groups[:1]:
        for item in fields(usual):
            value = getattr(config, item.name)
            if item.name not in _EVERYWHERE and value != getattr(usual, item.name):
                yield (
                    f"{group}.{item.name}={_plain(value)} belongs to networks that predict patches "
                    f"(model=pinn or supervised); {who} predicts the whole object. Leave it out."
                )
    if run.model.gridsize != 1:
        yield (
            f"model.gridsize must be 1 for {who}, which sees all patterns "
            f"on one canvas instead of groups, got {run.model.gridsize}."
        )
    for name in ("middle_trim", "pad_eval", "log_patch_stats"):
        if getattr(run.execution, name) != getattr(ExecutionConfig(), name):
            yield (
                f"execution.{name} belongs to networks that predict patches; "
                f"{who} predicts the whole object. Leave it out."
            )


def teaches(run: RunConfig) -> bool:
    """Whether a network learns."""
    return run.task in (Task.train, Task.adapt)


def _statistics_faults(run: RunConfig) -> Iterator[str]:
    execution = run.execution
    if execution.patch_stats_limit is not None and not execution.log_patch_stats:
        yield (
            f"execution.patch_stats_limit={execution.patch_stats_limit} says how much "
            "execution.log_patch_stats looks at, and that is false; leave it out, or type "
            "execution.log_patch_stats=true."
        )
    if (
        execution.log_patch_stats
        and run.task == Task.solve
        and run.model.architecture.predicts_patches  # else it is refused above
    ):
        yield (
            "execution.log_patch_stats tells of predicted patches, and task=solve predicts none; "
            "leave it out."
        )


def _teaching_faults(run: RunConfig) -> Iterator[str]:
    """Groups and labels where nothing learns from them."""
    usual = GroupingConfig()
    for item in fields(usual) if not teaches(run) else ():
        value = getattr(run.data, item.name)
        if item.name in _TAUGHT and value != getattr(usual, item.name):
            yield (
                f"data.{item.name}={_plain(value)} is for networks that learn, and "
                f"task={run.task} teaches none; leave it out."
            )


def _overlap_faults(run: RunConfig) -> Iterator[str]:
    model = run.model
    if model.object_big and model.overlap == Overlap.none:
        yield "model.object_big=true contradicts model.overlap=none; leave one of them out."
    if model.object_big is False and model.overlap == Overlap.group:
        yield "model.object_big=false contradicts model.overlap=group; leave one of them out."
    if alone(model):
        if model.gridsize > 1:
            yield (
                f"model.gridsize={model.gridsize} has no effect where every patch stands alone "
                "(model.overlap=none or object_big=false); use 1, or overlap=group or canvas."
            )
    elif model.overlap == Overlap.group and model.gridsize == 1:
        yield (
            "model.overlap=group needs model.gridsize of at least 2, got 1; a group of one pattern "
            "overlaps with nothing. Use overlap=canvas or none."
        )


def _canvas_faults(run: RunConfig) -> Iterator[str]:
    model, usual = run.model, PatchConfig()
    for name in ("canvas_patterns", "predicted_share"):
        value = getattr(model, name)
        if value == getattr(usual, name):
            continue
        if not shares_canvas(model):
            how = "object_big=false" if model.object_big is False else f"overlap={model.overlap}"
            yield (
                f"model.{name}={value:g} says what shares a canvas, and with model.{how} "
                "no batch does; leave it out, or use model.overlap=canvas."
            )
        elif name == "predicted_share" and run.task == Task.train and not measures(run):
            yield (
                f"model.predicted_share={value:g} leaves patterns that are only measured, and "
                "labels alone measure none; leave it out."
            )
        elif name == "canvas_patterns" and run.task == Task.train:
            batch = run.trainer.batch_size
            if value > batch:
                yield (
                    f"model.canvas_patterns={value} neighbours cannot share a canvas in batches "
                    f"of trainer.batch_size={batch} patterns; raise that, or lower this."
                )


def shares_canvas(model: PatchConfig) -> bool:
    """Whether the patches of neighbours in a batch share a canvas."""
    return model.overlap == Overlap.canvas and not alone(model)


def measures(run: RunConfig) -> bool:
    """Whether training compares with patterns."""
    return bool(run.trainer.nll_weight or run.trainer.mae_weight)


def alone(model: PatchConfig) -> bool:
    """Whether every patch stands on its own."""
    return model.overlap == Overlap.none or model.object_big is False


def _window_faults(run: RunConfig) -> Iterator[str]:
    model, execution = run.model, run.execution
    if not model.pad_object and not model.probe_big:
        yield (
            "model.pad_object=false predicts all of N x N and model.probe_big=false the centre "
            "alone; leave one of them out."
        )
    if execution.pad_eval is not None and execution.middle_trim is None:
        yield (
            "execution.pad_eval says how to fill what execution.middle_trim leaves open, "
            "and that is not set; leave it out."
        )
    trim, size = execution.middle_trim, model.N
    if trim is not None and size is not None:
        window = size if model.probe_big or not model.pad_object else size // 2
        if trim > window:
            yield (
                f"execution.middle_trim must be at most the {window} pixels that are predicted, "
                f"got {trim}."
            )


def _output_faults(run: RunConfig) -> Iterator[str]:
    model = run.model
    if model.output != PatchOutput.real_imag:
        return
    if model.amp_activation != Activation.exponential:
        yield (
            f"model.amp_activation={model.amp_activation} makes an amplitude, and "
            "model.output=real_imag predicts none; leave one of them out."
        )
    if model.gaussian_smoothing_sigma:
        yield (
            f"model.gaussian_smoothing_sigma={model.gaussian_smoothing_sigma:g} smooths a "
            "predicted amplitude, and model.output=real_imag predicts none; leave one of them out."
        )


def _grouping_faults(run: RunConfig) -> Iterator[str]:
    if not teaches(run):
        return  # refused as a whole
    data, members = run.data, run.model.gridsize**2
    if data.neighbor_count is None:
        if data.enable_oversampling:
            yield (
                "data.enable_oversampling=true needs data.neighbor_count of more than "
                f"{members} to choose other groups from, got nothing."
            )
    elif members == 1:
        yield (
            f"data.neighbor_count={data.neighbor_count} has no effect with model.gridsize=1, "
            "whose groups are single patterns; leave it out."
        )
    elif data.neighbor_count < members:
        yield (
            f"data.neighbor_count must be at least {members} for model.gridsize="
            f"{run.model.gridsize}, got {data.neighbor_count}."
        )
    elif data.enable_oversampling and data.neighbor_count == members:
        yield (
            f"data.enable_oversampling=true needs data.neighbor_count of more than {members} "
            f"to choose other groups from, got {members}."
        )
    if data.enable_oversampling and data.n_groups is None:
        yield (
            "data.enable_oversampling=true needs data.n_groups, the number of groups to make, "
            "got nothing."
        )


def _sampling_faults(run: RunConfig) -> Iterator[str]:
    data, model = run.data, run.model
    chosen = data.n_subsample is not None or data.n_groups is not None
    by_chance = data.neighbor_count is not None and model.architecture.predicts_patches
    if data.sequential_sampling and not chosen:
        yield (
            "data.sequential_sampling=true says which patterns data.n_subsample or data.n_groups "
            "take, and neither is set; leave it out."
        )
    if data.subsample_seed and not (by_chance or (chosen and not data.sequential_sampling)):
        yield (
            f"data.subsample_seed={data.subsample_seed} has no effect: nothing is chosen by "
            "chance; leave it out, or set data.n_subsample."
        )


def _label_faults(run: RunConfig) -> Iterator[str]:
    if run.task != Task.train:
        return
    trainer, who = run.trainer, run.model.architecture
    labelled = trainer.realspace_weight or trainer.realspace_mae_weight
    if who == Architecture.supervised:
        if not labelled:
            yield (
                "trainer.realspace_weight and trainer.realspace_mae_weight are both 0: supervised "
                "learns labels alone; give one of them a weight (model=supervised does)."
            )
        for name in ("nll_weight", "mae_weight"):
            if getattr(trainer, name):
                yield (
                    f"trainer.{name}={getattr(trainer, name):g} compares with patterns, and "
                    "supervised learns labels alone; set it to 0, or use model=pinn with "
                    "trainer.realspace_weight to learn from both."
                )
        if trainer.torch_loss_mode != LossMode.poisson:
            yield (
                f"trainer.torch_loss_mode={trainer.torch_loss_mode} compares with patterns, and "
                "supervised learns labels alone; leave it out."
            )
        if trainer.intensity_scale_trainable:
            yield (
                "trainer.intensity_scale_trainable=true scales predicted photons, and supervised "
                "predicts none; leave it out."
            )
    elif not labelled and run.data.labels != Labels.auto:
        yield (
            f"data.labels={run.data.labels} has no effect with trainer.realspace_weight=0 and "
            "realspace_mae_weight=0; leave it out, or give one of them a weight."
        )


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
