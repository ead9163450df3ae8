import numpy as np
import pytest
import torch

from ptycho.data.canvases import Canvas
from ptycho.data.patch_batches import Labelled, PatchDataset, ShuffledSampler
from ptycho.physics.patches import add_patches, extract_patches, stitch
from ptycho.physics.variation import total_variation

N, SIZE, SHAPE = 30, 6, (40, 35)
CORNERS = np.random.default_rng(0).integers(0, np.array(SHAPE) - SIZE, (N, 2))
AMPLITUDE = torch.arange(N * SIZE * SIZE, dtype=torch.float32).reshape(N, SIZE, SIZE)
GROUPS = np.stack([np.arange(N), (np.arange(N) + 1) % N, (np.arange(N) + 2) % N], 1)


def dataset(shared=None, groups=GROUPS, **more):
    return PatchDataset(AMPLITUDE, CORNERS, groups, 12, shared=shared, **more)


def canvas(predicted, measured=()):
    return Canvas(np.array(predicted), np.array(measured, dtype=np.int64))


@pytest.mark.parametrize("which", [np.array([7, 2, 20]), [canvas([7, 2, 20])]])
def test_patches_lie_inside_their_canvas_and_apart_as_on_the_object(which):
    batch = dataset(12)[which]
    which = batch.which.numpy()
    assert sorted(which) == sorted(GROUPS[[2, 7, 20]].ravel())
    assert torch.equal(batch.amplitude, AMPLITUDE[batch.which])
    assert batch.predicted is None
    inside = CORNERS[which] - batch.origin.numpy()
    assert (inside >= 0).all()
    assert (inside + SIZE <= np.array(batch.shape)).all()
    for group in range(3):
        mine = slice(3 * group, 3 * group + 3)
        np.testing.assert_array_equal(
            np.diff(inside[mine], axis=0), np.diff(CORNERS[which[mine]], axis=0)
        )


def test_a_shared_canvas_is_as_large_as_what_lies_on_it():
    batch = dataset(12)[[canvas([7, 2], [20])]]
    assert len(batch.origin.unique(dim=0)) == 1
    inside = CORNERS[batch.which] - batch.origin.numpy()
    assert tuple(inside.min(0)) == (0, 0)
    assert tuple(inside.max(0) + SIZE) == batch.shape


def test_several_canvases_do_not_touch_and_some_are_predicted():
    groups = np.arange(N)[:, None]
    batch = dataset(12, groups)[[canvas([7, 2], [20]), canvas([5], [1, 9]), canvas([3])]]
    assert batch.which.tolist() == [2, 7, 20, 5, 1, 9, 3]
    amplitude, which, origin = batch.shown
    assert which.tolist() == [2, 7, 5, 3]
    assert torch.equal(amplitude, AMPLITUDE[which])
    where = dict(zip(batch.which.tolist(), batch.origin.tolist(), strict=True))
    assert origin.tolist() == [where[int(one)] for one in which]
    height = batch.shape[0] // 3
    rows = torch.from_numpy(CORNERS[batch.which])[:, 0] - batch.origin[:, 0]
    assert (rows // height).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert ((rows + SIZE - 1) // height).tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_the_total_variation_of_canvases_is_their_own():
    batch = dataset(12, np.arange(N)[:, None])[[canvas([7]), canvas([20])]]
    patches = torch.tensor([1.0, -1.0]).to(torch.complex64)[:, None, None].repeat(1, SIZE, SIZE)
    weights = torch.ones(SIZE, SIZE)
    corners = torch.from_numpy(CORNERS)[batch.which] - batch.origin
    light = add_patches(weights.expand(patches.shape), corners, batch.shape)
    assert total_variation(stitch(patches, weights, corners, batch.shape), light) == 0


def test_canvases_of_groups_do_not_touch():
    batch = dataset()[np.array([7, 2, 20])]
    inside = CORNERS[batch.which] - batch.origin.numpy()
    rows = [set() for _ in range(3)]
    for number, (y, _) in enumerate(inside):
        rows[number // 3] |= set(range(y, y + SIZE))
    assert not rows[0] & rows[1]
    assert not rows[1] & rows[2]


def test_batches_hold_about_as_many_patterns_as_asked():
    assert dataset(12).n_patterns == 4
    assert dataset(12, GROUPS[:, :1]).n_patterns == 12
    huge = PatchDataset(AMPLITUDE, CORNERS, GROUPS, 2)
    assert huge.n_patterns == 1


def test_neighbours_share_a_canvas_and_chance_mixes_groups():
    made = dataset(6, share=0.5)
    batches = made.sampler(made.places, made.n_patterns, 0).cells()
    assert all(len(batch) == 2 for batch in batches)  # canvases of 2 groups of 3
    assert all(len(one.predicted) == 1 for batch in batches for one in batch)
    assert dataset().sampler is ShuffledSampler


def test_shuffled_batches_hold_everything_once_and_change():
    sampler = ShuffledSampler(np.zeros((N, 2)), 4, seed=0)
    first = sampler.cells()
    assert sorted(np.concatenate(first)) == list(range(N))
    assert {len(cell) for cell in first} == {3, 4}
    again = ShuffledSampler(np.zeros((N, 2)), 4, seed=0).cells()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    sampler.set_epoch(1)
    assert any(not np.array_equal(a, b) for a, b in zip(first, sampler.cells(), strict=True))


@pytest.mark.parametrize("one_by_one", [True, False])
def test_labels_come_along(one_by_one):
    obj = torch.randn(SHAPE, dtype=torch.complex64)
    corners = torch.from_numpy(CORNERS)
    known = extract_patches(obj, corners, SIZE)
    labels = Labelled(known if one_by_one else obj, corners, SIZE)
    batch = dataset(12, labels=labels)[[canvas([3, 9], [12])]]
    assert len(batch.labels) == 6
    assert torch.equal(batch.labels, known[batch.shown[1]])
    assert dataset()[np.array([3])].labels is None
