"""The yardstick's layout is the one described, and its physics is the package's."""

import pytest
import torch
from torch import Tensor

from benchmarks import ancestor
from ptycho.data.simulate import simulate
from ptycho.physics.patches import extract_patches
from ptycho.workflows.problem import Problem, pose
from tests.operators import complex_noise


@pytest.fixture(scope="module")
def problem() -> Problem:
    return pose(
        simulate(kind="chip", n_patterns=64, patch_size=64, photons=1e4), torch.device("cpu")
    )


@pytest.fixture(scope="module")
def groups(problem: Problem) -> ancestor.Groups:
    return ancestor.group(problem.amplitude, problem.positions, problem.probe)


class TestAncestor:
    def test_size_and_work_are_as_described(self) -> None:
        network = ancestor.AncestorNet()
        # the description gives three digits and leaves the decoders open
        assert ancestor.parameters(network) == pytest.approx(ancestor.PARAMETERS, rel=0.03)
        assert ancestor.multiplications(network) == pytest.approx(
            ancestor.MULTIPLICATIONS, rel=0.03
        )

    def test_predicts_central_windows(self) -> None:
        windows = ancestor.AncestorNet()(torch.rand(2, 4, 64, 64))
        assert windows.shape == (2, 4, 32, 32)
        assert windows.dtype == torch.complex64

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_gradients_reach_every_parameter(self, groups: ancestor.Groups, precision: str) -> None:
        training = ancestor.Training(groups, precision)
        training.loss(slice(0, 2)).backward()
        for name, one in training.network.named_parameters():
            assert one.grad is not None, name
            assert torch.isfinite(one.grad).all(), name
            assert one.grad.abs().max() > 0, name

    def test_a_step_changes_the_network_and_moves_on(self, groups: ancestor.Groups) -> None:
        training = ancestor.Training(groups, "fp32")
        before = [one.detach().clone() for one in training.network.parameters()]
        first, second = training.step(), training.step()
        assert first != second
        for old, new in zip(before, training.network.parameters(), strict=True):
            assert not torch.equal(old, new)

    def test_every_pattern_leads_a_group_of_its_nearest(
        self, problem: Problem, groups: ancestor.Groups
    ) -> None:
        assert sorted(groups.members[:, 0].tolist()) == list(range(64))
        distance = torch.cdist(problem.positions, problem.positions)
        nearest = distance.sort(1).values[groups.members[:, 0], : ancestor.GROUP]
        chosen = distance[groups.members[:, :1], groups.members]
        torch.testing.assert_close(chosen.sort(1).values, nearest)

    def test_groups_keep_their_distances_and_fit_their_canvas(
        self, problem: Problem, groups: ancestor.Groups
    ) -> None:
        positions = problem.positions[groups.members]
        apart = (groups.corners - groups.corners[:, :1]) - (positions - positions[:, :1])
        assert apart.abs().max() <= 1  # two positions, each rounded to a pixel
        assert groups.corners.min() == 0
        assert groups.corners.max() + ancestor.SIZE == groups.side

    def test_measures_as_the_package_does(self, problem: Problem, groups: ancestor.Groups) -> None:
        obj = torch.from_numpy(problem.reconstruction([]).truth)
        which = torch.tensor([[0, 3], [40, 63]])
        patches = extract_patches(obj, problem.experiment.corners[which].reshape(-1, 2), 64)
        found = groups.measure(patches.reshape(2, 2, 64, 64), which)
        expected = problem.experiment(obj, which.flatten()).reshape(2, 2, 64, 64)
        torch.testing.assert_close(found, expected)


class TestMerging:
    side = 75
    corners = torch.tensor([[[0, 0], [3, 7], [11, 2], [5, 5]], [[0, 9], [0, 0], [4, 0], [8, 8]]])

    def patches(self, canvases: Tensor) -> Tensor:
        cut = [extract_patches(*one, 64) for one in zip(canvases, self.corners, strict=True)]
        return torch.stack(cut)

    def covered(self) -> Tensor:
        """Pixels of both canvases that some window predicts."""
        seen = torch.zeros(2, self.side, self.side, dtype=torch.complex64)
        for canvas, corners in zip(seen, self.corners.tolist(), strict=True):
            for y, x in corners:
                canvas[y + 16 : y + 48, x + 16 : x + 48] = 1
        return seen

    def test_windows_of_one_canvas_give_it_back(self) -> None:
        canvases = complex_noise(2, self.side, self.side)
        windows = self.patches(canvases)[..., 16:48, 16:48]
        merged = ancestor.merge_and_cut(windows, self.corners, self.side)
        expected = torch.where(self.covered() == 1, canvases, 1)
        # a mean of up to four equal numbers, rounded at each addition
        torch.testing.assert_close(merged, self.patches(expected), rtol=1e-6, atol=1e-6)

    def test_where_windows_disagree_their_mean_is_taken(self) -> None:
        corners = torch.tensor([[[0, 0], [0, 16]]])
        windows = torch.ones(1, 2, 32, 32, dtype=torch.complex64)
        windows[0, 1] = 3
        merged = ancestor.merge_and_cut(windows, corners, 80)[0, 0, 32]
        assert merged[16:32].eq(1).all()
        assert merged[32:48].eq(2).all()
        assert merged[48:].eq(3).all()
