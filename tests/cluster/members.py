"""The nodes of a cluster under test, each a process of its own: BEAMs and Python nodes, asked the same."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from quicdist.term import Atom, binary_to_term, term_to_binary
from tests.support.beam import Beam, BeamError, tcp_args

COOKIE = "whole"
HOST = "127.0.0.1"
#: Seconds without a word after which a node is down.
NET_TICKTIME = 8
_ROOT = Path(__file__).parents[2]
_ERLANG = Path(__file__).with_name("cluster_member.erl")
_COMPILE = """
    {ok, _, Code} = compile:file(FILE, [binary, report]), io:put_chars(base64:encode(Code)), halt().
"""
_LOAD = '{module, _} = code:load_binary(cluster_member, "cluster_member.erl", Data)'


@functools.cache
def _compiled(erl: str) -> bytes:
    """``cluster_member`` for this release and later ones (their ``erl`` may lack a compiler)."""
    script = _COMPILE.replace("FILE", f'"{_ERLANG}"')
    done = subprocess.run(
        [erl, "-noshell", "-eval", script], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise MemberError(f"{erl} cannot compile {_ERLANG}: {done.stdout}{done.stderr}")
    return base64.b64decode(done.stdout)


class MemberError(Exception):
    """A command failed in a node, or the node did not answer."""


class Member(Protocol):
    """A running node. ``do`` runs a command of ``cluster_member.erl``; both kinds take the same commands."""

    async def do(self, *command: Any, timeout: float = 30.0) -> Any: ...

    async def stop(self) -> None:
        """Stop in order (``init:stop()``)."""

    async def kill(self) -> None:
        """SIGKILL."""

    def logged(self) -> str: ...


def full_name(place: str) -> str:
    """``n1@127.0.0.1`` for ``n1``."""
    return f"{place}@{HOST}"


def _command(command: tuple[Any, ...]) -> bytes:
    name, *arguments = command
    return term_to_binary((Atom(name), *arguments))


class BeamMember:
    def __init__(self, beam: Beam) -> None:
        self._beam = beam

    @classmethod
    async def start(cls, place: str, epmd_port: int, erl: str, oldest: str) -> BeamMember:
        arguments = tcp_args(
            full_name(place),
            COOKIE,
            more=[
                *("-start_epmd", "false", "-connect_all", "true"),
                *("-kernel", "start_pg", "true", "-kernel", "net_ticktime", str(NET_TICKTIME)),
                *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            ],
        )
        code = await asyncio.to_thread(_compiled, oldest)
        beam = await asyncio.to_thread(
            Beam, arguments, erl=erl, environment={"ERL_EPMD_PORT": str(epmd_port)}
        )
        await beam.eval(_LOAD, code)
        return cls(beam)

    async def do(self, *command: Any, timeout: float = 30.0) -> Any:
        source = "term_to_binary(cluster_member:do(binary_to_term(Data)))"
        try:
            answer = await self._beam.eval_bytes(source, _command(command), timeout=timeout)
        except (BeamError, OSError) as error:
            raise MemberError(f"{command}: {error}\n{self.logged()}") from error
        return binary_to_term(answer)

    async def stop(self) -> None:
        await self._beam.eval("init:stop()")
        await asyncio.to_thread(self._beam.process.wait, 30)
        self._beam.kill()

    async def kill(self) -> None:
        self._beam.kill()

    def logged(self) -> str:
        return self._beam.logged() if self._beam.log.exists() else ""


class PythonMember:
    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._lock = asyncio.Lock()

    @classmethod
    async def start(cls, place: str, epmd_port: int) -> PythonMember:
        descriptor, log = tempfile.mkstemp(prefix=f"{place}-", suffix=".log")
        with os.fdopen(descriptor, "wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.cluster.python_member", full_name(place)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=_ROOT,
                env={**os.environ, "ERL_EPMD_PORT": str(epmd_port)},
            )
        member = cls(process, Path(log))
        await member._answer(60.0)
        return member

    async def do(self, *command: Any, timeout: float = 30.0) -> Any:
        assert self._process.stdin is not None
        async with self._lock:
            packet = _command(command)
            self._process.stdin.write(len(packet).to_bytes(4, "big") + packet)
            return await self._answer(timeout)

    async def _answer(self, timeout: float) -> Any:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                size = await self._process.stdout.readexactly(4)
                answer = await self._process.stdout.readexactly(int.from_bytes(size, "big"))
        except asyncio.IncompleteReadError as error:
            raise MemberError(f"the node has ended; its log:\n{self.logged()}") from error
        except TimeoutError as error:
            raise MemberError(f"no answer within {timeout} s; the node's log:\n{self.logged()}") from error
        match binary_to_term(answer):
            case (Atom("ok"), value):
                return value
            case (_, text):
                raise MemberError(f"{text.decode()}\n{self.logged()}")

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(30):
            await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        async with self._lock:  # once a command that was under way has failed
            await self._process.communicate()
        self._log.unlink(missing_ok=True)

    def logged(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""
