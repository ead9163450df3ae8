"""Choices of the settings: lower-case names, as typed in YAML and on the command line."""

from enum import StrEnum


class Task(StrEnum):
    """What a run does."""

    train = "train"
    reconstruct = "reconstruct"
    solve = "solve"
    adapt = "adapt"


WITH_BUNDLE = (Task.reconstruct, Task.adapt)
"""Tasks that begin with a trained network."""


class DataSource(StrEnum):
    """Where a scan comes from."""

    synthetic = "synthetic"
    file = "file"


class DataFormat(StrEnum):
    """Formats of scans that can be read: names in :mod:`ptycho.data.formats.registry`."""

    auto = "auto"
    npz = "npz"
    slac = "slac"
    ptychodus = "ptychodus"
    ptychodus_training = "ptychodus_training"
    cxi = "cxi"
    fold_slice = "fold_slice"
    npy = "npy"
    hdf5 = "hdf5"

    @property
    def has_links(self) -> bool:
        """Whether its files may link to others."""
        return self in (DataFormat.auto, DataFormat.cxi, DataFormat.fold_slice, DataFormat.hdf5)


class Values(StrEnum):
    """What the numbers in a diffraction array are."""

    auto = "auto"
    counts = "counts"
    amplitude = "amplitude"


class Lazy(StrEnum):
    """When amplitudes stay in their file and are read as they are needed."""

    auto = "auto"
    always = "always"
    never = "never"


class PositionUnit(StrEnum):
    """What the positions of a file are counted in."""

    auto = "auto"
    px = "px"
    m = "m"
    um = "um"
    nm = "nm"

    @property
    def metres(self) -> float | None:
        """Its length in metres; None for pixels and ``auto``."""
        return {"m": 1.0, "um": 1e-6, "nm": 1e-9}.get(self.value)


class ZeroFrequency(StrEnum):
    """Where the patterns of a file have their middle."""

    centre = "centre"
    corner = "corner"


class SyntheticObject(StrEnum):
    """Objects of the built-in simulated scan."""

    natural = "natural"
    dead_leaves = "dead_leaves"
    chip = "chip"
    lines = "lines"
    grf = "grf"
    siemens = "siemens"
    cells = "cells"
    spheres = "spheres"
    blobs = "blobs"
    mixed = "mixed"


class ScanPath(StrEnum):
    """Ways of the beam over a simulated object."""

    snake = "snake"
    raster = "raster"
    fermat = "fermat"
    concentric = "concentric"
    random = "random"


class ProbeKind(StrEnum):
    """Where the beam comes from that a reconstruction begins with, or a simulation uses."""

    file = "file"
    average = "average"
    zone_plate = "zone_plate"
    rectangular = "rectangular"
    disk = "disk"
    gaussian = "gaussian"


class Architecture(StrEnum):
    """Networks that can be trained."""

    object_pinn = "object_pinn"
    pinn = "pinn"
    supervised = "supervised"

    @property
    def predicts_patches(self) -> bool:
        """Whether it predicts an object patch for every pattern instead of the whole object."""
        return self != Architecture.object_pinn


class PatchInput(StrEnum):
    """What a patch network sees of a pattern."""

    lifted = "lifted"
    amplitude = "amplitude"


class PatchOutput(StrEnum):
    """What a patch network says about a patch."""

    amplitude_phase = "amplitude_phase"
    real_imag = "real_imag"


class Activation(StrEnum):
    """What makes an amplitude of a number; zero becomes one."""

    exponential = "exponential"
    sigmoid = "sigmoid"
    swish = "swish"
    softplus = "softplus"
    relu = "relu"


class Overlap(StrEnum):
    """Which patches are made to agree where they overlap."""

    canvas = "canvas"
    group = "group"
    none = "none"


class PatchWeighting(StrEnum):
    """What a pixel of a patch counts where patches overlap."""

    probe = "probe"
    uniform = "uniform"


class Labels(StrEnum):
    """Where the object patches come from that a network learns."""

    auto = "auto"
    Y = "Y"
    objectGuess = "objectGuess"
    solver = "solver"


GENERATORS = ("unet", "cnn", "fno", "hybrid_resnet")
"""Built-in generators; other packages may add theirs, see :mod:`ptycho.nn.registry`."""


class Accelerator(StrEnum):
    """Devices a run may ask for; ``tpu`` is known by name and refused."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"
    cuda = "cuda"
    mps = "mps"
    tpu = "tpu"


class LossMode(StrEnum):
    """What measures the distance between predicted and measured patterns."""

    poisson = "poisson"
    amplitude = "amplitude"


class Scheduler(StrEnum):
    """How the learning rate moves."""

    Default = "Default"
    Exponential = "Exponential"
    MultiStage = "MultiStage"
    Adaptive = "Adaptive"
    WarmupCosine = "WarmupCosine"
    ReduceLROnPlateau = "ReduceLROnPlateau"


class UncertaintyMethod(StrEnum):
    """What tells how uncertain each pixel is."""

    none = "none"
    fisher = "fisher"
    halves = "halves"
    bootstrap = "bootstrap"
    combined = "combined"

    @property
    def draws(self) -> bool:
        """Whether scans are drawn again from the result."""
        return self in (UncertaintyMethod.bootstrap, UncertaintyMethod.combined)

    @property
    def splits(self) -> bool:
        """Whether the scan is cut in two halves."""
        return self in (UncertaintyMethod.halves, UncertaintyMethod.combined)


class ClipAlgorithm(StrEnum):
    """How gradients are clipped."""

    norm = "norm"
    value = "value"


class Direction(StrEnum):
    """Whether smaller or larger is better."""

    min = "min"
    max = "max"


class Resume(StrEnum):
    """Whether a run goes on where an interrupted one stopped."""

    never = "never"
    auto = "auto"


class SweepSampler(StrEnum):
    """What chooses the settings of the next trial of a sweep."""

    grid = "grid"
    random = "random"
    tpe = "tpe"
    nsga2 = "nsga2"

    @property
    def draws(self) -> bool:
        """Whether trials are drawn, and not every combination is tried."""
        return self != SweepSampler.grid


class Pruner(StrEnum):
    """What gives up trials of a sweep that fall behind."""

    none = "none"
    median = "median"
    hyperband = "hyperband"


class LoggerBackend(StrEnum):
    """Where metrics are logged besides the run folder."""

    none = "none"
    csv = "csv"
    tensorboard = "tensorboard"
    mlflow = "mlflow"
    many = "many"

    @property
    def uses_mlflow(self) -> bool:
        """Whether runs stand in the MLflow dashboard."""
        return self in (LoggerBackend.mlflow, LoggerBackend.many)
