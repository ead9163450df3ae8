import numpy as np
import pytest

from ptycho.data.canvases import CanvasSampler

PLACES = np.stack(np.mgrid[:12, :10], -1).reshape(-1, 2) * 6.0


def sampler(**more):
    return CanvasSampler(PLACES, 24, **({"seed": 0, "per_canvas": 8, "share": 0.5} | more))


def numbers(batches):
    return np.concatenate([np.concatenate(canvas) for batch in batches for canvas in batch])


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_an_epoch_measures_everything_once(share):
    batches = sampler(share=share).cells()
    assert sorted(numbers(batches)) == list(range(len(PLACES)))
    assert len(batches) == len(sampler()) == 5
    assert {len(batch) for batch in batches} == {3}
    sizes = [len(canvas.predicted) for batch in batches for canvas in batch]
    assert set(sizes) == {max(round(share * 8), 1)}


def test_a_canvas_holds_neighbours_and_a_batch_canvases_from_everywhere():
    batches = sampler().cells()
    within = [np.ptp(PLACES[np.concatenate(c)], axis=0).max() for batch in batches for c in batch]
    across = [np.ptp(PLACES[numbers([batch])], axis=0).max() for batch in batches]
    assert max(within) <= 42  # of 66: eight positions, at most eight in a row
    assert np.mean(across) > 1.5 * np.mean(within)


def test_what_is_predicted_covers_the_canvas():
    for batch in sampler(share=0.5).cells():
        for canvas in batch:
            away = PLACES[canvas.measured][:, None] - PLACES[canvas.predicted][None]
            assert np.hypot(*away.T).min(0).max() <= 12  # nobody is far from a predicted one


def test_the_order_depends_on_seed_and_epoch_alone():
    one, other = sampler(), sampler()
    assert np.array_equal(numbers(one), numbers(other))
    other.set_epoch(1)
    assert not np.array_equal(numbers(one), numbers(other))
    assert not np.array_equal(numbers(one), numbers(sampler(seed=1)))


def test_processes_share_the_batches():
    ranks = [sampler(rank=rank, world=2) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) == 3
    found = np.concatenate([numbers(rank) for rank in ranks])
    assert sorted(found) == list(range(len(PLACES)))


def test_more_canvases_than_positions_are_not_made():
    few = CanvasSampler(PLACES[:5], 4, 0, per_canvas=1, share=0.5)
    assert sorted(numbers(few.cells())) == list(range(5))
