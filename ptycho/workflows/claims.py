"""Which process works on which job of a sweep: locks of the system, free again when it dies."""

from pathlib import Path

from filelock import FileLock, Timeout

FOLDER = ".claims"


class Claims:
    """The jobs that this process has taken.

    Args:
        sweep: folder of the sweep.
    """

    def __init__(self, sweep: Path) -> None:
        self.folder = sweep / FOLDER
        self._held: dict[int, FileLock] = {}

    def take(self, number: int) -> bool:
        """Take a job, unless another process has it; to be called under the study's lock."""
        if number in self._held:
            return True
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f"{number}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._held[number] = lock
        return True

    def drop(self, number: int) -> None:
        """Give a job back."""
        self._held.pop(number).release()

    def drop_all(self) -> None:
        """Give back every job."""
        for number in [*self._held]:
            self.drop(number)
