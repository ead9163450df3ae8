"""Every impossible setting is refused in a sentence that names it and what came."""

import re
from typing import Any

import pytest

from ptycho.config.choices import Accelerator, Direction, LossMode, Scheduler, Task
from ptycho.config.config import ConfigError, DataConfig, RunConfig
from ptycho.config.validate import check, faults, leaves, suggestion

PINN = {"model.architecture": "pinn"}

LIMITS: list[tuple[str, Any, str]] = [
    ("seed", -1, "at least 0"),
    ("seed", 2**32, "at most 4294967295"),
    ("data.n_images", 15, "at least 16"),
    ("data.holdout_fraction", -0.1, "at least 0"),
    ("data.holdout_fraction", 0.6, "at most 0.5"),
    ("data.nphotons", 0.0, "greater than 0"),
    ("data.nphotons", 2e15, "at most 1000000000000000.0"),
    ("data.synthetic.step", 2e4, "at most 10000.0"),
    ("data.synthetic.jitter", 2e3, "at most 1000.0"),
    ("data.geometry.energy_ev", 0.0, "greater than 0"),
    ("data.geometry.energy_ev", 2e9, "at most 1000000000.0"),
    ("data.geometry.distance_m", 0.0, "greater than 0"),
    ("data.geometry.distance_m", 2e4, "at most 10000.0"),
    ("data.geometry.detector_pixel_m", 0.0, "greater than 0"),
    ("data.geometry.detector_pixel_m", 1.5, "at most 1"),
    ("data.geometry.focus_distance_m", 0.0, "greater than 0"),
    ("data.geometry.focus_distance_m", 2e4, "at most 10000.0"),
    ("data.geometry.pixel_size_m", 0.0, "greater than 0"),
    ("data.geometry.pixel_size_m", 1.5, "at most 1"),
    ("data.preprocess.center_y", -1.0, "at least 0"),
    ("data.preprocess.center_y", 200000.0, "at most 100000.0"),
    ("data.preprocess.center_x", -1.0, "at least 0"),
    ("data.preprocess.center_x", 200000.0, "at most 100000.0"),
    ("data.preprocess.crop", 15, "at least 16"),
    ("data.preprocess.crop", 100001, "at most 100000"),
    ("data.preprocess.bin", 0, "at least 1"),
    ("data.preprocess.bin", 65, "at most 64"),
    ("data.preprocess.pad", 15, "at least 16"),
    ("data.preprocess.pad", 8193, "at most 8192"),
    ("data.preprocess.resample", 15, "at least 16"),
    ("data.preprocess.resample", 8193, "at most 8192"),
    ("data.preprocess.minimum", -1.0, "at least 0"),
    ("data.preprocess.maximum", 0.0, "greater than 0"),
    ("data.preprocess.saturation", 0.0, "greater than 0"),
    ("data.preprocess.background", 0.0, "greater than 0"),
    ("data.preprocess.drop_below", 0.0, "greater than 0"),
    ("data.preprocess.drop_above", 0.0, "greater than 0"),
    ("data.positions.scale", 0.0, "greater than 0"),
    ("data.positions.scale", 2e6, "at most 1000000.0"),
    ("solver.cap", 1e7, "at most 1000000.0"),
    ("execution.threads", 1025, "at most 1024"),
    ("execution.num_workers", 257, "at most 256"),
    ("execution.prefetch_factor", 1001, "at most 1000"),
    ("execution.inference_batch_size", 10**30, "at most 1000000"),
    ("execution.early_stop_patience", 10**10, "at most 1000000000"),
    ("trainer.accum_steps", 10**30, "at most 1000000"),
    ("trainer.nepochs", 10**10, "at most 1000000000"),
    ("data.synthetic.n_patterns", 15, "at least 16"),
    ("data.synthetic.n_patterns", 1_000_001, "at most 1000000"),
    ("data.synthetic.step", 0.0, "greater than 0"),
    ("data.synthetic.jitter", -0.1, "at least 0"),
    ("data.synthetic.probe_radius", 1.0, "greater than 1"),
    ("data.synthetic.seed", -1, "at least 0"),
    ("data.probe.radius", 0.0, "greater than 0"),
    ("data.probe.radius", 8192, "at most 4096"),
    ("data.probe.radius_m", 0.0, "greater than 0"),
    ("data.probe.radius_m", 2, "at most 1"),
    ("data.probe.pupil", 0.0, "greater than 0"),
    ("data.probe.pupil", 1.0, "at most 0.5"),
    ("data.probe.outer_zone_m", 0.0, "greater than 0"),
    ("data.probe.outer_zone_m", 2, "at most 1"),
    ("data.probe.aperture", 0.0, "greater than 0"),
    ("data.probe.aperture", 2, "at most 1"),
    ("data.probe.aspect", 0.025, "at least 0.05"),
    ("data.probe.aspect", 40, "at most 20"),
    ("data.probe.stop", -0.1, "at least 0"),
    ("data.probe.stop", 1.9, "at most 0.95"),
    ("data.probe.defocus", -2000000.0, "at least -1000000.0"),
    ("data.probe.defocus", 2000000.0, "at most 1000000.0"),
    ("data.probe.defocus_m", -20, "at least -10"),
    ("data.probe.defocus_m", 20, "at most 10"),
    ("data.probe.modes", 0, "at least 1"),
    ("data.probe.modes", 17, "at most 16"),
    ("data.synthetic.exponent", -0.1, "at least 0"),
    ("data.synthetic.exponent", 16, "at most 8"),
    ("data.synthetic.spokes", 1, "at least 2"),
    ("data.synthetic.spokes", 1001, "at most 1000"),
    ("data.synthetic.phase", 0.0, "greater than 0"),
    ("data.synthetic.phase", 200, "at most 100"),
    ("data.synthetic.delta_over_beta", 0.0, "greater than 0"),
    ("data.synthetic.delta_over_beta", 2000000.0, "at most 1000000.0"),
    ("data.synthetic.position_error", -0.1, "at least 0"),
    ("data.synthetic.position_error", 2000.0, "at most 1000.0"),
    ("data.synthetic.fly_steps", 0, "at least 1"),
    ("data.synthetic.fly_steps", 65, "at most 64"),
    ("data.synthetic.flux_jitter", -0.1, "at least 0"),
    ("data.synthetic.flux_jitter", 4, "at most 2"),
    ("data.synthetic.background", -0.1, "at least 0"),
    ("data.synthetic.background", 2000000000.0, "at most 1000000000.0"),
    ("data.synthetic.detector_blur", -0.1, "at least 0"),
    ("data.synthetic.detector_blur", 32, "at most 16"),
    ("data.synthetic.read_noise", -0.1, "at least 0"),
    ("data.synthetic.read_noise", 2000000.0, "at most 1000000.0"),
    ("data.synthetic.saturation", 0.0, "greater than 0"),
    ("data.synthetic.saturation", 2000000000000000.0, "at most 1000000000000000.0"),
    ("data.synthetic.dead_pixels", -0.1, "at least 0"),
    ("data.synthetic.dead_pixels", 1.0, "at most 0.5"),
    ("data.synthetic.gap", -1, "at least 0"),
    ("data.synthetic.gap", 257, "at most 256"),
    ("data.synthetic.beamstop", -0.1, "at least 0"),
    ("data.synthetic.beamstop", 2048, "at most 1024"),
    ("data.n_subsample", 15, "at least 16"),
    ("data.subsample_seed", -1, "at least 0"),
    ("data.subsample_seed", 2**32, "at most 4294967295"),
    ("data.n_groups", 0, "at least 1"),
    ("data.neighbor_count", 0, "at least 1"),
    ("data.neighbor_count", 65, "at most 64"),
    ("model.canvas_patterns", 0, "at least 1"),
    ("model.predicted_share", 0.0, "greater than 0"),
    ("model.predicted_share", 1.1, "at most 1"),
    ("model.probe_scale", -1.0, "at least 0"),
    ("model.gaussian_smoothing_sigma", -1.0, "at least 0"),
    ("model.gaussian_smoothing_sigma", 17.0, "at most 16"),
    ("model.N", 15, "at least 16"),
    ("model.N", 2049, "at most 2048"),
    ("model.gridsize", 0, "at least 1"),
    ("model.n_filters_scale", 0, "at least 1"),
    ("model.n_filters_scale", 17, "at most 16"),
    ("model.lift_coarse_iterations", -1, "at least 0"),
    ("model.lift_iterations", -1, "at least 0"),
    ("trainer.strategy", "fsdp", "one of auto, ddp"),
    ("trainer.precision", "64-true", "one of 32-true, bf16-mixed, 16-mixed"),
    ("trainer.learning_rate", 0.0, "greater than 0"),
    ("trainer.learning_rate", 1.5, "at most 1"),
    ("trainer.weight_decay", -1e-4, "at least 0"),
    ("trainer.warmup_steps", -1, "at least 0"),
    ("data.synthetic.n_objects", 0, "at least 1"),
    ("data.synthetic.n_objects", 1001, "at most 1000"),
    ("adapt.epochs", 0, "at least 1"),
    ("adapt.learning_rate", 0.0, "greater than 0"),
    ("adapt.learning_rate", 1.5, "at most 1"),
    ("adapt.stay_weight", -1.0, "at least 0"),
    ("trainer.gradient_clip_val", 0.0, "greater than 0"),
    ("trainer.accum_steps", 0, "at least 1"),
    ("trainer.nepochs", 0, "at least 1"),
    ("trainer.num_nodes", 0, "at least 1"),
    ("trainer.batch_size", 0, "at least 1"),
    ("trainer.nll_weight", -1.0, "at least 0"),
    ("trainer.mae_weight", -1.0, "at least 0"),
    ("trainer.realspace_weight", -1.0, "at least 0"),
    ("trainer.realspace_mae_weight", -1.0, "at least 0"),
    ("trainer.tv_weight", -1.0, "at least 0"),
    ("execution.threads", 0, "at least 1"),
    ("execution.num_workers", -1, "at least 0"),
    ("execution.prefetch_factor", 0, "at least 1"),
    ("execution.checkpoint_save_top_k", -2, "at least -1"),
    (
        "execution.checkpoint_monitor_metric",
        "accuracy",
        "one of train/loss, train/patterns_per_s, train_loss, val_loss",
    ),
    ("execution.early_stop_patience", 0, "at least 1"),
    ("execution.patch_stats_limit", 0, "at least 1"),
    ("execution.recon_log_every_n_epochs", 0, "at least 1"),
    ("execution.inference_batch_size", 0, "at least 1"),
    ("execution.limit_train_batches", 0, "at least 1"),
    ("execution.profiler", "pytorch", "one of simple, advanced"),
    ("execution.middle_trim", 0, "at least 1"),
    ("solver.coarse_iterations", -1, "at least 0"),
    ("solver.iterations", -1, "at least 0"),
    ("solver.poisson_iterations", -1, "at least 0"),
    ("solver.batch_size", 0, "at least 1"),
    ("solver.probe_floor", 0.0, "at least 1e-06"),
    ("solver.probe_floor", 1.1, "at most 1"),
    ("solver.cutoff", 0.0, "greater than 0"),
    ("solver.cutoff", 0.6, "at most 0.5"),
    ("solver.cap", 0.5, "at least 1"),
    ("instrument.probe_modes", 0, "at least 1"),
    ("instrument.probe_modes", 17, "at most 16"),
    ("instrument.max_shift", 0.0, "greater than 0"),
    ("instrument.max_shift", 1001.0, "at most 1000"),
    ("solver.subsets", 0, "at least 1"),
    ("solver.subsets", 5, "at most 4"),
    ("refine.iterations", -1, "at least 0"),
    ("refine.poisson_iterations", -1, "at least 0"),
    ("uncertainty.members", 0, "at least 1"),
    ("uncertainty.members", 1001, "at most 1000"),
    ("uncertainty.seed", -1, "at least 0"),
    ("uncertainty.seed", 2**32, "at most 4294967295"),
    ("sweep.n_trials", 0, "at least 1"),
    ("sweep.min_epochs", 0, "at least 1"),
    ("sweep.startup_trials", 0, "at least 1"),
    ("sweep.seed", -1, "at least 0"),
    ("sweep.seed", 2**32, f"at most {2**32 - 1}"),
    ("sweep.workers", 0, "at least 1"),
    ("sweep.workers", 257, "at most 256"),
]

