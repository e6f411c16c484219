"""A program with a node as process 1 of a namespace of its own, as in a container: the kernel ignores
every signal that such a process does not handle. It is stopped from outside; a BEAM outside looks on."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist.discovery import EpmdDiscovery
from tests.interop.carriers import CARRIERS, over_tcp
from tests.interop.cluster import beam_for_a_node
from tests.support.beam import Beam

PROGRAM = """
import asyncio, json, os, sys
import quicdist
from quicdist import Atom, ChildSpec, GenServer, Node, Supervisor

class Server(GenServer):
    def handle_call(self, request, sender):
        self.told = request
        return Atom("ok")

    async def terminate(self, reason):
        self.process.send(self.told, (Atom("terminate"), reason))
        await asyncio.sleep(SECONDS)
        self.process.send(self.told, Atom("terminated"))

async def main():
    async with Node(**json.loads(sys.argv[1])) as node:
        @node.export("py")
        async def answer(seconds):
            await asyncio.sleep(seconds)
            return os.getpid()

        await node.gen_server.start(Supervisor([ChildSpec("server", Server, name="server")]))
        asyncio.get_running_loop().call_soon(lambda: print("up", flush=True))
        await node.run_forever()
    print("left", flush=True)
"""
SECONDS = 0.3
RUNNERS = {"asyncio.run": "asyncio.run(main())", "quicdist.run": "quicdist.run(main())"}


@functools.cache
def unshare() -> list[str] | None:
    """The command that makes a program process 1; None where that cannot be."""
    command = shutil.which("unshare")
    if command is None:
        return None
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    made = [command, *as_root, "--pid", "--fork", "--kill-child", "--mount-proc"]
    tried = subprocess.run([*made, "true"], capture_output=True, check=False)
    return made if tried.returncode == 0 else None


@pytest.fixture(autouse=True)
def _can_be_process_1() -> None:
    if unshare() is None:
        pytest.skip(
            "no namespaces: unshare --pid --fork --mount-proc (util-linux) is not there, or not allowed"
        )


class Contained:
    """A program that is process 1."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._unshare = process
        assert process.stdout is not None
        self._out = process.stdout

    @classmethod
    async def start(cls, source: str, *arguments: str) -> Contained:
        process = await asyncio.create_subprocess_exec(
            *(unshare() or ()),
            *(sys.executable, "-c", source, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self = cls(process)
        assert await self.read() == "up"
        return self

    async def read(self) -> str:
        return (await self._out.readline()).decode().strip()

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal from outside."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text()
        os.kill(int(children), number)

    async def status(self) -> int:
        """Its exit status, which ``unshare`` passes on."""
        return await self._unshare.wait()

    async def end(self) -> None:
        if self._unshare.returncode is None:
            self._unshare.kill()
        await self._unshare.communicate()


class Outside:
    """The BEAM that looks on, and how the node inside is started."""

    def __init__(self, carrier: str, beam: Beam, node: str, options: dict[str, Any]) -> None:
        self.carrier = carrier
        self.beam = beam
        self.node = node
        self._options = options
        self._started: list[Contained] = []

    async def start(self, runner: str, seconds: float = SECONDS) -> Contained:
        source = textwrap.dedent(PROGRAM).replace("SECONDS", str(seconds)) + RUNNERS[runner]
        contained = await Contained.start(source, json.dumps(self._options))
        self._started.append(contained)
        return contained

    async def eval(self, source: str) -> str:
        return await self.beam.eval(source.replace("NODE", f"'{self.node}'"))

    async def end(self) -> None:
        for contained in self._started:
            await contained.end()


@pytest_asyncio.fixture(params=CARRIERS)
async def outside(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Outside]:
    with beam_for_a_node(request.param, tmp_path) as (beam, _, options):
        for name in ("cert", "key"):
            if name in options:
                options[name] = str(options[name])  # for the program's arguments
        outside = Outside(request.param, beam, options["name"], options)
        yield outside
        await outside.end()


#: Watches it from a process of the BEAM: the server inside, and a call that runs.
WATCH = """
net_kernel:monitor_nodes(true, [{node_type, all}]),
ok = gen_server:call({server, NODE}, self()),
Ref = monitor(process, {server, NODE}),
Self = self(),
spawn(fun() -> Self ! {call, rpc:call(NODE, py, answer, [0.5])} end),
timer:sleep(100)
"""
#: All that it has seen until the node was down, and whether that was within five seconds.
SEEN = """
(fun() -> T = erlang:monotonic_time(millisecond),
  F = fun F(Seen) -> receive
      {'DOWN', Ref, process, _, Reason} -> F([{down, Reason} | Seen]);
      {nodedown, NODE, _} -> {lists:sort(Seen), erlang:monotonic_time(millisecond) - T < 5000};
      {nodeup, NODE, _} -> F(Seen);
      Other -> F([Other | Seen])
    after 20000 -> {never, lists:sort(Seen)} end end,
  F([])
end)()
"""


@pytest.mark.parametrize("runner", RUNNERS)
async def test_sigterm_stops_it_in_order(outside: Outside, runner: str) -> None:
    inside = await outside.start(runner)
    await outside.eval(WATCH)
    inside.kill(signal.SIGTERM)
    seen = await outside.eval(SEEN)
    # It was process 1 that answered.
    assert seen == "{[terminated,{call,1},{down,shutdown},{terminate,shutdown}],true}"
    assert await inside.read() == "left"
    assert await inside.status() == 0
    if over_tcp(outside.carrier):
        alive = outside.node.partition("@")[0]
        assert alive not in [each.name for each in await EpmdDiscovery().names("127.0.0.1")]
    # It can be started again at once, and is reached.
    again = await outside.start(runner)
    assert await outside.eval("rpc:call(NODE, py, answer, [0])") == "1"
    again.kill(signal.SIGINT)
    assert await again.status() == 0


async def test_a_second_signal_ends_it_at_once(outside: Outside) -> None:
    inside = await outside.start("asyncio.run", seconds=60)
    await outside.eval(WATCH)
    inside.kill(signal.SIGTERM)
    assert await outside.eval("receive {terminate, Why} -> Why after 20000 -> never end") == "shutdown"
    inside.kill(signal.SIGTERM)
    assert await inside.status() == 128 + signal.SIGTERM
    # Also over QUIC the connection is closed.
    assert await outside.eval(SEEN) == "{[{call,1},{down,noconnection}],true}"


async def test_a_program_that_handles_no_signal_ignores_it() -> None:
    """Process 1 it is: this is what a node would do, had it no handler."""
    inside = await Contained.start("import time; print('up', flush=True); time.sleep(0.3); print('slept')")
    inside.kill(signal.SIGTERM)
    assert await inside.read() == "slept"
    assert await inside.status() == 0
