"""How well an object explains the measured frames: figures that need no truth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ptycho.physics.forward import Experiment
from ptycho.physics.mask import hidden, hidden_of, hide
from ptycho.physics.measured import Measured
from ptycho.physics.sweep import usual_batch

Vector = NDArray[np.float64]
Frames = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""Begins anew when called: batches ``(b, N, N)`` of expected photons and measured amplitudes.

On bad pixels (:mod:`ptycho.physics.mask`) both are zero and say nothing.
"""

_ROUNDING = 1e-5  # share of a frame's norm below which a deviation is single precision
_BACKGROUND = 0.05  # counts on both sides of a deviance, as in the likelihood
_PIXELS = 256 * 64**2  # at once
_FEWEST, _MOST = 16, 256  # patterns at once


@dataclass(frozen=True)
class Judged:
    """What every frame says about an object; all ``(n,)``."""

    error: Vector
    """Sum over the detector of |model - data|, amplitudes, the overall scale fitted."""
    light: Vector
    """Sum of the measured amplitudes."""
    correlation: Vector
    """Correlation of model and data, the mean frames removed."""
    deviance: Vector
    """Poisson deviance: what the model leaves unexplained, in units of noise.

    The mean over the detector of ``2 (n ln(n / m) - n + m)`` (McCullagh & Nelder 1989,
    Generalized Linear Models, section 2.3, doi:10.1201/9780203753736), with 0.05 counts of
    background on both sides and the overall scale fitted by the total counts of all frames.
    Photon noise alone gives about 1 where many photons are counted, less in the dark.
    """

    @property
    def residual(self) -> Vector:
        """R frame by frame, ``(n,)``; NaN for a frame without light."""
        return self.error / np.where(self.light == 0, np.nan, self.light)

    @property
    def misfit(self) -> tuple[float, float]:
        """R (NaN where no light was measured at all) and C."""
        light = self.light.sum()
        r = self.error.sum() / light if light else np.nan
        return float(r), float(self.correlation.mean())


def misfit(
    experiment: Experiment, obj: Tensor, amplitude: Measured, batch_size: int | None = None
) -> tuple[float, float]:
    """R and C of an object, the overall scale of the model being fitted.

    ``R = sum|model - data| / sum(data)``. ``C`` is the mean over frames of the correlation
    between (model - mean frame) and (data - mean frame): 0 for a flat object, whose frames
    are all alike.
    """
    return judge(measured_frames(experiment, obj, amplitude, batch_size)).misfit


def photon_scale(
    experiment: Experiment, obj: Tensor, amplitude: Measured, batch_size: int | None = None
) -> float:
    """What the expected photons of all frames must be multiplied by to be those counted.

    0 for an object that lets no light through.
    """
    return _totals(measured_frames(experiment, obj, amplitude, batch_size)).photon_scale


def measured_frames(
    experiment: Experiment, obj: Tensor, amplitude: Measured, batch_size: int | None = None
) -> Frames:
    """What was measured beside what an object predicts."""
    return partial(_frames, experiment, obj, amplitude, batch_size)


def simulated_frames(
    experiment: Experiment,
    obj: Tensor,
    scale: float,
    seed: int,
    batch_size: int | None = None,
    *,
    like: Measured | None = None,
) -> Frames:
    """What would be measured of an object, with photon noise, beside what it predicts.

    Frames are simulated anew whenever they are asked for, the same each time, so that
    memory does not grow with the scan.

    Args:
        experiment: probe and positions on the canvas of ``obj``.
        obj: complex ``(H, W)``.
        scale: what the predicted photons are multiplied by.
        seed: seed of the noise; same seed, same counts on any device.
        batch_size: frames held at once; the counts do not depend on it.
        like: measured ``(n, N, N)``, whose bad pixels are bad here, too; none when None.
    """
    return partial(_simulated, experiment, obj, scale, seed, batch_size, like)


