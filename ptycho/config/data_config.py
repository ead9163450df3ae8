"""Settings of the group ``data`` that lie a level deeper: what is simulated, how files are read."""

from dataclasses import dataclass

from ptycho.config.choices import PositionUnit, SyntheticObject, ZeroFrequency
from ptycho.config.fields import setting


@dataclass(kw_only=True)
class SyntheticConfig:
    """The built-in simulated scan; used when ``data.source`` is ``synthetic``."""

    object: SyntheticObject = SyntheticObject.natural
    """``natural`` (a photograph bundled with scikit-image), ``dead_leaves``, ``chip``, or
    ``mixed``: one kind after another, for several objects."""
    n_patterns: int = setting(1600, at_least=16, at_most=1_000_000)
    """Diffraction patterns to simulate (rounded down to full rows)."""
    step: float = setting(6.0, above=0, at_most=1e4)
    """Mean distance between neighbouring positions, in object pixels."""
    jitter: float = setting(1.0, at_least=0, at_most=1e3)
    """Standard deviation added to the raster positions, in object pixels."""
    probe_radius: float = setting(12.0, above=1)
    """Radius of the defocused beam on the object, in object pixels."""
    seed: int = setting(0, at_least=0)
    """Seed of object, positions and photon noise; independent of the run's own seed."""
    n_objects: int = setting(1, at_least=1, at_most=1000)
    """Scans to train on, each of another object; the first is reconstructed and reported."""


@dataclass(kw_only=True)
class GeometryConfig:
    """Lengths and energies of the instrument, where a file does not say them, or wrongly."""

    energy_ev: float | None = setting(None, above=0, at_most=1e9)
    """Photon energy in electronvolts."""
    distance_m: float | None = setting(None, above=0, at_most=1e4)
    """Sample to detector in metres."""
    detector_pixel_m: float | None = setting(None, above=0, at_most=1)
    """Side of a pixel of the detector in metres, as the file has its patterns (not binned here)."""
    pixel_size_m: float | None = setting(None, above=0, at_most=1)
    """Side of an object pixel in metres that the file's own patterns have, before they are cropped
    or padded here; empty: from the other three, or as the file says."""
    near_field: bool | None = None
    """False: far field, whatever the file says. True is refused: only far field is supported."""


@dataclass(kw_only=True)
class PositionsConfig:
    """How the positions of a file become object pixels: unit, swap, flips, scale, in this order."""

    unit: PositionUnit = PositionUnit.auto
    """What they are counted in; ``auto``: what the format or the file says. Lengths need the
    object's pixel, see ``data.geometry``."""
    swap: bool = False
    """Exchange y and x."""
    flip_y: bool = False
    """Negate y about the middle of the scan, after the exchange."""
    flip_x: bool = False
    """Negate x about the middle of the scan, after the exchange."""
    scale: float = setting(1.0, above=0, at_most=1e6)
    """Multiplies distances from the middle of the scan: where a step was not what it should be."""


@dataclass(kw_only=True)
class PreprocessConfig:
    """How the patterns of a file become those that are looked at, see docs/preprocessing.md."""

    zero_frequency: ZeroFrequency = ZeroFrequency.centre
    """Where the patterns have zero frequency: in the ``centre`` or in the ``corner``, after the
    three below."""
    transpose: bool = False
    """Exchange rows and columns of the patterns."""
    flip_y: bool = False
    """Turn the order of rows round, after the exchange."""
    flip_x: bool = False
    """Turn the order of columns round, after the exchange."""
    center_y: float | None = setting(None, at_least=0, at_most=1e5)
    """Row of the beam's centre, counted from 0, after the four above; empty: the middle one."""
    center_x: float | None = setting(None, at_least=0, at_most=1e5)
    """Column of the beam's centre, likewise."""
    find_center: bool = False
    """Find the beam's centre: the point about which the mean pattern is most symmetric."""
    crop: int | None = setting(None, at_least=16, at_most=100_000)
    """Side of the square about the beam's centre that is kept: the object's pixel grows."""
    bin: int = setting(1, at_least=1, at_most=64)
    """Add up so many pixels along each axis: the patch of the object shrinks, its pixel stays."""
    pad: int | None = setting(None, at_least=16, at_most=100_000)
    """Side to which patterns are enlarged by pixels that nobody measured (bad ones, not zeros):
    the object's pixel shrinks."""
    resample: int | None = setting(None, at_least=16, at_most=100_000)
    """Side to which patterns are interpolated over the same angles: the object's pixel stays."""
    minimum: float | None = setting(None, at_least=0)
    """Counts below this are taken for 0, negative ones, too; after the background."""
    maximum: float | None = setting(None, above=0)
    """Counts above this make a pixel bad in its frame; after the background."""
    saturation: float | None = setting(None, above=0)
    """Counts in the file from which on a pixel is full, and bad in its frame."""
    background: float | None = setting(None, above=0)
    """Counts subtracted from every pixel; what falls below 0 becomes 0."""
    background_file: str | None = None
    """Counts ``(H, W)`` subtracted from every frame, as the file has them (NPY, or NPZ of one
    array)."""
    bad_pixels_file: str | None = None
    """Pixels ``(H, W)`` that are left out, true or not 0 where bad, as the file has them (NPY, or
    NPZ of one array); those that the file itself marks are left out, too."""
    mask_hot: bool = False
    """Leave out pixels that shine whatever the pattern, see docs/preprocessing.md."""
    drop_empty: bool = True
    """Leave out frames without a single count, with their positions."""
    drop_below: float | None = setting(None, above=0)
    """Leave out frames with fewer counts in all, as prepared."""
    drop_above: float | None = setting(None, above=0)
    """Leave out frames with more counts in all, as prepared."""
