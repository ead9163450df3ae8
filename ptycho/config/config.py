"""Every setting of ptycho, written down once.

The same dataclasses are the schema of the YAML groups, the objects the code receives and
what a client constructs by hand. Standard library only: a parent process that merely builds
a configuration must not load torch. Nothing is validated on construction (clients fill in
``N`` later); :mod:`ptycho.config.validate` refuses impossible values in sentences.
"""

from dataclasses import dataclass, field

from ptycho.config.choices import (
    Accelerator,
    Activation,
    Architecture,
    ClipAlgorithm,
    DataFormat,
    DataSource,
    Direction,
    Labels,
    Lazy,
    LoggerBackend,
    LossMode,
    Overlap,
    PatchInput,
    PatchOutput,
    PatchWeighting,
    Resume,
    Scheduler,
    Task,
    UncertaintyMethod,
    Values,
)
from ptycho.config.data_config import GeometryConfig as GeometryConfig
from ptycho.config.data_config import KeysConfig as KeysConfig
from ptycho.config.data_config import PositionsConfig as PositionsConfig
from ptycho.config.data_config import PreprocessConfig as PreprocessConfig
from ptycho.config.data_config import ProbeConfig as ProbeConfig
from ptycho.config.data_config import SyntheticConfig as SyntheticConfig
from ptycho.config.fields import ConfigError as ConfigError
from ptycho.config.fields import UserError as UserError
from ptycho.config.fields import setting as setting
from ptycho.config.sweep_config import SweepConfig as SweepConfig


@dataclass(kw_only=True)
class GroupingConfig:
    """Which patterns a network learns from, and in which groups."""

    n_subsample: int | None = setting(None, at_least=16)
    """Keep only so many patterns, chosen at random; all when empty."""
    subsample_seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """Seed of that choice, and of groups."""
    sequential_sampling: bool = False
    """Keep the first patterns in scan order (and their groups) instead of random ones."""
    n_groups: int | None = setting(None, at_least=1)
    """Groups of ``model.gridsize`` squared patterns to make; one for each pattern when empty."""
    neighbor_count: int | None = setting(None, at_least=1, at_most=64)
    """Nearest patterns (itself among them) from which a group is chosen; empty: those alone."""
    enable_oversampling: bool = False
    """Allow more groups than patterns, made by other choices among the nearest."""
    labels: Labels = Labels.auto
    """What ``trainer.realspace_weight`` compares with: ``Y``, object patches of the file, its
    ``objectGuess``, or the ``solver``'s own solution; ``auto``: ``Y``, else ``objectGuess``."""


@dataclass(kw_only=True)
class DataConfig(GroupingConfig):
    """Which scan; conf/data."""

    label: str = "scan"
    """Name of the scan in folders, tables and pictures."""
    source: DataSource = DataSource.synthetic
    """``synthetic`` simulates a scan, ``file`` reads ``train_data_file``."""
    train_data_file: str | None = None
    """Scan to train on or to reconstruct, in a format of ``data.format``."""
    format: DataFormat = DataFormat.auto
    """Format of the files of scans; ``auto``: what they hold tells."""
    positions_file: str | None = None
    """Where ``train_data_file`` has no positions: the file that has them (of ptychodus' product and
    diffraction files, the other one)."""
    keys: KeysConfig = field(default_factory=KeysConfig)
    """Names of datasets, for HDF5 files of no known layout."""
    test_data_file: str | None = None
    """A second scan that the trained network reconstructs and that is scored beside the first."""
    values: Values = Values.auto
    """Whether the file holds photon counts or amplitudes; ``auto``: integers are counts."""
    lazy: Lazy = Lazy.auto
    """Leave the patterns in the file and read them as they are needed: ``always``, ``never``, or
    (``auto``) where amplitudes would take over a quarter of the memory that the run may use."""
    further_data_files: list[str] = field(default_factory=list)
    """More scans to train on, in any format; none of them is reconstructed."""
    n_images: int | None = setting(None, at_least=16)
    """Use only the first so many patterns; all when empty."""
    holdout_fraction: float = setting(0.05, at_least=0, at_most=0.5)
    """Share of the patterns that nothing is fitted to; they judge the result."""
    nphotons: float | None = setting(None, above=0, at_most=1e15)
    """Photons per pattern of the simulated scan (free space)."""
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    """The instrument that a file was measured with."""
    positions: PositionsConfig = field(default_factory=PositionsConfig)
    """How the positions of a file are read."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """What is done to the patterns of a file."""
    probe_file: str | None = None
    """File with a probe (NPY, NPZ, or a product), in place of the scan's own."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """The beam."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The simulated scan."""


