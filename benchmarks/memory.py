"""Peak memory of a command.

    python -m benchmarks.memory LOG COMMAND...

runs a command, keeps what it says in the file LOG and prints its exit code, peak resident
memory, wall and CPU seconds as JSON. A process of its own, because Linux counts the memory of
whoever starts a process as that process's: a small starter keeps the figure honest.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts."""


def peak(command: list[str], log: Path) -> dict[str, float]:
    """Run a command from a small process.

    Args:
        command: program and arguments.
        log: file that takes its output.

    Returns:
        ``bytes``, ``seconds`` and ``cpu_seconds``.

    Raises:
        RuntimeError: when it fails, with the end of what it said.
    """
    starter = [sys.executable, "-m", "benchmarks.memory", str(log), *command]
    here = Path(__file__).parents[1]  # where python finds both packages
    done = subprocess.run(starter, capture_output=True, text=True, check=True, cwd=here)
    found: dict[str, float] = json.loads(done.stdout)
    if code := found.pop("code"):
        said = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} ended with exit code {code}:\n{said}")
    return found


def main() -> None:
    """The small process."""
    log, *command = sys.argv[1:]
    began = time.perf_counter()
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    found = {
        "code": os.waitstatus_to_exitcode(status),
        "bytes": usage.ru_maxrss * UNIT,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