READ: dict[str, Any] = {
    "data.source": "file", "data.train_data_file": "a.npz", "data.nphotons": None
}  # fmt: skip
FOCUS = {"data.probe.kind": "zone_plate"}

BEAMS: list[tuple[dict[str, Any], str]] = [
    (
        {"data.probe.stop": 0.1},
        r"^data\.probe\.stop=0\.1 is for data\.probe\.kind=zone_plate, and .* is file; leave one",
    ),
    (
        READ | {"data.probe.kind": "disk", "data.probe.radius": 5.0, "data.probe.pupil": 0.1},
        r"^data\.probe\.pupil=0\.1 is for data\.probe\.kind=zone_plate, rectangular, and .* is dis",
    ),
    (
        READ | {"data.probe.defocus": 5.0, "data.probe.defocus_m": 1e-6},
        r"^data\.probe\.defocus and data\.probe\.defocus_m say the same; leave one of them out",
    ),
    (
        READ | FOCUS | {"data.probe.defocus": 5.0, "data.probe.radius": 6.0},
        r"^data\.probe\.radius and data\.probe\.defocus both say how far zone_plate is out of foc",
    ),
    (
        READ | FOCUS | {"data.probe_file": "p.npy"},
        r"^data\.probe_file=p\.npy is read by data\.probe\.kind=file, and .* is zone_plate; leave",
    ),
    ({"data.probe_file": ""}, r"^data\.probe_file must name a file, got nothing; leave it out"),
    ({"data.probe.mode_powers": [1.0, 0.0]}, r"^data\.probe\.mode_powers must all be greater than"),
    (
        {"data.probe.mode_powers": [1.0] * 17},
        r"^data\.probe\.mode_powers may be 16 at most, got 17",
    ),
    ({"data.probe.mode_powers": [1.0]}, r"^data\.probe\.mode_powers of a single mode says nothing"),
    (
        {"data.probe.mode_powers": [2.0, 1.0], "data.probe.modes": 3},
        r"^data\.probe\.mode_powers holds 2 powers and data\.probe\.modes is 3; give each mode one",
    ),
    (
        READ | {"data.probe.kind": "gaussian"},
        r"^data\.probe\.radius must say how wide the beam of data\.probe\.kind=gaussian is, .*got ",
    ),
    (
        {"data.probe.kind": "average"},
        r"^data\.probe\.kind=average finds the beam in measured patterns, .*ptycho simulate OUT",
    ),
    (
        {"data.probe.kind": "disk", "data.probe.radius": 5.0},
        r"^data\.probe\.radius is for scans in files; .* is data\.synthetic\.probe_radius=5\.",
    ),
    (
        FOCUS | {"data.probe.defocus": 5.0, "data.synthetic.probe_radius": 6.0},
        r"^data\.synthetic\.probe_radius=6 and data\.probe\.defocus both say how wide the beam is",
    ),
    (
        {"data.probe_file": "p.npy", "data.synthetic.probe_radius": 6.0},
        r"^data\.synthetic\.probe_radius=6 has no effect on the beam of data\.probe_file; leave on",
    ),
    (
        FOCUS | {"data.probe.outer_zone_m": 5e-8},
        r"^data\.probe\.outer_zone_m: lengths of a simulated beam need data\.geometry\.pixel_size_",
    ),
    (
        FOCUS | {"data.probe.defocus_m": 5e-8, "data.geometry.pixel_size_m": 1e-8},
        r"^data\.probe\.defocus_m of a simulated beam needs data\.geometry\.energy_ev, .*got nothi",
    ),
    (
        {"data.geometry.energy_ev": 8e3},
        r"^data\.geometry\.energy_ev=8000 has no effect on a simulated scan without data\.probe\.d",
    ),
    (
        {"data.synthetic.exponent": 2.0},
        r"exponent=2\.0 is for data\.synthetic\.object=grf, and .*nat",
    ),
    (
        {"data.synthetic.spokes": 20},
        r"spokes=20 is for data\.synthetic\.object=siemens, and .*natur",
    ),
    (
        {"data.synthetic.independent": True},
        r"independent=true says nothing new of .*=natural: its am",
    ),
    (
        {
            "data.synthetic.independent": True,
            "data.synthetic.object": "chip",
            "data.synthetic.delta_over_beta": 9.0,
        },
        r"delta_over_beta=9 makes the amplitude from the phase, and data\.synthetic\.independent=t",
    ),
    (
        {"data.synthetic.scan": "random", "data.synthetic.jitter": 2.0},
        r"^data\.synthetic\.jitter=2 has no effect on data\.synthetic\.scan=random, which is nothi",
    ),
    *(
        (
            {"data.synthetic.scan": way, "data.synthetic.fly_steps": 3},
            rf"^data\.synthetic\.fly_steps=3: a beam does not fly along .*\.scan={way}, where",
        )
        for way in ("random", "fermat")
    ),
    (
        READ | {"data.synthetic.gap": 2},
        r"^data\.synthetic\.gap=2: this describes a simulated scan, and .*Leave it out, or use",
    ),
]