@torch.no_grad()
def judge(frames: Frames) -> Judged:
    """Look at frames twice, first for the means and scales, then at each."""
    totals = _totals(frames)
    parts = [_verdicts(totals, *some) for some in frames()]
    return Judged(*np.concatenate(parts, axis=1).astype(np.float64))


@torch.no_grad()
def judge_several(
    experiment: Experiment,
    objects: Sequence[Tensor],
    amplitude: Measured,
    scaled: Sequence[Tensor] = (),
) -> tuple[list[Judged], list[float]]:
    """:func:`judge` of several objects, for which the measured frames are read twice in all.

    Args:
        experiment: probe and positions on the canvas of the objects.
        objects: complex ``(H, W)`` each.
        amplitude: measured ``(n, N, N)``.
        scaled: more objects, of which only the scale is wanted.

    Returns:
        What the frames say of each of ``objects``, and the :func:`photon_scale` of all.
    """
    device, count = experiment.row.device, len(objects)
    everything = [obj.to(device) for obj in (*objects, *scaled)]
    sums = [_Sums() for _ in everything]
    for which, data in _data(experiment, amplitude, None):
        for obj, one in zip(everything, sums, strict=True):
            one.add(_expected(experiment, obj, which, data), data)
    totals = [one.totals() for one in sums]
    # room for all: small arrays kept between large ones leave holes in memory
    said, done = np.empty((count, 4, len(amplitude))), 0
    for which, data in _data(experiment, amplitude, None):
        some = slice(done, done := done + len(data))
        for obj, total, columns in zip(everything[:count], totals[:count], said, strict=True):
            columns[:, some] = _verdicts(total, _expected(experiment, obj, which, data), data)
    return [Judged(*columns) for columns in said], [total.photon_scale for total in totals]


@dataclass(frozen=True)
class _Totals:
    """What all frames together say."""

    mean_model: Tensor
    mean_data: Tensor
    amplitude_scale: float
    photon_scale: float


def _verdicts(totals: _Totals, expected: Tensor, data: Tensor) -> NDArray[Any]:
    """Columns of :class:`Judged` for some frames, ``(4, b)``."""
    model = expected.sqrt()
    columns = [
        (totals.amplitude_scale * model - data).abs().sum((-2, -1)),
        data.sum((-2, -1)),
        _correlation(model, totals.mean_model, data, totals.mean_data),
        _unit_deviance(totals.photon_scale * expected, data),
    ]
    return torch.stack(columns).cpu().numpy()


class _Sums:
    """What frames say together, added up batch by batch."""

    def __init__(self) -> None:
        self.n: int | Tensor = 0
        self.overlap, self.energy, self.counted = 0.0, 0.0, 0.0
        self.model, self.data = torch.zeros(1), torch.zeros(1)

    def add(self, expected: Tensor, data: Tensor) -> None:
        """Some frames: expected photons and measured amplitudes."""
        model = expected.sqrt()
        self.overlap += float((model * data).sum())
        self.energy += float(expected.sum())
        self.counted += float(data.square().sum())
        # on the host: not every device counts in double precision
        self.model = self.model + model.sum(0).cpu().double()
        self.data = self.data + data.sum(0).cpu().double()
        bad = hidden(data)
        self.n = self.n + (len(data) if bad is None else (~bad).sum(0).cpu().clamp_min(1))

    def totals(self) -> _Totals:
        """Means and scales of all of them."""
        lit = self.energy > 0
        return _Totals(
            mean_model=self.model / self.n,
            mean_data=self.data / self.n,
            amplitude_scale=self.overlap / self.energy if lit else 0.0,
            photon_scale=self.counted / self.energy if lit else 0.0,
        )


@torch.no_grad()
def _totals(frames: Frames) -> _Totals:
    sums = _Sums()
    for expected, data in frames():
        sums.add(expected, data)
    return sums.totals()