@dataclass(kw_only=True)
class PatchConfig:
    """Networks that predict an object patch for every pattern."""

    patch_input: PatchInput = PatchInput.lifted
    """``lifted``: the pattern and a first object in its place; ``amplitude``: the pattern."""
    output: PatchOutput = PatchOutput.amplitude_phase
    """Says amplitude and phase, or real and imaginary part; both relative to what it saw."""
    amp_activation: Activation = Activation.exponential
    """What makes the amplitude, shifted so that a network that says nothing says 1."""
    overlap: Overlap = Overlap.canvas
    """Patches of a batch agree on a ``canvas``, those of each ``group`` on theirs, or ``none``."""
    canvas_patterns: int = setting(8, at_least=1)
    """Neighbouring patterns on one ``canvas``, about; a batch has as many canvases as it holds."""
    predicted_share: float = setting(0.5, above=0, at_most=1)
    """Share of a ``canvas``'s patterns that are predicted in training; all are measured."""
    object_big: bool | None = None
    """False is ``overlap=none``: every patch on its own. Empty: as ``overlap`` says."""
    pad_object: bool = True
    """Predict the central ``N/2`` in full; false: all of ``N x N`` counts alike."""
    probe_big: bool = True
    """Predict what lies around ``N/2``, too, at a low weight; false: free space is put there."""
    patch_weighting: PatchWeighting = PatchWeighting.probe
    """Overlapping patches are averaged by the ``probe``'s intensity, or as ``uniform``."""
    probe_scale: float = setting(1.0, at_least=0)
    """Root mean square of the probe's amplitude as the network sees it; 0: not at all."""
    gaussian_smoothing_sigma: float = setting(0.0, at_least=0, at_most=16)
    """Standard deviation in pixels by which predicted amplitudes are smoothed."""
    synchronise_phases: bool = True
    """Turn the phases of predicted patches so that neighbours agree, before stitching."""


@dataclass(kw_only=True)
class ModelConfig(PatchConfig):
    """Which network; conf/model."""

    architecture: Architecture = Architecture.object_pinn
    """``object_pinn``: lift all patterns, stitch once, let a network correct the object;
    ``pinn``: predict a patch for every pattern; ``supervised``: learn such patches."""
    generator: str = "unet"
    """What computes inside: ``unet``, ``cnn``, ``fno``, ``hybrid_resnet``, or another package's."""
    N: int | None = setting(None, at_least=16, at_most=2048)
    """Side of a diffraction pattern in pixels; taken from the data when empty."""
    gridsize: int = setting(1, at_least=1)
    """Patterns per group side; only 1 for ``object_pinn``, which sees the whole object."""
    probe_mask: bool = False
    """Set the probe to zero outside the circle of diameter ``N/2``."""
    n_filters_scale: int = setting(1, at_least=1, at_most=16)
    """Multiplies the channels of every layer."""
    lift_coarse_iterations: int = setting(6, at_least=0)
    """Half-resolution solver iterations that prepare the network's input."""
    lift_iterations: int = setting(0, at_least=0)
    """Full-resolution solver iterations that prepare the network's input."""


@dataclass(kw_only=True)
class InstrumentConfig:
    """What is not known well and is found with the object; conf/instrument."""

    probe_trainable: bool = False
    """Refine the probe that came with the scan."""
    probe_modes: int | None = setting(None, at_least=1, at_most=16)
    """Incoherent modes of the probe, which must be trainable; empty: those of the scan."""
    positions_trainable: bool = False
    """Correct positions: each by itself, and magnification, rotation and shear of all."""
    max_shift: float = setting(10.0, above=0, at_most=1000)
    """Object pixels that a position may move along an axis."""
    flux_trainable: bool = False
    """Find how bright the beam was at each position."""
    background_trainable: bool = False
    """Find a background, smooth across the detector, that all patterns share."""