CROSS: list[tuple[dict[str, Any], str]] = [
    *BEAMS,
    ({"task": Task.reconstruct}, r"^bundle must name a trained bundle .*got nothing.*bundle=RUN"),
    ({"task": Task.adapt}, r"^bundle must name a trained bundle for task=adapt, got nothing"),
    (
        {"task": Task.adapt, "bundle": "b.zip", "trainer.nepochs": 3},
        r"^trainer\.nepochs=3 is for task=train; for task=adapt adapt\.epochs says it\. .*=3\.$",
    ),
    (
        {"task": Task.adapt, "bundle": "b.zip", "trainer.learning_rate": 0.5},
        r"^trainer\.learning_rate=0\.5 is for task=train; .* type adapt\.learning_rate=0\.5\.$",
    ),
    (
        {"task": Task.adapt, "bundle": "b.zip", "trainer.realspace_weight": 1.0},
        r"^adapt\.stay_weight holds .* to a label, .*; type adapt\.stay_weight=0 to learn",
    ),
    *(
        (
            {"task": "reconstruct", "bundle": "b.zip", f"data.{name}": value} | more,
            rf"^data\.{name}={str(value).lower()} is for networks that learn, and .*=reconstruct",
        )
        for name, value in (
            ("n_groups", 30),
            ("neighbor_count", 6),
            ("enable_oversampling", True),
            ("labels", "solver"),
        )
        for more in ({}, PINN)
    ),
    ({"task": "solve", "data.n_groups": 3}, r"^data\.n_groups=3 is for .* and task=solve teaches"),
    (
        {"adapt.epochs": 3},
        r"^adapt\.epochs=3 is for task=adapt, and this is task=train;.*type trainer\.nepochs=3\.$",
    ),
    (
        {"adapt.learning_rate": 1e-3, "task": Task.solve},
        r"^adapt\.learning_rate=0\.001 is for task=adapt, and this is task=solve; leave it out\.$",
    ),
    (
        {"adapt.stay_weight": 0.0, "task": Task.reconstruct, "bundle": "b.zip"},
        r"^adapt\.stay_weight=0 is for task=adapt, and this is task=reconstruct; leave it out\.$",
    ),
    (
        {"bundle": "b.zip"},
        r"^bundle is read by task=reconstruct and task=adapt only, .*=train\.$",
    ),
    ({"data.train_data_file": "a.npz"}, r"^data\.train_data_file needs data\.source=file"),
    ({"data.nphotons": None}, r"^data\.nphotons must say .* got nothing\.$"),
    (
        {"data.source": "file", "data.nphotons": None},
        r"^data\.train_data_file must name the scan .* got nothing; type data\.train_data_file=",
    ),
    (
        {"data.source": "file", "data.train_data_file": "a.npz", "data.nphotons": 3e4},
        r"^data\.nphotons=30000 is the dose of a simulated scan",
    ),
    ({"data.label": "../escape"}, r"^data\.label names folders .* without slashes, got '\.\./esc"),
    ({"data.label": ""}, r"^data\.label names folders .* got ''\.$"),
    ({"paths.outputs": " "}, r"^paths\.outputs must name a folder, got nothing\.$"),
    ({"paths.outputs": "a#b"}, r"^paths\.outputs=a#b holds one of \? # %, which MLflow cannot"),
    ({"logger.experiment": ""}, r"^logger\.experiment must be a name, got nothing\.$"),
    ({"data.values": "counts"}, r"^data\.values=counts says how a file is read.*Leave it out\.$"),
    (
        {"data.positions.swap": True},
        r"^data\.positions\.swap=true says how a file is read, and data\.source=synthetic reads",
    ),
    (
        {"data.preprocess.zero_frequency": "corner"},
        r"^data\.preprocess\.zero_frequency=corner says how a file is read",
    ),
    (
        {"data.preprocess.background": 1.0, "data.preprocess.background_file": "b.npy"},
        r"^data\.preprocess\.background=1 and background_file both say what is subtracted; leave",
    ),
    ({"data.preprocess.bad_pixels_file": ""}, r"^data\.preprocess\.bad_pixels_file must name a"),
    (
        {"data.preprocess.find_center": True, "data.preprocess.center_x": 3.5},
        r"^data\.preprocess\.center_x=3\.5 says where the beam is, and .*find_center=true looks",
    ),
    (
        {"data.preprocess.minimum": 9.0, "data.preprocess.maximum": 3.0},
        r"^data\.preprocess\.minimum=9 is more than data\.preprocess\.maximum=3: no count is left",
    ),
    (
        {"data.preprocess.drop_below": 9.0, "data.preprocess.drop_above": 3.0},
        r"^data\.preprocess\.drop_below=9 is more than .*drop_above=3: no frame is left",
    ),
    (
        {
            "data.source": "file",
            "data.train_data_file": "a.npz",
            "data.nphotons": None,
            "data.synthetic.seed": 1,
        },
        r"^data\.synthetic\.seed=1: this describes a simulated scan, and .*Leave it out, or use",
    ),
    (
        {"solver.cutoff": 0.1, "solver.precondition": False},
        r"^solver\.cutoff=0\.1 has no effect with solver\.precondition=false",
    ),
    (
        {"logger.run_name": "a", "logger.backend": "csv"},
        r"^logger\.run_name is for MLflow \(logger=mlflow or many\), and .* is csv\.$",
    ),
    (
        {"logger.tracking_uri": "http://h", "logger.backend": "none"},
        r"^logger\.tracking_uri is for MLflow",
    ),
    (
        {"data.test_data_file": "b.npz", "task": Task.solve},
        r"^data\.test_data_file is scored by task=train only, and this is task=solve\.$",
    ),
    (
        {"uncertainty.members": 5},
        r"^uncertainty\.members is for uncertainty\.method=bootstrap or .* is none; leave",
    ),
    (
        {"uncertainty.seed": 5, "uncertainty.method": "halves"},
        r"^uncertainty\.seed is for uncertainty\.method=bootstrap or .* is halves; leave",
    ),
    (
        {"uncertainty.retrain": True, "uncertainty.method": "fisher"},
        r"^uncertainty\.retrain is for uncertainty\.method=bootstrap, halves or .* is fisher\.$",
    ),
    (
        {"uncertainty.retrain": True, "uncertainty.method": "halves", "task": Task.solve},
        r"^uncertainty\.retrain trains networks, which only task=train does, got solve\.$",
    ),
    (
        {
            "uncertainty.retrain": True,
            "uncertainty.method": "bootstrap",
            "trainer.realspace_weight": 1.0,
        },
        r"^uncertainty\.retrain=true trains on scans that come without labels, .*labels=auto .*",
    ),
    (
        {
            "uncertainty.retrain": True,
            "uncertainty.method": "bootstrap",
            "trainer.strategy": "ddp",
        },
        r"^uncertainty\.retrain needs trainer\.strategy=auto, got ddp\.$",
    ),
    ({"model.gridsize": 2}, r"^model\.gridsize must be 1 for object_pinn.*got 2\.$"),
    (
        {
            "trainer.nll_weight": 0,
            "trainer.realspace_weight": 1.0,
            "trainer.intensity_scale_trainable": True,
        },
        r"^trainer\.intensity_scale_trainable=true has no effect .* nothing about photons\. Leave",
    ),
    (
        {"data.labels": "solver"},
        r"^data\.labels=solver says what trainer\.realspace_weight and .* compare with, and both",
    ),
    (
        {"data.synthetic.n_objects": 2, "model.architecture": "pinn"},
        r"^data\.synthetic\.n_objects=2 scans teach networks that correct an object, and model\.a",
    ),
    (
        {"data.labels": "Y", "trainer.realspace_weight": 0.5},
        r"^data\.labels=Y are patches, and object_pinn predicts the whole object; choose objectG",
    ),
    (
        {"trainer.nll_weight": 0.0},
        r"^trainer\.nll_weight, .* are all 0: there is nothing to learn from; give one of them a w",
    ),
    (
        {
            "trainer.nll_weight": 0,
            "trainer.mae_weight": 1.0,
            "trainer.torch_loss_mode": "amplitude",
        },
        r"^trainer\.torch_loss_mode=amplitude has no effect with trainer\.nll_weight=0; leave one",
    ),
    ({"model.overlap": "group"}, r"^model\.overlap=group belongs to networks that predict patches"),
    ({"model.probe_big": False}, r"^model\.probe_big=false belongs to networks that predict patch"),
    ({"data.n_groups": 30}, r"^data\.n_groups=30 belongs to networks that predict patches.*Leave"),
    (PINN | {"model.object_big": True, "model.overlap": "none"}, r"^model\.object_big=true contra"),
    (
        PINN | {"model.object_big": False, "model.overlap": "group"},
        r"^model\.object_big=false contradicts model\.overlap=group; leave one of them out\.$",
    ),
    (
        PINN | {"model.object_big": False, "model.gridsize": 2},
        r"^model\.gridsize=2 has no effect where every patch stands alone.*overlap=group or canvas",
    ),
    (
        PINN | {"model.overlap": "group"},
        r"^model\.overlap=group needs model\.gridsize of at least 2",
    ),
    (
        PINN | {"model.overlap": "none", "model.canvas_patterns": 16},
        r"^model\.canvas_patterns=16 says what shares a canvas, and with model\.overlap=none no b",
    ),
    (
        PINN | {"model.object_big": False, "model.predicted_share": 0.25},
        r"^model\.predicted_share=0\.25 says what shares a canvas, and with model\.object_big=fal",
    ),
    (
        PINN | {"model.canvas_patterns": 33, "trainer.batch_size": 32},
        r"^model\.canvas_patterns=33 neighbours cannot share.*trainer\.batch_size=32 patterns; r",
    ),
    (
        {
            "model.architecture": "supervised",
            "model.predicted_share": 1.0,
            "trainer.nll_weight": 0,
            "trainer.realspace_weight": 1.0,
        },
        r"^model\.predicted_share=1 leaves patterns that are only measured, and labels alone me",
    ),
    (
        PINN | {"model.pad_object": False, "model.probe_big": False},
        r"^model\.pad_object=false predicts all of N x N and model\.probe_big=false the centre a",
    ),
    (
        PINN | {"execution.pad_eval": True},
        r"^execution\.pad_eval says how to fill what execution\.m",
    ),
    (
        PINN | {"execution.middle_trim": 33, "model.N": 64, "model.probe_big": False},
        r"^execution\.middle_trim must be at most the 32 pixels that are predicted, got 33\.$",
    ),
    (
        PINN | {"model.output": "real_imag", "model.amp_activation": "relu"},
        r"^model\.amp_activation=relu makes an amplitude, and model\.output=real_imag predicts n",
    ),
    (
        PINN | {"model.output": "real_imag", "model.gaussian_smoothing_sigma": 1.0},
        r"^model\.gaussian_smoothing_sigma=1 smooths a predicted amplitude, and",
    ),
    (
        PINN | {"data.neighbor_count": 5},
        r"^data\.neighbor_count=5 has no effect with model\.gridsiz",
    ),
    (
        PINN | {"model.gridsize": 2, "data.neighbor_count": 3},
        r"^data\.neighbor_count must be at least 4 for model\.gridsize=2, got 3\.$",
    ),
    (
        PINN | {"model.gridsize": 2, "data.enable_oversampling": True, "data.n_groups": 9},
        r"^data\.enable_oversampling=true needs data\.neighbor_count of more than 4 .*got nothing",
    ),
    (
        PINN
        | {
            "model.gridsize": 2,
            "data.enable_oversampling": True,
            "data.n_groups": 9,
            "data.neighbor_count": 4,
        },
        r"^data\.enable_oversampling=true needs data\.neighbor_count of more than 4 .*got 4\.$",
    ),
    (
        PINN | {"model.gridsize": 2, "data.enable_oversampling": True, "data.neighbor_count": 6},
        r"^data\.enable_oversampling=true needs data\.n_groups, the number of groups to make, got",
    ),
    ({"data.sequential_sampling": True}, r"^data\.sequential_sampling=true says which patterns"),
    ({"data.subsample_seed": 3}, r"^data\.subsample_seed=3 has no effect: nothing is chosen by ch"),
    (
        PINN | {"data.labels": "solver"},
        r"^data\.labels=solver has no effect with trainer\.realspace",
    ),
    (
        {"model.architecture": "supervised", "trainer.nll_weight": 0},
        r"^trainer\.realspace_weight and trainer\.realspace_mae_weight are both 0: supervised le",
    ),
    (
        {"model.architecture": "supervised", "trainer.realspace_weight": 1.0},
        r"^trainer\.nll_weight=1 compares with patterns, and supervised learns labels alone; set",
    ),
    (
        {
            "model.architecture": "supervised",
            "trainer.realspace_weight": 1.0,
            "trainer.nll_weight": 0,
            "trainer.intensity_scale_trainable": True,
        },
        r"^trainer\.intensity_scale_trainable=true scales predicted photons, and supervised predic",
    ),
    ({"execution.middle_trim": 32}, r"^execution\.middle_trim belongs to networks that predict p"),
    ({"execution.pad_eval": False}, r"^execution\.pad_eval belongs to networks that predict pat"),
    ({"execution.log_patch_stats": True}, r"^execution\.log_patch_stats belongs to networks that"),
    (
        {"execution.patch_stats_limit": 3},
        r"^execution\.patch_stats_limit=3 says how much execution\.log_patch_stats looks at, and t",
    ),
    (
        {"execution.log_patch_stats": True, "task": "solve", "model.architecture": "pinn"},
        r"^execution\.log_patch_stats tells of predicted patches, and task=solve predicts none; le",
    ),
    ({"trainer.accelerator": "tpu"}, r"^trainer\.accelerator=tpu is not supported.*cpu or auto"),
    (
        {"trainer.accelerator": "cpu", "trainer.precision": "16-mixed"},
        r"^trainer\.precision=16-mixed needs a CUDA device; on the CPU",
    ),
    ({"trainer.devices": "two"}, r"^trainer\.devices must be a number of devices .*got two\.$"),
    ({"trainer.devices": 0}, r"^trainer\.devices must be at least 1, got 0\.$"),
    ({"trainer.devices": 3}, r"^trainer\.devices=3 needs trainer\.strategy=ddp.*got auto\.$"),
    ({"trainer.num_nodes": 2}, r"^trainer\.num_nodes=2 needs trainer\.strategy=ddp.*got auto\.$"),
    (
        {"execution.persistent_workers": True},
        r"^execution\.persistent_workers=true needs execution\.num_workers .* got 0\.$",
    ),
    (
        {"execution.prefetch_factor": 2},
        r"^execution\.prefetch_factor=2 needs execution\.num_workers .* got 0\.$",
    ),
    ({"sweep.metric": []}, r"^sweep\.metric must name what runs are judged by, got nothing; type"),
    ({"sweep.metric": ["C", "C"]}, r"^sweep\.metric names C twice; once is enough\.$"),
    ({"sweep.metric": ["net/C"]}, r"^sweep\.metric: there is no figure net/C\. Stages are lift, "),
    ({"sweep.metric": ["train/x"]}, r"no figure train/x\. Figures are loss, patterns_per_s, seco"),
    ({"sweep.workers": 2}, r"^sweep\.workers=2 has no effect: the launcher runs .* sweep=tpe\.$"),
    ({"sweep.seed": 2}, r"^sweep\.seed=2 has no effect: sweep\.sampler=grid draws nothing\."),
    (
        {"sweep.storage": "x"},
        r"^sweep\.storage=x has no effect: sweep\.sampler=grid keeps no",
    ),
    ({"sweep.startup_trials": 2}, r"^sweep\.startup_trials=2 has no effect: .* draws nothing"),
    ({"sweep.min_epochs": 4}, r"^sweep\.min_epochs=4 has no effect with sweep\.pruner=none; leave"),
    ({"sweep.pruner": "median"}, r"^sweep\.pruner=median needs sweep\.sampler=random, tpe or nsga"),
    (
        {"sweep.sampler": "nsga2", "sweep.n_trials": 9, "sweep.startup_trials": 1},
        r"^sweep\.startup_trials is the size of a generation .* at least 2, got 1\.$",
    ),
    (
        {"sweep.sampler": "tpe", "sweep.n_trials": 9, "sweep.pruner": "median", "task": "solve"},
        r"^sweep\.pruner=median gives trials up by the epoch, and task=solve has none; type sweep",
    ),
]

