"""The flags of ``ptycho.train`` and ``ptycho.inference``: one table, read by parser and pages.

The names are those of PtychoPINN's command lines. Each flag is one setting; what it may be, its
default and what it means are written down there (:mod:`ptycho.config.config`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """A flag and the setting it stands for."""

    name: str
    """``--max_epochs``; hyphens and underscores may be typed one for the other."""
    setting: str = ""
    """Full name of the setting, ``trainer.nepochs``; empty for a flag that is more than that."""
    metavar: str = ""
    """What its value is called in help; empty: by the setting's type."""
    off: str = ""
    """How a switch is turned off; empty: ``--no-`` before the name."""
    choices: tuple[str, ...] = ()
    """What may be typed; empty: what the setting may be."""
    about: str = ""
    """What it does; empty: what the setting says of itself."""
    hydra: str = ""
    """How the same is typed to ``ptycho.run``; empty: ``SETTING=VALUE``."""
    constant: str | None = None
    """What a flag without value sets its setting to."""
    default: str = ""
    """Its default in words; empty: the setting's."""
    needed: bool = False
    """Whether there is no default."""
    old: bool = False
    """Whether it is there for old scripts only."""

    @property
    def key(self) -> str:
        """Its name among parsed arguments."""
        return self.name.lstrip("-").replace("-", "_")


Groups = dict[str, tuple[Flag, ...]]
"""Headings of the help, and the flags below them."""

_WORKERS = (
    Flag("--num-workers", "execution.num_workers"),
    Flag("--prefetch-factor", "execution.prefetch_factor"),
    Flag("--pin-memory", "execution.pin_memory"),
)
_STITCHING = (
    Flag("--middle-trim", "execution.middle_trim", "PIXELS"),
    Flag(
        "--pad-eval", "execution.pad_eval", default="true",
        about="Whether what ``--middle-trim`` leaves open is filled from the patches.",
    ),
    Flag("--inference-batch-size", "execution.inference_batch_size"),
)  # fmt: skip
_IMAGES = Flag(
    "--n_images", "data.n_images", default="all", about="Use only the first so many patterns."
)
_OUTPUT = Flag(
    "--output_dir", metavar="FOLDER", needed=True, hydra="hydra.run.dir=FOLDER",
    about="Folder of the run; made if it is not there.",
)  # fmt: skip
_RESUME = Flag(
    "--resume", "execution.resume", constant="auto",
    about="Go on with the interrupted run in ``--output_dir``, if its settings are these.",
)  # fmt: skip
_LOGGING = (
    Flag("--logger", "logger.backend", hydra="logger=NAME"),
    Flag("--log-patch-stats", "execution.log_patch_stats"),
    Flag("--patch-stats-limit", "execution.patch_stats_limit", default="no limit"),
    Flag("--quiet", "execution.quiet"),
)
_DEPRECATED = (
    Flag(
        "--device", "trainer.accelerator", choices=("cpu", "cuda"), old=True,
        about="Use ``--accelerator``.",
    ),
    Flag(
        "--disable_mlflow", "logger.backend", constant="none", old=True,
        about="Use ``--logger none``.",
    ),
)  # fmt: skip
TRAIN: Groups = {
    "data and model": (
        Flag("--train_data_file", "data.train_data_file", "FILE.npz", needed=True),
        Flag("--test_data_file", "data.test_data_file", "FILE.npz"),
        _OUTPUT,
        _RESUME,
        _IMAGES,
        Flag(
            "--model", "model.architecture", hydra="model=NAME",
            about="What is learnt, with the batch size, learning rate and weights it usually "
            "needs: ``pinn`` and ``supervised`` a patch for every pattern, ``object_pinn`` the "
            "whole object, which is faster and often better.",
        ),
        Flag("--gridsize", "model.gridsize"),
        Flag("--batch_size", "trainer.batch_size", about="Patterns in a batch."),
        Flag("--max_epochs", "trainer.nepochs"),
    ),
    "execution": (
        Flag("--accelerator", "trainer.accelerator"),
        Flag("--deterministic", "execution.deterministic"),
        Flag("--learning-rate", "trainer.learning_rate"),
        Flag("--scheduler", "trainer.scheduler"),
        Flag("--accumulate-grad-batches", "trainer.accum_steps"),
        *_WORKERS,
        Flag("--persistent-workers", "execution.persistent_workers"),
        *_STITCHING,
        Flag("--patch-weighting", "model.patch_weighting"),
    ),
    "checkpointing": (
        Flag(
            "--enable-checkpointing", "execution.enable_checkpointing",
            off="--disable-checkpointing",
        ),
        Flag("--checkpoint-save-top-k", "execution.checkpoint_save_top_k"),
        Flag("--checkpoint-monitor", "execution.checkpoint_monitor_metric"),
        Flag("--checkpoint-mode", "execution.checkpoint_mode"),
        Flag(
            "--early-stop-patience", "execution.early_stop_patience", "EPOCHS", default="never",
            about="Epochs without improvement before training stops.",
        ),
    ),
    "loss and probe": (
        Flag(
            "--torch-loss-mode", "trainer.torch_loss_mode", choices=("poisson", "amplitude", "mae"),
            about="The likelihood: ``poisson``, or squared ``amplitude`` error, its form for many "
            "photons; ``mae``: the absolute amplitude error alone.",
            hydra="trainer.torch_loss_mode=VALUE; mae: trainer.nll_weight=0 trainer.mae_weight=1",
        ),
        Flag("--probe-mask", "model.probe_mask"),
    ),
    "logging": (
        *_LOGGING[:1],
        Flag(
            "--recon-log-every-n-epochs", "execution.recon_log_every_n_epochs", default="never",
            about="Write a picture before the training and every so many epochs.",
        ),
        *_LOGGING[1:],
    ),
    "deprecated": (
        *_DEPRECATED,
        Flag(
            "--ptycho_dir", metavar="FOLDER", old=True,
            about="Folder with the one scan to train on; the run goes to ``outputs/runs``. Use "
            "``--train_data_file`` and ``--output_dir``.",
        ),
        Flag(
            "--config", metavar="FILE.json", old=True,
            about="With it: settings under their old names, see docs/migration.md; flags win.",
        ),
    ),
}  # fmt: skip
"""Of ``ptycho.train``."""

