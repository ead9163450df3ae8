import threading

import pytest
import torch

from ptycho.physics.threads import ahead, in_parallel


def test_results_come_in_the_order_of_the_items():
    barrier = threading.Barrier(3, timeout=30)  # only three threads at once get past it

    def work(number):
        barrier.wait()
        return number**2

    assert in_parallel(work, [3, 1, 2]) == [9, 1, 4]


def test_torch_rests_meanwhile_and_goes_on_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert in_parallel(lambda _: torch.get_num_threads(), [0, 1]) == [1, 1]
        assert in_parallel(lambda _: torch.get_num_threads(), [0]) == [1]
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            in_parallel(lambda number: 1 / number, [1, 0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_nothing_is_recorded_for_gradients():
    weight = torch.ones(2, requires_grad=True)
    assert not any(found.requires_grad for found in in_parallel(lambda k: k * weight, [1, 2]))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_work_ahead_comes_in_order_and_not_too_far_ahead():
    begun = []

    def items():
        for number in range(20):
            begun.append(number)
            yield number

    found = ahead(lambda number: (number**2, torch.get_num_threads()), items())
    assert begun == []
    assert next(found) == (0, 1)
    assert len(begun) <= 3  # two at work, and the one that was asked for
    assert [one for one, _ in found] == [number**2 for number in range(1, 20)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_work_ahead_that_fails_says_so_in_its_turn():
    found = ahead(lambda number: 1 / number, [2, 1, 0, 4])
    assert [next(found), next(found)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_who_wants_no_more_of_the_work_ahead_leaves_nothing_behind():
    found = ahead(lambda number: number, range(100))
    next(found)
    found.close()
    assert torch.get_num_threads() == 2