def _frames(
    experiment: Experiment, obj: Tensor, amplitude: Measured, batch_size: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Expected photons and measured amplitudes, on the device of the experiment."""
    obj = obj.to(experiment.row.device)
    for which, data in _data(experiment, amplitude, batch_size):
        yield _expected(experiment, obj, which, data), data


def _data(
    experiment: Experiment, amplitude: Measured, batch_size: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers and measured amplitudes of all frames, on the device of the experiment."""
    device, at_once = experiment.row.device, batch_size or _usual(experiment)
    for start in range(0, len(amplitude), at_once):
        data = amplitude[start : start + at_once].to(device)
        yield torch.arange(start, start + len(data), device=device), data


def _expected(experiment: Experiment, obj: Tensor, which: Tensor, data: Tensor) -> Tensor:
    expected = _photons(experiment, obj, which)
    bad = hidden(data)
    return expected if bad is None else expected.masked_fill_(bad, 0)


def _photons(experiment: Experiment, obj: Tensor, which: Tensor) -> Tensor:
    """Expected photons; a few frames at a time, whose complex waves would be most of the memory."""
    parts = which.split(usual_batch(obj.device))
    return torch.cat([experiment(obj, some) for some in parts])


def _usual(experiment: Experiment) -> int:
    """Frames at once: 256, or fewer large ones."""
    return int(np.clip(_PIXELS // experiment.size**2, _FEWEST, _MOST))


def _simulated(
    experiment: Experiment,
    obj: Tensor,
    scale: float,
    seed: int,
    batch_size: int | None,
    like: Measured | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    device = experiment.row.device
    obj = obj.to(device)
    # drawn on the host: the same everywhere, and Apple's GPUs cannot draw counts
    generator = torch.Generator().manual_seed(seed)
    for some in torch.arange(len(experiment.row)).split(batch_size or _usual(experiment)):
        expected = _photons(experiment, obj, some.to(device))
        bad = None if like is None else hidden_of(like, some.to(like.device))
        if bad is not None:
            bad = bad.to(device)
            expected.masked_fill_(bad, 0)
        # a model that is NaN sends no photons, and is judged NaN all the same
        rate = (scale * expected).nan_to_num(nan=0.0).cpu()
        drawn = torch.poisson(rate, generator=generator).sqrt().to(device)
        yield expected, drawn if bad is None else hide(drawn, bad)


def _unit_deviance(expected: Tensor, amplitude: Tensor) -> Tensor:
    """Mean deviance ``(b,)`` of frames ``(b, N, N)``."""
    counted, predicted = amplitude.square() + _BACKGROUND, expected + _BACKGROUND
    excess = predicted - counted - counted * (predicted / counted).log()
    bad = hidden(amplitude)
    if bad is None:
        return 2 * excess.mean((-2, -1))
    return 2 * excess.sum((-2, -1)) / (~bad).sum((-2, -1)).clamp_min(1)


def _correlation(model: Tensor, mean_model: Tensor, data: Tensor, mean_data: Tensor) -> Tensor:
    """Correlation ``(b,)`` of deviations from the mean frames; 0 where there are none."""
    bad = hidden(data)
    modelled, structured = _deviation(model, mean_model, bad)
    measured, varied = _deviation(data, mean_data, bad)
    return torch.where(structured & varied, (modelled * measured).sum(1), 0.0)


def _deviation(frames: Tensor, mean: Tensor, bad: Tensor | None) -> tuple[Tensor, Tensor]:
    """Unit vectors ``(b, N * N)`` of what differs from the mean frame, and whether it does."""
    deviation = frames - mean.to(frames.dtype).to(frames.device)
    if bad is None:
        deviation = deviation - deviation.mean((-2, -1), keepdim=True)
    else:
        seen = (~bad).sum((-2, -1), keepdim=True).clamp_min(1)
        deviation = deviation.masked_fill(bad, 0)
        deviation = deviation - deviation.sum((-2, -1), keepdim=True) / seen
        deviation = deviation.masked_fill(bad, 0)
    deviation = deviation.flatten(1)
    differs = deviation.norm(dim=1) > _ROUNDING * frames.flatten(1).norm(dim=1)
    return normalize(deviation, dim=1), differs