KINDS: list[tuple[str, Any, str]] = [
    ("seed", "one", "a whole number, got one"),
    ("seed", True, "a whole number, got True"),
    ("seed", None, "a whole number, got nothing"),
    ("trainer.nepochs", 2.5, "a whole number, got 2.5"),
    ("trainer.learning_rate", "fast", "a number, got fast"),
    ("trainer.learning_rate", False, "a number, got False"),
    ("execution.deterministic", 1, "true or false, got 1"),
    ("execution.threads", "all", "a whole number or empty (null), got all"),
    ("data.label", 3, "text, got 3"),
    ("data.train_data_file", 3, "text or empty (null), got 3"),
    ("trainer.accelerator", "gpus", "one of auto, cpu, gpu, cuda, mps, tpu, got gpus"),
    ("task", "fly", "one of train, reconstruct, solve, adapt, got fly"),
    ("trainer.devices", [0, 1], "a whole number or text, got [0, 1]"),
]


def settings(**changes: Any) -> RunConfig:
    """Possible settings, then changed."""
    run = RunConfig(data=DataConfig(nphotons=1e5))
    for name, value in changes.items():
        node: Any = run
        *groups, last = name.split(".")
        for group in groups:
            node = getattr(node, group)
        assert hasattr(node, last)
        setattr(node, last, value)
    return run


