"""From what a file holds to a scan in the one convention used inside.

What is done to patterns, in this order, whatever else is asked for:

1. they become counts (amplitudes are squared, and rooted again at the end);
2. pixels that are full (``saturation``) become bad in their frame;
3. the background is subtracted, and what falls below 0 becomes 0;
4. counts below ``minimum`` become 0, those above ``maximum`` bad in their frame;
5. pixels are bad that the file, ``bad_pixels_file`` or :func:`ptycho.data.beam.hot_pixels` name;
6. rows and columns are turned, and zero frequency is brought to the centre;
7. the square about the beam is cut out, binned, padded, resampled;
8. frames without counts are left out.

All of it is done to one frame at a time, so that it comes out the same however many are read.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from ptycho.config.data_config import GeometryConfig, PositionsConfig, PreprocessConfig
from ptycho.data.amplitudes import Preparation as Preparation
from ptycho.data.arrangement import Arrangement
from ptycho.data.beams import Beam, Optics
from ptycho.data.frames import Indices
from ptycho.data.lazy import LazyAmplitude, left_in_file
from ptycho.data.ledger import Ledger
from ptycho.data.lengths import in_pixels, instrument
from ptycho.data.measurement import Measurement
from ptycho.data.planning import VALUES as VALUES
from ptycho.data.planning import Plan as Plan
from ptycho.data.planning import plan as plan
from ptycho.data.resampling import Complex, centred, on_pixels
from ptycho.data.scan import DataError, Scan

log = logging.getLogger(__name__)

_LOST = 0.005  # of the probe's light, which is worth a word


def prepare(
    found: Measurement,
    *,
    values: str = "auto",
    label: str | None = None,
    patches: bool = False,
    positions: PositionsConfig | None = None,
    preprocess: PreprocessConfig | None = None,
    geometry: GeometryConfig | None = None,
    beam: Beam | None = None,
    lazy: str = "never",
    first: int | None = None,
) -> Scan:
    """A scan from what a reader found.

    Args:
        found: what the file holds.
        values: ``counts`` or ``amplitude``; ``auto`` asks the file, then takes integers (of
            whatever dtype) for counts.
        label: name of the scan; the file's own, or its name, when None.
        patches: whether to keep the object patches of the file.
        positions: how positions are read; as the file says when None.
        preprocess: what is done to the patterns; nothing when None.
        geometry: what was told of the instrument; nothing when None.
        beam: the probe wanted; the file's own when None.
        lazy: when to leave the patterns in the file, see :func:`ptycho.data.lazy.left_in_file`.
        first: how many of the patterns that are used are wanted, at least; all when None. Of
            what is read at once, more are not read.

    Raises:
        DataError: the file cannot be used, with the reason in one sentence.
    """
    how = preprocess or PreprocessConfig()
    told = geometry or GeometryConfig()
    made = plan(found, values=values, preprocess=how, geometry=told)
    arrangement, notes, done = made.step.arrangement, dict(made.notes), list(made.done)
    where, moved = in_pixels(
        found, positions or PositionsConfig(), made.pixel, float(arrangement.factor)
    )
    wanted = beam or Beam()
    own = _probe(found, arrangement, done) if wanted.is_the_scans else None
    amplitude, rows, ledger = _amplitudes(found, made.step, how, lazy, notes, first)
    done += [*moved, *ledger.done()]
    if ledger.hidden:
        notes["bad_pixels"] = f"{ledger.hidden / ledger.pixels:.2%} of the detector"
    if same := ledger.repeated():
        notes["repeated"] = (
            f"{same} {'frames hold' if same > 1 else 'frame holds'} what another does"
        )
        log.warning("%s: %s; both are used", found.path, notes["repeated"])
    obj, labels = _object(found, arrangement, done), found.patches if patches else None
    if obj is not None and _turns(positions or PositionsConfig()):
        done.append("the object of the file left out: it lies where positions were before")
        obj = None
    if labels is not None:
        labels = _labels(labels, arrangement, done)
    log.info("%s: %d patterns, %s", found.path, len(amplitude), ", ".join(notes.values()))
    if done:
        notes["prepared"] = ", ".join(done)
    energy = told.energy_ev or found.geometry.energy_ev
    optics = Optics(made.pixel_size_m, energy, near_field=made.fresnel is not None)
    if not wanted.is_usual:
        notes["probe"] = wanted.words
    try:
        return Scan(
            amplitude=amplitude,
            positions=where if rows is None else where[rows],
            probe=wanted.of_scan(amplitude, own, optics),
            truth=obj,
            patches=labels if labels is None or rows is None else labels[rows],
            truth_is_known=obj is not None and found.obj_is_truth,
            pixel_size_m=made.pixel_size_m,
            fresnel=made.fresnel,
            geometry=instrument(found, told, float(arrangement.pixels)),
            label=label or found.label or found.path.stem,
            notes=notes,
        )
    except DataError as error:
        raise DataError(f"{found.path}: {error}") from error


def _amplitudes(
    found: Measurement, step: Preparation, how: PreprocessConfig, lazy: str, notes: dict[str, str],
    first: int | None,
) -> tuple[NDArray[np.float32] | LazyAmplitude, Indices | None, Ledger]:  # fmt: skip
    """Patterns ``(k, N, N)`` that are used, their numbers in the file, and what all hold."""
    frames, ledger, filled = found.frames, Ledger(how), 0
    staying = left_in_file(frames, step, step.size, lazy, notes, first)
    if staying is not None:
        staying.survey(look=lambda block: ledger.enter(block, step.hides))
        kept = ledger.kept(str(found.path))
        return staying if kept is None else staying.take(kept), kept, ledger
    wanted = min(first or len(frames), len(frames))
    amplitude = np.empty((wanted, step.size, step.size), np.float32)
    for rows in frames.blocks():
        block = step(frames, rows)
        used = ledger.enter(block, step.hides)
        more = min(filled + int(used.sum()), wanted)
        amplitude[filled:more] = (block if used.all() else block[used])[: more - filled]
        filled = more
        if filled == wanted:
            break
    kept = ledger.kept(str(found.path))
    if wanted < len(frames):
        kept = np.arange(filled) if kept is None else kept[:filled]
    return amplitude[:filled], kept, ledger


def _probe(found: Measurement, arrangement: Arrangement, done: list[str]) -> Complex:
    """The probe of the file for these patterns."""
    probe = found.probe
    if probe is None:
        raise DataError(
            f"{found.path}: holds no probe; type data.probe.kind=average (out of focus with "
            "data.probe.defocus_m, too) or data.probe_file=FILE."
        )
    own, prepared = arrangement.base, arrangement.size
    if not arrangement.changes or (own != prepared == probe.shape[-1]):
        return probe  # a scan sees whether it fits
    if probe.shape[1:] != (own, own):
        raise DataError(
            f"{found.path}: the probe must be (modes, {own}, {own}) as the file's patterns are, or "
            f"(modes, {prepared}, {prepared}) as they are prepared, got {probe.shape}."
        )
    fitted = arrangement.probe(probe)
    before, after = (
        float(np.square(np.abs(one), dtype=np.float64).sum()) for one in (probe, fitted)
    )
    if before and after < (1 - _LOST) * before:
        done.append(f"the probe keeps {after / before:.1%} of its light")
    return fitted


def _object(found: Measurement, arrangement: Arrangement, done: list[str]) -> Complex | None:
    """The object of the file on the pixels of these patterns."""
    obj = found.obj
    if obj is None or arrangement.factor == 1 or obj.ndim != 2:
        return obj
    done.append("the object of the file resampled")
    return on_pixels(obj, float(arrangement.factor))


def _turns(how: PositionsConfig) -> bool:
    """Whether positions leave the grid that the object of their file lies on."""
    return how.swap or how.flip_y or how.flip_x or how.scale != 1


def _labels(patches: Complex, arrangement: Arrangement, done: list[str]) -> Complex | None:
    """The object patches of the file for these patterns."""
    if not arrangement.changes:
        return patches
    if arrangement.factor == 1 and arrangement.size <= patches.shape[-1]:
        return np.ascontiguousarray(centred(patches, arrangement.size))
    done.append("the object patches of the file left out, they are of another size")
    return None
