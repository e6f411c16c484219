"""A real BEAM for a test: an ``erl`` that needs no epmd and ends with the test."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from quicdist import Atom, QuicDistError, format_term
from quicdist.sync import Node
from quicdist.term.names import Name

#: Seconds that a BEAM may take to start.
START_TIME = 60.0

_OK = Atom("ok")


class BeamError(QuicDistError):
    """A BEAM did not start, does not run, or was given a source that is not Erlang."""


def erl_path() -> str | None:
    """The ``erl`` to start: that of the environment variable ``QUICDIST_ERL``, or the first one on
    ``PATH``."""
    return os.environ.get("QUICDIST_ERL") or shutil.which("erl")


class Beam:
    """A BEAM, and a node that calls it::

        with Beam() as beam:
            assert beam.eval("lists:seq(1, 3)") == [1, 2, 3]
            program = Program(Node("py@127.0.0.1", **beam.options))

    It listens on a free port of 127.0.0.1 and asks no epmd, so it cannot dial: the program under test
    connects, by itself with its first call or by ``node.connect(beam.name)``. ``args`` are further arguments
    of ``erl``."""

    def __init__(
        self, *, erl: str | None = None, args: Sequence[str] = (), cookie: str | None = None
    ) -> None:
        command = erl or erl_path()
        if command is None:
            raise BeamError("there is no erl: neither on PATH nor in QUICDIST_ERL")
        unique = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.name = f"beam-{unique}@127.0.0.1"
        self.cookie = cookie or secrets.token_hex(16)
        self._command = [command, *args]
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._asker = f"asks-{unique}@127.0.0.1"
        self._node: Node | None = None

    def __repr__(self) -> str:
        return f"<Beam {self.name}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- starting and stopping -------------------------------------------------------------

    def start(self) -> None:
        """Start the BEAM and wait until it can be reached. Raises :class:`BeamError`."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        descriptor, path = tempfile.mkstemp(prefix="beam-", suffix=".log")
        self._log = Path(path)
        with os.fdopen(descriptor, "wb") as log:
            self._process = self._started(log)
        try:
            self._wait_until_ready()
            self._node = Node(self._asker, **self.options)
            self._node.start()
        except BaseException:
            self.stop()
            raise

    def _started(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [
                    *self._command,
                    *("-noshell", "-name", self.name, "-setcookie", self.cookie),
                    *("-start_epmd", "false", "-erl_epmd_port", str(self._port)),
                    *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
                    # It ends with this process, which holds the other end of its standard input.
                    *("-eval", 'io:put_chars("ready\\n"), spawn(fun() -> io:get_line(""), halt() end).'),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        except OSError as error:
            self.stop()
            raise BeamError(f"cannot run {self._command[0]}: {error.strerror}") from error

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        came = b""
        deadline = time.monotonic() + START_TIME
        while b"ready\n" not in came:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise BeamError(f"{self._command[0]} is not up after {START_TIME:g} s: {self._logged(came)}")
            piece = os.read(self._process.stdout.fileno(), 4096)
            if not piece:
                raise BeamError(f"{self._command[0]} ended while it started: {self._logged(came)}")
            came += piece

    def _logged(self, came: bytes) -> str:
        errors = self._log.read_text(errors="replace") if self._log is not None else ""
        return (came.decode(errors="replace") + errors)[-2000:] or "it printed nothing"

    def stop(self) -> None:
        """End the BEAM at once."""
        if self._node is not None:
            self._node.stop()
            self._node = None
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.unlink(missing_ok=True)
            self._log = None

    # -- using it --------------------------------------------------------------------------

    @property
    def options(self) -> dict[str, Any]:
        """Options of a ``Node`` that reaches this BEAM: ``Node("py@127.0.0.1", **beam.options)``."""
        return {
            "cookie": self.cookie,
            "carrier": "tcp",
            "nodes": {self.name: ("127.0.0.1", self._port)},
            "listen": False,
        }

    def call(
        self, module: Name, function: Name, arguments: Sequence[Any] = (), *, timeout: float | None = 30.0
    ) -> Any:
        """Call a function on the BEAM, and wait for its value. Raises as ``Node.call``."""
        if self._node is None:
            raise BeamError(f"{self.name} does not run")
        return self._node.call(self.name, module, function, arguments, timeout=timeout)

    def eval(self, source: str, *, timeout: float | None = 30.0) -> Any:
        """The value of Erlang expressions, such as ``X = 1, X + 1``. Raises :class:`BeamError` for a syntax
        error, and :class:`~quicdist.RemoteError` for what they raise."""
        text = [ord(letter) for letter in source.rstrip().removesuffix(".") + "."]
        scanned = self.call("erl_scan", "string", [text], timeout=timeout)
        if scanned[0] != _OK:
            raise BeamError(f"cannot scan {source!r}: {format_term(scanned[1])}")
        parsed = self.call("erl_parse", "parse_exprs", [scanned[1]], timeout=timeout)
        if parsed[0] != _OK:
            raise BeamError(f"cannot parse {source!r}: {format_term(parsed[1])}")
        return self.call("erl_eval", "exprs", [parsed[1], []], timeout=timeout)[1]
