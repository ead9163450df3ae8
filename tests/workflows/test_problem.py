from dataclasses import replace

import numpy as np
import pytest
import torch

from ptycho.config.choices import Accelerator
from ptycho.data.scan import DataError
from ptycho.nn.object_net import STRIDE
from ptycho.physics.patches import extract_patches, split_positions
from ptycho.physics.probe import photons
from ptycho.physics.solver import Recipe
from ptycho.report.frames import misfit
from ptycho.workflows.problem import pick_device, pose, with_curves
from tests.runs import CPU, scan_at, tiny_problem, tiny_scan

GRID = np.mgrid[:4, :5].reshape(2, -1).T * 7.3 + [30.4, 41.9]


@pytest.mark.parametrize("positions", [GRID, GRID - 500, GRID * [1, 3], GRID[:1], GRID[:5]])
@pytest.mark.parametrize("size", [15, 16, 32])
def test_every_patch_lies_on_the_canvas(positions: np.ndarray, size: int) -> None:
    problem = pose(scan_at(positions, size), CPU)
    corners, _ = split_positions(problem.positions, size)
    assert (corners >= 0).all()
    assert (corners + size <= torch.tensor(problem.shape)).all()
    assert all(side % STRIDE == 0 for side in problem.shape)
    # and the canvas is no larger than needed: margin and rounding
    spare = torch.tensor(problem.shape) - (corners.max(0).values + size)
    assert (corners.min(0).values <= 3).all()
    assert (spare < 4 + STRIDE).all()


def test_canvas_positions_are_the_scans_own_minus_the_offset() -> None:
    scan = scan_at(GRID)
    problem = pose(scan, CPU)
    assert problem.offset.dtype == np.int64
    np.testing.assert_allclose(problem.positions.numpy() + problem.offset, scan.positions)


@pytest.mark.parametrize("shift", [(0, 0), (100, -300)])
def test_true_object_lands_on_its_own_pixels(shift: tuple[int, int]) -> None:
    scan = tiny_scan(photons=1e7)
    here = pose(scan, CPU)
    truth = here.reconstruction([]).truth
    assert truth is not None
    y, x = here.offset
    for row, column in ((20, 20), (30, 45), (41, 33)):
        assert truth[row - y, column - x] == scan.truth[row, column]
    # and the patterns agree: the frames are those of that object at those positions
    _, c = misfit(here.experiment, torch.from_numpy(truth), here.amplitude)
    assert c > 0.99
    # moving the scan moves the offset and nothing else; the truth is elsewhere then
    moved = pose(replace(scan, positions=scan.positions + shift), CPU)
    np.testing.assert_array_equal(moved.offset, here.offset + shift)
    assert moved.shape == here.shape
    if any(shift):
        assert moved.reconstruction([]).truth is None


def test_truth_smaller_than_the_canvas_is_surrounded_by_vacuum() -> None:
    scan = tiny_scan()
    high = np.ceil(scan.positions.max(0)).astype(int) + 2
    small = replace(scan, truth=scan.truth[: high[0], : high[1]])
    problem = pose(small, CPU)
    truth = problem.reconstruction([]).truth
    assert truth is not None
    assert truth.shape == problem.shape
    y, x = high - problem.offset
    assert (truth[y:] == 1).all()
    assert (truth[:, x:] == 1).all()
    assert truth[y - 1, x - 1] == scan.truth[high[0] - 1, high[1] - 1]


def test_truth_that_does_not_cover_the_scan_judges_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scan = tiny_scan()
    problem = pose(replace(scan, truth=scan.truth[:40, :37]), CPU)
    assert problem.reconstruction([]).truth is None
    assert "does not cover the scanned area" in caplog.text


@pytest.mark.parametrize("factor", [1e-2, 1e-4, 1e-6])
def test_a_unit_of_the_amplitudes_changes_nothing(factor: float) -> None:
    scan = tiny_scan()
    # jitter the counts: measured amplitudes with fractions, as after normalising
    real = replace(scan, amplitude=scan.amplitude * np.float32(1.37))
    unit = replace(real, amplitude=real.amplitude * np.float32(factor))
    assert unit.photons < 1e3
    dose = replace(real, amplitude=real.amplitude * np.float32(np.sqrt(1e5 / real.photons)))
    ours, wanted = (pose(one, CPU) for one in (unit, dose))
    torch.testing.assert_close(ours.amplitude, wanted.amplitude, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.probe, wanted.probe, rtol=1e-4, atol=1e-4)
    assert "1e+05" in ours.scan.notes["dose"]


def test_few_counted_photons_are_taken_at_their_word() -> None:
    scan = tiny_scan(photons=200.0)
    assert scan.photons < 1e3
    assert pose(scan, CPU).scan is scan


@pytest.mark.parametrize("exponent", [-30, 20, 30])
def test_unit_of_the_probe_does_not_matter(exponent: int) -> None:
    scan = tiny_scan()
    other = replace(scan, probe=scan.probe * np.complex64(10.0**exponent))
    torch.testing.assert_close(pose(other, CPU).probe, pose(scan, CPU).probe)