def test_the_starting_point_of_these_tests_has_no_fault():
    assert faults(settings()) == []


@pytest.mark.parametrize(("name", "value", "words"), LIMITS)
def test_a_limit_is_named_with_what_came(name: str, value: Any, words: str):
    assert f"{name} must be {words}, got {value}." in faults(settings(**{name: value}))


def test_every_limit_is_tried_above():
    declared = {
        (name, "choices" if key == "choices" else "at_most" if key == "at_most" else "low")
        for name, _, _, limits in leaves(RunConfig())
        for key in limits
    }
    kinds = {"one of": "choices", "at most": "at_most", "at least": "low", "greater than": "low"}
    tried = {
        (name, kind)
        for name, _, words in LIMITS
        for start, kind in kinds.items()
        if words.startswith(start)
    }
    assert tried == declared


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 2**32 - 1),
        ("data.synthetic.n_patterns", 16),
        ("model.N", 2048),
        ("trainer.learning_rate", 1.0),
        ("trainer.learning_rate", 1),
        ("execution.checkpoint_save_top_k", -1),
        ("execution.checkpoint_monitor_metric", "val_loss"),
        ("solver.cutoff", 0.5),
        ("solver.probe_floor", 1.0),
        ("refine.iterations", 0),
        ("trainer.devices", "auto"),
    ],
)
def test_the_limit_itself_is_allowed(name: str, value: Any):
    assert faults(settings(**{name: value})) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["data.nphotons", "data.synthetic.step", "trainer.weight_decay"])
