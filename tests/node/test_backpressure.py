"""A node that takes nothing for a while, stopped in a process of its own: who sends to it waits, what
is held stays bounded, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from quicdist import Process
from quicdist.carrier.link import BufferLimits, LinkBase
from tests.node.streams_peer import NAME
from tests.node.test_streams import peer, resident
from tests.support.head_of_line import in_process

MIB = 1024 * 1024
COUNT = 64


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_senders_wait_for_a_node_that_was_stopped(carrier: str, tmp_path: Path) -> None:
    limits = BufferLimits()
    async with peer(carrier, tmp_path) as (node, other):
        link = node._local.connections.link(NAME)
        assert isinstance(link, LinkBase)
        other.send_signal(signal.SIGSTOP)
        before = resident()
        sent = 0

        async def send(process: Process) -> None:
            nonlocal sent
            for number in range(COUNT):
                # A size of its own each, so that the answers tell their order.
                await process.send_wait(("size", NAME), (process.pid, bytes(MIB + number)))
                sent += 1
            assert [await process.receive() for _ in range(COUNT)] == [
                MIB + number for number in range(COUNT)
            ]

        sending = asyncio.ensure_future(in_process(node, send))
        async with asyncio.timeout(30):
            while link.writable:  # noqa: ASYNC110  # nobody is told of that but who waits
                await asyncio.sleep(0.01)
        waiting = sent
        await asyncio.sleep(0.5)  # a while in which nothing more is to be sent
        assert sent == waiting < COUNT
        assert limits.high_water < link.pending
        assert link.queued <= limits.high_water + MIB + COUNT
        assert resident() - before < 32 * MIB
        other.send_signal(signal.SIGCONT)
        await sending
