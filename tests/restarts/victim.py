"""The Python node that is killed: ``python -m tests.restarts.victim OPTIONS``, those of a node, as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from time import monotonic
from typing import Any

from benchmarks import control
from quicdist import GenServer, Node, Process, QuicDistError
from quicdist.term import Atom

ME, ANSWERED, GREETING = Atom("me"), Atom("answered"), Atom("greeting")
#: Seconds between two tries.
AGAIN = 0.02


class Answers(GenServer):
    def handle_call(self, request: Any, sender: Any) -> Any:
        return ANSWERED, request


async def greet(node: Node, other: str, within: float) -> Any:
    """Seconds until a call of the other node is answered, or why none was."""
    start = monotonic()
    while True:
        try:
            answer = await node.gen_server.call((Atom("answers"), Atom(other)), GREETING, timeout=60)
        except QuicDistError as error:
            if monotonic() - start > within:
                return f"{type(error).__name__}: {error}"
            await asyncio.sleep(AGAIN)
        else:
            return monotonic() - start if answer == (ANSWERED, GREETING) else str(answer)


async def main(options: dict[str, Any]) -> None:
    node = Node(**options)
    seen: list[Any] = []

    @node.process("target")
    def target(process: Process, message: Any) -> None:
        match message:
            case (Atom("whoami"), sender):
                process.send(sender, (ME, process.pid))
            case (Atom("$gen_call"), _, Atom("never")):
                pass
            case _:
                seen.append(message)

    async def greet_node(other: str, within: float) -> Any:
        return await greet(node, other, within)

    async def count_seen() -> int:
        return len(seen)

    async with node:
        node.serve(Answers(), name="answers")
        await control.serve({"greet": greet_node, "seen": count_seen}, node.name)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.run(main(json.loads(sys.argv[1])))
