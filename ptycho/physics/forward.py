"""The experiment as a module: measurement of propagation of interaction."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptycho.physics.detector import intensity
from ptycho.physics.fourier import fourier_shift
from ptycho.physics.measured import Measured, norms
from ptycho.physics.patches import add_patches_, extract_patches, split_positions
from ptycho.physics.probe import as_modes, centring, photons, shifted_probes
from ptycho.physics.propagation import fresnel_transfer, from_near_detector, to_near_detector
from ptycho.physics.threads import in_parallel, shares


def matched_scale(probe: Tensor, amplitude: Measured, take: Tensor | None = None) -> float:
    """The one scale between data and model, in closed form.

    A probe multiplied by it carries, in front of an empty object, as many photons as the
    average measured pattern: a transparent object then has amplitude 1 at any dose.

    Args:
        probe: complex ``(mode, y, x)`` in any unit.
        amplitude: measured ``(n, y, x)``.
        take: numbers ``(m,)`` of the patterns to look at; all when None.
    """
    each = norms(amplitude).cpu().double()
    measured = (each if take is None else each[take]).square().mean()
    # double before squaring: a probe may come in any unit
    return float((measured / photons(probe.cpu().to(torch.complex128))).sqrt())


class Experiment(nn.Module):
    """A probe stepped over an object: predicts the photons on the detector.

    Args:
        probe: complex ``(mode, y, x)`` in square roots of photons.
        positions: patch centres ``(n, 2)`` as (y, x) in object pixels, float64.
        bins: sub-pixel shifts of the probe that are told apart, per pixel and axis.
        flux: brightness of the beam at each position ``(n,)``, 1 being the probe's own.
        background: photons ``(y, x)`` that every pattern holds besides, zero frequency at the
            centre.
        fresnel: Fresnel number of an object pixel, where the detector is near; None: far.
    """

    table: Tensor
    shifts: Tensor
    row: Tensor
    corners: Tensor
    gain: Tensor | None
    background: Tensor | None
    transfer: Tensor | None

    def __init__(
        self,
        probe: Tensor,
        positions: Tensor,
        bins: int = 16,
        *,
        flux: Tensor | None = None,
        background: Tensor | None = None,
        fresnel: float | None = None,
    ) -> None:
        super().__init__()
        modes = as_modes(probe)
        corners, rest = split_positions(positions, modes.shape[-1])
        table, row, shifts = shifted_probes(modes, rest, bins)
        device, real = table.device, table.real.dtype
        if fresnel is None:
            # the probe carries the detector's centring, so that no pattern needs a shift
            table = table * centring(modes.shape[-1], device, modes.dtype)
            transfer = None
        else:
            transfer = fresnel_transfer(modes.shape[-1], fresnel, modes.dtype).to(device)
        parts = {
            "table": table,
            "shifts": shifts,
            "row": row,
            "corners": corners.to(device),
            "gain": None if flux is None else flux.to(device, real).sqrt(),
            "background": None if background is None else background.to(device, real),
            "transfer": transfer,
        }
        for name, part in parts.items():
            self.register_buffer(name, part, persistent=False)

    def of(self, which: Tensor, origin: Tensor | None = None) -> "Experiment":
        """Some of the patterns, over a tile of the object; the probes are shared.

        Args:
            which: indices ``(b,)`` of the positions.
            origin: first row and column ``(2,)`` of the tile on the object.
        """
        some = Experiment.__new__(Experiment)
        nn.Module.__init__(some)
        corners = self.corners[which]
        parts = {
            "table": self.table,
            "shifts": self.shifts,
            "row": self.row[which],
            "corners": corners if origin is None else corners - origin,
            "gain": None if self.gain is None else self.gain[which],
            "background": self.background,
            "transfer": self.transfer,
        }
        for name, part in parts.items():
            some.register_buffer(name, part, persistent=False)
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
        return some.diffract(extract_patches(obj, some.corners, self.size))

    def diffract(self, patches: Tensor) -> Tensor:
        """Expected photons of object patches, one at each position.

        Args:
            patches: complex ``(n, y, x)``.

        Returns:
            Real ``(n, y, x)``, zero frequency at the centre.
        """
        return self.seen(self.propagate(self.beams(slice(None)) * patches[:, None]))

    def propagate(self, exit_waves: Tensor) -> Tensor:
        """Detector waves of exit waves, complex ``(..., y, x)``; unitary."""
        if self.transfer is None:
            wave: Tensor = torch.fft.fft2(exit_waves, norm="ortho")
            return wave
        return to_near_detector(exit_waves, self.transfer)

    def propagate_back(self, waves: Tensor) -> Tensor:
        """The inverse, which is the adjoint, of :meth:`propagate`."""
        if self.transfer is None:
            exit_waves: Tensor = torch.fft.ifft2(waves, norm="ortho")
            return exit_waves
        return from_near_detector(waves, self.transfer)

    def beams(self, which: slice | Tensor) -> Tensor:
        """The probe at some positions, complex ``(b, mode, y, x)``; a copy."""
        beams = self.table.index_select(0, self.row[which])
        return beams if self.gain is None else beams.mul_(self.gain[which, None, None, None])

    def seen(self, wave: Tensor) -> Tensor:
        """Photons ``(b, y, x)`` that detector waves ``(b, mode, y, x)`` bring; a copy."""
        photons = intensity(wave)
        return photons if self.background is None else photons.add_(self.background)

    def gather(self, table: Tensor) -> Tensor:
        """The adjoint of tabulating the probe, of which the beams are rows.

        Args:
            table: complex ``(k, mode, y, x)``, something for each row of the table.

        Returns:
            Complex ``(mode, y, x)``.
        """
        if self.transfer is None:
            table = table * centring(self.size, table.device, table.dtype).conj()
        return fourier_shift(table, -self.shifts[:, None]).sum(0)

    def illumination(self, shape: tuple[int, int], batch: int = 48) -> Tensor:
        """Photons that fell on each object pixel, ``(H, W)``."""
        beams = intensity(self.table)

        def add(share: Sequence[slice]) -> Tensor:
            light = torch.zeros(shape, device=beams.device, dtype=beams.dtype)
            for some in share:
                lit = beams[self.row[some]]
                if self.gain is not None:
                    lit *= self.gain[some, None, None].square()
                add_patches_(light, lit, self.corners[some])
            return light

        lights = in_parallel(add, shares(len(self.row), batch, beams.device))
        return sum(lights[1:], lights[0])
