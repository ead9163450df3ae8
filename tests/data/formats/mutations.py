"""Damage to small valid files of every format: bytes, headers, arrays, names. Seeded."""

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.lib import format as format_

Arrays = dict[str, np.ndarray]

DTYPES = (
    "f2", "f4", "f8", ">f4", ">i2", "i1", "u1", "i4", "u8", "i8", "c8", "c16", "?", "S3", "U2",
    "V5", "M8[s]",
)  # fmt: skip
EXTREMES = (0, 1, -1, np.nan, np.inf, -np.inf, 1e-300, 1e300, -5, 1e18, 1e-12)


def damage(path: Path, dice: random.Random, *, gently: bool = False) -> str:
    """Damage a file; what was done, in words.

    Args:
        path: the file.
        dice: decides.
        gently: nothing that makes the HDF5 library itself read nonsense.
    """
    content = path.read_bytes()
    is_hdf5 = b"\x89HDF\r\n\x1a\n" in content[:520]
    if dice.random() < 0.5 and not (gently and is_hdf5):
        return _bytes(path, bytearray(content), dice)
    if gently and is_hdf5 and dice.random() < 0.2:
        path.write_bytes(content[: dice.randrange(len(content))])
        return "cut short"
    if is_hdf5:
        return _hdf5(path, dice)
    if content[:2] == b"PK":
        return _npz(path, dice)
    if content[:6] == format_.MAGIC_PREFIX:
        return _npy(path, dice)
    if content.startswith(b"MATLAB 5"):
        return _mat(path, dice)
    return _text(path, content, dice)


def _bytes(path: Path, content: bytearray, dice: random.Random) -> str:
    size = len(content)
    kind = dice.choice(("flip", "flip", "header", "cut", "zero", "word", "swap", "append"))
    if kind in ("flip", "header"):
        reach = min(size, 2048) if kind == "header" else size
        for _ in range(dice.choice((1, 1, 2, 8, 64))):
            content[dice.randrange(reach)] = dice.randrange(256)
    elif kind == "cut":
        del content[dice.randrange(size) :]
    elif kind == "zero":
        start = dice.randrange(size)
        length = min(dice.choice((4, 64, 1024)), size - start)
        content[start : start + length] = bytes([dice.choice((0, 255))]) * length
    elif kind == "word":
        start = dice.randrange(max(size - 8, 1)) & ~7
        value = dice.choice((0, 1, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1))
        content[start : start + 8] = value.to_bytes(8, "little")
    elif kind == "swap":
        one, other, length = dice.randrange(size), dice.randrange(size), 32
        content[one : one + length], content[other : other + length] = (
            content[other : other + length],
            content[one : one + length],
        )
    else:
        content += bytes(dice.randrange(256) for _ in range(100))
    path.write_bytes(content)
    return f"bytes: {kind}"


def changed(array: np.ndarray, dice: random.Random) -> np.ndarray:
    """An array with one thing wrong with it."""
    array = np.asarray(array)
    kind = dice.choice(("value", "value", "all", "dtype", "shape", "less", "more", "axes", "empty"))
    with np.errstate(all="ignore"):
        if kind == "value" and array.size:
            array = array.astype(dice.choice(("f8", array.dtype)), copy=True)
            number = dice.choice(EXTREMES)
            try:
                array.reshape(-1)[dice.randrange(array.size)] = number
            except (ValueError, OverflowError, TypeError):
                return array
            return array
        if kind == "all":
            number = dice.choice(EXTREMES)
            return np.full(array.shape, number, dice.choice(("f8", "f4")))
        if kind == "dtype":
            try:
                return array.astype(dice.choice(DTYPES))
            except (ValueError, TypeError):
                return array
        if kind == "shape":
            shapes = [(-1,), (1, *array.shape), (*array.shape, 1), (-1, 1), (1, -1)]
            return array.reshape(dice.choice(shapes))
        if kind == "less" and array.ndim and len(array) > 1:
            return array[: dice.randrange(1, len(array))]
        if kind == "more" and array.ndim:
            return np.concatenate([array, array])
        if kind == "axes":
            return array.T
    return array[:0] if array.ndim else np.zeros((0,))


