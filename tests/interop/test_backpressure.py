"""A BEAM that takes nothing for a while: who sends to it waits, and all arrives in order."""

from __future__ import annotations

import asyncio
import signal

import pytest

from quicdist import Process
from quicdist.carrier.link import BufferLimits, LinkBase
from tests.interop.cluster import Cluster
from tests.support.beam import erl_facts
from tests.support.head_of_line import in_process

MIB = 1024 * 1024
COUNT = 48


async def test_senders_wait_for_a_beam_that_was_stopped(pair: Cluster) -> None:
    if pair.carrier == "quic" and (erl_facts()[1] or "").startswith("0."):
        pytest.skip("towards quic_dist 0.11.0 a connection gets stuck after 8 MiB")
    node, beam = pair.node, pair.beam_name
    await node.connect(beam)
    link = node.connections.link(beam)
    assert isinstance(link, LinkBase)
    await pair.eval(
        "register(size, spawn(fun() -> "
        "(fun L() -> receive {P, X} -> P ! byte_size(X) end, L() end)() end)), ok"
    )
    pair.beam.process.send_signal(signal.SIGSTOP)
    sent = 0

    async def send(process: Process) -> None:
        nonlocal sent
        for number in range(COUNT):
            await process.send_wait(("size", beam), (process.pid, bytes(MIB + number)))
            sent += 1
        assert [await process.receive() for _ in range(COUNT)] == list(range(MIB, MIB + COUNT))

    sending = asyncio.ensure_future(in_process(node, send))
    try:
        async with asyncio.timeout(30):
            while link.writable:  # noqa: ASYNC110  # nobody is told of that but who waits
                await asyncio.sleep(0.01)
        waiting = sent
        await asyncio.sleep(2)  # a while in which nothing more is to be sent
        assert sent == waiting < COUNT
        assert link.queued <= BufferLimits().high_water + MIB + COUNT
    finally:
        pair.beam.process.send_signal(signal.SIGCONT)
    await sending
