"""A cluster of the fake SLURM for a test: its commands on a PATH, its jobs to be looked at."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fakeslurm import commands

LONG = 60.0
"""Seconds after which a test gives up."""


class Cluster:
    """A fake SLURM in a folder."""

    def __init__(self, folder: Path) -> None:
        self.jobs = folder / "jobs"
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name in commands.COMMANDS:
            program = programs / name
            program.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" "{commands.__file__}" {name} "$@"\n'
            )
            program.chmod(0o755)
        package = str(Path(__file__).parents[2])
        self.env = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("SLURM_", "SUBMITIT_"))
        } | {
            "FAKESLURM": str(self.jobs), "FAKESLURM_KILL_WAIT": "3", "OMP_NUM_THREADS": "1",
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": package,
        }  # fmt: skip

    def start(self, *words: str, cwd: Path) -> "subprocess.Popen[str]":
        """A command on the login node, while it runs."""
        return subprocess.Popen(
            words, env=self.env, cwd=cwd, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def do(self, *words: str, cwd: Path) -> str:
        """What a command on the login node prints."""
        done = subprocess.run(
            words, env=self.env, cwd=cwd, capture_output=True, text=True, timeout=LONG
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def events(self, job: str) -> list[str]:
        """What happened to a job, in order."""
        return (self.jobs / job / "events").read_text().splitlines()

    def state(self, job: str) -> str:
        """RUNNING, COMPLETED..."""
        path = self.jobs / job / "state"
        return path.read_text() if path.exists() else "PENDING"

    def ended(self, job: str) -> str:
        """The state of a job that has ended for good."""
        wait_until(lambda: self.state(job) not in ("PENDING", "RUNNING"))
        return self.state(job)


def wait_until(true: Callable[[], object]) -> None:
    """Wait for something that a process is going to do."""
    until = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < until, "waited for ever"
        time.sleep(0.05)
