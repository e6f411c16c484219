"""The node that goes on, and what it is told of the one that is killed."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from quicdist import Node, NotConnected, Process, QuicDistError
from quicdist.node import NodeDown
from quicdist.term import Atom, Pid, binary_to_term
from tests.restarts.victim import Answers, greet
from tests.support.beam import Beam

#: What each process that watches is told of a node that is gone, once each.
EXPECTED = sorted([("monitor", "noconnection")] * 3 + [("link", "noconnection"), ("call", "noconnection")])
#: Seconds that a signal may come late, to be told twice by.
SETTLE = 0.05

DOWN, EXIT, NEVER, STALE, WHOAMI = map(Atom, ("DOWN", "EXIT", "never", "stale", "whoami"))

#: What a process was told: the kind of signal and its reason.
Told = list[tuple[str, str]]


class Lives(Protocol):
    async def watch(self, node: str, count: int) -> None:
        """Have so many processes monitor (twice by pid, once by name), link with and call its target."""

    async def told(self, within: float) -> tuple[list[Told], int]:
        """What each of them was told, once all of it has come or the time is over; and how often the node
        was said to be down."""

    async def greet(self, node: str, within: float) -> Any:
        """Seconds until a call of the node is answered, or why it was not."""

    async def stale(self, node: str) -> tuple[int, int]:
        """Send to the old process, and to its creation's process of the new one's numbers; both creations."""

    async def usage(self) -> dict[str, int]:
        """What it holds, by kind, once what can be collected is."""


class PythonLives:
    def __init__(self, node: Node) -> None:
        self.node = node
        self._told: list[Told] = []
        self._watchers: list[Process] = []
        self._downs = 0
        self._old: Pid | None = None
        self._came = asyncio.Event()
        node.serve(Answers(), name="answers")
        node.subscribe(self._event)

    def _event(self, event: Any) -> None:
        self._downs += isinstance(event, NodeDown)
        self._came.set()

    async def watch(self, node: str, count: int) -> None:
        loop = asyncio.get_running_loop()
        self._told, self._downs = [[] for _ in range(count)], 0
        watching = [loop.create_future() for _ in range(count)]
        self._watchers = [
            self.node.spawn(self._watcher, node, told, future)
            for told, future in zip(self._told, watching, strict=True)
        ]
        (self._old, *_) = await asyncio.gather(*watching)

    async def _watcher(self, process: Process, node: str, told: Told, watching: asyncio.Future[Pid]) -> None:
        process.trap_exit = True
        name = (Atom("target"), Atom(node))
        process.send(name, (WHOAMI, process.pid))
        _, target = await process.receive(timeout=60)
        for to in (target, target, name):
            process.monitor(to)
        process.link(target)
        process.spawn(self._caller, name, told)
        watching.set_result(target)
        async for message in process:
            match message:
                case (Atom("DOWN"), _, _, _, reason):
                    told.append(("monitor", str(reason)))
                case (Atom("EXIT"), _, reason):
                    told.append(("link", str(reason)))
                case _:
                    told.append(("other", str(message)))
            self._came.set()

    async def _caller(self, process: Process, name: Any, told: Told) -> None:
        try:
            await self.node.gen_server.call(name, NEVER, timeout=600)
        except QuicDistError as error:
            told.append(("call", "noconnection" if isinstance(error, NotConnected) else repr(error)))
        self._came.set()

    async def told(self, within: float) -> tuple[list[Told], int]:
        try:
            async with asyncio.timeout(within):
                while any(len(told) < len(EXPECTED) for told in self._told) or not self._downs:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            pass
        return [sorted(told) for told in self._told], self._downs

    async def greet(self, node: str, within: float) -> Any:
        return await greet(self.node, node, within)

    async def stale(self, node: str) -> tuple[int, int]:
        assert self._old is not None
        old = self._old
        future = asyncio.get_running_loop().create_future()

        async def sends(process: Process) -> None:
            process.send((Atom("target"), Atom(node)), (WHOAMI, process.pid))
            _, new = await process.receive(timeout=60)
            for to in (old, Pid(new.node, new.id, new.serial, old.creation)):
                process.send(to, STALE)
            future.set_result(new)

        self.node.spawn(sends)
        new = await future
        for watcher in self._watchers:
            watcher.stop(Atom("kill"))
        return old.creation, new.creation

    async def usage(self) -> dict[str, int]:
        gc.collect()
        found = Counter(type(thing).__name__ for thing in gc.get_objects())
        kinds = (
            "Process",
            "Task",
            "Future",
            "Timer",
            "TimerHandle",
            *[k for k in found if k.endswith(_KINDS)],
        )
        fds = len(await asyncio.to_thread(os.listdir, "/proc/self/fd"))
        pages = int((await asyncio.to_thread(Path("/proc/self/statm").read_text)).split()[1])
        return {
            **{kind: found[kind] for kind in sorted(set(kinds)) if found[kind]},
            "objects": sum(found.values()),
            "descriptors": fds,
            "KiB": pages * os.sysconf("SC_PAGESIZE") // 1024,
        }


#: Ends of the names of classes of which none may stay per connection.
_KINDS = ("Channel", "Link", "Connection", "Protocol", "Transport", "Stream", "Handshake", "Peer", "Recovery")


class BeamLives:
    def __init__(self, beam: Beam) -> None:
        self._beam = beam

    async def _do(self, source: str, timeout: float = 120.0) -> Any:
        term = await self._beam.eval_bytes(f"term_to_binary(restarts_end:{source})", timeout=timeout)
        return binary_to_term(term)

    async def watch(self, node: str, count: int) -> None:
        await self._do(f"watch('{node}', {count})")

    async def told(self, within: float) -> tuple[list[Told], int]:
        told = await self._do(f"told({within * 1000:.0f})", within + 60)
        every = [[(str(kind), str(reason)) for kind, reason in one] for one in told]
        downs = {sum(kind == "node" for kind, _ in one) for one in every}
        return [sorted(t for t in one if t[0] != "node") for one in every], max(downs)

    async def greet(self, node: str, within: float) -> Any:
        start = monotonic()
        taken = await self._do(f"greet('{node}', {within * 1000:.0f})", within + 120)
        return monotonic() - start if isinstance(taken, int) else taken

    async def stale(self, node: str) -> tuple[int, int]:
        old, new = await self._do(f"stale('{node}', [])")
        return old, new

    async def usage(self) -> dict[str, int]:
        return {str(kind): number for kind, number in await self._do("usage()")}


def as_expected(told: Sequence[Told]) -> bool:
    return all(one == EXPECTED for one in told)
