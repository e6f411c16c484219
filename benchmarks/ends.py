"""The measured processes, controlled by the benchmark: Python programs and BEAMs that drive or answer."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.support.beam import Beam, BeamError, erl_facts, erl_path, quic_args, tcp_args

ROOT = Path(__file__).resolve().parent.parent
COOKIE = "benchmark"
ERLANG_END = Path(__file__).with_name("quicdist_bench.erl")
PORT_END = Path(__file__).with_name("end_port.py")

#: Seconds that one measurement may take before it counts as failed.
PATIENCE = 40.0

#: Messages in the mailbox of the process that receives by a new reference.
BACKLOG = 100_000
#: Seconds after which ``bulk_out`` and ``bulk_in`` count what has come.
BULK_LIMIT = 15.0
#: Processes that push maps at the same time.
SENDERS = 20


class EndError(Exception):
    """A measured process failed or did not answer in time."""


class Driver(Protocol):
    """Measures against a node with echo, sink and source. All results are seconds. Every driver has ``echo``,
    and of the other operations those that its rows need.

    ``echo``: the median of one round trip. ``push``: all messages to the node and one confirmation.
    ``pull``: a request until all messages have arrived. ``receive``: the median of an echo that is received
    by a new reference, in a process with ``BACKLOG`` other messages. Sizes are bytes.

    Only a BEAM has these: ``mailbox`` is ``push`` to a coroutine that receives; ``maps`` pushes maps of four
    keys from ``SENDERS`` processes, whatever the size. ``bulk_out`` and ``bulk_in`` are the time of one
    message to or from the node, of those that have come within ``BULK_LIMIT``.
    """

    def echo(self, node: str, count: int, size: int) -> float: ...


class PythonEnd:
    """A process of ``python`` that runs ``benchmarks.end_<kind>``; ``under`` is a command that starts it,
    such as a profiler."""

    def __init__(
        self,
        kind: str,
        options: dict[str, Any],
        *,
        environment: dict[str, str] | None = None,
        under: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        self.kind = kind
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [*under, python, "-m", f"benchmarks.end_{kind}"],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._received = b""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is reported below
            self.process.stdin.write(json.dumps(options).encode() + b"\n")
            self.process.stdin.flush()
        try:
            #: Its first answer, after its start.
            self.ready: Any = self._answer(PATIENCE)
        except EndError:
            self.close()
            raise

    def do(self, what: str, *, timeout: float = PATIENCE, **arguments: Any) -> Any:
        """Run a command in it and return the result."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, "with": arguments}).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer(timeout)

    def _answer(self, timeout: float) -> Any:
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        deadline = time.monotonic() + timeout
        while not (line := self._line()):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise EndError(f"{self.kind}: no answer within {timeout:.0f} s{self._logged()}")
            chunk = os.read(pipe, 65536)
            if not chunk:
                raise EndError(f"{self.kind}: the process ended{self._logged()}")
            self._received += chunk
        answer = json.loads(line)
        if "error" in answer:
            raise EndError(f"{self.kind}: {answer['error']}{self._logged()}")
        return answer["value"]

    def _line(self) -> bytes:
        """A received answer, or nothing. A profiler prints other lines into the same pipe."""
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            if line.startswith(b"{"):
                return line
        return b""

    def _logged(self) -> str:
        self._log.seek(0)
        text = self._log.read().decode(errors="replace").strip()
        return f"; it wrote:\n{text[-2000:]}" if text else ""

    def close(self) -> None:
        """End it; it closes its connections if it can."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._log.close()

    def echo(self, node: str, count: int, size: int) -> float:
        return float(self.do("echo", node=node, count=count, size=size))

    def push(self, node: str, count: int, size: int) -> float:
        return float(self.do("push", node=node, count=count, size=size))

    def pull(self, node: str, count: int, size: int) -> float:
        return float(self.do("pull", node=node, count=count, size=size))

    def receive(self, node: str, count: int, size: int) -> float:
        return float(self.do("receive", node=node, count=count, size=size, backlog=BACKLOG))


class BeamEnd:
    """A BEAM with the module ``quicdist_bench`` loaded and its three processes registered."""

    def __init__(self, beam: Beam, name: str) -> None:
        self.beam = beam
        self.name = name
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory) / ERLANG_END.name
            shutil.copy(ERLANG_END, source)
            self.beam.eval_now(
                f'{{ok, quicdist_bench, Code}} = compile:file("{source}", [binary]), '
                "{module, _} = code:load_binary(quicdist_bench, [], Code), quicdist_bench:start()"
            )

    def _measure(self, what: str, *arguments: str | int) -> float:
        """Call a function of ``quicdist_bench``; its arguments are Erlang source."""
        try:
            nanoseconds = self.beam.eval_now(
                f"quicdist_bench:{what}({', '.join(map(str, arguments))}, {int(PATIENCE * 1000)})",
                timeout=PATIENCE + 5,
            )
        except BeamError as error:
            raise EndError(f"{self.name}: {str(error).splitlines()[0]}") from error
        return int(nanoseconds) / 1e9

    def connect(self, node: str) -> None:
        """Connect to a node. Raises :class:`EndError` if that fails."""
        if self.beam.eval_now(f"net_kernel:connect_node('{node}')") != "true":
            raise EndError(f"{self.name} could not connect to {node}")

    def echo(self, node: str, count: int, size: int) -> float:
        return self._measure("echo", f"'{node}'", count, size)

    def push(self, node: str, count: int, size: int) -> float:
        return self._measure("push", f"'{node}'", "sink", count, size)

    def mailbox(self, node: str, count: int, size: int) -> float:
        return self._measure("push", f"'{node}'", "mailbox", count, size)

    def maps(self, node: str, count: int, size: int) -> float:
        return self._measure("maps", f"'{node}'", max(count, SENDERS), SENDERS)

    def pull(self, node: str, count: int, size: int) -> float:
        return self._measure("pull", f"'{node}'", count, size)

    def bulk_out(self, node: str, count: int, size: int) -> float:
        return self._measure("bulk", f"'{node}'", "out", count, size, int(BULK_LIMIT * 1000))

    def bulk_in(self, node: str, count: int, size: int) -> float:
        return self._measure("bulk", f"'{node}'", "in", count, size, int(BULK_LIMIT * 1000))

    def receive(self, node: str, count: int, size: int) -> float:
        return self._measure("answer", f"'{node}'", count, size, BACKLOG)

    def port_echo(self, command: Sequence[str], what: str, count: int, size: int) -> float:
        """``echo`` by a port that runs ``command``."""
        words = ", ".join(f'"{word}"' for word in command)
        return self._measure("port_echo", f"[{words}]", f'"{what}"', count, size)


class PortEnd:
    """A BEAM that echoes through a port: a Python program that reads and writes packets of standard input
    and output."""

    def __init__(self, beam: BeamEnd) -> None:
        self.beam = beam

    def echo(self, node: str, count: int, size: int) -> float:
        return self.beam.port_echo([sys.executable, str(PORT_END)], "terms", count, size)

    def bytes(self, node: str, count: int, size: int) -> float:
        """An echo of the bytes, without a codec."""
        return self.beam.port_echo([sys.executable, str(PORT_END)], "bytes", count, size)


# -- which BEAM ---------------------------------------------------------------------------------


def tcp_erl() -> str | None:
    """The ``erl`` for nodes over TCP: the one on PATH, or ``$QUICDIST_ERL``."""
    return shutil.which("erl") or erl_path()


def quic_erl() -> str | None:
    """An ``erl`` that finds the application ``quic``: ``$QUICDIST_ERL``, or the one on PATH; or None."""
    for command in (os.environ.get("QUICDIST_ERL"), shutil.which("erl")):
        if command is not None:
            with contextlib.suppress(BeamError, OSError, ValueError, subprocess.SubprocessError):
                release, version = erl_facts(command)
                if version is not None and release >= 26:
                    return command
    return None


@contextlib.contextmanager
def beam_over_tcp(name: str) -> Iterator[BeamEnd]:
    """A stock BEAM; the caller provides epmd."""
    with Beam(tcp_args(name, COOKIE, hidden=True), erl=tcp_erl()) as beam:
        yield BeamEnd(beam, name)


@contextlib.contextmanager
def beam_over_quic(
    name: str, nodes: dict[str, tuple[str, int]], directory: Path, certificates: dict[str, str]
) -> Iterator[BeamEnd]:
    """A BEAM whose carrier is quic_dist; ``nodes`` has every node's address, its own included."""
    arguments = quic_args(
        name,
        nodes[name][1],
        directory,
        nodes,
        cert=Path(certificates["cert"]),
        key=Path(certificates["key"]),
        cookie=COOKIE,
    )
    with Beam(arguments, erl=quic_erl()) as beam:
        beam.eval_now("{ok, _} = application:ensure_all_started(quic)")
        yield BeamEnd(beam, name)
