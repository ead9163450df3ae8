"""Pixels that the detector could not read: among the amplitudes they hold negative zero.

It counts as zero in every sum, and its sign goes wherever the patterns go: through batches,
shares and files. Whoever compares asks :func:`hidden`.
"""

from functools import wraps

import torch
from torch import Tensor

from ptycho.physics.detector import intensity
from ptycho.physics.fourier import to_detector
from ptycho.physics.measured import Deferred, Measured
from ptycho.physics.probe import as_modes
from ptycho.physics.propagation import fresnel_transfer, to_near_detector
from ptycho.physics.sweep import Judge

_WHOLE = {torch.float32: torch.int32, torch.float64: torch.int64}


def hide(amplitude: Tensor, bad: Tensor) -> Tensor:
    """Amplitudes without bad pixels.

    Args:
        amplitude: measured ``(n, y, x)``.
        bad: true where a pixel is bad, ``(y, x)`` or ``(n, y, x)``.

    Returns:
        Real ``(n, y, x)``; negative zero where a pixel is bad, nowhere else.
    """
    return torch.where(bad, -0.0, amplitude + 0.0)


def hidden(amplitude: Tensor) -> Tensor | None:
    """Where pixels are bad, of the shape of the amplitudes; None when all are good."""
    # a float with its sign set is a negative whole number: looking for one costs next to nothing
    if amplitude.device.type == "cpu" and int(amplitude.view(_WHOLE[amplitude.dtype]).amin()) >= 0:
        return None
    return torch.signbit(amplitude)  # a GPU would have to be waited for to know whether any is


def seeing(judge: Judge) -> Judge:
    """A judge that does not look at bad pixels.

    There, nothing is expected, nothing was measured and nothing is asked for.
    """

    @wraps(judge)
    def judge_what_is_seen(expected: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
        bad = hidden(amplitude)
        if bad is None:
            return judge(expected, amplitude)
        misfit, factor = judge(expected.masked_fill_(bad, 0), amplitude)
        return misfit, factor.masked_fill_(bad, 0)

    return judge_what_is_seen


def seen_share(
    probe: Tensor, amplitude: Measured, take: Tensor | None = None, fresnel: float | None = None
) -> float:
    """Share of the photons of an empty object that falls on good pixels.

    Args:
        probe: complex ``(mode, y, x)``.
        amplitude: measured ``(n, y, x)``.
        take: numbers ``(m,)`` of the patterns to look at; all when None.
        fresnel: Fresnel number of an object pixel, where the detector is near; None: far.
    """
    missing = _missing(amplitude, take)
    if missing is None:
        return 1.0
    seen = 1 - missing
    modes = as_modes(probe).to(torch.complex128)
    if fresnel is None:
        wave = to_detector(modes)
    else:
        wave = to_near_detector(modes, fresnel_transfer(modes.shape[-1], fresnel, modes.dtype))
    light = intensity(wave)
    return float((light * seen).sum() / light.sum())


def hidden_of(amplitude: Measured, which: Tensor) -> Tensor | None:
    """:func:`hidden` of some patterns ``(b,)``, which need not be read for it."""
    return amplitude.bad(which) if isinstance(amplitude, Deferred) else hidden(amplitude[which])


def _missing(amplitude: Measured, take: Tensor | None) -> Tensor | None:
    """Share of the patterns in which a pixel is bad, float64 ``(y, x)``; None: all are good."""
    if isinstance(amplitude, Deferred):
        count = amplitude.bad_count(take)
        n = len(amplitude if take is None else take)
        return None if count is None else count.double() / n
    bad = hidden(amplitude)
    if bad is None:
        return None
    return (bad if take is None else bad[take]).double().mean(0)
