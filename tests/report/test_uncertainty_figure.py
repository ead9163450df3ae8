"""The picture of an uncertainty, with and without a truth, and the panel of the result's."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ptycho.data.reconstruction import Reconstruction, Stage, Uncertainty
from ptycho.report import figures
from ptycho.report.calibration import calibrate
from ptycho.report.figures import save_picture
from ptycho.report.uncertainty_figure import save_uncertainty

rng = np.random.default_rng(0)


def found(rows: int, columns: int, known: bool) -> Reconstruction:
    """Noise on an object whose right half is less sure."""
    shape = (rows + 32, columns + 32)
    sigma = np.where(np.arange(shape[1]) < shape[1] / 2, 0.02, 0.06) * np.ones((shape[0], 1))
    truth = np.exp(1j * rng.uniform(size=shape)).astype(np.complex64)
    obj = truth * np.exp(1j * sigma * rng.normal(size=shape))
    positions = np.array([[16, 16], [rows + 16, columns + 16]], float)
    maps = np.full(shape, np.nan, np.float32)
    maps[16 : rows + 17, 16 : columns + 17] = sigma[16 : rows + 17, 16 : columns + 17]
    return Reconstruction(
        stages=(Stage("solver", obj.astype(np.complex64), 1.0),),
        probe=np.ones((1, 32, 32), np.complex64),
        positions=positions,
        truth=truth if known else None,
        truth_is_known=known,
        uncertainty=Uncertainty(maps, maps, "bootstrap"),
    )


@pytest.mark.parametrize(
    ("rows", "columns", "known"), [(60, 60, True), (24, 160, True), (120, 24, False)]
)
def test_uncertainties_of_any_shape_get_their_picture(
    tmp_path: Path, rows: int, columns: int, known: bool
) -> None:
    one = found(rows, columns, known)
    sigma = one.uncertainty.phase[one.scanned]
    calibrations = {}
    if known:
        error = np.angle(one.obj * np.conj(one.truth))[one.scanned]
        calibrations = {name: calibrate(error, sigma) for name in ("phase", "amplitude")}
    save_uncertainty(one, calibrations, tmp_path / "u.png")
    picture = np.asarray(Image.open(tmp_path / "u.png").convert("RGB")).astype(int)
    assert picture.shape[1] == (1800 if known else 1400)
    assert picture.std() > 10
    # nothing runs over the rim of the page
    for rim in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (rim == 255).all()


@pytest.mark.parametrize("columns", [60, 160])
def test_the_picture_of_a_result_shows_its_uncertainty(tmp_path: Path, columns: int) -> None:
    one = found(60, columns, True)
    save_picture(one, {}, tmp_path / "with.png")
    bare = Reconstruction(
        one.stages, one.probe, one.positions, truth=one.truth, truth_is_known=True
    )
    save_picture(bare, {}, tmp_path / "without.png")
    pictures = [Image.open(tmp_path / name) for name in ("with.png", "without.png")]
    assert pictures[0].size == pictures[1].size
    assert not np.array_equal(*(np.asarray(one) for one in pictures))


@pytest.mark.parametrize(("rows", "columns"), [(60, 60), (60, 100), (24, 160)])
def test_panels_leave_each_other_room_and_fill_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, columns: int
) -> None:
    pages: list[Figure] = []
    monkeypatch.setattr(figures, "save_page", lambda page, path: pages.append(page))
    one = found(rows, columns, True)
    error = np.angle(one.obj * np.conj(one.truth))[one.scanned]
    sigma = one.uncertainty.phase[one.scanned]
    calibrations = {name: calibrate(error, sigma) for name in ("phase", "amplitude")}
    save_uncertainty(one, calibrations, tmp_path / "u.png")
    page = pages[0]
    page.draw_without_rendering()
    assert [axes.get_title(loc="left") for axes in page.axes].count(
        "phase, size of the error (rad)"
    )
    covered = 0.0
    for axes in page.axes:
        box, labelled = axes.get_window_extent(), axes.get_tightbbox()
        covered += box.width * box.height
        beside = [
            other
            for other in (another.get_window_extent() for another in page.axes)
            if other.x0 > box.x1 and other.y0 < box.y1 and other.y1 > box.y0
        ]
        assert all(labelled.x1 < other.x0 for other in beside)
    assert covered > 0.55 * page.bbox.width * (page.bbox.height - 100)
