"""Settings of the group ``data`` that lie a level deeper: what is simulated, how files are read."""

from dataclasses import dataclass

from ptycho.config.choices import SyntheticObject
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
