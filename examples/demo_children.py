"""The child processes of the demo: Python nodes, BEAMs and an epmd; they end with the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class ChildError(OSError):
    """A program did not start, ended, or printed something unexpected."""


class Child:
    """A program that reads and writes lines; what it writes to standard error goes to a log."""

    def __init__(self, what: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.what = what
        self.process = process
        self._log = log

    async def read_line(self) -> str:
        """The next line it prints. Raises :class:`ChildError` at the end of its output."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            code = await self.process.wait()
            raise ChildError(f"{self.what} ended with status {code}: {self.logged() or 'it said nothing'}")
        return line.decode(errors="replace").rstrip("\n")

    async def write_line(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        await self.process.stdin.drain()

    def logged(self, lines: int = 5) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    async def end(self) -> None:
        """End it by SIGTERM, then by SIGKILL."""
        for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, None)):
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, number)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(self.process.wait()), seconds)


@contextlib.asynccontextmanager
async def child(
    what: str, command: Sequence[str], *, env: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run a program for as long as the context lasts."""
    handle, name = tempfile.mkstemp(prefix="quicdist-demo-", suffix=".log")
    log = Path(name)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=handle,
            # The demo handles Ctrl-C and ends its children itself.
            start_new_session=True,
        )
        os.close(handle)
        started = Child(what, process, log)
        try:
            yield started
        finally:
            await started.end()
    finally:
        os.unlink(log)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs an example with this interpreter."""
    return [sys.executable, "-m", f"examples.{module}", *arguments]


# -- BEAMs -------------------------------------------------------------------------------------

#: Evaluates each input line and prints the value after a mark; ends with its input, that is, with
#: the demo.
_SHELL = """
Loop = fun(Loop) ->
  case io:get_line("") of
    eof -> halt();
    Line ->
      Value = try
        {ok, Tokens, _} = erl_scan:string(Line),
        {ok, Exprs} = erl_parse:parse_exprs(Tokens),
        {value, V, _} = erl_eval:exprs(Exprs, []), V
      catch Class:Reason -> {Class, Reason} end,
      io:format("=> ~0tp~n", [Value]), Loop(Loop)
  end
end, spawn(fun() -> Loop(Loop) end).
"""

_FACTS = """
Quic = case code:which(quic_dist) of non_existing -> no; _ -> yes end,
Epmd = filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "bin", "epmd"]),
io:format("~s ~s ~s~n", [erlang:system_info(otp_release), Quic, Epmd]), halt().
"""


@dataclass(frozen=True, slots=True)
class Erlang:
    """The Erlang of this machine."""

    erl: str
    release: int
    has_quic_dist: bool
    epmd: str | None


class Beam:
    """A running ``erl`` that evaluates Erlang expressions."""

    def __init__(self, program: Child) -> None:
        self._program = program

    async def eval(self, expression: str) -> str:
        """The value of an expression, as Erlang prints it."""
        await self._program.write_line(" ".join(expression.split()) + ".")
        while True:
            line = await self._program.read_line()
            if line.startswith("=> "):
                return line.removeprefix("=> ")


def find_erl() -> str | None:
    """``$QUICDIST_ERL``, or the ``erl`` on PATH."""
    return shutil.which(os.environ.get("QUICDIST_ERL") or "erl")


async def erlang_facts(erl: str) -> Erlang:
    """Its release, whether it has quic_dist, and its epmd."""
    async with child("erl", [erl, "-noshell", "-eval", _FACTS]) as probe:
        release, quic, epmd = (await probe.read_line()).split(" ", 2)
    candidates = (str(Path(erl).with_name("epmd")), shutil.which("epmd"), epmd)
    found = (path for path in candidates if path and os.access(path, os.X_OK))
    return Erlang(erl, int(release), quic == "yes", next(found, None))


def beam_command(erlang: Erlang, name: str, cookie: str, *arguments: str) -> list[str]:
    """The command that runs a :class:`Beam` as a node."""
    return [erlang.erl, "-noshell", "-name", name, "-setcookie", cookie, *arguments, "-eval", _SHELL]


@contextlib.asynccontextmanager
async def private_epmd(erlang: Erlang) -> AsyncIterator[str]:
    """Run an epmd for the demo, named by ``$ERL_EPMD_PORT`` for the programs that are started inside.
    Nothing is registered with the epmd of this machine. Yields a description."""
    if erlang.epmd is None:
        yield "the epmd of this machine"
        return
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            port = free_port(socket.SOCK_STREAM)
            command = [erlang.epmd, "-port", str(port), "-address", "127.0.0.1"]
            program = await stack.enter_async_context(child("epmd", command))
            if await _listens(port, program):
                break
        else:
            raise ChildError("epmd does not start")
        os.environ["ERL_EPMD_PORT"] = str(port)
        yield f"an epmd of its own, on port {port}"


async def _listens(port: int, program: Child) -> bool:
    while program.process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)  # there is no event for this
        else:
            writer.close()
            return True
    return False


def free_port(kind: socket.SocketKind) -> int:
    """A port of the loopback interface that is free at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