def _said(text: str, dice: random.Random) -> str:
    """Metadata in JSON with one value changed."""
    said = json.loads(text)
    name = dice.choice([*sorted(said), "pixel_size_m", "nominal", "origin_px", "layout"])
    said[name] = dice.choice((None, 0, -1, 1e9, True, "x", [], [1], {}, {"a": 1}, "nan", 1e-9))
    return dice.choice((json.dumps(said), json.dumps(said), json.dumps(said)[:-2], "[" * 9999, "3"))


def _arrays(arrays: Arrays, dice: random.Random) -> tuple[Arrays, str]:
    """Arrays of which one is changed, renamed, dropped, or exchanged with another."""
    name = dice.choice(sorted(arrays))
    kind = dice.choice(("change", "change", "change", "rename", "drop", "exchange"))
    found = dict(arrays)
    if kind == "change":
        found[name] = changed(found[name], dice)
    elif kind == "rename":
        found[dice.choice(("x", "dp", "patterns", "probe", "object"))] = found.pop(name)
    elif kind == "drop":
        del found[name]
    else:
        other = dice.choice(sorted(arrays))
        found[name], found[other] = found[other], found[name]
    return found, f"{kind} {name}"


def _npz(path: Path, dice: random.Random) -> str:
    if dice.random() < 0.25:
        return _npz_header(path, dice)
    with np.load(path, allow_pickle=False) as file:
        arrays, said = _arrays(dict(file), dice)
    if "_metadata" in arrays and dice.random() < 0.1:
        arrays["_metadata"] = np.array(_said(METADATA, dice))
        said += ", metadata"
    if dice.random() < 0.1:
        arrays["objectGuess"] = np.array(None)
        said += ", pickled objectGuess"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return said


def _npz_header(path: Path, dice: random.Random) -> str:
    """Another text where a member says its shape and type."""
    with zipfile.ZipFile(path) as file:
        members = {name: bytearray(file.read(name)) for name in file.namelist()}
    name = dice.choice(sorted(members))
    said = _retyped(members[name], dice)
    with zipfile.ZipFile(path, "w", dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))) as file:
        for key, content in members.items():
            file.writestr(key, bytes(content))
    return f"{said} of {name}"


def _retyped(content: bytearray, dice: random.Random) -> str:
    length = int.from_bytes(content[8:10], "little")
    shape = dice.choice(("(9999999999,)", "(-1, 4)", "()", "(2, 3, 5)", "('a',)", "((((", "(1.5,)"))
    kind = dice.choice(("<f8", "|O", "<c16", "nonsense", "<U99999999", "|V0"))
    order = dice.choice(("True", "False", "3", "__import__('os')"))
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    content[10 : 10 + length] = text.ljust(length - 1)[: length - 1] + b"\n"
    return "header"


def _npy(path: Path, dice: random.Random) -> str:
    if dice.random() < 0.3:
        content = bytearray(path.read_bytes())
        said = _retyped(content, dice)
        path.write_bytes(content)
        return said
    buffer = io.BytesIO()
    np.save(buffer, changed(np.load(path, allow_pickle=False), dice))
    path.write_bytes(buffer.getvalue())
    return "changed"


def _mat(path: Path, dice: random.Random) -> str:
    found = scipy.io.loadmat(path)
    arrays, said = _arrays({name: one for name, one in found.items() if name[:1] != "_"}, dice)
    kept = {name: one for name, one in arrays.items() if one.dtype.kind not in "VMm"}
    kept |= {name: one for name, one in arrays.items() if one.dtype.names}
    if dice.random() < 0.2:
        kept["p"] = np.array([["text"]], dtype=object)
    scipy.io.savemat(path, kept)
    return said