def test_numbers_are_finite(name: str, value: float):
    assert faults(settings(**{name: value})) == [f"{name} must be a finite number, got {value}."]


@pytest.mark.parametrize(("changes", "words"), CROSS)
def test_settings_that_contradict_each_other(changes: dict[str, Any], words: str):
    assert [one for one in faults(settings(**changes)) if re.search(words, one)]


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "reconstruct", "bundle": "b.zip"},
        {"data.source": "file", "data.train_data_file": "a.npz", "data.nphotons": None},
        {"trainer.devices": 2, "trainer.strategy": "ddp"},
        {"trainer.num_nodes": 2, "trainer.strategy": "ddp"},
        {"execution.num_workers": 1, "execution.persistent_workers": True},
        {"execution.num_workers": 1, "execution.prefetch_factor": 4},
        {"trainer.accelerator": "cpu", "trainer.precision": "bf16-mixed"},
        {"data.test_data_file": "b.npz"},
        FOCUS | {"data.synthetic.probe_radius": 6.0},
        FOCUS
        | {
            "data.probe.outer_zone_m": 5e-8,
            "data.probe.defocus_m": 1e-5,
            "data.geometry.pixel_size_m": 1e-8,
            "data.geometry.energy_ev": 8e3,
        },
        READ | {"data.probe.kind": "average", "data.probe.modes": 3},
        {"data.synthetic.scan": "concentric", "data.synthetic.fly_steps": 3},
        {"data.synthetic.object": "siemens", "data.synthetic.spokes": 20},
    ],
)
def test_the_same_settings_in_agreement_are_allowed(changes: dict[str, Any]):
    assert faults(settings(**changes)) == []


