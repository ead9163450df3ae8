"""The experiment as a module: measurement of propagation of interaction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptycho.physics.detector import intensity
from ptycho.physics.patches import add_patches_, extract_patches, split_positions
from ptycho.physics.probe import as_modes, centring, photons, shifted_probes
from ptycho.physics.threads import in_parallel, shares


def matched_scale(probe: Tensor, amplitude: Tensor, take: Tensor | None = None) -> float:
    """The one scale between data and model, in closed form.

    A probe multiplied by it carries, in front of an empty object, as many photons as the
    average measured pattern: a transparent object then has amplitude 1 at any dose.

    Args:
        probe: complex ``(mode, y, x)`` in any unit.
        amplitude: measured ``(n, y, x)``.
        take: numbers ``(m,)`` of the patterns to look at; all when None.
    """
    each = torch.linalg.vector_norm(amplitude, dim=(-2, -1)).cpu().double()
    measured = (each if take is None else each[take]).square().mean()
    # double before squaring: a probe may come in any unit
    return float((measured / photons(probe.cpu().to(torch.complex128))).sqrt())


class Experiment(nn.Module):
    """A known probe stepped over an object: predicts the photons on the detector.

    Args:
        probe: complex ``(mode, y, x)`` in square roots of photons.
        positions: patch centres ``(n, 2)`` as (y, x) in object pixels, float64.
        bins: sub-pixel shifts of the probe that are told apart, per pixel and axis.
    """

    table: Tensor
    row: Tensor
    corners: Tensor

    def __init__(self, probe: Tensor, positions: Tensor, bins: int = 16) -> None:
        super().__init__()
        modes = as_modes(probe)
        corners, rest = split_positions(positions, modes.shape[-1])
        table, row = shifted_probes(modes, rest, bins)
        # the probe carries the detector's centring, so that no pattern needs a shift
        centre = centring(modes.shape[-1], modes.device, modes.dtype)
        self.register_buffer("table", table * centre, persistent=False)
        self.register_buffer("row", row, persistent=False)
        self.register_buffer("corners", corners.to(table.device), persistent=False)

    def of(self, which: Tensor, origin: Tensor | None = None) -> "Experiment":
        """Some of the patterns, over a tile of the object; the probes are shared.

        Args:
            which: indices ``(b,)`` of the positions.
            origin: first row and column ``(2,)`` of the tile on the object.
        """
        some = Experiment.__new__(Experiment)
        nn.Module.__init__(some)
        corners = self.corners[which]
        some.register_buffer("table", self.table, persistent=False)
        some.register_buffer("row", self.row[which], persistent=False)
        some.register_buffer(
            "corners", corners if origin is None else corners - origin, persistent=False
        )
        return some

    @property
    def size(self) -> int:
        """Side of a pattern."""
        return int(self.table.shape[-1])

    def forward(self, obj: Tensor, which: Tensor, origin: Tensor | None = None) -> Tensor:
        """Expected photons of some patterns.

        Args:
            obj: complex ``(H, W)``, the object or a tile of it.
            which: indices ``(b,)`` of the positions.
            origin: first row and column ``(2,)`` of the tile on the object.

        Returns:
            Real ``(b, y, x)``, zero frequency at the centre.
        """
        some = self.of(which, origin)
        patches = extract_patches(obj, some.corners, self.size)
        exit_waves = self.table[some.row] * patches[:, None]
        return intensity(torch.fft.fft2(exit_waves, norm="ortho"))

    def illumination(self, shape: tuple[int, int], batch: int = 48) -> Tensor:
        """Photons that fell on each object pixel, ``(H, W)``."""
        beams = intensity(self.table)

        def add(share: Sequence[slice]) -> Tensor:
            light = torch.zeros(shape, device=beams.device, dtype=beams.dtype)
            for some in share:
                add_patches_(light, beams[self.row[some]], self.corners[some])
            return light

        lights = in_parallel(add, shares(len(self.row), batch, beams.device))
        return sum(lights[1:], lights[0])
