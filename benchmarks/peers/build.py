"""Build the peers' environments, one each, under ``.venv-peers``.

    python -m benchmarks.peers.build [PACKAGE ...] [--pip-args="PIP ARGUMENTS"]

Exact versions from ``benchmarks/peers/PACKAGE.txt``. What is built stays until its versions
change. What cannot be built is said, and left out of the benchmark.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.peers import HERE, PACKAGES, Peer

_STAMP = ".requirements"


def main(arguments: list[str] | None = None) -> int:
    """Build; 0 when at least one environment is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "peers", nargs="*", help=f"of {', '.join(PACKAGES)}; all when none is named"
    )
    parser.add_argument("--pip-args", default="", help="handed to pip, for instance an index")
    options = parser.parse_args(arguments)
    if unknown := set(options.peers) - set(PACKAGES):
        parser.error(
            f"there is no package {', '.join(sorted(unknown))}; there are {', '.join(PACKAGES)}"
        )
    terminal = Console(soft_wrap=True)
    ready = 0
    for name in options.peers or PACKAGES:
        with terminal.status(f"{name}: building"):
            problem = build(PACKAGES[name], options.pip_args.split())
        ready += problem is None
        terminal.print(f"{name}: {problem or 'ready'}", markup=False, highlight=False)
    return 0 if ready else 1


def build(peer: Peer, pip_arguments: Iterable[str] = ()) -> str | None:
    """Make a peer's environment unless it is there.

    Returns:
        None, or a sentence why it could not be made.
    """
    wanted = _digest(peer)
    stamp = peer.environment / _STAMP
    if stamp.is_file() and stamp.read_text() == wanted and peer.python.is_file():
        return None
    interpreter = find_python(peer.least_python)
    if interpreter is None:
        version = ".".join(map(str, peer.least_python))
        return f"left out, it needs Python {version} or newer and none that runs was found."
    shutil.rmtree(peer.environment, ignore_errors=True)
    requirements = ["install", "-q", *pip_arguments, "-r", str(peer.requirements)]
    for command in (
        [interpreter, "-m", "venv", str(peer.environment)],
        [str(peer.python), "-m", "pip", "--disable-pip-version-check", *requirements],
    ):
        # pip looks up paths in a requirements file from where it runs
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"cannot be built: {last_line(done.stderr) or last_line(done.stdout)}"
    stamp.write_text(wanted)
    return None


def _digest(peer: Peer) -> str:
    files = [peer.requirements, *sorted((HERE / "torchvision_stub").rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def find_python(least: tuple[int, int]) -> str | None:
    """An interpreter that runs and is new enough: this one, else what is found."""
    if sys.version_info[:2] >= least:
        return sys.executable
    return next((python for python in _candidates(least) if runs(python, least)), None)


def _candidates(least: tuple[int, int]) -> Iterator[str]:
    for minor in range(least[1], least[1] + 4):
        if found := shutil.which(f"python{least[0]}.{minor}"):
            yield found
    # a shim of pyenv may be found above and not run
    for minor in range(least[1], least[1] + 4):
        installed = (Path.home() / ".pyenv" / "versions").glob(f"{least[0]}.{minor}*/bin/python")
        yield from map(str, sorted(installed))


def runs(python: str, least: tuple[int, int]) -> bool:
    """Whether an interpreter starts and is at least this version."""
    code = f"import sys, venv; sys.exit(sys.version_info[:2] < {least})"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