@dataclass(kw_only=True)
class HardwareConfig:
    """What the run computes on."""

    accelerator: Accelerator = Accelerator.auto
    """``auto`` picks CUDA, else MPS, else the CPU; the others are taken at their word."""
    devices: int | str = "auto"
    """Number of devices, or ``auto``: one (all of them when the strategy is ``ddp``)."""
    strategy: str = setting("auto", choices=("auto", "ddp"))
    """``ddp``: one process per device."""
    num_nodes: int = setting(1, at_least=1)
    """Machines that train together, each with ``devices`` (``ddp`` under srun or torchrun)."""
    precision: str = setting("32-true", choices=("32-true", "bf16-mixed", "16-mixed"))
    """Floating point of the network; the physics stays complex64."""


@dataclass(kw_only=True)
class OptimiserConfig:
    """How steps are taken."""

    learning_rate: float = setting(2e-3, above=0, at_most=1)
    """Peak learning rate of AdamW."""
    weight_decay: float = setting(1e-4, at_least=0)
    """AdamW's decoupled weight decay."""
    scheduler: Scheduler = Scheduler.WarmupCosine
    """How the learning rate moves over the run; ``Default`` keeps it constant."""
    warmup_steps: int = setting(20, at_least=0)
    """Steps of linear warm-up (``WarmupCosine`` only)."""
    gradient_clip_val: float | None = setting(3e-3, above=0)
    """Largest gradient norm (or value); empty for no clipping. Small: most steps then go by the
    direction alone, and no rare large gradient throws a training off."""
    gradient_clip_algorithm: ClipAlgorithm = ClipAlgorithm.norm
    """Clip the norm of all gradients or each value."""
    accum_steps: int = setting(1, at_least=1, at_most=1_000_000)
    """Batches whose gradients are added before a step."""


@dataclass(kw_only=True)
class LearningConfig:
    """How long to learn, and from what."""

    nepochs: int = setting(50, at_least=1, at_most=1_000_000_000)
    """Passes over the scan."""
    batch_size: int = setting(192, at_least=1)
    """Neighbouring patterns in one training tile."""
    torch_loss_mode: LossMode = LossMode.poisson
    """The likelihood: ``poisson``, or squared ``amplitude`` error, its form for many photons."""
    nll_weight: float = setting(1.0, at_least=0)
    """Weight of the negative log-likelihood of the patterns."""
    mae_weight: float = setting(0.0, at_least=0)
    """Weight of the absolute amplitude error of the patterns (their R factor)."""
    realspace_weight: float = setting(0.0, at_least=0)
    """Weight of the squared difference of the predicted object to a label."""
    realspace_mae_weight: float = setting(0.0, at_least=0)
    """Weight of the absolute difference of the predicted object to a label."""
    tv_weight: float = setting(0.02, at_least=0)
    """Weight of the total variation of the predicted object where it is lit: keeps the photon
    noise out of it. Much above 0.05 it takes fine structure, too."""
    intensity_scale_trainable: bool = False
    """Learn a factor of the predicted photons, which are matched in closed form at first."""


@dataclass(kw_only=True)
class TrainerConfig(HardwareConfig, OptimiserConfig, LearningConfig):
    """Where and how long to learn; conf/trainer."""


