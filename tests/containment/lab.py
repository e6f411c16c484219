"""Two nodes that share nothing but a connection, and a bystander whom no fault may reach."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from quicdist import Atom, Node, Process
from quicdist.carrier import Link
from quicdist.node.process_lifecycle import ProcessState
from tests.containment.faults import release
from tests.support.pairs import COOKIE, DIALLER, LISTENER, carrier_options

#: Seconds that all of one case may take.
PATIENCE = 20.0
BEFORE, AFTER = Atom("before"), Atom("after")
DOWN, EXIT = Atom("DOWN"), Atom("EXIT")
KILL, KILLED = Atom("kill"), Atom("killed")


class Lab:
    """``one`` asks, ``two`` runs the code that goes wrong; both in one event loop."""

    one: Node
    two: Node

    def __init__(self, carrier: str, directory: Path) -> None:
        self.carrier = carrier
        self.directory = directory
        #: One process, for functions that are to run in another.
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.runner = asyncio.Runner()
        #: What the event loop had to say of exceptions that nobody took.
        self.noise: list[str] = []
        self._stack = AsyncExitStack()
        #: What the bystander is to get, and whether it has got it once.
        self._due: list[Any] = []
        self._seen_both = False
        self._numbers = itertools.count(1)

    def run(self, case: Awaitable[Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await case

        return self.runner.run(bounded())

    # -- the two nodes, and the bystander ------------------------------------------------------------

    async def start(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._heard)
        self.options = carrier_options(self.carrier, self.directory)
        options = {"cookie": COOKIE, **self.options}
        self.two = await self._stack.enter_async_context(Node(LISTENER, host="127.0.0.1", port=0, **options))
        nodes = {LISTENER: ("127.0.0.1", self.two.addresses[0].port)}
        self.one = await self._stack.enter_async_context(Node(DIALLER, nodes=nodes, listen=False, **options))
        await self.one.connect(self.two.name)
        self.two.exports.add("lab", "add", lambda a, b: a + b)
        self.link = self._link()
        self.services = [*self.one._local.runtime.processes(), *self.two._local.runtime.processes()]
        # A watcher on the node that asks is linked with a bystander on the other, and monitors it.
        self.seen: asyncio.Queue[Any] = asyncio.Queue()
        self.bystander = self.two._local.runtime.spawn(lambda _, message: self.seen.put_nowait(message))
        self.watcher = self.one._local.runtime.add_process()
        self.watcher.trap_exit = True
        self.watcher.link(self.bystander.pid)
        self.watcher.monitor(self.bystander.pid)
        await self.check()
        gc.collect()
        gc.freeze()

    async def stop(self) -> None:
        gc.unfreeze()
        release()
        await self._stack.aclose()

    def close(self) -> None:
        self.pool.shutdown()
        self.runner.close()

    async def anew(self) -> None:
        """A case has failed, which is no reason for the next ones to fail."""
        await self.stop()
        self.noise.clear()
        await self.start()

    def _heard(self, _: Any, context: dict[str, Any]) -> None:
        self.noise.append(f"{context['message']}: {type(context.get('exception')).__name__}")

    def _link(self) -> Link:
        link = self.one._local.connections.link(self.two.name)
        assert link is not None
        return link

    # -- one case ------------------------------------------------------------------------------------

    def around(self, act: Callable[..., Any], *args: Any) -> Any:
        """Do something between two messages to the bystander, which leave in one batch with it."""
        number = next(self._numbers)
        self._due = [(BEFORE, number), (AFTER, number)]
        self.one.send(self.bystander.pid, self._due[0])
        result = act(*args)
        self.one.send(self.bystander.pid, self._due[1])
        return result

    async def case(self, place: Awaitable[Any]) -> Any:
        """Run one place; what it gives. It must have called :meth:`around`, and no one else may have
        noticed anything."""
        self._due.clear()
        self._seen_both = False
        try:
            result = await place
            assert self._due or self._seen_both, "the place has not used around"
            await self.seen_both()
        finally:
            await self.check()
        return result

    async def seen_both(self) -> None:
        """The bystander has got both messages, in their order, and nothing else."""
        if self._due:
            assert [await self.seen.get(), await self.seen.get()] == self._due
            self._due, self._seen_both = [], True

    async def check(self) -> None:
        """That both nodes still do all they did."""
        assert self._link() is self.link, "the connection is another one"
        assert await self.one.ping(self.two.name)
        assert await self.two.ping(self.one.name)
        assert await self.one.call(self.two.name, "lab", "add", [1, 2]) == 3
        assert await self.one.rpc.block_call(self.two.name, "lab", "add", [1, 2]) == 3
        assert all(service.alive for service in self.services)
        assert self.watcher.message_queue_len == 0, self.watcher.messages
        assert self.watcher.links == [self.bystander.pid]
        assert self.seen.empty()
        gc.collect()
        assert not self.noise, self.noise.pop()

    # -- what places do ------------------------------------------------------------------------------

    async def down(self, process: Process, act: Callable[..., Any], *args: Any) -> Any:
        """The reason that a process of ``two`` ends with, as ``one`` hears of it by a monitor and by a
        link. ``act`` starts it."""
        watcher = self.one._local.runtime.add_process()
        watcher.trap_exit = True
        try:
            watcher.monitor(process.pid)
            watcher.link(process.pid)
            await until(lambda: watcher.pid in process.links and bool(process.monitored_by))
            self.around(act, *args)
            came = [await watcher.receive(), await watcher.receive()]
            messages = {message[0]: message[-1] for message in came}
            assert str(messages[DOWN]) == str(messages[EXIT])
            return messages[DOWN]
        finally:
            watcher.stop()

    async def killed(self, process: Process, act: Callable[..., Any], *args: Any) -> None:
        """One that does not return: others are answered meanwhile, and it can be killed."""
        await self.seen_both()
        self.around(act, *args)
        await self.seen_both()
        await self.check()
        assert process.state is ProcessState.RUNNING
        reason = await self.down(process, self.watcher.exit, process.pid, KILL)
        assert reason == KILLED
        await process.finished()


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop go on until something holds that tells nobody when it does."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines for what fails on purpose."""
    logger = logging.getLogger("quicdist")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