def test_amplitudes_beyond_single_precision_are_refused() -> None:
    scan = tiny_scan()
    with pytest.raises(DataError, match="too large or too small for single precision"):
        pose(replace(scan, amplitude=scan.amplitude * np.float32(1e30)), CPU)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_line_of_positions_has_an_area_to_judge(axis: int) -> None:
    positions = np.full((8, 2), 40.5)
    positions[:, axis] += 3.3 * np.arange(8)
    rows, columns = pose(scan_at(positions), CPU).reconstruction([]).scanned
    assert rows.stop - rows.start >= 8
    assert columns.stop - columns.start >= 8


def test_truth_larger_than_the_canvas_is_cut() -> None:
    scan = tiny_scan()
    large = np.pad(scan.truth, ((50, 60), (70, 80)))
    problem = pose(replace(scan, truth=large, positions=scan.positions + np.array([50, 70])), CPU)
    np.testing.assert_array_equal(
        problem.reconstruction([]).truth, pose(scan, CPU).reconstruction([]).truth
    )


def test_no_truth_no_truth() -> None:
    assert pose(scan_at(GRID), CPU).reconstruction([]).truth is None


def test_truth_keeps_its_standing() -> None:
    scan = tiny_scan()
    for known in (True, False):
        told = pose(replace(scan, truth_is_known=known), CPU).reconstruction([])
        assert told.truth_is_known is known


def test_absurd_span_is_refused() -> None:
    far = np.concatenate([GRID, [[1e6, 1e6]]])
    with pytest.raises(DataError, match="span 1e\\+06 x 1e\\+06 object pixels"):
        pose(scan_at(far), CPU)


def test_probe_is_scaled_to_the_photons_measured() -> None:
    scan = tiny_scan(photons=3e4)
    weak = replace(scan, probe=scan.probe * np.complex64(1e-3))
    problem, same = pose(scan, CPU), pose(weak, CPU)
    assert float(photons(problem.probe)) == pytest.approx(scan.photons, rel=1e-4)
    torch.testing.assert_close(problem.probe, same.probe)
    assert same.scale == pytest.approx(1e3 * problem.scale, rel=1e-5)


@pytest.mark.parametrize("size", [30, 31])
def test_other_sizes_than_multiples_of_four_work(size: int) -> None:
    problem = tiny_problem(patch_size=size, photons=1e6)
    obj = problem.start(10, Recipe())
    obj = problem.solver(Recipe()).run(obj, 5)
    assert obj.shape == problem.shape
    assert misfit(problem.experiment, obj, problem.amplitude)[1] > 0.8


def test_start_at_half_resolution_is_a_solution() -> None:
    problem = tiny_problem()
    ticks: list[int] = []
    obj = problem.start(12, Recipe(), lambda i, _: ticks.append(i))
    assert ticks == list(range(12))
    assert misfit(problem.experiment, obj, problem.amplitude)[1] > 0.8
    assert misfit(problem.experiment, problem.flat(), problem.amplitude)[1] == pytest.approx(0)


def test_start_without_iterations_is_flat() -> None:
    problem = tiny_problem()
    assert torch.equal(problem.start(0, Recipe()), problem.flat())


def test_modes_stay_apart() -> None:
    scan = tiny_scan(photons=1e6)
    second = np.roll(scan.probe, 3, axis=-1) * np.complex64(0.5)
    problem = pose(replace(scan, probe=np.concatenate([scan.probe, second])), CPU)
    assert problem.probe.shape == (2, 32, 32)
    assert float(photons(problem.probe)) == pytest.approx(scan.photons, rel=1e-4)
    which = torch.arange(3)
    obj = torch.from_numpy(problem.reconstruction([]).truth)
    both = problem.experiment(obj, which)
    alone = [
        pose(replace(scan, probe=one[None]), CPU).experiment(obj, which)
        for one in (scan.probe[0], second[0])
    ]
    # each is scaled to all photons; together they share them 4 to 1
    torch.testing.assert_close(both, 0.8 * alone[0] + 0.2 * alone[1], rtol=1e-3, atol=1e-2)
    assert problem.reconstruction([]).probe.shape == (2, 32, 32)


def test_patches_are_those_of_the_scans_grid() -> None:
    scan = scan_at(np.floor(GRID) + 0.0)
    problem = pose(scan, CPU)
    ramp = torch.arange(problem.shape[0])[:, None] + 1j * torch.arange(problem.shape[1])
    corners, rest = split_positions(problem.positions, 16)
    assert (rest == 0).all()
    centres = extract_patches(ramp.to(torch.complex64), corners, 16)[:, 8, 8]
    expected = scan.positions - problem.offset
    np.testing.assert_array_equal(torch.view_as_real(centres).numpy(), expected)


def test_curves_are_added_to_a_reconstruction() -> None:
    found = tiny_problem().reconstruction([])
    told = with_curves(found, {"train/loss": [(1.0, 2.0)]})
    assert told.curves == {"train/loss": [(1.0, 2.0)]}
    assert found.curves == {}


@pytest.mark.parametrize(
    ("choice", "cuda", "mps", "device"),
    [
        ("auto", True, True, "cuda"), ("auto", False, True, "mps"), ("auto", False, False, "cpu"),
        ("cpu", True, True, "cpu"), ("gpu", True, True, "cuda"), ("gpu", False, True, "mps"),
        ("cuda", True, True, "cuda"), ("mps", True, True, "mps"),
    ],
)  # fmt: skip
def test_device_is_the_one_asked_for(
    monkeypatch: pytest.MonkeyPatch, choice: str, cuda: bool, mps: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device(Accelerator(choice)).type == device
