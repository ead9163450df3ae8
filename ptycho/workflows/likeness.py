"""A reconstruction held against the object it should be."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho.data.placing import Placed, with_margin
from ptycho.data.products import Product
from ptycho.data.scan import DataError
from ptycho.physics.forward import Experiment
from ptycho.report.align import align, remove_ramp
from ptycho.report.correlation import frc
from ptycho.report.metrics import compare, compare_aligned, flat_floor, noisy
from ptycho.report.verdict import AgainstTruth, Between, Rings
from ptycho.workflows.evidence import Evidence

Light = NDArray[np.float64]

_FEWEST_PHOTONS = 1e3  # per pattern; a probe that carries fewer has been normalised


def against_truth(
    placed: Placed,
    light: Light | None,
    source: str,
    *,
    pixel_size_m: float | None = None,
    max_shift: float = 4.0,
    twin: bool = False,
    known: bool = True,
) -> AgainstTruth:
    """Compare an object with the one it should be.

    Args:
        placed: the same area of both.
        light: photons on each of its pixels if its rms amplitude is 1, see :func:`light_on`.
        source: where the truth came from.
        pixel_size_m: side of a pixel in metres, when known.
        max_shift: largest shift that is undone, in pixels.
        twin: whether the conjugate twin counts as the same.
        known: false where the other is an estimate, too.
    """
    target = remove_ramp(placed.truth)
    aligned = align(placed.obj, target, max_shift=max_shift, twin=twin)
    noise = {}
    if light is not None:
        size = _rms(placed.truth)
        seen = size * noisy(placed.truth / np.float64(size), light, seed=0)
        noise = compare(seen, placed.truth, pixel_size_m)
    return AgainstTruth(
        source=source,
        scores=Between(
            compare_aligned(aligned, placed.truth, pixel_size_m),
            flat_floor(placed.truth, pixel_size_m),
            noise,
        ),
        aligned=aligned,
        truth=target,
        rings=Rings(*frc(aligned, target)),
        known=known,
    )


def of_rms_one(truth: Product, placed: Placed) -> Product:
    """The true object with an rms amplitude of 1 over the area judged.

    Diffraction does not know the scale of an object, so that no floor may depend on it.

    Raises:
        DataError: there is nothing but zeros in that area.
    """
    size = _rms(placed.truth)
    if size == 0:
        raise DataError(f"{truth.label}: no light comes through this object; is it empty?")
    return replace(truth, obj=(truth.obj / np.complex128(size)).astype(np.complex64))


def light_on(
    placed: Placed, product: Product, truth: Product, best: Evidence | None
) -> tuple[Light | None, str | None]:
    """Photons on each pixel of the area judged, and a sentence on who says so.

    The patterns know best. Without them a probe may be in square roots of photons, as ours
    are; one that carries too few to be a dose says nothing. FILE's object has no say.

    Args:
        placed: the area judged.
        product: the reconstruction.
        truth: what it should be, of rms amplitude 1 (see :func:`of_rms_one`).
        best: the patterns of the scan on that truth, when there are any.
    """
    shape, corner = placed.truth.shape, np.array(placed.corner)
    if best is not None:
        return _cut(best.photons, corner + best.margin, shape), None
    for one, moved in ((truth, (0, 0)), (product, placed.moved)):
        if one.probe is None or one.positions is None:
            continue
        photons = float(np.square(np.abs(one.probe), dtype=np.float64).sum())
        if _FEWEST_PHOTONS <= photons < np.inf:
            positions, size = one.positions + moved, one.probe.shape[-1]
            canvas, there, _ = with_margin(truth.obj, positions, size)
            margin = np.rint(there[0] - positions[0]).astype(np.int64)
            experiment = Experiment(torch.from_numpy(one.probe), torch.from_numpy(there))
            light = experiment.illumination((canvas.shape[0], canvas.shape[1]))
            note = f"noise floor for {photons:.3g} photons a pattern, as the probe has them"
            return _cut(light.double().numpy(), corner + margin, shape), note
    return None, "no noise floor without a dose: --data would tell it"


def _rms(obj: NDArray[np.complex64]) -> float:
    return float(np.sqrt(np.square(np.abs(obj).astype(np.float64)).mean()))


def _cut(image: Light, corner: NDArray[Any], shape: tuple[int, ...]) -> Light:
    return image[tuple(slice(a, a + n) for a, n in zip(corner, shape, strict=True))]
