"""Settings of the group ``data`` that lie a level deeper: what is simulated, how files are read."""

from dataclasses import dataclass, field

from ptycho.config.choices import (
    PositionUnit,
    ProbeKind,
    ScanPath,
    SyntheticObject,
    ZeroFrequency,
)
from ptycho.config.fields import setting


@dataclass(kw_only=True)
class ProbeConfig:
    """The beam that is simulated, or that a reconstruction of a file begins with; docs/simulate.md.

    What has no unit in its name is in object pixels. Metres need the object's pixel, see
    ``data.geometry``, and a defocus in metres the photon energy, too.
    """

    kind: ProbeKind = ProbeKind.file
    """``file``: as it comes with the scan (simulated: a zone plate), ``average``: found in the
    patterns, or made: ``zone_plate``, ``rectangular`` (KB mirrors), ``disk`` (a pinhole),
    ``gaussian``."""
    radius: float | None = setting(None, above=0, at_most=4096)
    """Radius of the beam on the object: of a ``disk``, of a ``gaussian`` to ``1/e^2`` of the
    intensity, geometric of the others, which stand so far in front of their focus."""
    radius_m: float | None = setting(None, above=0, at_most=1)
    """The same in metres."""
    pupil: float | None = setting(None, above=0, at_most=0.5)
    """Radius of the pupil (half its height if ``rectangular``) in cycles per object pixel."""
    outer_zone_m: float | None = setting(None, above=0, at_most=1)
    """Width of the outermost zone of a ``zone_plate``, which says its pupil, in metres."""
    aperture: float | None = setting(None, above=0, at_most=1)
    """Numerical aperture of ``rectangular`` optics along y: half the opening over the focal
    length."""
    aspect: float = setting(1.0, at_least=0.05, at_most=20)
    """Width of a ``rectangular`` pupil over its height."""
    stop: float = setting(0.35, at_least=0, at_most=0.95)
    """Diameter of the central stop over that of the ``zone_plate``; 0: none."""
    defocus: float | None = setting(None, at_least=-1e6, at_most=1e6)
    """Distance of the object behind the focus (the waist, the pinhole, the probe of the file) in
    object pixels squared over the wavelength."""
    defocus_m: float | None = setting(None, at_least=-10, at_most=10)
    """The same in metres."""
    modes: int | None = setting(None, at_least=1, at_most=16)
    """Incoherent modes, orthogonal, the beam itself first; empty: as many as it has."""
    mode_powers: list[float] = field(default_factory=list)
    """Relative powers of the modes; empty: each that is added has half that of the one before."""


