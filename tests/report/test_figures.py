"""Pictures are written whatever the reconstruction holds, and show something."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ptycho.data.reconstruction import Reconstruction, Stage
from ptycho.data.simulate import simulate
from ptycho.report import figures, panels
from ptycho.report.figures import key_figures, save_object_png, save_picture

pytestmark = pytest.mark.filterwarnings("error")

FIGURES = {
    "lift": {"seconds": 0.1, "phase_psnr": 18.6, "R": 0.09, "C": 0.91},
    "refined": {"seconds": 0.3, "phase_psnr": 40.2, "frc_half_bit_px": 2.0, "R": 0.06, "C": 0.96},
    "flat": {"phase_psnr": 13.0, "frc_half_bit_px": float("nan"), "R": 0.18, "C": 0.0},
    "noise": {"phase_psnr": 41.1, "frc_half_bit_px": 2.0, "R": 0.065, "C": 0.959},
}


@pytest.fixture(scope="module")
def reconstruction():
    scan = simulate(kind="natural", n_patterns=64, patch_size=32, photons=1e5, probe_radius=6)
    tilt = np.exp(0.05j * np.arange(scan.truth.shape[1]))
    lifted = (0.9 * scan.truth * tilt).astype(np.complex64)
    return Reconstruction(
        stages=(Stage("lift", lifted, 0.1), Stage("refined", scan.truth, 0.3)),
        probe=scan.probe,
        positions=scan.positions,
        truth=scan.truth,
        truth_is_known=True,
        label="synthetic_$n_64",
        curves={"train/loss": [(0.0, 2.0), (1.0, 0.5), (2.0, 0.0)], "val/loss": []},
    )


def read(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(float)


def assert_picture(path, size):
    pixels = read(path)
    assert pixels.shape == (size[1], size[0], 3)
    assert pixels.std() > 10
    return pixels


def thin(reconstruction):
    """A scan along a line of three positions: the scanned area is one pixel high."""
    positions = np.array([[30.0, 30.0], [30.0, 34.0], [30.0, 38.0]])
    return replace(reconstruction, positions=positions)


def wide(reconstruction, rows):
    """Only the positions within so many rows of the middle."""
    y = reconstruction.positions[:, 0]
    inside = np.abs(y - y.mean()) < rows / 2
    return replace(reconstruction, positions=reconstruction.positions[inside])


def two_modes(reconstruction):
    return replace(reconstruction, probe=np.concatenate([reconstruction.probe] * 2))


def wrapping(reconstruction):
    stages = tuple(replace(s, obj=s.obj**8) for s in reconstruction.stages)
    return replace(reconstruction, stages=stages, truth=reconstruction.truth**8)


def nothing_but_nan(reconstruction):
    broken = Stage("solver", reconstruction.obj * np.float32(np.nan), 1.0)
    return replace(reconstruction, stages=(broken,), curves={})


VARIANTS = {
    "two modes, an estimate": lambda r: replace(
        two_modes(r), truth_is_known=False, pixel_size_m=11e-9
    ),
    "no truth": lambda r: replace(r, truth=None, pixel_size_m=50e-9),
    "wrapping": wrapping,
    "one pixel, no truth": lambda r: replace(r, truth=None, positions=r.positions[:1].round()),
    "wide": lambda r: wide(r, 24),
    "wide, no truth": lambda r: wide(replace(r, truth=None, curves={}), 24),
    "flat": lambda r: wide(two_modes(r), 12),
    "NaN, one row": lambda r: nothing_but_nan(thin(r)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_reconstruction_gets_its_picture(reconstruction, variant, tmp_path):
    figures = FIGURES if variant != "NaN, one row" else {}
    save_picture(VARIANTS[variant](reconstruction), figures, tmp_path / "new" / "picture.png")
    assert_picture(tmp_path / "new" / "picture.png", (1800, 1100))


@pytest.mark.parametrize("rows", [12, 24])
def test_wide_scans_fill_the_page(reconstruction, rows, tmp_path):
    save_picture(wide(reconstruction, rows), FIGURES, tmp_path / "wide.png")
    page = read(tmp_path / "wide.png")[100:]
    assert (page.min(2) < 250).mean() > 0.5
    # something in every ninth of the page
    for part in (p for rows in np.array_split(page, 3) for p in np.array_split(rows, 3, axis=1)):
        assert (part.min(2) < 250).mean() > 0.15


@pytest.mark.parametrize("names", [("lift", "refined"), ("lift", "network", "adapted", "refined")])
@pytest.mark.parametrize("rows", [12, 24, 99])
def test_titles_of_stages_stay_above_their_panels(
    reconstruction, rows, names, tmp_path, monkeypatch
):
    pages = []
    monkeypatch.setattr(figures, "save_page", lambda page, path: pages.append(page))
    stages = tuple(Stage(name, reconstruction.obj, 1234.5) for name in names)
    one = wide(replace(reconstruction, stages=stages), rows)
    save_picture(one, {name: {"C": 0.875} for name in names}, tmp_path / "p.png")
    pages[0].draw_without_rendering()
    shown = [axes for axes in pages[0].axes if "1234.5 s" in axes.get_title(loc="left")]
    assert len(shown) == len(names)
    for axes, name in zip(shown, names, strict=True):
        said = axes.get_title(loc="left")
        assert said.replace("\n", ": ") == f"{name}, 1234.5 s: C 0.875"
        title = axes.findobj(lambda artist, said=said: getattr(artist, "_text", "") == said)[0]
        assert title.get_window_extent().x1 <= axes.get_window_extent().x1


def test_the_small_picture_shows_the_object(reconstruction, tmp_path):
    save_object_png(reconstruction.obj, tmp_path / "a.png")
    save_object_png(np.ones_like(reconstruction.obj), tmp_path / "b.png")
    assert np.abs(read(tmp_path / "a.png") - read(tmp_path / "b.png")).mean() > 3


@pytest.mark.parametrize("shape", [(20, 60), (1, 1)])
def test_small_picture_of_an_object(reconstruction, shape, tmp_path):
    save_object_png(reconstruction.obj[: shape[0], : shape[1]], tmp_path / "object.png")
    assert read(tmp_path / "object.png").shape[1] == 1100


def test_nothing_global_is_touched(reconstruction, tmp_path):
    before = dict(matplotlib.rcParams)
    save_object_png(reconstruction.obj, tmp_path / "object.png")
    assert dict(matplotlib.rcParams) == before


def test_key_figures_stand_between_their_floors():
    line = key_figures(FIGURES["refined"], FIGURES["flat"], FIGURES["noise"])
    assert "phase 40.2 dB (flat 13.0, noise 41.1)" in line
    assert "FRC ½-bit 2.0 px   ·" in line
    assert "C 0.960 (flat 0.000, noise 0.959)" in line
    assert "C 0.960   ·" in key_figures(FIGURES["refined"] | {"deviance": 0.5}, {}, {})
    assert key_figures({}, {}, {}) == ""
    in_metres = {"frc_half_bit_px": 2.8, "frc_half_bit_nm": 31.4}
    assert "31.4 nm" in key_figures(in_metres, {}, {})


def test_a_long_line_of_figures_stays_on_the_page(reconstruction, tmp_path):
    row = dict.fromkeys(["phase_psnr", "phase_ssim", "amplitude_psnr", "R", "C"], 12.3456)
    row |= {"deviance": 1234.5678, "frc_half_bit_px": 2.0, "frc_half_bit_nm": 123.4}
    save_picture(reconstruction, {"refined": row, "flat": row, "noise": row}, tmp_path / "a.png")
    title = read(tmp_path / "a.png")[60:95]
    ink = np.flatnonzero((title.min(2) < 200).any(0))
    assert ink[0] < 30
    # and fills it, up to a point of letter size
    assert 1500 < ink[-1] < 1790


@pytest.mark.parametrize(
    ("at_most", "length"), [(1, 1), (1.9, 1), (2, 2), (49, 20), (50, 50), (0.3, 0.2), (990, 500)]
)
def test_scale_bars_have_round_lengths(at_most, length):
    assert panels.round_length(at_most) == pytest.approx(length)


def test_scale_bar_names_its_unit():
    for pixel_size_m, words in ((None, "20 px"), (10e-9, "200 nm"), (1e-7, "2 µm")):
        axes = Figure().subplots()
        panels.scale_bar(axes, 100, pixel_size_m)
        assert [text.get_text() for text in axes.texts] == [words]


def test_hue_is_phase_and_brightness_is_amplitude():
    colours = panels.complex_colours(np.array([[1.0, -1.0, 0.0, 0.5]], complex))
    red, cyan, black, dim = colours[0]
    assert red[0] > red[1]
    assert cyan[0] < cyan[1] == pytest.approx(cyan[2])
    assert not black.any()
    np.testing.assert_allclose(dim, red / 2)


def test_limits_leave_out_outliers_and_have_width():
    image = np.linspace(0, 1, 1001)
    image[500] = 1e9
    assert panels.limits(image) == pytest.approx((0.01, 0.991), abs=2e-3)
    low, high = panels.limits(np.full((3, 3), 0.7))
    assert low < 0.7 < high


def box(aspect, **more):
    return panels.Panel(lambda axes: None, aspect, **more)


def test_columns_are_filled_and_nothing_overlaps():
    column = [[box(2.0), box(1.0)], [box(1.5, stretches=True)], [box(4.0)]]
    boxes = panels.arrange(column, 6, 8)
    first, second, curve, last = (where for _, where in boxes)
    assert first[2] / first[3] == pytest.approx(2)
    assert second[2] == pytest.approx(second[3]) == pytest.approx(first[3])
    assert second[0] + second[2] == pytest.approx(6, abs=0.2)
    assert first[0] + first[2] < second[0]
    assert curve[1] > first[1] + first[3]
    assert last[1] > curve[1] + curve[3]
    assert last[1] + last[3] == pytest.approx(8, abs=0.2)


def test_too_high_a_column_shrinks():
    boxes = panels.arrange([[box(1.0)], [box(1.0)]], 10, 6)
    assert boxes[-1][1][1] + boxes[-1][1][3] <= 6
    assert boxes[0][1][2] == pytest.approx(boxes[0][1][3])


def test_panels_are_broken_into_rows_in_every_way():
    found = list(panels.groupings(["a", "b", "c"]))
    assert [["a", "b", "c"]] in found
    assert [["a"], ["b"], ["c"]] in found
    assert len(found) == 4


@pytest.mark.parametrize(
    ("values", "scale"), [((5.85e-3, 5.5e-3), "linear"), ((1.0, 0.01), "log"), ((), "linear")]
)
def test_curves_are_logarithmic_only_over_a_wide_range(values, scale):
    axes = Figure().subplots()
    panels.draw_curves(axes, {"train/loss": list(enumerate(values))})
    assert axes.get_yscale() == scale
    if values and scale == "linear":
        axes.figure.canvas.draw()
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert 3 <= len(labels) <= 6
        assert all("10" not in label for label in labels)


@pytest.mark.parametrize(("height", "most"), [(0.5, 3), (8, 6)])
def test_low_images_have_few_ticks(height, most):
    figure = Figure(figsize=(8, height), dpi=100)
    axes = figure.subplots()
    drawn = panels.draw_image(axes, np.eye(9), "", panels.ERROR, (-0.0163, 0.0163))
    axes.set_aspect("auto")
    panels.colour_bar(axes, drawn)
    figure.canvas.draw()
    assert 1 <= sum(abs(tick) <= 0.0163 for tick in drawn.colorbar.get_ticks()) <= most


def test_a_weak_mode_looks_weak():
    axes = Figure().subplots()
    mode = np.ones((8, 8), complex)
    panels.draw_probe(axes, np.stack([mode, 0.25 * mode]))
    shown = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shown[:, -8:], shown[:, :8] / 4)
    assert "94%, 6%" in axes.get_title("left")
