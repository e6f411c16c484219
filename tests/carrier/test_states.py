"""The states of connections, links, endpoints and streams: those passed, and those that cannot follow."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

import pytest

from quicdist.carrier import LinkLost, StreamReset
from quicdist.carrier import link as links
from quicdist.carrier import user_stream as streams
from quicdist.carrier.link import LinkState
from quicdist.carrier.quic import handshake, listener
from quicdist.carrier.quic.driver import connection_lifecycle, endpoint
from quicdist.carrier.quic.driver.connection_lifecycle import ConnectionState
from quicdist.carrier.quic.driver.endpoint import EndpointState
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.tcp import link as tcp_link
from quicdist.carrier.user_stream import ReceiveState, SendState
from tests.carrier.quic_support import LinkPair, linked_to, listening, quic_link, with_linked_pair
from tests.support.virtual_time import in_virtual_time

TABLES: list[dict[Any, Any]] = [
    connection_lifecycle.TRANSITIONS,
    endpoint.TRANSITIONS,
    handshake.TRANSITIONS,
    links.TRANSITIONS,
    listener.TRANSITIONS,
    streams.SEND_TRANSITIONS,
    streams.RECEIVE_TRANSITIONS,
    tcp_link.WRITE_TRANSITIONS,
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(next(iter(table))).__name__)
def test_every_state_has_its_transitions_and_can_be_reached(table: dict[Enum, set[Enum]]) -> None:
    states = set(type(next(iter(table))))
    assert set(table) == states
    reached, new = set(), {next(iter(table))}
    while new:
        reached |= new
        new = {after for state in new for after in table[state]} - reached
    assert reached == states


def test_closing_a_link_flushes_its_connection_until_all_is_acknowledged(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        link = quic_link(pair.client.link)
        connection = link._connection
        assert (link._state, connection.state) == (LinkState.UP, ConnectionState.OPEN)
        pair.to_server(bytes(100_000))
        link.close()
        assert (link._state, connection.state) == (LinkState.CLOSING, ConnectionState.FLUSHING)
        await link.wait_closed()
        assert (link._state, connection.state) == (LinkState.CLOSED, ConnectionState.CLOSING)
        assert (await pair.server.get())[1] == bytes(100_000)
        await pair.server.end()
        theirs = quic_link(pair.server.link)._connection
        assert theirs.state in (ConnectionState.DRAINING, ConnectionState.TERMINATED)
        await asyncio.sleep(10)
        assert connection.state is theirs.state is ConnectionState.TERMINATED

    with_linked_pair(settings, test)


def test_abandoned_connection_is_terminated_at_once(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        link = quic_link(pair.client.link)
        link._connection.abandon("unplugged")
        assert link._connection.state is ConnectionState.TERMINATED
        assert link._state is LinkState.CLOSED
        assert isinstance(await pair.client.end(), LinkLost)

    with_linked_pair(settings, test)


def test_transition_that_is_not_listed_is_an_error(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        link = quic_link(pair.client.link)
        with pytest.raises(AssertionError, match=r"server@127\.0\.0\.1: UP to CLOSED"):
            link._enter(LinkState.CLOSED)
        connection = link._connection
        connection.abandon("unplugged")
        with pytest.raises(AssertionError, match="TERMINATED to OPEN"):
            connection._enter(ConnectionState.OPEN)

    with_linked_pair(settings, test)


def test_endpoint_that_accepts_no_more_closes_with_its_last_connection(settings: QuicSettings) -> None:
    @in_virtual_time
    async def run() -> None:
        async with listening(settings) as server, linked_to(server, settings) as pair:
            ours = server.listener.endpoint
            passed = [ours.state]
            await server.carrier.close(server.listener)
            passed.append(ours.state)
            pair.client.link.close()
            await pair.server.end()
            await asyncio.sleep(10)
            assert [*passed, ours.state] == list(EndpointState)
            assert ours.socket.closed

    run()


def test_halves_of_a_stream_finish_and_reset_each_for_itself(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        offered: asyncio.Queue[streams.UserStream] = asyncio.Queue()

        def accept(stream: streams.UserStream) -> bool:
            offered.put_nowait(stream)
            return True

        pair.server.link.user_streams.accept(accept)
        ours = pair.client.link.user_streams.open()
        ours.write(b"all")
        ours.write_eof()
        theirs = await offered.get()
        assert await theirs.read() == b"all"
        assert (ours.send_state, ours.receive_state) == (SendState.DATA_SENT, ReceiveState.RECV)
        assert (theirs.send_state, theirs.receive_state) == (SendState.SEND, ReceiveState.DATA_RECVD)
        theirs.reset(7)
        assert (theirs.send_state, theirs.receive_state) == (SendState.RESET, ReceiveState.DATA_RECVD)
        with pytest.raises(StreamReset):
            await ours.read()
        assert (ours.send_state, ours.receive_state) == (SendState.DATA_SENT, ReceiveState.RESET)

    with_linked_pair(settings, test)


def test_closed_stream_discards_until_the_peer_has_finished(settings: QuicSettings) -> None:
    async def test(pair: LinkPair) -> None:
        offered: asyncio.Queue[streams.UserStream] = asyncio.Queue()

        def accept(stream: streams.UserStream) -> bool:
            offered.put_nowait(stream)
            return True

        pair.server.link.user_streams.accept(accept)
        ours = pair.client.link.user_streams.open()
        ours.close()
        passed = [ours.receive_state]
        theirs = await offered.get()
        await theirs.send(b"dropped")
        theirs.write_eof()
        await asyncio.sleep(1)
        assert [*passed, ours.receive_state] == [ReceiveState.DISCARDING, ReceiveState.DATA_RECVD]
        assert ours.closed
        assert theirs.closed

    with_linked_pair(settings, test)


@pytest.mark.parametrize("close", ["close", "break_off", "protocol_error"])
def test_an_icmp_error_while_connection_close_is_sent_ends_the_connection(
    settings: QuicSettings, close: str
) -> None:
    """libuv reports it within the call that sends."""

    async def test(pair: LinkPair) -> None:
        connection = quic_link(pair.client.link)._connection
        send = connection.socket.send

        def refused(datagrams: Any) -> None:
            send(datagrams)
            connection.abandon("connection refused", unreachable=True)

        connection.socket.send = refused  # type: ignore[method-assign]
        if close == "close":
            connection.close()
        elif close == "break_off":
            connection.break_off("test")
        else:
            connection.engine.close(1, reason_phrase="test")
            connection._dispatch()
        assert connection.state is ConnectionState.TERMINATED
        await pair.server.end()

    with_linked_pair(settings, test)
