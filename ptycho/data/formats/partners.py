"""Files that tell where patterns were taken: positions, and perhaps a probe and an object."""

from pathlib import Path
from typing import Protocol

from ptycho.data.archive import Archive, opened, opened_hdf5
from ptycho.data.formats import cxi, fold_slice, generic, npy, text
from ptycho.data.formats.mat import is_mat
from ptycho.data.formats.places import Places
from ptycho.data.hdf5_opening import is_hdf5
from ptycho.data.products import product_in
from ptycho.data.scan import DataError


class Told(Protocol):
    """What a reader was told, as far as it matters here."""

    @property
    def positions_file(self) -> Path | None:
        """Where positions are."""

    @property
    def keys(self) -> dict[str, str]:
        """Names of datasets."""

    @property
    def follow_links(self) -> bool:
        """Whether links are followed."""


KNOWN = (
    "a CSV (y,x) or TXT (x y) of metres, a NPY of (n, 2), a ptychodus product, a CXI file, "
    "fold_slice's NAME_para.hdf5 or its reconstruction (MAT)"
)
"""What :func:`read_places` reads, for sentences."""


def places_of(path: Path, how: Told) -> Places | None:
    """What ``data.positions_file`` says, or the file that belongs to this one by its name.

    Args:
        path: the file of the patterns.
        how: what the reader was told.
    """
    partner, keys = how.positions_file, how.keys
    if partner is None:
        beside = fold_slice.partner_of(path)
        partner = beside if beside is not None and beside.is_file() else None
    if partner is None:
        return None
    if generic.names_positions(keys) and is_hdf5(partner):
        with opened_hdf5(partner, follow=how.follow_links) as archive:
            return generic.read_places(archive, keys)
    return read_places(partner, follow=how.follow_links)


def read_places(path: Path, *, follow: bool = False) -> Places:
    """What a file says about where patterns were taken; its content tells what it is.

    Args:
        path: ``data.positions_file``.
        follow: whether links to files in the same folder are followed.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: there are no positions in it, or it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check data.positions_file.")
    if npy.is_npy(path):
        return npy.read_positions(path)
    if is_mat(path):
        return fold_slice.read_partner(path)
    if is_hdf5(path):
        with opened_hdf5(path, follow=follow) as archive:
            return _in_archive(archive)
    with path.open("rb") as file:
        packed = file.read(2) == b"PK"
    if not packed:
        return text.read_text(path)
    with opened(path) as archive:
        return _in_archive(archive)


def _in_archive(archive: Archive) -> Places:
    if fold_slice.is_partner(archive):
        return fold_slice.read_places(archive)
    if "probe_position_x_m" in archive:
        return _of_product(archive)
    if cxi.has_positions(archive):
        return cxi.read_places(archive)
    raise DataError(
        f"{archive.path}: holds no positions that are known here; it must be {KNOWN}. It holds "
        f"{archive.held()}."
    )


def _of_product(archive: Archive) -> Places:
    product = product_in(archive, judged=False)
    if product.positions is None:
        raise DataError(f"{archive.path}: holds no positions.")
    flat = (product.obj == product.obj.flat[0]).all()
    return Places(
        path=archive.path,
        name="probe_position_x_m and _y_m",
        positions=product.positions,
        numbers=product.indexes,
        probe=product.probe,
        obj=None if flat else product.obj,
        pixel_size_m=product.pixel_size_m,
        notes=product.notes,
    )