@dataclass(kw_only=True)
class ExecutionConfig:
    """How the process behaves; conf/execution."""

    deterministic: bool = True
    """Use deterministic algorithms, so that the same seed gives the same bits."""
    threads: int | None = setting(None, at_least=1, at_most=1024)
    """CPU threads of torch; all when empty."""
    num_workers: int = setting(0, at_least=0, at_most=256)
    """Processes that prepare batches, to learn from and, for networks that predict patches, to
    reconstruct from; 0 is fastest for scans in memory."""
    pin_memory: bool = False
    """Copy batches through page-locked memory (CUDA)."""
    persistent_workers: bool = False
    """Keep the workers between epochs (needs workers)."""
    prefetch_factor: int | None = setting(None, at_least=1, at_most=1000)
    """Batches each worker prepares ahead (needs workers)."""
    enable_progress_bar: bool = True
    """Show progress with loss and patterns per second."""
    quiet: bool = False
    """Print nothing but warnings and errors; no progress either."""
    enable_checkpointing: bool = True
    """Write ``last.ckpt`` and the best checkpoints."""
    resume: Resume = Resume.never
    """``auto``: go on with an interrupted run of the same settings, if there is one."""
    checkpoint_save_top_k: int = setting(1, at_least=-1)
    """How many of the best checkpoints to keep: -1 all, 0 none."""
    checkpoint_monitor_metric: str = setting(
        "train/loss", choices=("train/loss", "train/patterns_per_s", "train_loss", "val_loss")
    )
    """Metric that says which checkpoint is best; ``train_loss`` and ``val_loss`` are other names
    of ``train/loss``."""
    checkpoint_mode: Direction = Direction.min
    """Whether a small or a large metric is best."""
    early_stop_patience: int | None = setting(None, at_least=1, at_most=1_000_000_000)
    """Epochs without improvement before training stops; empty to never stop."""
    collapse_guard: bool = True
    """Stop, and say so, when the object goes flat or the scale explodes."""
    recon_log_every_n_epochs: int | None = setting(None, at_least=1)
    """Write a picture before the training and every so many epochs; empty for never."""
    inference_batch_size: int = setting(4, at_least=1, at_most=1_000_000)
    """Tiles the network corrects at once when it reconstructs; for patches, 16 patterns each."""
    limit_train_batches: int | None = setting(None, at_least=1)
    """Stop each epoch after so many batches; for debugging."""
    detect_anomaly: bool = False
    """Let autograd name the operation that made a NaN; slow."""
    profiler: str | None = setting(None, choices=("simple", "advanced"))
    """Write Lightning's profile of the training into the run folder."""
    log_patch_stats: bool = False
    """Write amplitude, phase and R factor of every predicted patch to ``patch_stats.csv`` and
    ``patch_stats.png``; for networks that predict patches."""
    patch_stats_limit: int | None = setting(None, at_least=1)
    """Look at so many batches of patches at most (``inference_batch_size``); empty: at all."""
    middle_trim: int | None = setting(None, at_least=1)
    """Side of the central window of patches that is stitched; for networks that predict them."""
    pad_eval: bool | None = None
    """Whether what ``middle_trim`` leaves open is filled from the patches; empty: yes."""


@dataclass(kw_only=True)
class PyTorchExecutionConfig(HardwareConfig, OptimiserConfig, ExecutionConfig):
    """Everything about *how* the backend runs; never part of ``params.cfg``.

    Assembled from the groups ``trainer``, ``execution`` and ``logger``, or by hand.

    Raises:
        ConfigError: on construction, with every impossible value.
    """

    logger_backend: LoggerBackend = LoggerBackend.mlflow
    """Where metrics are logged."""

    def __post_init__(self) -> None:
        from ptycho.config.validate import check_execution

        check_execution(self)


@dataclass(kw_only=True)
class SolverConfig:
    """The physics solver of ``task=solve``, of the lift and of ``refine``."""

    coarse_iterations: int = setting(8, at_least=0)
    """Half-resolution iterations of ``task=solve``."""
    iterations: int = setting(5, at_least=0)
    """Full-resolution iterations of ``task=solve``."""
    poisson_iterations: int = setting(10, at_least=0)
    """Final iterations on the Poisson likelihood."""
    batch_size: int | None = setting(None, at_least=1)
    """Patterns each thread computes at once; memory, not result. Empty: what suits the device."""
    probe_floor: float = setting(0.02, at_least=1e-6, at_most=1)
    """Share of the brightest illumination added where the probe is dim."""
    precondition: bool = True
    """Strengthen low spatial frequencies of the phase update."""
    cutoff: float | None = setting(None, above=0, at_most=0.5)
    """Frequency (cycles per pixel) below which they are strengthened; empty: 1/probe width."""
    cap: float = setting(50.0, at_least=1, at_most=1e6)
    """Largest factor by which a low frequency is strengthened."""
    subsets: int = setting(2, at_least=1, at_most=4)
    """Steps of an iteration, each with its share of the patterns, where shares cover the scan."""


