"""A program as users write them, checked by pyright's strict mode and mypy; it is not run."""

from __future__ import annotations

from typing import Any

import quicdist
from quicdist import GenServer, Node, NodeDown, Process, RemoteError, Request, Term


class Counter(GenServer):
    def __init__(self, value: int) -> None:
        self.value = value

    async def handle_call(self, request: Term, sender: Any) -> Term:
        self.value += 1
        return self.value

    async def handle_cast(self, request: Term) -> None:
        self.value = 0


async def main() -> None:
    async with Node("py@127.0.0.1", cookie="secret", carrier="tcp", nodes={"a@h": ("h", 4433)}) as node:

        @node.process("echo")
        async def echo(process: Process) -> None:
            async for sender, message in process:
                process.send(sender, message)

        @node.export("py")
        def add(one: int, two: int) -> int:
            return one + two

        node.serve(Counter(0), name="counter")
        answered: bool = await node.ping("a@127.0.0.1")
        print(answered, add(1, 2), echo, await node.call("a@127.0.0.1", "lists", "reverse", [[1, 2, 3]]))
        request: Request[int] = node.erpc.send_request("a@127.0.0.1", "erlang", "system_time", [])
        try:
            print(await request + 1)
        except RemoteError as error:
            print(error.reason)
        node.subscribe(lambda event: print(event.error if isinstance(event, NodeDown) else event.node))


if __name__ == "__main__":
    quicdist.run(main())
