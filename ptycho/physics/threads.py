"""Work shared among threads that need not wait for each other at every operation."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import pairwise
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = _pool(len(items)).map if len(items) > 1 else map
        return list(run(work, items))
    finally:
        torch.set_num_threads(threads)


def ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Do the work on one item after another in threads, some items ahead of who takes the results.

    Args:
        work: what to do with an item, without gradients.
        items: taken as they are needed: never more results wait than there are threads.

    Returns:
        The results in the order of the items.
    """
    work = torch.no_grad()(work)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    waiting = deque[Future[Result]]()
    try:
        for item in items:
            waiting.append(_pool(threads).submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for one in waiting:
            one.cancel()
        torch.set_num_threads(threads)


def shares(n: int, batch_size: int, device: torch.device) -> list[list[slice]]:
    """Batches of neighbouring patterns: as many contiguous shares as the CPU has threads."""
    frames = [slice(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    threads = min(torch.get_num_threads() if device.type == "cpu" else 1, len(frames))
    bounds = [len(frames) * i // threads for i in range(threads + 1)]
    return [frames[a:b] for a, b in pairwise(bounds)]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "ptycho", initializer=lambda: torch.set_num_threads(1))