@pytest.mark.parametrize(("name", "value", "words"), KINDS)
def test_a_wrong_type_is_named_with_what_came(name: str, value: Any, words: str):
    assert faults(settings(**{name: value})) == [f"{name} must be {words}."]


def test_all_faults_come_at_once():
    run = settings(**{"seed": -1, "trainer.nepochs": 0, "model.gridsize": 2, "bundle": "b"})
    with pytest.raises(ConfigError, match=r"(?s)seed.*nepochs.*bundle.*gridsize") as caught:
        check(run)
    assert len(caught.value.faults) == 4
    assert str(caught.value).splitlines() == list(caught.value.faults)


def test_all_wrong_types_come_at_once():
    run = settings(**{"seed": "a", "trainer.nepochs": "b", "data.synthetic.step": "c"})
    assert [one.split()[0] for one in faults(run)] == [
        "seed",
        "data.synthetic.step",
        "trainer.nepochs",
    ]


def test_check_hands_back_the_run_itself():
    run = settings()
    assert check(run) is run


def test_plain_strings_become_choices():
    run = settings(
        **{
            "task": "solve",
            "trainer.accelerator": "mps",
            "trainer.torch_loss_mode": "amplitude",
            "trainer.scheduler": "MultiStage",
            "execution.checkpoint_mode": "max",
        }
    )
    check(run)
    assert run.task is Task.solve
    assert run.trainer.accelerator is Accelerator.mps
    assert run.trainer.torch_loss_mode is LossMode.amplitude
    assert run.trainer.scheduler is Scheduler.MultiStage
    assert run.execution.checkpoint_mode is Direction.max


NAMES = [name for name, *_ in leaves(RunConfig())]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trainer.learning_rat", "trainer.learning_rate"),  # a slip
        ("trainer.learningrate", "trainer.learning_rate"),
        ("model.n", "model.N"),
        ("trainer.lr", "trainer.learning_rate"),  # initials
        ("trainer.bs", "trainer.batch_size"),
        ("lr", "trainer.learning_rate"),
        ("model.lrr", "trainer.learning_rate"),  # a slip in initials in the wrong group
        ("model.nepochs", "trainer.nepochs"),  # the wrong group
        ("nphotons", "data.nphotons"),
        ("solver.batchsize", "solver.batch_size"),  # its own group first
        ("trainer.batchsize", "trainer.batch_size"),
    ],
)
def test_a_near_miss_is_recognised(typed: str, meant: str):
    assert suggestion(typed, NAMES) == f" Did you mean {meant}?"


def test_a_far_miss_is_told_what_the_group_holds():
    assert suggestion("refine.xyz", NAMES) == " refine has iterations, poisson_iterations."
    assert suggestion("xyz", NAMES) == " The top level has task, seed, bundle."
    assert suggestion("abc.xyz", NAMES) == ""
