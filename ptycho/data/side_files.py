"""Arrays that belong to the detector and lie in files of their own: a background, a mask."""

from pathlib import Path

import numpy as np
from numpy.lib import format as format_

from ptycho.data.archive import opened_npz
from ptycho.data.frames import Array
from ptycho.data.scan import DataError

_MOST = 2**28  # pixels


def read_image(setting: str, path: str, shape: tuple[int, int], kinds: str, wanted: str) -> Array:
    """An image of the detector from an NPY file, or an NPZ file of one array.

    Args:
        setting: that names the file, for sentences.
        path: the file.
        shape: ``(H, W)`` that it must have.
        kinds: of its dtype, as numpy has them in one letter.
        wanted: the same in words.

    Raises:
        DataError: it is none.
    """
    image = _array(setting, Path(path), kinds, wanted)
    if image.shape != shape:
        raise DataError(
            f"{setting}={path} must be of the shape of a frame as the file has it, "
            f"{shape[0]} x {shape[1]}, got {' x '.join(map(str, image.shape)) or 'one number'}."
        )
    if image.dtype.kind not in kinds:
        raise DataError(f"{setting}={path} must hold {wanted}, got {image.dtype}.")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise DataError(f"{setting}={path} holds NaN or infinity; replace them by 0.")
    return image


def _array(setting: str, path: Path, kinds: str, wanted: str) -> Array:
    if not path.is_file():
        raise DataError(f"{setting}: no such file: {path.absolute()}.")
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        with opened_npz(path) as archive:
            if len(archive.keys) != 1:
                raise DataError(
                    f"{setting}={path} must hold one array, got {', '.join(archive.keys)}."
                )
            return archive.read(archive.keys[0], kinds, wanted)
    try:
        image = format_.open_memmap(path, mode="r")
        if image.size > _MOST:
            raise DataError(f"{setting}={path} holds {image.size:,} numbers: no image.")
        return np.array(image)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{setting}={path}: not an NPY file ({error}).") from error
