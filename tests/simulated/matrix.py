"""The matrix: two Python nodes on one kind of bad path after the other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.simulated.exchange import between
from tests.simulated.network import Network
from tests.simulated.nodes import address, nodes

ONE, TWO = address(1), address(2)
LOSSES = (0.0, 0.01, 0.05, 0.2)
DELAYS = (0.0, 0.05, 0.2)

#: What happens to the path from the beginning; and, a little later, in mid-run.
Change = Callable[[Network], None]


@dataclass(frozen=True)
class Row:
    """One kind of path."""

    name: str
    begin: Change = lambda network: None
    later: tuple[tuple[float, Change], ...] = ()
    #: The link ends, and its senders are told.
    ends: bool = False


def _set(**properties: object) -> Change:
    return lambda network: network.set(ONE, TWO, **properties)


def _one_way(**properties: object) -> Change:
    def change(network: Network) -> None:
        for name, value in properties.items():
            setattr(network.path(ONE, TWO), name, value)

    return change


def _move(network: Network) -> None:
    network.host(ONE).move("10.0.0.77")


def _cut(seconds: float, change: Callable[..., Change] = _set) -> tuple[tuple[float, Change], ...]:
    return (0.05, change(cut=True)), (0.05 + seconds, change(cut=False))


def _rows() -> Iterator[Row]:
    for loss, delay in itertools.product(LOSSES, DELAYS):
        yield Row(f"loss {loss:.0%}, delay {delay * 1000:.0f} ms", _set(loss=loss, delay=delay or 0.0001))
    yield Row("reordering: jitter 2 ms at 20 ms", _set(delay=0.02, jitter=0.002))
    yield Row("reordering: a tenth late by 10 ms", _set(delay=0.02, late=0.1, late_by=0.01))
    yield Row("doubling 10%", _set(delay=0.02, doubled=0.1))
    yield Row("corruption 2%", _set(delay=0.02, corrupted=0.02))
    yield Row("loss 20% one way", _one_way(delay=0.02, loss=0.2))
    yield Row("narrow: 1 MB/s, queue 64 KiB", _set(delay=0.02, bandwidth=1e6, queue=65536))
    yield Row("cut of 5 s", _set(delay=0.02), _cut(5))
    yield Row("cut of 100 s", _set(delay=0.02), _cut(100), ends=True)
    yield Row(
        "one way cut for 5 s", _set(delay=0.02), ((0.05, _one_way(cut=True)), (5.05, _one_way(cut=False)))
    )
    yield Row("MTU 1500 to 1280", _set(delay=0.02), ((0.05, _set(mtu=1280)),))
    too_short = (0.05, _set(mtu=1280)), (0.1, _set(mtu=1000)), (100.0, _set(mtu=1500))
    yield Row("MTU 1500 to 1280 to 1000, 100 s", _set(delay=0.02), too_short, ends=True)
    yield Row(
        "NAT rebinding, thrice",
        _set(delay=0.02),
        tuple((0.04 * number, lambda network: network.rebind(ONE)) for number in (1, 2, 3)),
    )
    yield Row(
        "another address", _set(delay=0.02), ((0.05, lambda network: network.host(ONE).move("10.0.0.77")),)
    )


ROWS = {row.name: row for row in _rows()}


@dataclass
class Cost:
    """What a row took, in seconds of its network: the dial, the messages, a long one each way, calls."""

    dial: float
    messages: float
    long: float
    calls: float
    told: bool


async def run(network: Network, row: Row, *, messages: int, long: int, calls: int = 10) -> Cost:
    """Dial; 20 processes each way with ``messages`` numbered ones each; a message of ``long`` bytes each way;
    calls. Raises what is wrong: not once, not in order, not told, standing still."""
    time = network.loop.time
    row.begin(network)
    async with nodes(network, 2) as (one, two):
        two.exports.add("matrix", "same", _same)
        begun = time()
        await one.connect(two.name)
        dialled = time()
        for after, change in row.later:
            network.loop.call_later(after, change, network)
        exchange = between(network, one, two, messages=messages)
        # In mid-run, when anything happens there.
        last = max((after for after, _ in row.later), default=0.0)
        took = await exchange.over(patience=20.0 + last)
        told = not exchange.all_came
        if row.ends:
            await asyncio.sleep(max(0.0, last - (time() - dialled)))
            await one.connect(two.name)
        else:
            assert not told, (
                f"{row.name}: the link ended: {[pair.told for pair in exchange.pairs if pair.told]}"
            )
        begun_long = time()
        await between(network, one, two, processes=1, sizes=[long, 1]).over(patience=3600.0)
        begun_calls = time()
        for number in range(calls):
            assert await one.call(two.name, "matrix", "same", [number], timeout=60) == number
        return Cost(dialled - begun, took, begun_calls - begun_long, time() - begun_calls, told)


def _same(value: object) -> object:
    return value
