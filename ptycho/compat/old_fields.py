"""The settings of PtychoPINN, field by field: one table, read by ``--config`` and by the pages.

The names and defaults are facts about files that people have; what they mean here is said in
today's words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Old:
    """A field of an older configuration and what stands for it today."""

    setting: str = ""
    """Full name of the setting; several where it needs more than one; empty: there is none."""
    usual: Any = None
    """Its default there; a file that says so says nothing."""
    note: str = ""
    """Why there is no counterpart, or how the value changes on the way."""
    words: Mapping[str, Any] = field(default_factory=dict)
    """Values that have another name today."""
    settled: bool = False
    """Whether its value depends on other fields; :mod:`ptycho.compat.old_config` settles it."""


_LAYERS = "the networks are built in another way; `model.generator` chooses one"
_CLOSED_FORM = "the photons are matched in closed form"
_SCALES = "a network sees every pattern at a root mean square of one"
_ALL_POSITIONS = "all positions are used"
_ONE_STAGE = "a training has one stage"
_SIMULATED = "a scan is simulated by `data=synthetic`, `data.synthetic.*`, without a file"
_RATE = "the schedules have their own; `trainer.warmup_steps` is the warm-up, in steps"
_ADAMW = "the optimiser is AdamW, whose moments are fixed"
_SMOOTH = "`trainer.tv_weight` smooths the complex object, with another weight"
_OWN_FOLDER = "every run has a folder of its own: `--output_dir`"
_RENORMALISED = "`model.probe_scale` is what the network sees of the probe, nothing else"

DATA: dict[str, Old] = {
    "N": Old("model.N", note="taken from the scan where it is not given"),
    "grid_size": Old("model.gridsize", [2, 2], "`[2, 2]` is 2; groups are square", settled=True),
    "gridsize": Old("model.gridsize", settled=True),
    "C": Old("model.gridsize", 4, "its root, where there is no `grid_size`", settled=True),
    "K": Old(
        "data.neighbor_count", 6, "one more, since a pattern counts itself; for groups only",
        settled=True,
    ),
    "subsample_seed": Old(
        "data.subsample_seed, seed", note="the first where something is chosen by chance",
        settled=True,
    ),
    "nphotons": Old(usual=1e5, note="the counts of the file are the dose"),
    "n_subsample": Old(
        usual=7, note="there: groups around each pattern; here `data.n_groups` of the whole scan"
    ),
    "n_raw_frames_selected": Old(note="`data.n_groups` counts the groups of the whole scan"),
    "K_quadrant": Old(usual=30, note="neighbours are the nearest"),
    "neighbor_function": Old(usual="Nearest", note="neighbours are the nearest"),
    "min_neighbor_distance": Old(usual=0.0, note="neighbours are the nearest"),
    "max_neighbor_distance": Old(usual=3.0, note="neighbours are the nearest"),
    "scan_pattern": Old(usual="Isotropic", note="neighbours are the nearest"),
    "normalize": Old(usual="Batch", note=_SCALES),
    "data_scaling": Old(usual="Parseval", note=_SCALES),
    "probe_scale": Old(usual=4.0, note=_RENORMALISED),
    "probe_normalize": Old(usual=True, note=_RENORMALISED),
    "probe_ramp_removal": Old(note="the probe is used as it is in the scan"),
    "phase_subtraction": Old(usual=True, note="labels are compared after the best phase of each"),
    "x_bounds": Old(usual=[0.1, 0.9], note=_ALL_POSITIONS),
    "y_bounds": Old(usual=[0.1, 0.9], note=_ALL_POSITIONS),
}  # fmt: skip

MODEL: dict[str, Old] = {
    "mode": Old(
        "model.architecture", "Unsupervised",
        "`Unsupervised` is `pinn`, `Supervised` is `supervised`",
        {"Unsupervised": "pinn", "Supervised": "supervised"},
    ),
    "architecture": Old(
        "model.generator", "cnn", "`cnn`, `fno`, `hybrid_resnet`; others are refused", settled=True
    ),
    "n_filters_scale": Old("model.n_filters_scale", 2),
    "intensity_scale_trainable": Old(
        "trainer.intensity_scale_trainable", False, "not for `Supervised`"
    ),
    "amp_activation": Old(
        "model.amp_activation", "silu", "`silu` is `swish`; not for a real and imaginary part",
        {"silu": "swish"},
    ),
    "probe_mask": Old("model.probe_mask", False, "true or false; a mask of one's own is refused"),
    "object_big": Old("model.object_big", True),
    "probe_big": Old("model.probe_big", True, "not where `pad_object` is false"),
    "pad_object": Old("model.pad_object", True),
    "gaussian_smoothing_sigma": Old(
        "model.gaussian_smoothing_sigma", 0.0, "not for a real and imaginary part"
    ),
    "loss_function": Old(
        "trainer.torch_loss_mode", "Poisson",
        "`MAE`: `trainer.nll_weight=0 trainer.mae_weight=1`, for `Supervised` "
        "`trainer.realspace_weight=0 trainer.realspace_mae_weight=1`", settled=True,
    ),
    "generator_output_mode": Old(
        "model.output", "real_imag", "`amp_phase` is `amplitude_phase`; not for `cnn`",
        {"real_imag": "real_imag", "amp_phase": "amplitude_phase",
         "amp_phase_logits": "amplitude_phase"}, settled=True,
    ),
    "cnn_output_mode": Old(
        "model.output", "amp_phase", "the same for `cnn`",
        {"real_imag": "real_imag", "amp_phase": "amplitude_phase"}, settled=True,
    ),
    "intensity_scale": Old(usual=10000.0, note=_CLOSED_FORM),
    "num_datasets": Old(usual=1, note="a scan is trained on by itself"),
    "C_model": Old(usual=4, note="follows from `model.gridsize`"),
    "C_forward": Old(usual=4, note="follows from `model.gridsize`"),
    "amp_loss": Old(note=_SMOOTH),
    "phase_loss": Old(note=_SMOOTH),
    "amp_loss_coeff": Old(usual=1.0, note=_SMOOTH),
    "phase_loss_coeff": Old(usual=1.0, note=_SMOOTH),
    "amplitude_variance_*": Old(note=_SMOOTH),
    "probe_mask_sigma": Old(usual=1.0, note="the edge of the mask is sharp"),
    "probe_mask_diameter": Old(note="the mask is a circle of diameter N/2"),
    "probe_mask_tensor": Old(note="the mask is a circle of diameter N/2"),
    "offset": Old(usual=6, note="positions come from the scan"),
    "max_position_jitter": Old(usual=10, note="positions come from the scan"),
    "training_patch_weighting": Old(
        usual="central_mask", note="what lies around the central N/2 counts a tenth"
    ),
    "physics_forward_mode": Old(usual="amplitude", note=_CLOSED_FORM),
    "rect_*": Old(note=_CLOSED_FORM),
    "batch_norm": Old(usual=False, note=_LAYERS),
    "edge_pad": Old(usual=10, note=_LAYERS),
    "use_shared_decoder": Old(usual=False, note=_LAYERS),
    "decoder_last_c_outer_fraction": Old(usual=0.125, note=_LAYERS),
    "decoder_last_amp_channels": Old(usual=1, note=_LAYERS),
    "cbam_encoder": Old(usual=True, note=_LAYERS),
    "cbam_*": Old(usual=False, note=_LAYERS),
    "eca_*": Old(usual=False, note=_LAYERS),
    "spatial_decoder": Old(usual=False, note=_LAYERS),
    "decoder_spatial_kernel": Old(usual=7, note=_LAYERS),
    "fno_modes": Old(usual=12, note=_LAYERS),
    "fno_width": Old(usual=32, note=_LAYERS),
    "fno_blocks": Old(usual=4, note=_LAYERS),
    "fno_cnn_blocks": Old(usual=2, note=_LAYERS),
    "fno_input_transform": Old(usual="none", note=_LAYERS),
    "learned_input_channels": Old(usual=1, note=_LAYERS),
    "max_hidden_channels": Old(note=_LAYERS),
    "resnet_width": Old(note=_LAYERS),
    "hybrid_*": Old(note=_LAYERS),
    "spectral_bottleneck_*": Old(note=_LAYERS),
}  # fmt: skip

TRAINING: dict[str, Old] = {
    "epochs": Old("trainer.nepochs", 50),
    "batch_size": Old("trainer.batch_size", 16, "there: groups; here: patterns"),
    "learning_rate": Old("trainer.learning_rate", 1e-3),
    "accum_steps": Old("trainer.accum_steps", 1),
    "num_workers": Old("execution.num_workers", 4),
    "weight_decay": Old("trainer.weight_decay", 0.0),
    "gradient_clip_val": Old(
        "trainer.gradient_clip_val", note="0 is `null`, no clipping; there `null` was"
    ),
    "gradient_clip_algorithm": Old(
        "trainer.gradient_clip_algorithm", "norm", "`norm` or `value`; `agc` is left out, and with "
        "it its value",
    ),
    "scheduler": Old(
        "trainer.scheduler", "Default", "`Cosine` is `WarmupCosine`", {"Cosine": "WarmupCosine"}
    ),
    "device": Old(
        "trainer.accelerator", "cuda", "`cuda:0` is `cuda`", settled=True,
    ),
    "n_devices": Old(
        "trainer.devices, trainer.strategy", 1, "from 2 on, with `trainer.strategy=ddp`",
        settled=True,
    ),
    "strategy": Old(
        "trainer.strategy", "ddp", "`ddp` where there is more than one device", settled=True
    ),
    "torch_loss_mode": Old(
        "trainer.torch_loss_mode", "poisson", "as `loss_function`, and wins over it", settled=True
    ),
    "nll": Old("trainer.nll_weight", True, "false: as `loss_function=MAE`", settled=True),
    "orchestrator": Old(
        "logger.backend", "Mlflow", "`Lightning` is `none`",
        {"Mlflow": "mlflow", "Lightning": "none"},
    ),
    "experiment_name": Old("logger.experiment", "Synthetic_Runs"),
    "test_data_file": Old("data.test_data_file"),
    "n_groups": Old("data.n_groups"),
    "train_data_file": Old(note="the folder after `--ptycho_dir` says it"),
    "training_directories": Old(note="the folder after `--ptycho_dir` says it"),
    "output_dir": Old(note=_OWN_FOLDER),
    "framework": Old(usual="Lightning", note="it is Lightning"),
    "model_name": Old(usual="PtychoPINNv2", note="`logger.register_model` names a model"),
    "notes": Old(usual="", note="write them in the dashboard; `logger.run_name` names a run"),
    "epochs_fine_tune": Old(usual=0, note=_ONE_STAGE),
    "fine_tune_gamma": Old(usual=0.1, note=_ONE_STAGE),
    "stage_3_lr_factor": Old(usual=0.1, note=_ONE_STAGE),
    "stage_*_epochs": Old(usual=0, note=_ONE_STAGE),
    "physics_weight_schedule": Old(usual="cosine", note=_ONE_STAGE),
    "lr_warmup_epochs": Old(usual=0, note=_RATE),
    "lr_min_ratio": Old(usual=0.1, note=_RATE),
    "plateau_factor": Old(usual=0.5, note=_RATE),
    "plateau_patience": Old(usual=2, note=_RATE),
    "plateau_min_lr": Old(usual=5e-5, note=_RATE),
    "plateau_threshold": Old(usual=0.0, note=_RATE),
    "optimizer": Old(usual="adam", note=_ADAMW),
    "momentum": Old(usual=0.9, note=_ADAMW),
    "adam_beta1": Old(usual=0.9, note=_ADAMW),
    "adam_beta2": Old(usual=0.999, note=_ADAMW),
    "log_grad_norm": Old(usual=False, note="it is not logged"),
    "grad_norm_log_freq": Old(usual=1, note="it is not logged"),
    "torch_mae_pred_l2_match_target": Old(usual=False, note=_CLOSED_FORM),
}  # fmt: skip

INFERENCE: dict[str, Old] = {
    "middle_trim": Old("execution.middle_trim", 32),
    "pad_eval": Old("execution.pad_eval", True, "where there is a `middle_trim`", settled=True),
    "patch_weighting": Old("model.patch_weighting"),
    "log_patch_stats": Old("execution.log_patch_stats", False),
    "patch_stats_limit": Old("execution.patch_stats_limit", note="with `log_patch_stats`"),
    "batch_size": Old(
        usual=1000, note="memory only: `execution.inference_batch_size` counts 16 patterns each"
    ),
    "experiment_number": Old(usual=0, note="one scan is reconstructed"),
    "window": Old(usual=20, note="the whole canvas is written, scores crop it to the scanned area"),
    "varpro_scaling": Old(usual=False, note=_CLOSED_FORM),
}  # fmt: skip

DATAGEN: dict[str, Old] = {"*": Old(note=_SIMULATED)}

SECTIONS = {
    "data_config": DATA,
    "model_config": MODEL,
    "training_config": TRAINING,
    "inference_config": INFERENCE,
    "datagen_config": DATAGEN,
}
"""Of the JSON files after ``--config``; a star stands for any letters."""


def old_field(section: str, name: str) -> Old | None:
    """What is known of a field; None where it was never heard of."""
    table = SECTIONS.get(section, {})
    if name in table:
        return table[name]
    return next((one for sample, one in table.items() if fnmatchcase(name, sample)), None)


def translated() -> Iterator[tuple[str, Old]]:
    """Fields that have a counterpart, by section and name."""
    for section, table in SECTIONS.items():
        for name, old in table.items():
            if old.setting:
                yield f"{section}.{name}", old


CLIENT: dict[str, dict[str, Old]] = {
    "ModelConfig": {
        "N": Old("model.N"),
        "gridsize": Old("model.gridsize", 1),
        "model_type": Old("model.architecture", "pinn", "the same words; `object_pinn` is new"),
        "n_filters_scale": Old("model.n_filters_scale", 2),
        "amp_activation": Old("model.amp_activation", "sigmoid"),
        "object_big": Old("model.object_big", True),
        "probe_big": Old("model.probe_big", True),
        "probe_mask": Old("model.probe_mask", False),
        "pad_object": Old("model.pad_object", True),
        "probe_scale": Old("model.probe_scale", 4.0, _RENORMALISED),
        "gaussian_smoothing_sigma": Old("model.gaussian_smoothing_sigma", 0.0),
    },
    "TrainingConfig": {
        "train_data_file": Old("data.train_data_file"),
        "test_data_file": Old("data.test_data_file"),
        "batch_size": Old("trainer.batch_size", 16, "there: groups; here: patterns"),
        "nepochs": Old("trainer.nepochs", 50),
        "mae_weight": Old("trainer.mae_weight", 0.0),
        "nll_weight": Old("trainer.nll_weight", 1.0),
        "realspace_mae_weight": Old("trainer.realspace_mae_weight", 0.0),
        "realspace_weight": Old("trainer.realspace_weight", 0.0),
        "nphotons": Old("data.nphotons", 1e6, "of simulated scans; a file holds its own counts"),
        "positions_provided": Old(
            usual=True, note="a scan has positions; `instrument.positions_trainable` corrects them"
        ),
        "probe_trainable": Old("instrument.probe_trainable", False),
        "intensity_scale_trainable": Old("trainer.intensity_scale_trainable", True),
        "n_images": Old("data.n_images", note="there: groups, or patterns; here: patterns"),
        "n_groups": Old("data.n_groups"),
        "n_subsample": Old("data.n_subsample", note="patterns that are kept, by chance"),
        "subsample_seed": Old("data.subsample_seed"),
        "neighbor_count": Old("data.neighbor_count", 4, "one more, since a pattern counts itself"),
        "enable_oversampling": Old("data.enable_oversampling", False),
        "sequential_sampling": Old("data.sequential_sampling", False),
        "torch_loss_mode": Old("trainer.torch_loss_mode", "poisson"),
        "output_dir": Old("hydra.run.dir", note="for this run; `paths.outputs` for all"),
    },
    "InferenceConfig": {
        "model_path": Old("bundle"),
        "test_data_file": Old("data.train_data_file", note="with `task=reconstruct`"),
        "debug": Old(usual=False, note="`debug=default` is a preset for developers"),
        "output_dir": Old("hydra.run.dir", note="for this run; `paths.outputs` for all"),
    },
}  # fmt: skip
"""The other configuration of PtychoPINN, which its TensorFlow side and ptychodus use."""