INFERENCE: Groups = {
    "data and model": (
        Flag(
            "--model_path", "bundle", "FOLDER", needed=True,
            about="Folder of a training, or its bundle ``wts.h5.zip``, zipped or unpacked.",
        ),
        Flag(
            "--test_data", "data.train_data_file", "FILE.npz", needed=True,
            about="Scan to reconstruct (NPZ).",
        ),
        _OUTPUT,
        _RESUME,
        _IMAGES,
    ),
    "execution": (
        Flag("--accelerator", "trainer.accelerator"),
        Flag("--deterministic", "execution.deterministic"),
        *_WORKERS,
        *_STITCHING,
        Flag("--patch-weighting", "model.patch_weighting", default="as trained"),
    ),
    "logging": _LOGGING,
    "deprecated": _DEPRECATED,
}  # fmt: skip
"""Of ``ptycho.inference``."""

_PICKLED = (
    "the models it names in MLflow were pickles, which ptycho never loads; name the folder of a "
    "training with --model_path and a scan with --test_data"
)

OLD_INTERFACE = ("--ptycho_dir", "--config", "--run_id", "--infer_dir", "--file_index")
"""What said which data and which model before there were the flags of today."""

GONE = {
    "--nepochs": "use --max_epochs",
    "--n-groups": "patterns are counted, not groups; use --n_images",
    "--gridsize": "the bundle says how the network was trained",
    "--backend": "there is one",
    "--run-id": _PICKLED,
    "--infer-dir": _PICKLED,
    "--file-index": _PICKLED,
    "--config": "settings are flags; " + _PICKLED,
    "--ptycho-dir": "training reads it, and inference one scan; name it with --test_data",
    "--probe-mask-sigma": "the edge of the mask is sharp; use --probe-mask",
    "--probe-mask-diameter": "the mask is a circle of diameter N/2; use --probe-mask",
    "--profile": "counts and amplitudes are told apart by what the file holds",
    "--rect-s1s2-init": "the photons are matched in closed form",
    "--shared-axes": "pictures of truth and result share their colours always",
}
"""Flags of the older command lines that a command does not have, and why."""


def flags_of(groups: Groups) -> dict[str, Flag]:
    """All flags of a command by their keys."""
    return {flag.key: flag for group in groups.values() for flag in group}
