from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from ptycho.report.patch_figure import Example, PatchTable, nearest, save_patches, write_table

RNG = np.random.default_rng(0)


def table(places: np.ndarray, **changes: np.ndarray) -> PatchTable:
    """A table of noise at some places."""
    count = len(places)
    names = ("mean", "std", "min", "max")
    columns = {f"amplitude_{name}": RNG.uniform(0.5, 1, count) for name in names}
    columns |= {"phase_mean": RNG.uniform(-3, 3, count), "phase_std": RNG.uniform(0, 1, count)}
    columns |= {"R": RNG.uniform(0.1, 0.2, count)} | changes
    return PatchTable(np.arange(count) + 10, *places.T.astype(float), **columns)


def test_the_summary_is_made_of_medians():
    found = table(
        np.mgrid[:3, :3].reshape(2, -1).T, amplitude_mean=np.arange(9.0), phase_std=np.full(9, 0.5),
        R=np.array([0.1, 0.2, np.nan, 0.9, 0.2, 0.3, 0.3, 0.2, 0.3]),
    ).summary()  # fmt: skip
    assert found == {
        "patterns": 9, "amplitude": 4.0, "amplitude_p5": pytest.approx(0.4),
        "amplitude_p95": pytest.approx(7.6), "phase_std": 0.5, "R": 0.25, "worst_R": 0.9,
        "worst": 13,
    }  # fmt: skip


def test_rows_come_in_the_order_of_the_numbers(tmp_path: Path):
    one = table(np.array([[5, 6], [7, 8]]))
    mixed = PatchTable(*(np.flip(getattr(one, name)) for name in vars(one)))
    write_table(mixed, tmp_path / "table.csv")
    head, first, second = (tmp_path / "table.csv").read_text().splitlines()
    assert head == (
        "number,y,x,amplitude_mean,amplitude_std,amplitude_min,amplitude_max,phase_mean,phase_std,R"
    )
    assert first.startswith("10,5.0,6.0,")
    assert second.startswith("11,7.0,8.0,")
    assert second.endswith(f",{one.R[1]}")


def test_a_map_shows_the_nearest_and_nothing_far_away():
    places = np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    image = nearest(places, np.array([1.0, 2.0, 3.0]))
    assert image[0, 0] == 1
    assert image[0, -1] == 2
    assert image[-1, 0] == 3
    far = nearest(np.array([[0.0, 0.0], [0.0, 1.0], [30.0, 0.0], [30.0, 1.0]]), np.ones(4))
    assert np.isnan(far[far.shape[0] // 2]).all()


@pytest.mark.parametrize(
    "places",
    [
        RNG.uniform(0, 100, (60, 2)),
        np.stack([np.full(40, 3.0), np.arange(40.0)], axis=-1),
        np.stack([np.arange(40.0), np.full(40, 3.0)], axis=-1),
        np.array([[4.0, 5.0]]),
        np.zeros((3, 2)),
    ],
    ids=["cloud", "line", "column", "one", "all in a place"],
)
def test_any_scan_makes_a_picture(places: np.ndarray, tmp_path: Path):
    found = table(places, R=np.full(len(places), np.nan))
    window = RNG.normal(size=(16, 16, 2)) @ [1, 1j]
    examples = [Example(number, window.astype(np.complex64), 0.1) for number in range(2)]
    save_patches(found, examples, 8, "a_$label", tmp_path / "picture.png")
    picture = matplotlib.image.imread(tmp_path / "picture.png")
    assert picture.shape[1] == 1800
    assert picture[..., :3].std() > 0.05