def _text(path: Path, content: bytes, dice: random.Random) -> str:
    words = content.decode(errors="replace").split("\n")
    row = dice.randrange(len(words))
    words[row] = dice.choice(
        (
            "nan,nan",
            "inf,0",
            "1e999,1",
            "1",
            "",
            ",",
            "1;2",
            "x y",
            "0x10,1",
            "9" * 9999,
            "é,ü",
            "\0",
        )
    )
    if dice.random() < 0.3:
        words = words[: dice.randrange(len(words))]
    path.write_text("\n".join(words))
    return f"row {row}"


def _hdf5(path: Path, dice: random.Random) -> str:
    with h5py.File(path, "r+") as file:
        found: list[str] = []

        def note(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                found.append(name)

        file.visititems(note)
        name = dice.choice(sorted(found))
        kinds: dict[str, Callable[[], object]] = {
            "drop": lambda: None,
            "change": lambda: _replace(file, name, changed(file[name][()], dice)),
            "exchange": lambda: _replace(file, name, file[dice.choice(sorted(found))][()]),
            "external": lambda: _link(file, name, h5py.ExternalLink("/etc/passwd", "/x")),
            "ring": lambda: _link(file, name, h5py.SoftLink("/" + name)),
            "nowhere": lambda: _link(file, name, h5py.SoftLink("/gone")),
            "group": lambda: _group(file, name),
            "words": lambda: _replace(file, name, np.array(["a", "b"], dtype=object), dtype=WORDS),
            "reference": lambda: _replace(
                file, name, np.array([file.ref] * 2), dtype=h5py.ref_dtype
            ),
            "empty": lambda: _replace(file, name, h5py.Empty("f8")),
            "vast": lambda: _vast(file, name),
            "virtual": lambda: _virtual(file, name, dice),
            "stored": lambda: _stored(file, name),
            "attribute": lambda: _attribute(file, name, dice),
        }
        kind = dice.choice(["change"] * 6 + sorted(kinds))
        if kind == "drop":
            del file[name]
        else:
            try:
                kinds[kind]()
            except Exception as error:
                return f"{kind} {name}: cannot be written ({error})"
    return f"{kind} {name}"


METADATA = '{"label": "a", "values": "counts", "pixel_size_m": 1e-9, "nominal": ["pixel_m"]}'
WORDS = h5py.string_dtype()


def _replace(file: Any, name: str, value: Any, **how: Any) -> None:
    del file[name]
    file.create_dataset(name, data=value, **how)


def _link(file: Any, name: str, link: Any) -> None:
    del file[name]
    file[name] = link


def _group(file: Any, name: str) -> None:
    del file[name]
    file.create_group(name)


def _vast(file: Any, name: str) -> None:
    ndim = max(file[name].ndim, 1)
    del file[name]
    file.create_dataset(name, (10**5,) * ndim, "f4", chunks=(100,) * ndim, compression="gzip")


def _virtual(file: Any, name: str, dice: random.Random) -> None:
    layout = h5py.VirtualLayout((4, 8, 8), "f4")
    other = dice.choice((".", "other.h5", "/etc/passwd"))
    layout[:] = h5py.VirtualSource(other, "/" + name, (4, 8, 8))
    del file[name]
    file.create_virtual_dataset(name, layout)


def _stored(file: Any, name: str) -> None:
    shape = file[name].shape or (1,)
    del file[name]
    file.create_dataset(name, shape, "u1", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _attribute(file: Any, name: str, dice: random.Random) -> None:
    places = [one for one in (file, file[name]) if len(one.attrs)]
    place = dice.choice(places) if places else file[name]
    key = dice.choice(sorted(place.attrs)) if len(place.attrs) else "pixel_width_m"
    if "_metadata" in file.attrs and dice.random() < 0.8:
        file.attrs["_metadata"] = _said(METADATA, dice)
        return
    place.attrs[key] = dice.choice((0, -1, np.nan, np.inf, "text", [1, 2], h5py.Empty("f8"), 1e9))
