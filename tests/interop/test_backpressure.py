"""A BEAM that takes nothing for a while: who sends to it waits, and all arrives in order."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from typing import Any

import pytest

from quicdist import Atom, NodeDown, Process, SendBufferFull
from quicdist.carrier import QuicCarrier, TcpCarrier
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
    link = node._local.connections.link(beam)
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
        if pair.carrier == "gateway":
            await asyncio.sleep(2)  # it takes what its own windows and queue allow
        waiting = sent
        await asyncio.sleep(2)  # a while in which nothing more is to be sent
        assert sent == waiting < COUNT
        assert link.queued <= BufferLimits().high_water + MIB + COUNT
    finally:
        pair.beam.process.send_signal(signal.SIGCONT)
    await sending


async def test_a_beam_that_does_not_read_loses_its_connection_and_nothing_else(pair: Cluster) -> None:
    """Where a BEAM would suspend who sends; here it can wait, and this one does not."""
    node, beam = pair.node, pair.beam_name
    for endpoint in node.endpoints:
        limits = BufferLimits(high_water=MIB, low_water=MIB // 4, max_pending=4 * MIB)
        if isinstance(endpoint.carrier, QuicCarrier):
            endpoint.carrier.settings = dataclasses.replace(endpoint.carrier.settings, buffers=limits)
        elif isinstance(endpoint.carrier, TcpCarrier):
            endpoint.carrier._limits = limits
    services = [node.whereis(name) for name in ("net_kernel", "rex", "user", "logger_proxy")]
    ended: asyncio.Queue[NodeDown] = asyncio.Queue()
    node.subscribe(lambda event: ended.put_nowait(event) if isinstance(event, NodeDown) else None)

    await node.connect(beam)
    await pair.eval("net_kernel:monitor_nodes(true, [{node_type, all}])")
    pair.beam.process.send_signal(signal.SIGSTOP)
    try:

        async def send(process: Process) -> tuple[Any, ...]:
            process.trap_exit = True
            reference = process.monitor(("beam_evaluator", beam))
            for _ in range(64):
                process.send(("nobody", beam), bytes(MIB))
            down: tuple[Any, ...] = await process.receive(timeout=60)
            return down[1] == reference, down[4]

        assert await in_process(node, send) == (True, Atom("noconnection"))
        error = (await asyncio.wait_for(ended.get(), 60)).error
        assert isinstance(error, SendBufferFull)
        assert error.pending <= 5 * MIB
    finally:
        pair.beam.process.send_signal(signal.SIGCONT)
    assert [process.alive for process in services if process] == [True] * 4
    # It hears that the connection has ended, and makes another.
    assert (
        await pair.eval("receive {nodedown, PY, _} -> net_adm:ping(PY) after 30000 -> nothing_heard end")
        == "pong"
    )
