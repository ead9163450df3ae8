"""Simulated scans become files, each with what nobody who measures would know beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ptycho import __version__
from ptycho.config.config import ConfigError, DataConfig, UserError
from ptycho.config.validate import label_of
from ptycho.data.appearing import appearing_together
from ptycho.data.formats.registry import Format
from ptycho.data.simulate import Simulated, make
from ptycho.report.console import progress
from ptycho.report.files import plain_config, write_json
from ptycho.report.simulated_figure import save_simulated
from ptycho.workflows.convert import refuse_full, refuse_place, refuse_read, written_format
from ptycho.workflows.preflight import partner_faults
from ptycho.workflows.simulating import simulation_of


@dataclass(frozen=True)
class Order:
    """What is to be simulated, and where it goes."""

    target: Path
    """File or folder of the scan; of several scans each has its number at the end of the name."""
    data: DataConfig
    """What is simulated."""
    patch_size: int
    """Side N of a pattern."""
    to: str | None = None
    """Name of the format to write; None: the ending of ``target`` says it."""
    overwrite: bool = False
    """Whether what is there may be replaced."""
    typed: tuple[str, ...] = ()
    """Settings as they were typed, for the record."""


@dataclass(frozen=True)
class Places:
    """Where one scan and what goes with it are written."""

    scan: Path
    truth: Path
    record: Path
    picture: Path

    @classmethod
    def of(cls, scan: Path) -> "Places":
        """All of them, by the name of the scan."""
        stem = scan.parent / scan.stem
        return cls(
            scan, stem.with_name(f"{stem.name}_truth.npz"),
            stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.png"),
        )  # fmt: skip

    @property
    def beside(self) -> tuple[Path, Path, Path]:
        """All but the scan."""
        return self.truth, self.record, self.picture


def carry_out(order: Order, terminal: Console) -> None:
    """Simulate, write and say what was written.

    Args:
        order: what is wanted.
        terminal: where to say so.

    Raises:
        UserError: something cannot be simulated, or not be written there; nothing was written.
    """
    if order.data.probe_file and (
        faults := partner_faults("data.probe_file", order.data.probe_file)
    ):
        raise ConfigError(*faults)
    target = written_format(order.target, order.to)
    count = order.data.synthetic.n_objects
    places = [Places.of(one) for one in _numbered(order.target, count)]
    for place in places:
        if place.scan in place.beside:
            what = _what(place.scan)
            goes = "go" if what.endswith("s") else "goes"
            raise UserError(
                f"OUT: {place.scan} is where {what} of the scan {goes}; name a file with another "
                "ending."
            )
        for path in (place.scan, *place.beside):
            refuse_read(path, None, order.data)
            refuse_place(path, target if path == place.scan else None, order.overwrite)
    with progress(terminal.is_terminal, terminal) as bars:
        for number, place in enumerate(places):
            wanted = simulation_of(order.data, order.patch_size, number)
            if not any(text.startswith("data.label=") for text in order.typed):
                wanted = replace(wanted, label=label_of(place.scan.name))
            name = "simulate" if count == 1 else f"{number + 1} of {count}"
            bar = bars.add_task(name, total=wanted.n_patterns, note="")

            def tick(done: int, bar: Any = bar) -> None:
                bars.update(bar, advance=done)

            made = make(wanted, tick)
            bars.update(bar, total=len(made.scan), completed=len(made.scan))
            _write(order, place, target, made)
            scan = made.scan
    size = scan.patch_size
    said = f"{len(scan):,} patterns of {size} x {size}, {scan.photons:.3g} photons in a pattern"
    said += "" if count == 1 else ", in each file"
    terminal.print(said, markup=False)
    for place in places:
        terminal.print(f"{place.scan}: {target.title} ({target.name})", markup=False)
        for path in place.beside:
            terminal.print(f"  {path.name}, {_what(path)}", markup=False)
    terminal.print(_next(places), markup=False)


def _numbered(target: Path, count: int) -> Iterator[Path]:
    if count == 1:
        yield target
        return
    width = len(str(count))
    for number in range(1, count + 1):
        yield target.with_name(f"{target.stem}_{number:0{width}d}{target.suffix}")


def _write(order: Order, place: Places, target: Format, made: Simulated) -> None:
    assert target.write is not None
    place.scan.parent.mkdir(parents=True, exist_ok=True)
    refuse_full(place.scan, made.scan)
    every = (*place.beside, place.scan)  # the scan last: where it is, everything is
    with appearing_together(every) as (truth, record, picture, scan):
        _write_truth(truth, made)
        save_simulated(made, picture)
        write_json(record, _record(order, made))
        target.write(scan, made.scan)


def _write_truth(path: Path, made: Simulated) -> None:
    """Write the object, the probe and where the beam was, as ``ptycho evaluate --truth`` reads."""
    scan = made.scan
    arrays: dict[str, NDArray[Any] | None] = {
        "object": scan.truth,
        "probe": scan.probe,
        "ycoords": made.positions[:, 0],
        "xcoords": made.positions[:, 1],
        "flux": made.flux,
        "background": made.background,
        "bad_pixels": scan.bad_pixels,
    }
    metadata = {
        "label": scan.label, "pixel_size_m": scan.pixel_size_m, "object_is_truth": True,
        "written_by": "ptycho",
    }  # fmt: skip
    known = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, _metadata=np.array(json.dumps(metadata)), **known)  # type: ignore[arg-type]


def _record(order: Order, made: Simulated) -> dict[str, Any]:
    scan, settings = made.scan, plain_config(order.data)
    read = ("label", "nphotons", "probe_file", "probe", "synthetic")
    lengths = {name: settings["geometry"][name] for name in ("energy_ev", "pixel_size_m")}
    bad = scan.bad_pixels
    return {
        "ptycho": __version__,
        "typed": list(order.typed),
        "settings": {
            "data": {name: settings[name] for name in read} | {"geometry": lengths},
            "model": {"N": order.patch_size},
        },
        "scan": {
            "label": scan.label,
            "patterns": len(scan),
            "N": scan.patch_size,
            "object": list(scan.truth.shape) if scan.truth is not None else None,
            "photons_per_pattern": scan.photons,
            "bad_pixels": 0.0 if bad is None else float(bad.mean()),
            "position_error_px": float(np.square(scan.positions - made.positions).mean() ** 0.5),
            "sha256": scan.sha256,
        },
    }


def _what(path: Path) -> str:
    kinds: dict[str, str] = {
        ".npz": "the true object, probe and positions", ".json": "the settings",
        ".png": "a picture",
    }  # fmt: skip
    return kinds[path.suffix]


def _next(places: list[Places]) -> str:
    first, *more = places
    together = ",".join(str(one.scan) for one in more)
    train = f" 'data.further_data_files=[{together}]'" if more else ""
    return (
        f"{'train on all' if more else 'reconstruct it'}: "
        f"ptycho data=file data.train_data_file={first.scan}{train}\n"
        f"judge the result: ptycho evaluate RUN_FOLDER --truth {first.truth}"
    )
