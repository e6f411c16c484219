"""A server in Python that a supervisor in Elixir starts and restarts: see README.md."""

from __future__ import annotations

import argparse
from typing import Any

import quicdist
from quicdist import Atom, GenServer, Node


class Counter(GenServer):
    """Counts; ``crash`` ends it, and the supervisor starts it again."""

    def __init__(self, start: int) -> None:
        self.count = start

    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case Atom(name="next"):
                self.count += 1
                return self.count
            case Atom(name="crash"):
                raise ValueError("as asked")


def offer(node: Node) -> None:
    """Let supervisors of other nodes start counters, by ``python:start_counter/1``."""
    node.exports.child("python", "start_counter", name="counter")(Counter)


async def main(options: dict[str, Any]) -> None:
    node = Node(**options)
    offer(node)  # before the start: no other node finds this one without it
    async with node:
        print(f"{node.name} listens at {node.addresses[0].port}", flush=True)
        await node.run_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="py@127.0.0.1")
    parser.add_argument("--cookie", default="secret")
    parser.add_argument("--port", type=int, help="listen there, and do not register with epmd")
    given = parser.parse_args()
    where = {} if given.port is None else {"port": given.port, "host": "127.0.0.1", "epmd": False}
    quicdist.run(main({"name": given.name, "cookie": given.cookie, "carrier": "tcp", **where}))
