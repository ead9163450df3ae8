from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ptycho.data.reconstruction import Reconstruction
from ptycho.report.instrument import describe, instrument_figures, save_instrument


@pytest.fixture
def before() -> Reconstruction:
    rng = np.random.default_rng(0)
    probe = (rng.normal(size=(2, 16, 16, 2)) @ [1, 1j]).astype(np.complex64)
    return Reconstruction((), probe, rng.uniform(20, 60, (40, 2)), label="a_scan")


def test_nothing_is_said_where_nothing_moved(before: Reconstruction) -> None:
    assert instrument_figures(before, before) == {}
    assert describe({}) == ""


def test_a_phase_of_the_probe_is_no_change(before: Reconstruction) -> None:
    figures = instrument_figures(before, replace(before, probe=1j * before.probe))
    assert figures["probe_agreement"] == pytest.approx(1)
    assert sum(figures["mode_shares"]) == pytest.approx(1)  # type: ignore[arg-type]


def test_what_all_positions_do_is_told_apart(before: Reconstruction) -> None:
    away = before.positions - before.positions.mean(0)
    angle = np.radians(0.5)
    turn = 1.02 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    figures = instrument_figures(before, replace(before, positions=40 + away @ turn.T))
    assert figures["spread_percent"] == pytest.approx([2, 2], abs=0.01)
    assert figures["rotation_deg"] == pytest.approx(0.51, abs=0.01)
    assert "scale +2 % (y) +2 % (x), rotation +0.51 deg" in describe(figures)
    moved = before.positions.copy()
    moved[0] += 1e-9
    assert "scale" not in describe(instrument_figures(before, replace(before, positions=moved)))


def test_the_picture_shows_everything_that_was_found(
    before: Reconstruction, tmp_path: Path
) -> None:
    found = replace(
        before,
        probe=before.probe[::-1],
        positions=before.positions + np.random.default_rng(1).normal(size=(40, 2)),
        flux=np.linspace(0.9, 1.1, 40, dtype=np.float32),
        background=np.full((16, 16), 2.0, dtype=np.float32),
    )
    said = describe(instrument_figures(before, found))
    for words in ("probe", "positions moved", "flux", "background 2 photons"):
        assert words in said
    sizes = []
    for name, one in (("all", found), ("probe", replace(before, probe=found.probe))):
        save_instrument(before, one, said, tmp_path / f"{name}.png")
        sizes.append(Image.open(tmp_path / f"{name}.png").size)
    assert sizes[0][0] == sizes[1][0] == 1400
    assert sizes[0][1] > sizes[1][1] + 200


def test_positions_that_went_as_far_as_they_could_are_counted(before: Reconstruction) -> None:
    shift = np.zeros_like(before.positions)
    shift[:3] = (0.5, -0.2)
    found = replace(before, positions=before.positions + shift)
    figures = instrument_figures(before, found, max_shift=0.5)
    assert figures["shifts_at_limit"] == 3
    assert "3 of them as far as instrument.max_shift lets them" in describe(figures)
    assert "max_shift" not in describe(instrument_figures(before, found, max_shift=2))
