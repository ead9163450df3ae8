"""Results as TIFF pictures: amplitude and phase in 32-bit floats, with the side of a pixel."""

import os
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from ptycho.data.appearing import appearing
from ptycho.data.products import Product

ENDINGS = (".tif", ".tiff")


def names_of(path: Path) -> tuple[Path, Path]:
    """The two files that ``path`` stands for."""
    amplitude, phase = (
        path.with_name(f"{path.stem}_{what}{path.suffix}") for what in ("amplitude", "phase")
    )
    return amplitude, phase


def write_tiffs(path: str | os.PathLike[str], product: Product) -> tuple[Path, Path]:
    """Write ``NAME_amplitude.tiff`` and ``NAME_phase.tiff`` (radians) for ``NAME.tiff``.

    ImageJ and most other programs read the side of a pixel from them, in micrometres, where the
    product knows it. A file appears complete or not at all.

    Returns:
        The two files.
    """
    amplitude, phase = names_of(Path(path))
    _write(amplitude, np.abs(product.obj), product)
    _write(phase, np.angle(product.obj), product)
    return amplitude, phase


def _write(path: Path, image: NDArray[np.floating], product: Product) -> None:
    metadata = {"axes": "YX"}
    resolution = None
    if product.pixel_size_m is not None:
        metadata["unit"] = "um"
        resolution = (1e-6 / product.pixel_size_m,) * 2  # pixels in a micrometre
    with appearing(path) as partial:
        tifffile.imwrite(
            partial,
            image.astype(np.float32),
            imagej=True,
            resolution=resolution,
            metadata=metadata,
        )
