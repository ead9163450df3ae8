"""What is said to the person at the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def console(quiet: bool = False) -> Console:
    """The terminal; silent on processes other than the first."""
    return Console(quiet=quiet, soft_wrap=True)


def progress(show: bool, terminal: Console) -> Progress:
    """A progress display with room for a note (loss, patterns per second)."""
    return Progress(
        TextColumn("{task.description:>8}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=terminal,
        disable=not show,
    )


@contextmanager
def ticking(bars: Progress, name: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar; yields what moves it on, as the solver does after each iteration."""
    bars.start()
    bar = bars.add_task(name, total=total, note="")

    def tick(iteration: int = 0, error: float | None = None) -> None:
        bars.update(bar, advance=1, note="" if error is None else f"error {error:.4g}")

    yield tick
    bars.update(bar, completed=total)


def put_away(bars: Progress) -> None:
    """End the display, so that what is printed next stands below the finished bars."""
    bars.stop()
    for bar in bars.task_ids:
        bars.remove_task(bar)
