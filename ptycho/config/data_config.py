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
