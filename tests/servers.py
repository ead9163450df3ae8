"""Servers of MLflow on this machine, and runs as a user starts them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.runs import TINY


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """``mlflow server`` (or ``ui``) on loopback; may be killed and started again.

    Args:
        folder: of its database and artifacts.
        database: an existing one to look at.
    """

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self.database = database or f"sqlite:///{folder}/server.db"
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1", "--backend-store-uri", self.database,
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as said:
            self._process = subprocess.Popen(
                command, stdout=said, stderr=said, cwd=self.folder, start_new_session=True,
                env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            )  # fmt: skip
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        self.kill()
        raise AssertionError((self.folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """As a power cut does it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def typed_run(folder: Path, uri: str, **changes: Any) -> "subprocess.Popen[str]":
    """Start a tiny run by its command; it logs to ``uri``."""
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    tiny = {name: value for name, value in TINY.items() if not name.startswith("solver.")}
    values = {**tiny, "logger.backend": "mlflow", "hydra.run.dir": folder, **dotted}
    return subprocess.Popen(
        [sys.executable, "-m", "ptycho.run", *(f"{k}={v}" for k, v in values.items())],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder.parent,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
