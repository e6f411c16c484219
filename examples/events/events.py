"""Events from a Phoenix application: its Phoenix.PubSub, without Phoenix: see README.md."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Any

import quicdist
from quicdist import Atom, Node, Process

FORWARD, DISPATCHER = Atom("forward_to_local"), Atom("Elixir.Phoenix.PubSub")


class PubSub:
    """The ``Phoenix.PubSub`` called ``name`` (``MyApp.PubSub``) on a node: the messages that its adapter
    sends between nodes (``Phoenix.PubSub.PG2``, phoenix_pubsub 2.1)."""

    def __init__(self, node: Node, name: str = "MyApp.PubSub") -> None:
        self._node = node
        self._group = f"Elixir.{name}.Adapter"
        self._scope = node.pg.start("Elixir.Phoenix.PubSub")
        self._queues: dict[str, set[asyncio.Queue[Any]]] = {}
        self._joined = asyncio.Event()
        self._scope.join(self._group, node.spawn(self._adapter, name=self._group))

    async def _adapter(self, process: Process) -> None:
        changes, _ = self._scope.monitor(self._group, process)
        async for message in process:
            match message:
                case (reference, Atom(name="join"), *_) if reference == changes:
                    if self.others:
                        self._joined.set()
                case (Atom(name="forward_to_local"), bytes(topic), content, _):
                    for queue in self._queues.get(topic.decode(errors="replace"), ()):
                        queue.put_nowait(content)

    def subscribe(self, topic: str) -> Subscription:
        """The messages of a topic, from now on, as an asynchronous iterator
        (``Phoenix.PubSub.subscribe``)."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queues.setdefault(topic, set()).add(queue)
        return Subscription(queue, lambda: self._queues[topic].discard(queue))

    def broadcast(self, topic: str, content: Any) -> None:
        """Send to the subscribers of a topic on all other nodes (``Phoenix.PubSub.broadcast``)."""
        local = self._scope.get_local_members(self._group)
        for pid in self._scope.get_members(self._group):
            if pid not in local:
                self._node.send(pid, (FORWARD, topic, content, DISPATCHER))

    async def joined(self) -> None:
        """Wait until another node has this PubSub. What is broadcast before reaches nobody."""
        await self._joined.wait()

    @property
    def others(self) -> int:
        """How many other nodes have this PubSub."""
        return len(self._scope.get_members(self._group)) - len(self._scope.get_local_members(self._group))


class Subscription:
    """The messages of one topic."""

    def __init__(self, queue: asyncio.Queue[Any], end: Any) -> None:
        self._queue = queue
        self.unsubscribe = end

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            yield await self._queue.get()

    async def next(self) -> Any:
        """The next message."""
        return await self._queue.get()


async def main(name: str, cookie: str, phoenix: str, topic: str) -> None:
    async with Node(name, cookie=cookie, carrier="tcp", cluster=[phoenix]) as node:
        pubsub = PubSub(node)
        events = pubsub.subscribe(topic)
        await node.cluster.settled()
        await pubsub.joined()
        async for event in events:
            print(quicdist.format_term(event), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phoenix", help="the node of the Phoenix application")
    parser.add_argument("topic")
    parser.add_argument("--name", default="events@127.0.0.1")
    parser.add_argument("--cookie", default="secret")
    given = parser.parse_args()
    quicdist.run(main(given.name, given.cookie, given.phoenix, given.topic))
