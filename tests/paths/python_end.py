"""The Python end of the measurements on paths; ``paths_end.erl`` is the same in Erlang.

``python -m tests.paths.python_end OPTIONS``, with the options of :class:`quicdist.Node` as JSON. Commands and
answers are JSON objects, one a line. :mod:`tests.soak.python_end` has the same loop and other commands.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

from benchmarks import control
from quicdist import CallTimeout, GenServer, Node, Process, QuicDistError
from quicdist.node import NodeDown
from quicdist.term import Atom

OPEN, OPENED, OVER, RECEIVED, WRONG, BYE = map(Atom, ("open", "opened", "over", "received", "wrong", "bye"))
DOWN, EXIT, PATHS = map(Atom, ("DOWN", "EXIT", "paths"))

#: A command of the controlling program.
Command = Callable[..., Awaitable[Any]]

#: What became of something, more of it, and seconds until that was known.
Outcome = tuple[str, Any, float]


def size_of(number: int, size: int | str) -> int:
    """Bytes of a numbered message."""
    if isinstance(size, int):
        return size
    return number * 7919 % (20_000 if number % 50 == 7 else 1000)


def brief(value: object) -> str:
    return str(value)[:120]


class Calls(GenServer):
    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case (Atom("paths"), number):
                return PATHS, number + 1
        raise ValueError(request)


class End:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.wrong: list[str] = []
        self.down: list[str] = []
        #: Messages that were received whole and in order.
        self.received = 0
        node.subscribe(lambda event: self.down.append(brief(event)) if isinstance(event, NodeDown) else None)
        node.process("paths_hub")(self.hub)

    # -- what is sent to, and called ---------------------------------------------------------

    def hub(self, process: Process, message: Any) -> None:
        match message:
            case (Atom("open"), sender):
                receiver = self.node.spawn(self.receive, sender)
                process.send(sender, (OPENED, receiver.pid))

    async def receive(self, process: Process, sender: Any) -> None:
        following, over = 1, False
        async for message in process:
            match message:
                case (int() as number, size, data) if number == following:
                    if data != bytes([number % 256]) * size:
                        return self._wrong(process, sender, f"the content of message {number}")
                    following += 1
                    self.received += 1
                case (Atom("over"), count) if count == following - 1 and not over:
                    over = True
                    process.send(sender, (RECEIVED, process.pid, count))
                case Atom("bye"):
                    return None
                case _:
                    if over:
                        return self._wrong(process, sender, f"{brief(message)} after the last message")
                    # Its sender may have been told that the connection was lost, and gone on; it knows.
                    what = f"{brief(message)} in place of message {following}"
                    process.send(sender, (WRONG, process.pid, what.encode()))
                    return None
        return None

    def _wrong(self, process: Process, sender: Any, what: str) -> None:
        self.wrong.append(what)
        process.send(sender, (WRONG, process.pid, what.encode()))

    # -- commands ------------------------------------------------------------------------------

    async def wrongs(self) -> list[str]:
        return self.wrong

    async def downs(self) -> list[str]:
        seen, self.down = self.down, []
        return seen

    async def dial(self, node: str, count: int, pause: float) -> list[Any]:
        """Seconds of each dial, or why it failed. The last connection stays."""
        taken: list[Any] = []
        for number in range(count):
            if number:
                self.node.disconnect(node)
                await asyncio.sleep(pause)
            start = monotonic()
            try:
                await self.node.connect(node)
                taken.append(monotonic() - start)
            except QuicDistError as error:
                taken.append(f"{type(error).__name__}: {error}")
        return taken

    async def send(self, node: str, jobs: list[tuple[int, int, int | str]], limit: float) -> list[Outcome]:
        """For each sender of the jobs, all of which are done at once, what became of its messages."""
        start = monotonic()

        async def sends(process: Process, count: int, size: int | str) -> Outcome:
            try:
                async with asyncio.timeout(limit):
                    result, why = await self.sender(process, node, count, size)
            except TimeoutError:
                result, why = "late", f"of {count} messages of {size} bytes"
            return result, why, monotonic() - start

        return await self._in_parallel(
            [(sends, count, size) for senders, count, size in jobs for _ in range(senders)]
        )

    async def sender(self, process: Process, node: str, count: int, size: int | str) -> tuple[str, Any]:
        process.trap_exit = True
        hub = process.monitor((Atom("paths_hub"), Atom(node)))
        process.send((Atom("paths_hub"), Atom(node)), (OPEN, process.pid))
        match await process.receive():
            case (Atom("DOWN"), _, _, _, reason):
                return "told", brief(reason)
            case (_, receiver):
                pass
        process.demonitor(hub, flush=True)
        monitor = process.monitor(receiver)
        process.link(receiver)
        for number in range(1, count + 1):
            if process.message_queue_len:  # It has been told something.
                break
            length = size_of(number, size)
            await process.send_wait(receiver, (number, length, bytes([number % 256]) * length))
        else:
            process.send(receiver, (OVER, count))
        match await process.receive(lambda message: message[0] in (RECEIVED, WRONG, DOWN)):
            case (Atom("received"), _, _):
                process.demonitor(monitor, flush=True)
                process.unlink(receiver)
                process.send(receiver, BYE)
                return "once", count
            case (Atom("wrong"), _, what):
                return "wrong", brief(what)
            case (_, _, _, _, reason):
                try:
                    await process.receive(lambda message: message[0] == EXIT, timeout=5)
                except TimeoutError:
                    return "wrong", "a monitor fired, a link did not"
                return "told", brief(reason)
        raise AssertionError

    async def call(self, node: str, callers: int, count: int, limit: float) -> list[Outcome]:
        """For each call of each caller, what became of it."""
        end = monotonic() + limit

        async def calls(process: Process) -> list[Outcome]:
            return [await self.one_call(node, number, end) for number in range(count)]

        return [outcome for outcomes in await self._in_parallel([(calls,)] * callers) for outcome in outcomes]

    async def one_call(self, node: str, number: int, end: float) -> Outcome:
        start = monotonic()
        server = (Atom("paths_calls"), Atom(node))
        try:
            answer = await self.node.gen_server.call(
                server, (PATHS, number), timeout=max(0.001, end - monotonic())
            )
            result, why = ("once", 1) if answer == (PATHS, number + 1) else ("wrong", brief(answer))
        except CallTimeout:
            result, why = "late", 0
        except QuicDistError as error:
            result, why = "told", f"{type(error).__name__}: {brief(error)}"
        return result, why, monotonic() - start

    async def _in_parallel(self, bodies: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What each of the bodies, with its arguments, gives in a process of its own."""
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in bodies]

        async def run(process: Process, future: asyncio.Future[Any], body: Any, *args: Any) -> None:
            try:
                future.set_result(await body(process, *args))
            except Exception as error:
                future.set_exception(error)

        for future, body in zip(futures, bodies, strict=True):
            self.node.spawn(run, future, *body)
        return list(await asyncio.gather(*futures))


def commands(end: End) -> dict[str, Command]:
    """The commands of this end, by name."""
    return {
        "dial": end.dial,
        "send": end.send,
        "call": end.call,
        "wrongs": end.wrongs,
        "downs": end.downs,
        "usage": control.usage,
    }


async def serve(options: dict[str, Any], commands_of: Callable[[End], dict[str, Command]]) -> None:
    """Run a node with ``options`` and an :class:`End`, and its commands until the input ends."""
    node = Node(**options)
    end = End(node)
    async with node:
        node.serve(Calls(), name="paths_calls")
        await control.serve(commands_of(end), {"name": node.name})


def main(commands_of: Callable[[End], dict[str, Command]] = commands) -> None:
    """The program: its argument are the options."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    asyncio.run(serve(json.loads(sys.argv[1]), commands_of))


if __name__ == "__main__":
    main()
