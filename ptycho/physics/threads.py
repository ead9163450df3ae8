"""Work shared among threads that need not wait for each other at every operation."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Do the work on every item, each in a thread of its own without gradients.

    Torch shares every single operation among its threads. For many small operations that
    costs more than it saves, and on a machine that others use, too, the threads wait for each
    other all the time. Here each thread does whole batches; torch's own threads rest meanwhile.

    Args:
        work: what to do with an item.
        items: one for each thread.

    Returns:
        The results in the order of the items, whichever came first.
    """
    work = torch.no_grad()(work)
    if len(items) < 2:
        return [work(item) for item in items]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return list(_pool(len(items)).map(work, items))
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "ptycho", initializer=lambda: torch.set_num_threads(1))
