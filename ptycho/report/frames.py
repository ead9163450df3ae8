"""How well an object explains the measured frames: figures that need no truth."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ptycho.physics.forward import Experiment

# share of a frame's norm below which a deviation is rounding in single precision
_ROUNDING = 1e-5


def frame_fit(
    experiment: Experiment, obj: Tensor, amplitude: Tensor, batch_size: int = 256
) -> dict[str, float]:
    """How well an object explains the measured frames, beside what a flat object does.

    Args:
        experiment: probe and positions on the canvas of ``obj``.
        obj: complex ``(H, W)``.
        amplitude: measured ``(n, N, N)``.
        batch_size: frames held at once; the result does not depend on it.

    Returns:
        ``R`` and ``C``, see :func:`misfit`, and ``R_flat`` and ``C_flat`` of a flat object.
    """
    r, c = misfit(experiment, obj, amplitude, batch_size)
    r_flat, c_flat = misfit(experiment, torch.ones_like(obj), amplitude, batch_size)
    return {"R": r, "C": c, "R_flat": r_flat, "C_flat": c_flat}


@torch.no_grad()
def misfit(
    experiment: Experiment, obj: Tensor, amplitude: Tensor, batch_size: int = 256
) -> tuple[float, float]:
    """R and C of an object, the overall scale of the model being fitted.

    ``R = sum|model - data| / sum(data)``. ``C`` is the mean over frames of the correlation
    between (model - mean frame) and (data - mean frame): 0 for a flat object, whose frames
    are all alike. The frames are modelled twice, first for the means, so that memory does
    not grow with the scan.
    """
    n = len(amplitude)
    mean_model = torch.zeros(amplitude.shape[1:], dtype=torch.float64)
    mean_data = torch.zeros_like(mean_model)
    overlap, energy, error, correlation = 0.0, 0.0, 0.0, 0.0
    for model, data in _frames(experiment, obj, amplitude, batch_size):
        overlap += float((model * data).sum())
        energy += float(model.square().sum())
        # on the host: not every device counts in double precision
        mean_model += model.sum(0).cpu() / n
        mean_data += data.sum(0).cpu() / n
    scale = overlap / energy if energy else 0.0
    for model, data in _frames(experiment, obj, amplitude, batch_size):
        error += float((scale * model - data).abs().sum())
        correlation += float(_correlation(model, mean_model, data, mean_data).sum())
    return error / (n * float(mean_data.sum())), correlation / n


def _frames(
    experiment: Experiment, obj: Tensor, amplitude: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Modelled and measured amplitudes ``(b, N, N)``, on the device of the experiment."""
    device = experiment.row.device
    obj = obj.to(device)
    for start in range(0, len(amplitude), batch_size):
        data = amplitude[start : start + batch_size].to(device)
        which = torch.arange(start, start + len(data), device=device)
        yield experiment(obj, which).sqrt(), data


def _correlation(model: Tensor, mean_model: Tensor, data: Tensor, mean_data: Tensor) -> Tensor:
    """Correlation ``(b,)`` of deviations from the mean frames; 0 where there are none."""
    modelled, structured = _deviation(model, mean_model)
    measured, varied = _deviation(data, mean_data)
    return torch.where(structured & varied, (modelled * measured).sum(1), 0.0)


def _deviation(frames: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors ``(b, N * N)`` of what differs from the mean frame, and whether it does."""
    deviation = frames - mean.to(frames.dtype).to(frames.device)
    deviation = (deviation - deviation.mean((-2, -1), keepdim=True)).flatten(1)
    differs = deviation.norm(dim=1) > _ROUNDING * frames.flatten(1).norm(dim=1)
    return normalize(deviation, dim=1), differs
