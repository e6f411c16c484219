"""Numbered messages of many processes: once and in order, or their senders are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from quicdist import Node, Process
from quicdist.term import Atom
from tests.simulated.network import Network

if TYPE_CHECKING:
    from tests.simulated.quic_dist import QuicDistNode

#: Seconds within which something has to come while a link is up and its path is not cut: that of
#: ``net_ticktime``. A silence for longer has to end the link.
PATIENCE = 60.0

DOWN = Atom("DOWN")
NORMAL = Atom("normal")


class StandsStill(AssertionError):
    """A link is up, and nothing comes by it."""


def mixed_sizes(chance: Random, count: int) -> list[int]:
    """Of messages: most are small, some take a packet or two, a few take several."""
    return [
        chance.choices((chance.randrange(40), chance.randrange(2000), 20_000), (78, 18, 4))[0]
        for _ in range(count)
    ]


@dataclass
class Pair:
    """A sender and its receiver."""

    name: str
    sizes: Sequence[int]
    came: list[int] = field(default_factory=list)
    #: The reason its sender was told of by its monitor.
    told: Any = None
    over: bool = False

    @property
    def is_complete(self) -> bool:
        return len(self.came) == len(self.sizes)

    def check(self) -> None:
        """Exactly once and in order; all of it, unless the sender was told."""
        assert self.came == sorted(set(self.came)), f"{self.name}: not once or not in order: {self.came}"
        if self.told is None:
            assert self.is_complete, f"{self.name}: {len(self.came)} of {len(self.sizes)} came"


class Exchange:
    """Pairs under way at once."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.begun = self.moved = network.loop.time()
        #: The longest time in which nothing came, in seconds.
        self.longest_silence = 0.0
        self.pairs: list[Pair] = []
        self._changed = asyncio.Event()

    def came(self, pair: Pair, number: int, payload: bytes) -> None:
        """A message arrived."""
        pair.came.append(number)
        assert len(payload) == pair.sizes[number], pair.name
        now = self.network.loop.time()
        self.longest_silence = max(self.longest_silence, now - self.moved)
        self.moved = now

    def ended(self, pair: Pair, told: Any = None) -> None:
        """Nothing more is to come."""
        pair.told = told
        pair.over = True
        self.moved = self.network.loop.time()
        self._changed.set()

    async def over(self, *, patience: float = PATIENCE) -> float:
        """Wait until every message came or its sender was told; the seconds it took. Raises
        :class:`StandsStill` if nothing came for ``patience`` seconds, and checks all pairs."""
        time = self.network.loop.time
        while not all(pair.over for pair in self.pairs):
            if time() - self.moved > patience:
                left = [pair for pair in self.pairs if not pair.over]
                raise StandsStill(
                    f"nothing came for {time() - self.moved:.1f} s, {time() - self.begun:.1f} s after the "
                    f"beginning; {len(left)} of {len(self.pairs)} pairs are not over, such as "
                    f"{left[0].name}: {len(left[0].came)} of {len(left[0].sizes)}"
                )
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, self.moved + patience - time()) + 0.001):
                    await self._changed.wait()
            except TimeoutError:
                pass
        for pair in self.pairs:
            pair.check()
        return time() - self.begun

    @property
    def all_came(self) -> bool:
        return all(pair.is_complete for pair in self.pairs)


def between(
    network: Network,
    one: Node,
    two: Node,
    *,
    processes: int = 20,
    messages: int = 5,
    sizes: Sequence[int] | None = None,
) -> Exchange:
    """``processes`` each way send ``messages`` each, or one of each of ``sizes``."""
    exchange = Exchange(network)
    for source, target in ((one, two), (two, one)):
        for number in range(processes):
            pair = Pair(f"{source.name} {number}", sizes or mixed_sizes(network.chance, messages))
            exchange.pairs.append(pair)
            receiver = target.spawn(_receive, exchange, pair)
            source.spawn(_send, exchange, pair, receiver.pid)
    return exchange


async def _receive(process: Process, exchange: Exchange, pair: Pair) -> None:
    async for sender, number, payload in process:
        exchange.came(pair, number, payload)
        if number == len(pair.sizes) - 1:
            process.send(sender, b"all came")
            return


async def _send(process: Process, exchange: Exchange, pair: Pair, receiver: Any) -> None:
    process.monitor(receiver)
    for number, size in enumerate(pair.sizes):
        await process.send_wait(receiver, (process.pid, number, bytes(size)))
    while True:
        match await process.receive():
            case (tag, _, _, _, reason) if tag == DOWN:
                exchange.ended(pair, None if reason == NORMAL else reason)
                return


def mirrored(
    network: Network,
    node: Node,
    peer: QuicDistNode,
    *,
    processes: int = 8,
    messages: int = 10,
    sizes: Sequence[int] | None = None,
) -> Exchange:
    """``processes`` of ``node`` send ``messages`` each, or one of each of ``sizes``, to the mirror of a
    simulated quic_dist, and back."""
    exchange = Exchange(network)
    for number in range(processes):
        pair = Pair(f"{node.name} {number}", sizes or mixed_sizes(network.chance, messages))
        exchange.pairs.append(pair)
        node.spawn(_reflect, exchange, pair, (Atom("mirror"), Atom(peer.name)))
    return exchange


async def _reflect(process: Process, exchange: Exchange, pair: Pair, mirror: Any) -> None:
    process.send(mirror, (process.pid, b"who"))
    process.monitor(mirror)
    there = None
    while True:
        match await process.receive():
            case (tag, _, _, _, reason) if tag == DOWN:
                exchange.ended(pair, reason)
                return
            case (there, b"who"):
                for number, size in enumerate(pair.sizes):
                    await process.send_wait(there, (process.pid, (number, bytes(size))))
            case (_, (number, payload)):
                exchange.came(pair, number, payload)
                if number == len(pair.sizes) - 1:
                    exchange.ended(pair)
                    return
