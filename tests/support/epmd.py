"""An epmd for the tests, on its own port: concurrent tests do not see each other's nodes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Epmd:
    """A real ``epmd`` at ``127.0.0.1:port``, in the foreground; it can be killed and restarted."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = shutil.which("epmd")
        assert command is not None, "there is no epmd on this machine"
        self._process = subprocess.Popen(
            # Relaxed, so that a test can run `epmd -stop`; without -daemon it ends with the tests.
            [command, "-port", str(self.port), "-address", "127.0.0.1", "-relaxed_command_check"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while not listens(self.port):  # there is no event for this
            assert self._process.poll() is None, f"epmd ended with {self._process.returncode}"
            assert time.monotonic() < deadline, "epmd does not listen"
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def private_epmd() -> Iterator[Epmd]:
    """A running :class:`Epmd`, named by ``$ERL_EPMD_PORT`` for BEAMs and nodes started inside."""
    epmd = Epmd()
    before = os.environ.get("ERL_EPMD_PORT")
    epmd.start()
    os.environ["ERL_EPMD_PORT"] = str(epmd.port)
    try:
        yield epmd
    finally:
        if before is None:
            del os.environ["ERL_EPMD_PORT"]
        else:
            os.environ["ERL_EPMD_PORT"] = before
        epmd.kill()


def free_port() -> int:
    """A TCP port of the loopback interface that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether connections to ``127.0.0.1:port`` are accepted."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stops_listening(port: int, within: float = 10.0) -> bool:
    """Wait until connections are refused (`epmd -stop` returns earlier); False after ``within`` seconds."""
    deadline = time.monotonic() + within
    while listens(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
