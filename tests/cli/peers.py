"""What the command is run against: a Python echo node, and BEAMs, in processes of their own."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.beam import Beam, quic_args, tcp_args

ROOT = Path(__file__).resolve().parent.parent.parent
ECHO_NODE = ROOT / "examples" / "echo_node.py"
COOKIE = "command"
_numbers = itertools.count(1)


def node_name(alive: str) -> str:
    """A node name no other test uses."""
    return f"{alive}{os.getpid()}_{next(_numbers)}@127.0.0.1"


@dataclass(frozen=True)
class Peer:
    """A node that the command can reach, and the options it takes."""

    name: str
    options: tuple[str, ...]
    beam: Beam | None = None


class EchoNode:
    """``examples/echo_node.py``, run as the program it is."""

    def __init__(self, *arguments: str, script: Path = ECHO_NODE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._read = b""

    def read_line(self, timeout: float = 30.0) -> str:
        """The next line it prints; empty if it ended or said nothing in time."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        while b"\n" not in self._read:
            ready, _, _ = select.select([self.process.stdout], [], [], max(deadline - time.monotonic(), 0))
            chunk = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                return ""
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def end(self) -> str:
        """End it as an operator would; what it wrote to standard error."""
        self.process.terminate()
        try:
            return self.process.communicate(timeout=20)[1].decode()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise


@contextlib.contextmanager
def echo_node(*arguments: str, script: Path = ECHO_NODE) -> Iterator[EchoNode]:
    node = EchoNode(*arguments, script=script)
    try:
        yield node
    finally:
        if node.process.returncode is None:
            node.end()


def copied_example(directory: Path) -> Path:
    """A copy of the example, whose ``certs`` are then in ``directory`` and not in the checkout."""
    examples = directory / "examples"
    examples.mkdir()
    return Path(shutil.copy(ECHO_NODE, examples))


def port_of(line: str) -> int:
    """``... listens on quic 127.0.0.1:4433``."""
    return int(line.rpartition(":")[2])


@contextlib.contextmanager
def tcp_beam() -> Iterator[Peer]:
    """A stock BEAM, found by epmd."""
    name = node_name("cli")
    with Beam(tcp_args(name, COOKIE)) as beam:
        yield Peer(name, ("--carrier", "tcp", "--cookie", COOKIE), beam)


@contextlib.contextmanager
def quic_beam(directory: Path, free_port: Callable[[], int], certs: Path) -> Iterator[Peer]:
    """A BEAM that speaks quic_dist; the command verifies its certificate."""
    name, port = node_name("cli"), free_port()
    address = ("127.0.0.1", port)
    files = (certs / "cert.pem", certs / "key.pem")
    args = quic_args(name, port, directory, {name: address}, cert=files[0], key=files[1], cookie=COOKIE)
    with Beam(args) as beam:
        beam.eval_now("{ok, _} = application:ensure_all_started(quic)")
        options = ("--cookie", COOKIE, "--cacert", str(certs / "ca.pem"), *at(name, port))
        yield Peer(name, options, beam)


def at(name: str, port: int) -> Sequence[str]:
    return ("--address", f"{name}=127.0.0.1:{port}")