@dataclass(kw_only=True)
class RefineConfig:
    """How the physics finishes what the network began; conf/refine."""

    iterations: int = setting(5, at_least=0)
    """Full-resolution solver iterations after the network."""
    poisson_iterations: int = setting(10, at_least=0)
    """Iterations on the Poisson likelihood that follow them; both 0: its answer stays."""


@dataclass(kw_only=True)
class UncertaintyConfig:
    """How uncertain each pixel of the result is; docs/uncertainty.md."""

    method: UncertaintyMethod = UncertaintyMethod.none
    """``bootstrap`` reconstructs scans drawn from the result, ``halves`` the two halves of the
    scan, ``combined`` takes the larger of both; ``fisher`` counts photons."""
    members: int = setting(2, at_least=1, at_most=1000)
    """Scans drawn and reconstructed (``bootstrap`` and ``combined``)."""
    seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """Seed of the scans drawn (``bootstrap`` and ``combined``)."""
    retrain: bool = False
    """Let every member train a network of its own (``task=train``); takes as long as that."""


@dataclass(kw_only=True)
class AdaptConfig:
    """How a trained network gets used to a new scan; ``task=adapt``."""

    epochs: int = setting(8, at_least=1)
    """Passes over the scan, in place of ``trainer.nepochs``."""
    learning_rate: float = setting(5e-4, above=0, at_most=1)
    """Peak learning rate, in place of ``trainer.learning_rate``."""
    stay_weight: float = setting(1.0, at_least=0)
    """Weight of the squared difference to what the network said before; 0 lets it go anywhere."""


@dataclass(kw_only=True)
class LoggerConfig:
    """Where runs are reviewed; conf/logger."""

    backend: LoggerBackend = LoggerBackend.mlflow
    """``none``, ``csv``, ``tensorboard``, ``mlflow`` or ``many`` (all three)."""
    experiment: str = "ptycho"
    """MLflow experiment under which runs are listed."""
    run_name: str | None = None
    """Name of the run in the dashboard; made from task, scan and time when empty."""
    tracking_uri: str | None = None
    """MLflow server or database; empty: SQLite under ``paths.outputs``."""
    register_model: str | None = None
    """Name under which the bundle becomes a new version in MLflow's model registry."""


@dataclass(kw_only=True)
class PathsConfig:
    """Where things are; conf/paths."""

    outputs: str = "outputs"
    """Everything a run writes goes below this folder."""
    data: str = "data"
    """Folder in which named datasets are expected."""


@dataclass(kw_only=True)
class RunConfig:
    """All settings of one run."""

    task: Task = Task.train
    """``train`` a network and reconstruct, ``reconstruct`` with a bundle, ``adapt`` a bundle to
    the scan first, or ``solve`` without a network."""
    seed: int = setting(0, at_least=0, at_most=2**32 - 1)
    """Seed of network, batches and training."""
    bundle: str | None = None
    """Trained bundle (``wts.h5.zip`` or its unpacked folder) to reconstruct with or to adapt."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    instrument: InstrumentConfig = field(default_factory=InstrumentConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass(kw_only=True)
class TrainingConfig(DataConfig, LearningConfig, InstrumentConfig):
    """What is trained on what: the canonical configuration that fills ``params.cfg``."""

    model: ModelConfig = field(default_factory=ModelConfig)
    output_dir: str | None = None
    """Where the run writes."""


@dataclass(kw_only=True)
class InferenceConfig:
    """Which bundle reconstructs which scan; fills ``params.cfg`` for inference."""

    model: ModelConfig = field(default_factory=ModelConfig)
    model_path: str | None = None
    """The trained bundle."""
    test_data_file: str | None = None
    """The scan to reconstruct."""
    values: Values = Values.auto
    """Whether the scan's file holds counts or amplitudes."""
    n_images: int | None = None
    """Use only the first so many patterns."""
    output_dir: str | None = None
    """Where the run writes."""
