import threading

import pytest
import torch

from ptycho.physics.threads import in_parallel


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
