"""``ptycho convert RESULT OUT.tiff``: a result becomes pictures that other programs open."""

from dataclasses import fields
from pathlib import Path

from ptycho.config.config import DataConfig, UserError
from ptycho.data.appearing import is_special
from ptycho.data.formats.tiff import ENDINGS, names_of, write_tiffs
from ptycho.data.products import read_product

NAME = "tiff"


def are_wanted(target: Path, to: str | None) -> bool:
    """Whether pictures are wanted: by name, or by the ending."""
    return to == NAME if to is not None else target.suffix.lower() in ENDINGS


def write_pictures(source: Path, target: Path, told: DataConfig, *, overwrite: bool) -> list[str]:
    """Write amplitude and phase of a reconstructed object; what was done, in lines.

    Args:
        source: a result, a product, or a scan with an estimate of its object.
        target: ``NAME.tiff``; the pictures are ``NAME_amplitude.tiff`` and ``NAME_phase.tiff``.
        told: settings of reading; there is nothing to tell.
        overwrite: whether pictures that are there may be replaced.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it holds no object, or the pictures must not be written.
    """
    usual = DataConfig(label=told.label, source=told.source, train_data_file=str(source))
    for item in fields(DataConfig):
        if getattr(told, item.name) != getattr(usual, item.name):
            raise UserError(
                f"data.{item.name} says how a scan is read, and pictures are made of a result; "
                "leave it out."
            )
    if target.suffix.lower() not in ENDINGS:
        target = target.with_name(f"{target.name}.tiff")
    for path in names_of(target):
        if is_special(path):
            raise UserError(f"OUT: {path} is a device or a pipe; name a file.")
        if path.exists() and not overwrite:
            raise UserError(f"OUT: {path} is there already; add overwrite=true to replace it.")
        if path.is_dir():
            raise UserError(f"OUT: {path} is a folder; name another file.")
    product = read_product(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = write_tiffs(target, product)
    height, width = product.obj.shape
    pixel = "side of a pixel unknown"
    if product.pixel_size_m is not None:
        pixel = f"pixels of {product.pixel_size_m * 1e9:.4g} nm"
    return [
        f"{source}: {product.label}, {height} x {width}, {pixel}",
        *(f"{path}, {path.stat().st_size / 2**20:.1f} MiB" for path in written),
    ]