@dataclass(kw_only=True)
class SyntheticConfig:
    """The built-in simulated scan; used when ``data.source`` is ``synthetic``."""

    object: SyntheticObject = SyntheticObject.natural
    """``natural`` (a photograph bundled with scikit-image), ``dead_leaves``, ``chip``, ``lines``,
    ``grf`` (a Gaussian random field), ``siemens``, ``cells``, ``spheres``, ``blobs``, or ``mixed``:
    dead leaves, chips and photographs in turn, for several objects."""
    exponent: float = setting(3.0, at_least=0, at_most=8)
    """The power spectrum of a ``grf`` falls with this power of the spatial frequency."""
    spokes: int = setting(36, at_least=2, at_most=1000)
    """Spokes of a ``siemens`` star."""
    phase: float | None = setting(None, above=0, at_most=100)
    """Phase shift of the thickest place in radians; empty: as usual for the kind, about 1."""
    delta_over_beta: float | None = setting(None, above=0, at_most=1e6)
    """Refraction over absorption of the material: amplitude and phase follow from one thickness;
    empty: the amplitude falls by a quarter or less, as usual for the kind."""
    independent: bool = False
    """Draw the amplitude by itself, of the same kind, so that it says nothing about the phase."""
    n_patterns: int = setting(1600, at_least=16, at_most=1_000_000)
    """Diffraction patterns to simulate (``snake`` and ``raster``: rounded down to full rows)."""
    scan: ScanPath = ScanPath.snake
    """``snake`` (every second row backwards), ``raster``, ``fermat`` (spiral), ``concentric``
    (rings) or ``random``."""
    step: float = setting(6.0, above=0, at_most=1e4)
    """Mean distance between neighbouring positions, in object pixels."""
    jitter: float = setting(1.0, at_least=0, at_most=1e3)
    """Standard deviation added to the positions (not the ``random`` ones), in object pixels."""
    position_error: float = setting(0.0, at_least=0, at_most=1e3)
    """Standard deviation of the error of the recorded positions, in object pixels."""
    fly_steps: int = setting(1, at_least=1, at_most=64)
    """Points along the way over which a pattern is averaged (``snake``, ``raster`` and
    ``concentric``); 1: the beam stands still."""
    probe_radius: float = setting(12.0, above=1)
    """Radius of the defocused beam on the object, in object pixels."""
    seed: int = setting(0, at_least=0)
    """Seed of object, positions and photon noise; independent of the run's own seed."""
    n_objects: int = setting(1, at_least=1, at_most=1000)
    """Scans to train on, each of another object; the first is reconstructed and reported."""
    flux_jitter: float = setting(0.0, at_least=0, at_most=2)
    """Relative standard deviation of the brightness of the beam from pattern to pattern."""
    background: float = setting(0.0, at_least=0, at_most=1e9)
    """Photons per detector pixel that do not come from the object, on average: scattering by air,
    a broad hill around the middle."""
    detector_blur: float = setting(0.0, at_least=0, at_most=16)
    """Standard deviation of the detector's point spread, in its pixels."""
    read_noise: float = setting(0.0, at_least=0, at_most=1e6)
    """Standard deviation of the detector's own noise, in photons; negative counts become 0."""
    saturation: float | None = setting(None, above=0, at_most=1e15)
    """Counts at which a pixel stops; they are kept, as detectors keep them."""
    dead_pixels: float = setting(0.0, at_least=0, at_most=0.5)
    """Share of pixels that are dead, which the scan marks as bad."""
    gap: int = setting(0, at_least=0, at_most=256)
    """Width of the gaps between detector modules, in its pixels: one across and one down, a sixth
    of the pattern off its middle; marked as bad."""
    beamstop: float = setting(0.0, at_least=0, at_most=1024)
    """Radius of the stop before the detector, in its pixels; marked as bad."""


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
    """Whether the detector is so near that a pattern is a fringed image and not a spectrum; empty:
    as the file says, else false. It needs energy, distance and the detector's pixel."""
    focus_distance_m: float | None = setting(None, above=0, at_most=1e4)
    """Focus, from which the beam diverges, to sample in metres (near field); empty: parallel."""


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
    pad: int | None = setting(None, at_least=16, at_most=8192)
    """Side to which patterns are enlarged by pixels that nobody measured (bad ones, not zeros):
    the object's pixel shrinks."""
    resample: int | None = setting(None, at_least=16, at_most=8192)
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


@dataclass(kw_only=True)
class KeysConfig:
    """Names of the datasets of an HDF5 file of no known layout (``data.format=hdf5``)."""

    patterns: str | None = None
    """Patterns ``(n, H, W)``: ``entry/data/data``."""
    positions: str | None = None
    """Positions ``(n, 2)`` or ``(2, n)``: y, x; in the unit that the dataset says, in metres where
    they are that small, else in pixels. In ``data.positions_file`` where there is one."""
    positions_y: str | None = None
    """Instead of ``positions``: y alone, ``(n,)``."""
    positions_x: str | None = None
    """Instead of ``positions``: x alone, ``(n,)``."""
    probe: str | None = None
    """Probe ``(N, N)`` or ``(modes, N, N)``, complex."""
    object: str | None = None
    """Object ``(H, W)``, complex, on the grid of positions in pixels."""
    bad_pixels: str | None = None
    """Bad pixels ``(H, W)`` or ``(n, H, W)``: 0 where a pixel is good."""
    energy: str | None = None
    """Photon energy, in electronvolts unless the dataset says another unit."""
    distance: str | None = None
    """Sample to detector, in metres unless the dataset says another unit."""
    detector_pixel: str | None = None
    """Side of a detector pixel, likewise."""
    pixel_size: str | None = None
    """Side of an object pixel, likewise."""
    follow_links: bool = False
    """Follow links of HDF5 and CXI files to other files, as detectors write them, where these lie
    in the same folder. Only for files that you trust: HDF5 would open whatever a link names."""
